//! How long `aida costs --since 30d --by day` takes over a million charges, beside the best that
//! one SQL statement by hand can do for the same figures.
//!
//! It needs a native server in `AIDA_TEST_DATABASE_URL`, on which it makes a database of its own;
//! `AIDA_BENCH_CHARGES` says how many charges there are. It fails where aida takes more than 1.5
//! times as long as the statement, or, over a million charges or fewer, 300 ms.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark that cannot go on has failed, and prints what it finds"
)]

#[path = "../tests/support/database.rs"]
mod database;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aida::clock::Zone;
use aida::ledger::report::{CostReport, Level, Question, period};
use criterion::Criterion;
use jiff::Timestamp;
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::runtime::Runtime;

use database::TestDatabase;

/// How much longer than the statement by hand aida may take.
const MOST: f64 = 1.5;

/// How long it may take over a million charges.
const DEADLINE: Duration = Duration::from_millis(300);

/// How often each way is measured for the comparison.
const ROUNDS: usize = 15;

/// Charges of one user, evenly over the last 60 days: six kinds of calls, a few of them unknown
/// or wasted. `$1` is their number.
const BOOKS: &str = "
    CREATE TEMPORARY TABLE calls AS
    SELECT gen_random_uuid() AS id, number, kind.*,
           now() - make_interval(secs => (number::float8 / {charges}) * 60 * 86400) AS moment
    FROM generate_series(1, {charges}) AS number
    JOIN (VALUES (0, 'conversation', 'language', 'anthropic', 'claude-sonnet-5-5', 0.0123456789),
                 (1, 'writer', 'language', 'anthropic', 'claude-sonnet-5-5', 0.0223456789),
                 (2, 'director', 'language', 'anthropic', 'claude-sonnet-5-5', 0.0323456789),
                 (3, 'image', 'image', 'kie', 'midjourney-7-fast', 0.04),
                 (4, 'video', 'clip', 'fal', 'kling-2.6-pro', 0.35),
                 (5, 'embedding', 'embedding', 'openai', 'text-embedding-3-small', 0.0000021))
         AS kind (place, component, kind, provider, model, usd) ON place = number % 6;
    INSERT INTO prices (id, provider, model, effective_from, rates, source, created_at)
    VALUES ('price', 'x', 'x', '2026-01-01', '{}', 'bench', now());
    INSERT INTO operations (id, user_id, kind, component, provider, model, endpoint, state, price_id,
                            quantity, estimated_usd, created_at)
    SELECT id, 'ada', kind, component, provider, model, 'endpoint',
           CASE WHEN number % 1000 = 0 THEN 'unknown' ELSE 'kept' END, 'price', '{}', usd, moment FROM calls;
    INSERT INTO charges (id, operation_id, user_id, component, provider, model, state, price_id,
                         uncached_input_tokens, cache_read_tokens, output_tokens, images, video_seconds,
                         estimated_usd, reserved_usd, settled_usd, wasted, created_at)
    SELECT gen_random_uuid(), id, 'ada', component, provider, model,
           CASE WHEN number % 1000 = 0 THEN 'unknown' ELSE 'settled' END, 'price',
           CASE kind WHEN 'language' THEN 500 ELSE 0 END, CASE kind WHEN 'language' THEN 1500 ELSE 0 END,
           CASE kind WHEN 'language' THEN 700 ELSE 0 END, (kind = 'image')::integer,
           CASE kind WHEN 'clip' THEN 5 ELSE 0 END, usd, usd,
           CASE WHEN number % 1000 = 0 THEN NULL ELSE usd END, number % 50 = 0, moment
    FROM calls;
    DROP TABLE calls;";

/// The figures of the report by hand, from the charges.
const BY_HAND: &str = "
    SELECT date_trunc('day', created_at, 'UTC') AS day, min(created_at), count(*) AS calls,
           count(*) FILTER (WHERE state = 'unknown'),
           sum(settled_usd) FILTER (WHERE component IN ('conversation', 'writer', 'director')),
           sum(settled_usd) FILTER (WHERE component = 'image'),
           sum(settled_usd) FILTER (WHERE component = 'video'),
           sum(settled_usd) FILTER (WHERE component NOT IN
               ('conversation', 'writer', 'director', 'image', 'video')),
           sum(settled_usd) AS settled_usd,
           sum(reserved_usd) FILTER (WHERE state = 'unknown'), sum(estimated_usd), sum(billed_usd),
           sum(settled_usd) FILTER (WHERE billed_usd IS NOT NULL), sum(settled_usd) FILTER (WHERE wasted),
           sum(cache_saved_usd), sum(cache_premium_usd), sum(reuse_saved_usd),
           sum(uncached_input_tokens), sum(cache_write_5m_tokens), sum(cache_write_1h_tokens),
           sum(cache_read_tokens), sum(output_tokens), sum(embedding_tokens), sum(images), sum(video_seconds)
    FROM charges
    WHERE user_id = 'ada' AND created_at >= $1
    GROUP BY GROUPING SETS ((1), ()) ORDER BY 1 DESC NULLS LAST";

