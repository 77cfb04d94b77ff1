//! The search by words.

use pgvector::Vector;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::embeddings::Found;
use crate::store::embeddings::scope::{Scope, within_scope};

/// So many passages that have a term are counted; a term of more is simply common.
const MOST_COUNTED: i64 = 20_000;
/// So many passages are ranked. They are taken by the rarest terms, so that what is left out has
/// only words that are everywhere.
const MOST_RANKED: i64 = 10_000;
/// What another form of a word counts, against 1 for the word itself; of a short word in a language
/// that it is perhaps not of, half of it.
const STEM: f64 = 0.85;
/// How many words of the memory are compared with one that it does not know.
const MOST_SIMILAR: i64 = 40;

/// A word, or several in a row, that a search looks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Which of the asked terms it stands for. Several may stand for one: then the best counts.
    pub place: i32,
    /// As it is written. Postgres folds and stems it, in the language of each passage.
    pub text: String,
    /// How far a match of it counts, 0 to 1.
    pub quality: f64,
}

/// A word of the memory that looks like an asked one.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Similar {
    /// The index of the asked text, from 0.
    pub place: i32,
    /// The word, lower case, without the accents of Latin letters.
    pub word: String,
}

/// Has the statements of a search carried out as they are: compiling one takes longer than any of
/// them. Wants to be called in a transaction, with which it ends.
pub async fn without_compiling(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('jit', 'off', true)").execute(connection).await?;
    Ok(())
}

/// For those of the `texts` that no passage of the user has in any form, the words that share the
/// most pieces with them.
pub async fn similar_words(
    connection: &mut PgConnection,
    user_id: &str,
    texts: &[String],
) -> Result<Vec<Similar>, StoreError> {
    Ok(sqlx::query_as(
        "WITH asked AS MATERIALIZED (
             SELECT (place - 1)::integer AS place, aida_parted(aida_lower(text)) AS parted
             FROM unnest($2::text[]) WITH ORDINALITY AS asked (text, place)
         ), spoken AS MATERIALIZED (
             SELECT place, language, aida_asked(parted) || aida_asked_stems(language, parted) AS query
             FROM asked, unnest(aida_languages()) AS language
             WHERE char_length(trim(parted)) >= 4 AND trim(parted) !~ '[0-9 ]'
         ), unknown AS MATERIALIZED (
             SELECT place, trim(aida_folded(parted)) AS word, aida_pieces(trim(aida_folded(parted))) AS pieces
             FROM asked
             WHERE char_length(trim(parted)) >= 4 AND trim(parted) !~ '[0-9 ]'
               AND NOT EXISTS (SELECT FROM spoken, project_embeddings AS passage
                               WHERE spoken.place = asked.place AND passage.user_id = $1
                                 AND passage.language = spoken.language AND passage.words @@ spoken.query)
         )
         SELECT unknown.place, neighbour.word
         FROM unknown, LATERAL (
             SELECT known.word,
                    cardinality(ARRAY(SELECT unnest(known.pieces)
                                      INTERSECT SELECT unnest(unknown.pieces))) AS shared
             FROM passage_words AS known
             WHERE known.user_id = $1 AND known.pieces && unknown.pieces
             ORDER BY shared DESC, abs(char_length(known.word) - char_length(unknown.word)), known.word
             LIMIT $3) AS neighbour
         WHERE neighbour.shared >= 2",
    )
    .bind(user_id)
    .bind(texts)
    .bind(MOST_SIMILAR)
    .fetch_all(connection)
    .await?)
}

