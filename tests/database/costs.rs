//! The books tell the same to the last digit whichever table answers and however they are
//! grouped, on both servers, also after charges were changed and deleted.

use aida::clock::Zone;
use aida::ids::ProjectId;
use aida::ledger::money::Usd;
use aida::ledger::report::{CostReport, CostRow, Level, Question};
use aida::store::charges::{self, Grouping, Selection, Source, Sums};
use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sqlx::{Executor as _, PgConnection};

use crate::rows;
use crate::support::TestDatabase;

/// Random charges of two users over some days, a third of them without a video, with every
/// state that a charge may be in. Times lie anywhere in their quarter of an hour.
const BOOKS: &str = "
    CREATE TEMPORARY TABLE calls AS
    SELECT gen_random_uuid() AS id, number,
           CASE WHEN random() < 0.7 THEN 'ada' ELSE 'bob' END AS user_id,
           (ARRAY['conversation', 'writer', 'director', 'image', 'video', 'embedding'])[1 + number % 6] AS component,
           (ARRAY['anthropic', 'anthropic', 'anthropic', 'kie', 'fal', 'openai'])[1 + number % 6] AS provider,
           (ARRAY['one', 'two'])[1 + floor(random() * 2)::integer] AS model,
           (random() * 3)::numeric(20, 12) AS usd,
           CASE WHEN random() < 0.2 THEN 'unknown' ELSE 'settled' END AS state,
           timestamptz '2026-10-20 00:00Z' + random() * interval '14 days' AS moment
    FROM generate_series(1, 400) AS number;
    INSERT INTO operations (id, user_id, project_id, kind, component, provider, model, endpoint, state,
                            price_id, quantity, estimated_usd, created_at)
    SELECT id, user_id, CASE number % 3 WHEN 0 THEN NULL ELSE (SELECT id FROM projects ORDER BY id LIMIT 1 OFFSET number % 2) END,
           'language', component, provider, model, 'e', 'kept', 'test-price', '{}', usd, moment FROM calls;
    INSERT INTO charges (id, operation_id, user_id, project_id, component, provider, model, state, price_id,
                         uncached_input_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens,
                         output_tokens, embedding_tokens, images, video_seconds, estimated_usd, reserved_usd,
                         settled_usd, billed_usd, wasted, cache_saved_usd, cache_premium_usd, reuse_saved_usd, created_at)
    SELECT gen_random_uuid(), calls.id, calls.user_id, operations.project_id, calls.component, calls.provider,
           calls.model, calls.state, 'test-price', number, number * 2, number % 7, number * 5, number * 3, number % 11,
           number % 2, number % 5, usd / 2, usd * 2, CASE calls.state WHEN 'settled' THEN usd END,
           CASE WHEN calls.state = 'settled' AND random() < 0.5 THEN usd END, random() < 0.2, usd / 3, usd / 7, usd / 11, moment
    FROM calls JOIN operations ON operations.id = calls.id;
    DROP TABLE calls";

/// What becomes of charges: they settle, move to another time, are billed, and go.
const CHANGES: [&str; 4] = [
    "UPDATE charges SET state = 'settled', settled_usd = reserved_usd / 3, output_tokens = output_tokens + 1
     WHERE state = 'unknown' AND random() < 0.5",
    "UPDATE charges SET created_at = created_at + interval '1 hour', billed_usd = settled_usd
     WHERE random() < 0.1",
    "UPDATE charges SET wasted = NOT wasted WHERE random() < 0.1",
    "DELETE FROM charges WHERE random() < 0.3 OR model = 'two' AND component = 'image'",
];

#[cfg(all(feature = "embedded", unix))]
#[tokio::test]
async fn every_way_of_adding_up_agrees_on_the_embedded_server() {
    agree(&TestDatabase::embedded()).await;
}

#[tokio::test]
async fn every_way_of_adding_up_agrees_on_the_native_server() {
    if let Some(database) = TestDatabase::native().await {
        agree(&database).await;
    }
}