/// The same from the sums by quarter of an hour, which only this schema has: what there is to
/// reach. It leaves out what the sums do not tell, the exact time of a first charge.
const BY_HAND_FROM_SUMS: &str = "
    SELECT date_trunc('day', quarter_hour, 'UTC') AS day, sum(calls)::bigint AS calls, sum(unknown_calls),
           sum(settled_usd) FILTER (WHERE component IN ('conversation', 'writer', 'director')),
           sum(settled_usd) FILTER (WHERE component = 'image'),
           sum(settled_usd) FILTER (WHERE component = 'video'),
           sum(settled_usd) FILTER (WHERE component NOT IN
               ('conversation', 'writer', 'director', 'image', 'video')),
           sum(settled_usd) AS settled_usd, sum(unknown_usd), sum(estimated_usd), sum(billed_usd),
           sum(billed_settled_usd), sum(wasted_usd),
           sum(cache_saved_usd), sum(cache_premium_usd), sum(reuse_saved_usd),
           sum(uncached_input_tokens), sum(cache_write_5m_tokens), sum(cache_write_1h_tokens),
           sum(cache_read_tokens), sum(output_tokens), sum(embedding_tokens), sum(images), sum(video_seconds)
    FROM charge_sums
    WHERE user_id = 'ada' AND quarter_hour >= $1
    GROUP BY GROUPING SETS ((1), ()) ORDER BY 1 DESC NULLS LAST";

fn main() {
    if std::env::var_os("AIDA_TEST_DATABASE_URL").is_none_or(|url| url.is_empty()) {
        eprintln!(
            "SKIPPED: the benchmark of costs needs a native server in AIDA_TEST_DATABASE_URL"
        );
        return;
    }
    let charges: u64 =
        std::env::var("AIDA_BENCH_CHARGES").map_or(1_000_000, |number| number.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    let (database, mut connection) = runtime.block_on(books(charges));
    let now = Timestamp::now();
    let question = Question {
        user: Some("ada".to_owned()),
        since: period::since("30d", now, &Zone::utc()).ok(),
        ..Question::of_everything(Level::Day, now, Decimal::new(60, 2))
    };
    let since = question.since.unwrap();

    // Both ways tell the same.
    let report = runtime.block_on(ask(&question, &mut connection));
    let (calls, settled) = runtime.block_on(by_hand(BY_HAND, &mut connection, since));
    assert_eq!((report.totals.calls, report.totals.settled_usd.dollars()), (calls, settled));

    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("costs_by_day");
    group.bench_function("aida", |bencher| {
        bencher.iter(|| runtime.block_on(ask(&question, &mut connection)));
    });
    group.bench_function("one_statement_by_hand", |bencher| {
        bencher.iter(|| runtime.block_on(by_hand(BY_HAND, &mut connection, since)));
    });
    group.finish();
    criterion.final_summary();

    let aida = median(|| drop(runtime.block_on(ask(&question, &mut connection))));
    let hand = median(|| {
        let _ = runtime.block_on(by_hand(BY_HAND, &mut connection, since));
    });
    let hand_from_sums = median(|| {
        let _ = runtime.block_on(by_hand(BY_HAND_FROM_SUMS, &mut connection, since));
    });
    let program = median(|| run_program(&database));
    runtime.block_on(connection.close()).unwrap();
    let ratio = aida.as_secs_f64() / hand.as_secs_f64();
    println!("{charges} charges, {calls} of them in the last 30 days; medians of {ROUNDS}:");
    println!("  aida's query path     {aida:>10.1?}");
    println!("  one statement by hand {hand:>10.1?}");
    println!("  the same from sums    {hand_from_sums:>10.1?}");
    println!("  the whole program     {program:>10.1?}");
    println!("  ratio                 {ratio:>10.3}");
    assert!(ratio <= MOST, "aida takes {ratio:.2} times as long as one statement by hand");
    if charges <= 1_000_000 {
        assert!(aida < DEADLINE, "aida takes {aida:?} over {charges} charges");
    }
}

/// A database with so many charges, and a connection to it.
async fn books(charges: u64) -> (TestDatabase, PgConnection) {
    let database = TestDatabase::native().await.unwrap();
    let mut connection = PgConnection::connect(&database.url().unwrap()).await.unwrap();
    let started = Instant::now();
    let books = BOOKS.replace("{charges}", &charges.to_string());
    connection.execute(sqlx::raw_sql(AssertSqlSafe(books))).await.unwrap();
    connection.execute("VACUUM ANALYZE charges").await.unwrap();
    connection.execute("VACUUM ANALYZE charge_sums").await.unwrap();
    connection.execute("VACUUM ANALYZE operations").await.unwrap();
    println!("{charges} charges were booked in {:.1?}", started.elapsed());
    (database, connection)
}

async fn ask(question: &Question, connection: &mut PgConnection) -> CostReport {
    question.ask(connection).await.unwrap()
}

/// The number of calls and what was settled in all, of all that the statement answers.
async fn by_hand(
    statement: &'static str,
    connection: &mut PgConnection,
    since: Timestamp,
) -> (i64, Decimal) {
    let since = jiff_sqlx::ToSqlx::to_sqlx(since);
    let rows = sqlx::query(statement).bind(since).fetch_all(connection).await.unwrap();
    let total = rows.last().unwrap();
    (total.get("calls"), total.get("settled_usd"))
}

/// `aida costs --since 30d --by day`, as it is typed.
fn run_program(database: &TestDatabase) {
    let status = Command::new(env!("CARGO_BIN_EXE_aida"))
        .args(["costs", "--since", "30d", "--by", "day"])
        .env_clear()
        .env("HOME", database.data_dir())
        .env("DATABASE_URL", database.url().unwrap())
        .env("AIDA_USER", "ada")
        .env("AIDA_TIME_ZONE", "UTC")
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