/// The passages that have any of the `terms`, those with the most and the rarest of them first.
///
/// The score is the part of the terms' weight that a passage has, where a term weighs the more
/// the fewer of the user's passages have it, as in BM25.
pub async fn by_any_term(
    connection: &mut PgConnection,
    scope: &Scope,
    terms: &[Term],
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    let places: Vec<i32> = terms.iter().map(|term| term.place).collect();
    let texts: Vec<&str> = terms.iter().map(|term| term.text.as_str()).collect();
    let qualities: Vec<f64> = terms.iter().map(|term| term.quality).collect();
    let statement = sqlx::query_as(concat!(
        "WITH alternative AS MATERIALIZED (
             SELECT place, quality, aida_parted(aida_lower(text)) AS parted
             FROM unnest($9::integer[], $10::text[], $11::float8[]) AS asked (place, text, quality)
         ), spoken AS MATERIALIZED (
             SELECT place, quality, language, word, stems, form
             FROM (SELECT place, quality, language, aida_asked(parted) AS word,
                          aida_asked_stems(language, parted) AS stems,
                          CASE WHEN language IN ('english', 'russian') OR char_length(trim(parted)) > 4
                               THEN $15 ELSE $15 / 2 END AS form
                   FROM alternative, unnest(aida_languages()) AS language
                   WHERE trim(parted) <> '') AS said
             -- Marks without a letter make no word, and nothing in brackets is no query.
             WHERE numnode(word || stems) > 0
         ), mine AS MATERIALIZED (
             SELECT count(*)::float8 AS passages
             FROM (SELECT FROM project_embeddings WHERE user_id = $1 LIMIT $12) AS counted
         ), term AS MATERIALIZED (
             SELECT place, query,
                    (SELECT count(*) FROM (SELECT FROM project_embeddings AS passage
                                           WHERE passage.user_id = $1 AND passage.words @@ asked.query
                                           LIMIT $12) AS counted)::float8 AS passages
             FROM (SELECT place, string_agg(DISTINCT '(' || (word || stems)::text || ')', ' | ')::tsquery AS query
                   FROM spoken GROUP BY place) AS asked
         ), weighed AS MATERIALIZED (
             SELECT term.place, term.query,
                    ln(1 + (greatest(mine.passages, term.passages) - term.passages + 0.5)
                           / (term.passages + 0.5)) AS weight,
                    sum(term.passages) OVER (ORDER BY term.passages, term.place) AS together,
                    row_number() OVER (ORDER BY term.passages = 0, term.passages, term.place) AS rank
             FROM term, mine
         ), asked AS MATERIALIZED (
             SELECT (SELECT sum(weight) FROM weighed) AS weight,
                    (SELECT string_agg('(' || query::text || ')', ' | ')::tsquery FROM weighed
                     WHERE rank = 1 OR together <= $13) AS query
         ), candidate AS MATERIALIZED (
             SELECT passage.id, passage.language, passage.words
             FROM project_embeddings AS passage
             WHERE passage.words @@ (SELECT query FROM asked) AND ",
        within_scope!(),
        " LIMIT $13
         )
         SELECT candidate.id, (matched.weight / asked.weight)::float8 AS score
         FROM asked, candidate, LATERAL (
             SELECT sum(best.quality * weighed.weight) AS weight
             FROM (SELECT spoken.place,
                          max(spoken.quality * CASE WHEN candidate.words @@ spoken.word THEN 1
                                                    WHEN candidate.words @@ spoken.stems THEN spoken.form
                                                    ELSE 0 END) AS quality
                   FROM spoken
                   WHERE spoken.language = candidate.language
                   GROUP BY spoken.place) AS best
             JOIN weighed ON weighed.place = best.place) AS matched
         WHERE matched.weight > 0
         ORDER BY score DESC, length(candidate.words), candidate.id
         LIMIT $14"
    ));
    Ok(scope
        .bind(statement)
        .bind(places)
        .bind(texts)
        .bind(qualities)
        .bind(MOST_COUNTED)
        .bind(MOST_RANKED)
        .bind(at_most)
        .bind(STEM)
        .fetch_all(connection)
        .await?)
}

/// The passages that fit a query in web search syntax (`"exact words"`, `-without`, `or`) to the
/// letter, but for case and accents; those where the words stand densest first.
pub async fn by_exact_words(
    connection: &mut PgConnection,
    scope: &Scope,
    query: &str,
    at_most: i64,
) -> Result<Vec<Found>, StoreError> {
    let statement = sqlx::query_as(concat!(
        "SELECT passage.id, (0.5 + ts_rank_cd(passage.words, asked.query, 1 | 32) / 2)::float8 AS score
         FROM (SELECT regexp_replace(websearch_to_tsquery('aida_plain', aida_folded(aida_lower($9)))::text,
                                     '''[^'']*''', '\\&:A', 'g')::tsquery AS query) AS asked,
              project_embeddings AS passage
         WHERE passage.words @@ asked.query AND ",
        within_scope!(),
        " ORDER BY score DESC, passage.id LIMIT $10"
    ));
    Ok(scope.bind(statement).bind(query).bind(at_most).fetch_all(connection).await?)
}

/// How near passages are to a vector: those that have one of `model`, in no particular order.
pub async fn similarities(
    connection: &mut PgConnection,
    model: &str,
    vector: &Vector,
    ids: &[Uuid],
) -> Result<Vec<Found>, StoreError> {
    let mut found: Vec<Found> = sqlx::query_as(
        "SELECT id, 1 - (embedding <=> $2) AS score FROM project_embeddings
         WHERE id = ANY ($3) AND model = $1",
    )
    .bind(model)
    .bind(vector)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    found.retain(|found| found.score.is_finite());
    Ok(found)
}
