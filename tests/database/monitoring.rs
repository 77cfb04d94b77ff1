//! The statements that operators have from the seed service, word for word.

use aida::ids::{ChargeId, OperationId, ProjectId};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sqlx::{PgConnection, Row as _};

use crate::rows;
use crate::support::TestDatabase;

const LATEST: &str = r#"SELECT * FROM cost_tracking ORDER BY "createdAt" DESC LIMIT 10;"#;
const AVERAGE_COST: &str =
    r#"SELECT AVG("costDollars") FROM cost_tracking WHERE component = 'orchestrator';"#;
const HIT_RATE: &str = r#"SELECT AVG("cacheHitRate") FROM cost_tracking;"#;

#[cfg(all(feature = "embedded", unix))]
#[tokio::test]
async fn they_tell_the_truth_on_the_embedded_server() {
    tell_the_truth(&TestDatabase::embedded()).await;
}

#[tokio::test]
async fn they_tell_the_truth_on_the_native_server() {
    if let Some(database) = TestDatabase::native().await {
        tell_the_truth(&database).await;
    }
}

/// One call and what it cost.
struct Call<'a> {
    project: Option<ProjectId>,
    component: &'a str,
    kind: &'a str,
    state: &'a str,
    /// USD; none while it is unknown.
    settled: Option<Decimal>,
    /// Uncached input, cache writes and cache reads, tokens.
    tokens: [i64; 3],
}

const NO_TOKENS: [i64; 3] = [0, 0, 0];

async fn book(connection: &mut PgConnection, minute: i32, call: &Call<'_>) {
    let operation = OperationId::new();
    sqlx::query(
        "INSERT INTO operations (id, user_id, project_id, kind, component, provider, model, endpoint,
                                 state, price_id, quantity, estimated_usd, created_at)
         VALUES ($1, 'anna', $2, $3, $4, 'vendor', 'model', 'endpoint', $5, 'test-price', '{}', 1, now())",
    )
    .bind(operation)
    .bind(call.project)
    .bind(call.kind)
    .bind(call.component)
    .bind(call.state)
    .execute(&mut *connection)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO charges (id, operation_id, user_id, project_id, component, provider, model, state,
                              price_id, uncached_input_tokens, cache_write_5m_tokens,
                              cache_read_tokens, estimated_usd, reserved_usd, settled_usd, created_at)
         VALUES ($1, $2, 'anna', $3, $4, 'vendor', 'model', $5, 'test-price', $6, $7, $8, 0.9, 0.4, $9,
                 timestamptz '2026-11-22 10:00Z' + make_interval(mins => $10))",
    )
    .bind(ChargeId::new())
    .bind(operation)
    .bind(call.project)
    .bind(call.component)
    .bind(if call.settled.is_some() { "settled" } else { "unknown" })
    .bind(call.tokens[0])
    .bind(call.tokens[1])
    .bind(call.tokens[2])
    .bind(call.settled)
    .bind(minute)
    .execute(connection)
    .await
    .unwrap();
}

async fn tell_the_truth(database: &TestDatabase) {
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let connection = &mut *session;

    // Nothing was spent yet: no rows, and averages of nothing.
    assert!(sqlx::query(LATEST).fetch_all(&mut *connection).await.unwrap().is_empty());
    let average: Option<Decimal> =
        sqlx::query_scalar(AVERAGE_COST).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(average, None);

    rows::price(connection).await;
    let [film, other_film, draft] = [ProjectId::new(), ProjectId::new(), ProjectId::new()];
    for id in [film, other_film, draft] {
        rows::project(connection, id).await;
    }
    let call = |project, component, kind, settled, tokens| Call {
        project,
        component,
        kind,
        state: "kept",
        settled,
        tokens,
    };
    let calls = [
        // A film of 1.75: 1 settled, 0.35 settled, and an image of unknown outcome at its ceiling of 0.4.
        call(Some(film), "conversation", "language", Some(dec!(0.6)), [100, 100, 0]),
        call(Some(film), "writer", "language", Some(dec!(0.4)), [100, 0, 700]),
        Call { state: "unknown", ..call(Some(film), "image", "image", None, NO_TOKENS) },
        call(Some(film), "video", "clip", Some(dec!(0.35)), NO_TOKENS),
        // A film of 0.25 whose language work was not cached at all.
        call(Some(other_film), "conversation", "language", Some(dec!(0.05)), [1000, 0, 0]),
        call(Some(other_film), "video", "clip", Some(dec!(0.2)), NO_TOKENS),
        // A project without a clip, which must not pull the average of the films down.
        call(Some(draft), "conversation", "language", Some(dec!(0.0000001)), [500, 0, 500]),
        // A search, which belongs to no project.
        call(None, "embedding", "embedding", Some(dec!(0.00002)), NO_TOKENS),
        call(None, "embedding", "embedding", Some(dec!(0.00003)), NO_TOKENS),
    ];
    for (minute, call) in calls.iter().enumerate() {
        book(connection, i32::try_from(minute).unwrap(), call).await;
    }

    let average: Decimal =
        sqlx::query_scalar(AVERAGE_COST).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(average.normalize(), dec!(1));

    // 700 of 1000, 0 of 1000 and 500 of 1000; the parts carry none, or they would count twice.
    let rate: Decimal = sqlx::query_scalar(HIT_RATE).fetch_one(&mut *connection).await.unwrap();
    assert_eq!(rate.normalize(), dec!(0.4));

    // The latest first, and no more than ten of the eleven rows.
    let latest = sqlx::query(LATEST).fetch_all(&mut *connection).await.unwrap();
    assert_eq!(latest.len(), 10);
    assert_eq!(latest[0].get::<&str, _>("component"), "embedding");
    assert_eq!(latest[0].get::<Option<ProjectId>, _>("projectId"), None);

    let shown: Vec<(String, Option<ProjectId>, Decimal)> =
        sqlx::query_as(r#"SELECT component, "projectId", "costDollars" FROM cost_tracking"#)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    assert_eq!(shown.len(), 11);
    for expected in [
        ("draft".to_owned(), Some(draft), dec!(0.0000001)),
        ("orchestrator".to_owned(), Some(film), dec!(1.75)),
        ("orchestrator".to_owned(), Some(other_film), dec!(0.25)),
        ("image".to_owned(), Some(film), dec!(0.4)),
    ] {
        assert!(shown.contains(&expected), "{expected:?} is missing from {shown:?}");
    }
    assert!(
        !shown.iter().any(|(component, project, _)| {
            component == "orchestrator" && *project == Some(draft)
        })
    );

    // Both ways of summing that the comment on the view names give what was spent.
    let spent = dec!(2.0000501);
    for condition in [
        "component NOT IN ('orchestrator', 'draft')",
        r#"component IN ('orchestrator', 'draft') OR "projectId" IS NULL"#,
    ] {
        let sum: Decimal = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            r#"SELECT sum("costDollars") FROM cost_tracking WHERE {condition}"#
        )))
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        assert_eq!(sum.normalize(), spent, "{condition}");
    }
    session.close().await;
}
