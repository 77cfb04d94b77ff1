//! The search by meaning: what is near a vector.

use pgvector::Vector;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::store::StoreError;
use crate::store::embeddings::Found;
use crate::store::embeddings::index::{literal, name_of};
use crate::store::embeddings::scope::{Scope, within_scope};

/// How many candidates a walk through the graph holds at a time.
pub const SEARCH_CANDIDATES: u32 = 80;

/// The most candidates that pgvector holds.
const MOST_CANDIDATES: i64 = 1_000;

/// Up to so many rows a scope's vectors are compared one by one: that is exact, and quicker than a
/// walk through a graph of which a filter throws away nearly everything.
const COMPARED_ONE_BY_ONE: u32 = 20_000;

/// How many candidates, and how many rows in all, the long walk takes through a scope that is larger
/// and still a small part of the whole.
const LONG_WALK_CANDIDATES: i64 = 200;
const LONG_WALK: i64 = 60_000;

/// The passages nearest to a vector of [`VECTOR_WIDTH`], nearest first. Only vectors of `model`
/// are compared. Wants to be called in a transaction, because it sets how the index is scanned.
///
/// Where the filter leaves enough of what is near, it is one walk through the model's index. Where it
/// does not, the rows of the scope are compared one by one if they are few, and else a longer walk goes
/// on until enough of them pass. The scores are exact either way. `benches/memory.rs` measures it.
///
/// [`VECTOR_WIDTH`]: super::VECTOR_WIDTH
pub async fn by_vector(
    connection: &mut PgConnection,
    scope: &Scope,
    model: &str,
    vector: &Vector,
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    // A quarter more than is asked: what is passed over by a filter that leaves most of it.
    let candidates = (at_most + at_most / 4).clamp(SEARCH_CANDIDATES.into(), MOST_CANDIDATES);
    let near = nearness(walks(connection, Walk::Short, candidates, model).await?);
    let mut found =
        search(connection, along_the_graph(model, near), scope, vector, at_most).await?;
    if i64::try_from(found.len()).unwrap_or(i64::MAX) < at_most {
        walks(connection, Walk::Long, LONG_WALK_CANDIDATES, model).await?;
        found = search(connection, through_the_scope(model, near), scope, vector, at_most).await?;
    }
    plan_as_usual(connection).await?;
    // A vector without length has no angle to anything.
    found.retain(|found| found.score.is_finite());
    Ok(found)
}

/// How far the index is walked through.
#[derive(Debug, Clone, Copy)]
enum Walk {
    /// Once.
    Short,
    /// Until enough rows pass the filter.
    Long,
}

/// How near a passage is, as the model's index orders it.
const fn nearness(is_over_halves: bool) -> &'static str {
    if is_over_halves {
        "passage.embedding::halfvec(1536) <=> $9::halfvec(1536)"
    } else {
        "passage.embedding <=> $9"
    }
}

/// Sets how the index is scanned until the transaction ends; answers whether the model's index is over
/// halves of the numbers' width.
///
/// A walk that goes on until enough rows pass a filter (`iterative`) finds them and misses nearer ones
/// where the filter leaves little: 0.78 of the ten nearest at one in a hundred. So the first walk does
/// not go on, and only a scope too large to compare is walked through like that.
///
/// The planner knows nothing of what it costs to fetch a vector: it would rather sort ten thousand of
/// them than walk through an index. The first walk is the same whatever the scope, so its plan is kept;
/// what follows depends on it, and a plan made for any scope would fit none.
async fn walks(
    connection: &mut PgConnection,
    walk: Walk,
    candidates: i64,
    model: &str,
) -> Result<bool, StoreError> {
    let (iterative, plans) = match walk {
        Walk::Short => ("off", "force_generic_plan"),
        Walk::Long => ("relaxed_order", "force_custom_plan"),
    };
    let row = sqlx::query(
        "SELECT set_config('hnsw.iterative_scan', $3, true),
                set_config('hnsw.ef_search', $1, true),
                set_config('hnsw.max_scan_tuples', $2, true),
                set_config('enable_sort', 'off', true),
                set_config('enable_hashjoin', 'off', true),
                set_config('plan_cache_mode', $4, true),
                coalesce(pg_get_indexdef(to_regclass($5)::oid) LIKE '%halfvec_cosine_ops%', false)",
    )
    .bind(candidates.to_string())
    .bind(LONG_WALK.to_string())
    .bind(iterative)
    .bind(plans)
    .bind(name_of(model))
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(6)?)
}

/// Lets what follows in the transaction be planned as the server was told to.
async fn plan_as_usual(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT set_config('enable_sort', 'on', true),
                set_config('enable_hashjoin', 'on', true),
                set_config('plan_cache_mode', 'auto', true)",
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn search(
    connection: &mut PgConnection,
    statement: String,
    scope: &Scope,
    vector: &Vector,
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    Ok(scope
        .bind(sqlx::query_as(AssertSqlSafe(statement)))
        .bind(vector)
        .bind(at_most)
        .fetch_all(connection)
        .await?)
}

/// A walk through the model's index. The model stands in it literally: a partial index is used only
/// where the statement names its condition.
fn along_the_graph(model: &str, near: &str) -> String {
    let (model, scope) = (literal(model), within_scope!());
    format!(
        "SELECT id, 1 - distance AS score
         FROM (SELECT near.id, near.embedding <=> $9 AS distance
               FROM (SELECT passage.id, passage.embedding
                     FROM project_embeddings AS passage
                     WHERE passage.model = {model} AND {scope}
                     ORDER BY {near} LIMIT $10) AS near) AS nearest
         ORDER BY distance"
    )
}

/// Every row of a small scope, or a long walk for a large one. Only one of the two halves is carried out.
fn through_the_scope(model: &str, near: &str) -> String {
    let (model, scope) = (literal(model), within_scope!());
    format!(
        "WITH scope AS MATERIALIZED (
             SELECT passage.id FROM project_embeddings AS passage
             WHERE passage.model = {model} AND {scope} LIMIT {COMPARED_ONE_BY_ONE} + 1
         ), nearest AS (
             (SELECT passage.id, passage.embedding <=> $9 AS distance
              FROM scope JOIN project_embeddings AS passage ON passage.id = scope.id
              WHERE (SELECT count(*) <= {COMPARED_ONE_BY_ONE} FROM scope)
              ORDER BY distance LIMIT $10)
             UNION ALL
             (SELECT near.id, near.embedding <=> $9
              FROM (SELECT passage.id, passage.embedding
                    FROM project_embeddings AS passage
                    WHERE (SELECT count(*) > {COMPARED_ONE_BY_ONE} FROM scope)
                      AND passage.model = {model} AND {scope}
                    ORDER BY {near} LIMIT $10) AS near)
         )
         SELECT id, 1 - distance AS score FROM nearest ORDER BY distance"
    )
}