async fn agree(database: &TestDatabase) {
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let connection = &mut *session;
    rows::price(connection).await;
    for _ in 0..2 {
        rows::project(connection, ProjectId::new()).await;
    }
    connection.execute(sqlx::raw_sql(BOOKS)).await.unwrap();
    both_tables_agree(connection).await;
    for change in CHANGES {
        let changed = connection.execute(sqlx::raw_sql(change)).await.unwrap().rows_affected();
        assert!(changed > 0, "{change}");
        both_tables_agree(connection).await;
    }
    every_level_adds_up(connection).await;
    session.close().await;
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The same rows from `charge_sums` and from `charges`, whatever is selected and by whatever
/// they are grouped.
async fn both_tables_agree(connection: &mut PgConnection) {
    let days = |offset: &str| Grouping {
        level: Level::Day,
        starts: (19..=31)
            .map(|day| moment(&format!("2026-10-{day}T00:00:00{offset}")))
            .chain((1..=5).map(|day| moment(&format!("2026-11-0{day}T00:00:00{offset}"))))
            .collect(),
    };
    let groupings: [Vec<Grouping>; 6] = [
        vec![days("Z")],
        vec![days("+05:45"), Level::Model.into()],
        vec![Level::Component.into()],
        vec![Level::Provider.into(), Level::Component.into()],
        vec![Level::User.into(), days("-09:30")],
        vec![Level::Model.into(), Level::User.into()],
    ];
    let ada = || Some("ada".to_owned());
    let selections = [
        Selection::default(),
        Selection { user_id: ada(), ..Selection::default() },
        Selection { provider: Some("fal".to_owned()), user_id: ada(), ..Selection::default() },
        // Neither end falls on a quarter of an hour.
        Selection {
            since: Some(moment("2026-10-22T10:07:31.25Z")),
            until: Some(moment("2026-10-29T23:59:59.999999Z")),
            ..Selection::default()
        },
        Selection { since: Some(moment("2026-10-25T00:15:00Z")), ..Selection::default() },
        Selection { until: Some(moment("2026-10-25T00:20:00Z")), ..Selection::default() },
        // Within one quarter of an hour, over an edge, and nothing at all.
        Selection {
            since: Some(moment("2026-10-25T00:01:00Z")),
            until: Some(moment("2026-10-25T00:14:00Z")),
            ..Selection::default()
        },
        Selection {
            since: Some(moment("2026-10-25T00:01:00Z")),
            until: Some(moment("2026-10-25T00:29:00Z")),
            ..Selection::default()
        },
        Selection { user_id: Some("nobody".to_owned()), ..Selection::default() },
    ];
    for selection in &selections {
        for grouping in &groupings {
            let from = |source| (source, selection, grouping.as_slice());
            let (sums, charges) = (from(Source::Sums), from(Source::Charges));
            assert_eq!(
                told(connection, sums).await,
                told(connection, charges).await,
                "{selection:?} by {:?}",
                grouping.iter().map(|grouping| grouping.level).collect::<Vec<_>>()
            );
        }
    }
}

/// Every row as text, in an order of its own; numbers without the zeros at their end.
async fn told(
    connection: &mut PgConnection,
    (source, selection, grouping): (Source, &Selection, &[Grouping]),
) -> Vec<String> {
    let rows = charges::sums_from(connection, selection, grouping, source).await.unwrap();
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let even = |amount: Decimal| amount.normalize();
            let row = Sums {
                language_usd: even(row.language_usd),
                image_usd: even(row.image_usd),
                video_usd: even(row.video_usd),
                other_usd: even(row.other_usd),
                settled_usd: even(row.settled_usd),
                unknown_usd: even(row.unknown_usd),
                estimated_usd: even(row.estimated_usd),
                billed_usd: even(row.billed_usd),
                billed_settled_usd: even(row.billed_settled_usd),
                wasted_usd: even(row.wasted_usd),
                cache_saved_usd: even(row.cache_saved_usd),
                cache_premium_usd: even(row.cache_premium_usd),
                reuse_saved_usd: even(row.reuse_saved_usd),
                ..row
            };
            format!("{row:?}")
        })
        .collect();
    rows.sort();
    rows
}

/// The rows of every level, and of every two, come to what the charges do.
async fn every_level_adds_up(connection: &mut PgConnection) {
    let (calls, settled, unknown, wasted): (i64, Decimal, Decimal, Decimal) = sqlx::query_as(
        "SELECT count(*), sum(settled_usd), sum(reserved_usd) FILTER (WHERE state = 'unknown'),
                sum(settled_usd) FILTER (WHERE wasted) FROM charges",
    )
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    let settled_of = |rows: &[CostRow]| rows.iter().map(|row| row.settled_usd).sum::<Usd>();
    let check = |report: &CostReport| {
        let totals = &report.totals;
        assert_eq!(totals.calls, calls, "{}", report.by);
        assert_eq!(totals.settled_usd.dollars(), settled, "{}", report.by);
        assert_eq!(totals.unknown_usd.dollars(), unknown, "{}", report.by);
        assert_eq!(totals.wasted_usd.dollars(), wasted, "{}", report.by);
        assert_eq!(settled_of(&report.rows), totals.settled_usd, "{}", report.by);
        assert_eq!(report.rows.iter().map(|row| row.calls).sum::<i64>(), calls, "{}", report.by);
        if report.levels.len() == 2 {
            assert_eq!(settled_of(&report.groups), totals.settled_usd, "{}", report.by);
        }
        assert!(
            report.rows.iter().all(|row| row.key.is_some()
                || report.by.contains("project")
                || report.by.contains("campaign")),
            "{}",
            report.by
        );
    };
    let levels = [
        Level::Day,
        Level::Week,
        Level::Month,
        Level::Campaign,
        Level::Project,
        Level::Component,
        Level::Provider,
        Level::Model,
        Level::User,
        Level::Status,
    ];
    let zone = Zone::named("Asia/Kathmandu").unwrap();
    let now = moment("2026-11-10T12:00:00Z");
    for first in levels {
        let one = Question { zone: zone.clone(), ..Question::of_everything(first, now, dec!(0.6)) };
        check(&one.ask(connection).await.unwrap());
        for second in levels.into_iter().filter(|second| *second != first) {
            let two = Question { levels: vec![first, second], ..one.clone() };
            check(&two.ask(connection).await.unwrap());
        }
    }
}
