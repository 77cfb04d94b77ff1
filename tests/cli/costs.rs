//! `aida costs` on a real server, against books whose sums are known.

use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::database::TestDatabase;
use crate::sandbox::{Outcome, Sandbox};

/// Two videos of ada's (one kept, one a draft in two campaigns with a call of unknown outcome),
/// spend outside any video, and a video of bob's that is none of her business.
const BOOKS: &str = "
INSERT INTO prices (id, provider, model, effective_from, rates, source, created_at)
VALUES ('p', 'x', 'x', '2026-01-01', '{}', 'test', '2026-01-01Z');
INSERT INTO projects (id, user_id, brief, title, slug, aspect, duration_seconds, shot_count, created_at, updated_at)
SELECT id::uuid, owner, 'b', title, slug, '9:16', 30, 6, '2026-11-01Z', '2026-11-01Z'
FROM (VALUES ('00000000-0000-7000-8000-00000000000a', 'ada', 'Street food at midnight, and what the cooks say of it', 'street-food'),
             ('00000000-0000-7000-8000-00000000000b', 'ada', '', 'running-shoes'),
             ('00000000-0000-7000-8000-00000000000c', 'bob', 'Not hers', 'not-hers')) AS t (id, owner, title, slug);
INSERT INTO campaigns (id, user_id, name, created_at, updated_at)
VALUES ('00000000-0000-7000-8000-0000000000ca', 'ada', 'Spring', '2026-11-01Z', '2026-11-01Z'),
       ('00000000-0000-7000-8000-0000000000cb', 'ada', 'Summer', '2026-11-01Z', '2026-11-01Z');
INSERT INTO project_campaigns (project_id, campaign_id, added_at)
SELECT '00000000-0000-7000-8000-00000000000b', id, '2026-11-01Z' FROM campaigns;
CREATE FUNCTION pay(who text, project text, component text, provider text, model text, kind text,
                    state text, usd numeric, day text, uncached bigint, written bigint, cached bigint, output bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE operation uuid := gen_random_uuid();
BEGIN
    INSERT INTO operations (id, user_id, project_id, kind, component, provider, model, endpoint, state, price_id,
                            quantity, estimated_usd, reserved_usd, created_at)
    VALUES (operation, who, project::uuid, kind, component, provider, model, 'e',
            CASE state WHEN 'settled' THEN 'kept' ELSE 'unknown' END, 'p', '{}', usd, usd, (day || 'Z')::timestamptz);
    INSERT INTO charges (id, operation_id, user_id, project_id, component, provider, model, state, price_id,
                         uncached_input_tokens, cache_write_5m_tokens, cache_read_tokens, output_tokens,
                         images, video_seconds, estimated_usd, reserved_usd, settled_usd, created_at)
    VALUES (gen_random_uuid(), operation, who, project::uuid, component, provider, model, state, 'p',
            uncached, written, cached, output, CASE kind WHEN 'image' THEN 1 ELSE 0 END,
            CASE kind WHEN 'clip' THEN 5 ELSE 0 END, usd, usd, CASE state WHEN 'settled' THEN usd END,
            (day || 'Z')::timestamptz);
END $$;
SELECT pay('ada', '00000000-0000-7000-8000-00000000000a', 'conversation', 'anthropic', 'claude-sonnet-5-5', 'language', 'settled', 0.0123456789, '2026-11-02T10:00:00', 100, 300, 1600, 500),
       pay('ada', '00000000-0000-7000-8000-00000000000a', 'writer', 'anthropic', 'claude-sonnet-5-5', 'language', 'settled', 0.02, '2026-11-02T10:01:00', 0, 0, 1000, 700),
       pay('ada', '00000000-0000-7000-8000-00000000000a', 'image', 'kie', 'midjourney-7-fast', 'image', 'settled', 0.04, '2026-11-02T10:02:00', 0, 0, 0, 0),
       pay('ada', '00000000-0000-7000-8000-00000000000a', 'video', 'fal', 'kling-2.6-pro', 'clip', 'settled', 0.35, '2026-11-03T00:30:00', 0, 0, 0, 0),
       pay('ada', '00000000-0000-7000-8000-00000000000b', 'director', 'anthropic', 'claude-sonnet-5-5', 'language', 'settled', 0.01, '2026-11-04T09:00:00', 1000, 0, 0, 100),
       pay('ada', '00000000-0000-7000-8000-00000000000b', 'image', 'kie', 'midjourney-7-fast', 'image', 'unknown', 0.04, '2026-11-04T09:05:00', 0, 0, 0, 0),
       pay('ada', NULL, 'embedding', 'openai', 'text-embedding-3-small', 'embedding', 'settled', 0.0000001, '2026-11-05T08:00:00', 0, 0, 0, 0),
       pay('bob', '00000000-0000-7000-8000-00000000000c', 'video', 'fal', 'kling-2.6-pro', 'clip', 'settled', 7, '2026-11-06T08:00:00', 0, 0, 0, 0);
";

/// A home whose database holds [`BOOKS`].
async fn books() -> Option<(TestDatabase, Sandbox)> {
    let database = TestDatabase::native().await?;
    let url = database.url().unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::raw_sql(BOOKS)).await.unwrap();
    connection.close().await.unwrap();
    let sandbox = Sandbox::new().with("DATABASE_URL", url).with("AIDA_USER", "ada");
    Some((database, sandbox))
}

fn json(outcome: &Outcome) -> serde_json::Value {
    assert_eq!(outcome.code, 0, "{outcome}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// More than [`BOOKS`]: finished films with estimates, bills, waste, reuse, what the cache did,
/// and caps. All of it lies in November 2026.
const MORE: &str = "
INSERT INTO runs (id, project_id, user_id, kind, state, options, video_seconds, estimate_usd, created_at, updated_at, finished_at)
VALUES ('00000000-0000-7000-9000-00000000000a', '00000000-0000-7000-8000-00000000000a', 'ada', 'film', 'done', '{}', 29.5, 0.4, '2026-11-02Z', '2026-11-02Z', '2026-11-03T01:00:00Z'),
       ('00000000-0000-7000-9000-00000000000b', '00000000-0000-7000-8000-00000000000b', 'ada', 'film', 'shooting', '{}', NULL, 9, '2026-11-04Z', '2026-11-04Z', NULL);
UPDATE charges SET run_id = '00000000-0000-7000-9000-00000000000a' WHERE project_id = '00000000-0000-7000-8000-00000000000a';
UPDATE charges SET billed_usd = settled_usd, reuse_saved_usd = 0.39 WHERE provider = 'fal' AND user_id = 'ada';
UPDATE charges SET cache_saved_usd = 0.0045, cache_premium_usd = 0.0002 WHERE component = 'conversation';
UPDATE charges SET wasted = true WHERE component = 'director';
INSERT INTO budgets (id, scope, subject, cap_usd, period, time_zone, created_at, updated_at)
VALUES (gen_random_uuid(), 'user', 'ada', 2, 'total', 'UTC', '2026-11-01Z', '2026-11-01Z'),
       (gen_random_uuid(), 'provider', 'fal', 7, 'total', 'UTC', '2026-11-01Z', '2026-11-01Z'),
       (gen_random_uuid(), 'everything', '', 100, 'total', 'UTC', '2026-11-01Z', '2026-11-01Z');
";

/// What the cache made of the language calls of [`BOOKS`], of a call whose reply was lost, and of the
/// pictures that an agent looked at without anything that could be cached.
const CACHE: &str = r#"
SELECT pay('ada', '00000000-0000-7000-8000-00000000000a', 'writer', 'anthropic', 'claude-sonnet-5-5', 'language', 'unknown', 0.09, '2026-11-02T10:00:30', 0, 0, 0, 0),
       pay('ada', '00000000-0000-7000-8000-00000000000a', 'conversation', 'anthropic', 'claude-sonnet-5-5', 'language', 'settled', 0.01, '2026-11-02T10:20:00', 0, 50, 1900, 90),
       pay('ada', NULL, 'vision', 'anthropic', 'claude-sonnet-5-5', 'language', 'settled', 0.002, '2026-11-03T09:00:00', 900, 0, 0, 10);
INSERT INTO prompt_cache_calls (operation_id, user_id, project_id, component, provider, model, started_at, aida_version,
                                settings, tools, system, prefix, opening, turn, blocks, bytes, marks)
SELECT id, user_id, project_id, component, provider, model, created_at, '0.1.0', 's', 't', 'y',
       CASE component WHEN 'vision' THEN 'ffffffffffffffff' ELSE '9cb076f672c3e31d' END, 'o',
       CASE WHEN created_at < '2026-11-02T10:10:00Z' THEN 0 ELSE 2 END, 9, 20000,
       CASE component WHEN 'vision' THEN '[]'::jsonb ELSE
       '[{"place": "shared", "sha": "a", "bytes": 18000, "block": 8, "minutes": 60, "waits": 42, "within_5_minutes": 34,
          "within_1_hour": 41, "usual_wait_seconds": 471},
         {"place": "assignment", "sha": "b", "bytes": 19000, "block": 9, "minutes": 5, "waits": 40, "within_5_minutes": 34,
          "within_1_hour": 34, "usual_wait_seconds": 41},
         {"place": "conversation", "sha": "c", "bytes": 20000, "block": 9, "minutes": null, "waits": 3, "within_5_minutes": 0,
          "within_1_hour": 0, "usual_wait_seconds": null}]'::jsonb END
FROM operations WHERE kind = 'language';
UPDATE prompt_cache_calls SET answered_at = started_at + interval '9 seconds', uncached_tokens = 1, written_tokens = 2,
       read_tokens = 3, detail = '{}',
       reason = CASE component WHEN 'vision' THEN 'unmarked' WHEN 'director' THEN 'expired' WHEN 'writer' THEN 'hit'
                ELSE CASE turn WHEN 0 THEN 'first_call' ELSE 'hit' END END
WHERE operation_id IN (SELECT operation_id FROM charges WHERE state = 'settled');
"#;

/// Like [`books`] with [`MORE`].
async fn more_books() -> Option<(TestDatabase, Sandbox)> {
    let (database, sandbox) = books().await?;
    execute(&database, MORE).await;
    Some((database, sandbox))
}

async fn execute(database: &TestDatabase, statements: &'static str) {
    let mut connection = PgConnection::connect(&database.url().unwrap()).await.unwrap();
    connection.execute(sqlx::raw_sql(statements)).await.unwrap();
    connection.close().await.unwrap();
}

/// What a person reads fits 80 columns.
fn assert_fits(shown: &Outcome) {
    for line in shown.stdout.lines() {
        assert!(console::measure_text_width(line) <= 80, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reports() {
    let Some((_database, sandbox)) = more_books().await else { return };
    for (name, words) in [
        ("overview", "costs --since 2026-11-01 --until 2026-11-10"),
        ("overview_of_a_draft", "costs --since 2026-11-04 --until 2026-11-04"),
        ("last", "costs --last 10"),
        ("last_one", "costs --last 1"),
        ("by_model", "costs --by model"),
        ("by_day", "costs --by day"),
        ("by_week", "costs --by week"),
        ("by_month", "costs --by month"),
        ("by_status", "costs --by status"),
        ("by_user", "costs --by user"),
        ("by_campaign", "costs --by campaign"),
        ("by_project", "costs --by project"),
        ("by_day_and_model", "costs --by day,model"),
        ("by_campaign_and_project", "costs --by campaign,project"),
        ("by_project_and_status", "costs --by project,status"),
        ("of_a_project", "costs --project street-food"),
        ("of_a_campaign", "costs --campaign spring --by component"),
        ("of_a_provider", "costs --provider Anthropic --by component"),
        ("until", "costs --until 2026-11-03 --by day"),
        ("nothing_in_time", "costs --since 2026-11-10 --until 2026-11-12"),
        ("nothing_of_a_provider", "costs --provider openai --until 2026-11-03"),
        ("chart", "costs --by day --chart"),
        ("chart_of_two_levels", "costs --by project,component --chart"),
        ("csv", "costs --by provider --csv"),
        ("ndjson", "costs --by day,provider --until 2026-11-03 --ndjson"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let shown = sandbox.aida(&words);
        if !words.iter().any(|word| matches!(*word, "--csv" | "--ndjson")) {
            assert_fits(&shown);
        }
        insta::assert_snapshot!(name, shown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_the_prompt_cache_did() {
    let Some((database, sandbox)) = more_books().await else { return };
    insta::assert_snapshot!(
        "cache_without_its_books",
        sandbox.aida(&["costs", "--cache", "--last", "10"])
    );
    execute(&database, CACHE).await;
    for (name, words) in [
        ("cache", "costs --cache --since 2026-11-01 --until 2026-11-10"),
        ("cache_cut", "costs --cache --since 2026-11-02T10:01:00Z --until 2026-11-02T10:20:01Z"),
        ("cache_of_last", "costs --cache --last 1"),
        ("cache_of_a_project", "costs --cache --project street-food"),
        ("cache_of_a_campaign", "costs --cache --campaign spring"),
        ("cache_of_nothing", "costs --cache --since 2026-11-10 --until 2026-11-12"),
        ("cache_csv", "costs --cache --since 2026-11-01 --csv"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let shown = sandbox.aida(&words);
        if !words.contains(&"--csv") {
            assert_fits(&shown);
        }
        insta::assert_snapshot!(name, shown);
    }
    let report = json(&sandbox.aida(&["costs", "--cache", "--since", "2026-11-01", "--json"]));
    let overview = json(&sandbox.aida(&["costs", "--since", "2026-11-01", "--json"]));
    assert_eq!(report["hit_rate"], overview["cache"]["hit_rate"], "one figure everywhere");
    assert_eq!(report["unknown_calls"], 1);
    assert_eq!(report["net_usd"], "0.004300000000");
    let agent = |name: &str| {
        let agents = report["agents"].as_array().unwrap();
        agents.iter().find(|agent| agent["agent"] == name).unwrap().clone()
    };
    assert!(agent("vision")["hit_rate"].is_null(), "nothing of it could be cached");
    assert_eq!(agent("writer")["hit_rate"], "1.0000", "a lost reply is not in the rate");
    assert_eq!(agent("director")["breaks"], 1);
    // The sums and the calls tell the same, wherever a time cuts a quarter of an hour.
    for since in ["2026-11-02T09:59:59Z", "2026-11-02T10:00:00Z", "2026-11-02T10:00:01Z"] {
        let of_all = json(&sandbox.aida(&["costs", "--cache", "--since", since, "--json"]));
        let of_videos =
            json(&sandbox.aida(&["costs", "--cache", "--since", since, "--last", "9", "--json"]));
        let hits = |report: &serde_json::Value| report["reasons"][0]["calls"].clone();
        assert_eq!(of_all["reasons"][0]["reason"], "hit");
        assert_eq!(hits(&of_all), hits(&of_videos), "{since}");
    }
    for (least, code) in [("80%", 10), ("60%", 0)] {
        let words = ["costs", "--cache", "--since", "2026-11-01", "--min-cache-hit", least];
        assert_eq!(sandbox.aida(&words).code, code, "{least}");
    }
    for words in [["costs", "--cache", "--chart"], ["costs", "--cache", "--ndjson"]] {
        assert_eq!(sandbox.aida(&words).code, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_and_each_charge_counts_once() {
    let Some((_database, sandbox)) = books().await else { return };
    let levels = "component provider model day week month status campaign project user \
                  day,model campaign,day day,campaign project,status user,week";
    for by in levels.split_whitespace() {
        let all = ["costs", "--json", "--by", by, "--user", "ada"];
        let report = json(&sandbox.aida(&all));
        assert_eq!(report["schema"], 2);
        assert_eq!(report["by"], by);
        if by.contains("user") {
            assert_eq!(report["totals"]["settled_usd"], "7.432345778900", "{by}");
            assert!(report["user"].is_null());
            continue;
        }
        assert_eq!(report["totals"]["settled_usd"], "0.432345778900", "{by}");
        assert_eq!(report["totals"]["unknown_usd"], "0.040000000000", "{by}");
        assert_eq!(report["totals"]["calls"], 7, "{by}");
        assert_eq!(report["totals"]["first_charge_at"], "2026-11-02T10:00:00Z", "{by}");
        assert_eq!(report["cache"]["hit_rate"], "0.6500", "{by}");
        assert_eq!(report["cache"]["met"], true, "{by}");
    }
    let everybody = json(&sandbox.aida(&["costs", "--json", "--all-users", "--by", "day"]));
    assert_eq!(everybody["totals"]["settled_usd"], "7.432345778900");
    // A video in two campaigns counts in both, and the money of no campaign has its own row.
    let campaigns = json(&sandbox.aida(&["costs", "--json", "--by", "campaign"]));
    let rows = campaigns["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["settled_usd"], rows[1]["settled_usd"]);
    assert!(rows[2]["key"].is_null());
    // It counts once in the day above its two campaigns.
    let days = json(&sandbox.aida(&["costs", "--json", "--by", "day,campaign"]));
    let day = |rows: &serde_json::Value| -> Vec<String> {
        let rows = rows.as_array().unwrap().iter();
        rows.filter(|row| row["key"] == "2026-11-04")
            .map(|row| row["settled_usd"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(day(&days["groups"]), ["0.010000000000"]);
    assert_eq!(day(&days["rows"]), ["0.010000000000", "0.010000000000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_at_a_glance_stand_in_json() {
    let Some((_database, sandbox)) = more_books().await else { return };
    let period = ["costs", "--json", "--since", "2026-11-01", "--until", "2026-11-10"];
    let report = json(&sandbox.aida(&period));
    let overview = &report["overview"];
    assert_eq!(report["by"], "day");
    assert_eq!(overview["kept_usd"], "0.422345778900");
    assert_eq!(overview["wasted_usd"], "0.010000000000");
    assert_eq!(overview["films"]["finished"], 1);
    // What went into words, images and clips, drafts included, over 29.5 seconds.
    assert_eq!(overview["films"]["usd_per_second"], "0.014655785725");
    assert_eq!(overview["estimates"]["estimated_usd"], "0.400000000000");
    assert_eq!(overview["estimates"]["settled_usd"], "0.422345678900");
    assert_eq!(overview["estimates"]["error"], "0.0559");
    assert_eq!(overview["bill"]["matched"], true);
    assert_eq!(overview["bill"]["unread_usd"], "0.040000000000");
    assert_eq!(overview["reuse_saved_usd"], "0.390000000000");
    let agents: Vec<_> = overview["cache"]["agents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| (agent["agent"].as_str().unwrap(), agent["hit_rate"].as_str()))
        .collect();
    let expected = [
        ("conversation", Some("0.8000")),
        ("writer", Some("1.0000")),
        ("director", Some("0.0000")),
    ];
    assert_eq!(agents, expected);
    // The tightest cap first: fal has billed bob all that it may.
    assert_eq!(overview["budgets"][0]["name"], "fal");
    assert_eq!(overview["budgets"][0]["left_usd"], "-0.350000000000");
    assert!(overview["forecast"].is_null(), "the past has no forecast");
    // Where an agent had nothing to cache it has no rate.
    let report = json(&sandbox.aida(&["costs", "--json", "--since", "2026-11-05"]));
    assert!(report["overview"]["cache"]["agents"][0]["hit_rate"].is_null());
    assert!(report["overview"]["estimates"].is_null());
    assert!(report["overview"]["films"]["usd_per_second"].is_null());
    // Rows for scripts leave it out, with totals.
    let rows = sandbox.aida(&["costs", "--by", "provider", "--ndjson"]);
    let rows: Vec<serde_json::Value> =
        rows.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["key"], "fal");
    assert_eq!(rows[0]["settled_usd"], "0.350000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_thirty_days_stand_on_one_screen_with_a_forecast() {
    let Some((database, sandbox)) = books().await else { return };
    execute(
        &database,
        "SELECT pay('eve', NULL, 'video', 'fal', 'kling-2.6-pro', 'clip', 'settled', 0.1 + 0.37 * (day % 5),
                    to_char(now() AT TIME ZONE 'UTC' - make_interval(days => day, mins => 1), 'YYYY-MM-DD\"T\"HH24:MI:SS'),
                    0, 0, 0, 0)
         FROM generate_series(0, 44) AS day",
    )
    .await;
    let sandbox = sandbox.with("AIDA_USER", "eve").with("AIDA_TIME_ZONE", "Asia/Kathmandu");
    let shown = sandbox.aida(&["costs"]);
    assert_eq!(shown.code, 0, "{shown}");
    assert_fits(&shown);
    assert!(shown.stdout.lines().count() <= 23, "{shown}");
    assert!(shown.stdout.contains("(30 days), Asia/Kathmandu"), "{shown}");
    assert!(shown.stdout.contains("Forecast"), "{shown}");
    assert!(shown.stdout.contains("more days before: aida costs --since 30d --by day"), "{shown}");
    let report = json(&sandbox.aida(&["costs", "--json"]));
    let days = report["rows"].as_array().unwrap().len();
    assert!((29..=30).contains(&days), "{days} days");
    let money = |value: &serde_json::Value| {
        value.as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap()
    };
    let forecast = &report["overview"]["forecast"];
    assert!(money(&forecast["month_end_usd"]) >= money(&forecast["spent_usd"]), "{forecast}");
    // Seven of the amounts, between 0.10 and 1.58 each.
    let daily = money(&forecast["daily_usd"]);
    assert!(daily > rust_decimal::Decimal::new(1, 1) && daily < rust_decimal::Decimal::TWO);
}

#[tokio::test(flavor = "multi_thread")]
async fn days_weeks_and_months_are_those_of_the_time_zone() {
    let Some((database, _sandbox)) = books().await else { return };
    execute(
        &database,
        "SELECT pay('zoe', NULL, 'video', 'fal', 'kling-2.6-pro', 'clip', 'settled', 1, moment, 0, 0, 0, 0)
         FROM unnest(ARRAY['2026-10-31T22:30:00', '2026-10-31T23:30:00', '2026-11-01T22:59:59.999999']) AS moment",
    )
    .await;
    let keys = |zone: &str, by: &str, more: &[&str]| -> Vec<(String, i64)> {
        let sandbox = Sandbox::new()
            .with("DATABASE_URL", database.url().unwrap())
            .with("AIDA_USER", "zoe")
            .with("AIDA_TIME_ZONE", zone);
        let words: Vec<_> = ["costs", "--json", "--by", by].iter().chain(more).copied().collect();
        let report = json(&sandbox.aida(&words));
        assert_eq!(report["time_zone"], zone);
        let rows = report["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["key"].as_str().unwrap().to_owned(), row["calls"].as_i64().unwrap()))
            .collect()
    };
    let pairs = |expected: &[(&str, i64)]| -> Vec<(String, i64)> {
        expected.iter().map(|(key, calls)| ((*key).to_owned(), *calls)).collect()
    };
    // 23:30 in Greenwich is half past midnight of the next day in Berlin, and of the next month.
    let berlin = "Europe/Berlin";
    assert_eq!(keys("UTC", "day", &[]), pairs(&[("2026-11-01", 1), ("2026-10-31", 2)]));
    assert_eq!(keys(berlin, "day", &[]), pairs(&[("2026-11-01", 2), ("2026-10-31", 1)]));
    assert_eq!(keys(berlin, "month", &[]), pairs(&[("2026-11", 2), ("2026-10", 1)]));
    assert_eq!(keys(berlin, "week", &[]), pairs(&[("2026-W44", 3)]));
    assert_eq!(keys("Asia/Kathmandu", "day", &[]), pairs(&[("2026-11-02", 1), ("2026-11-01", 2)]));
    // From the charges, where the sums do not know what is asked.
    assert_eq!(keys(berlin, "day,status", &[]), pairs(&[("2026-11-01", 2), ("2026-10-31", 1)]));
    // A day that is named is whole in its zone, and an end at a time is exclusive.
    let of_day = ["--since", "2026-11-01", "--until", "2026-11-01"];
    assert_eq!(keys(berlin, "day", &of_day), pairs(&[("2026-11-01", 2)]));
    let to_moment = ["--until", "2026-10-31T23:30:00Z"];
    assert_eq!(keys(berlin, "day", &to_moment), pairs(&[("2026-10-31", 1)]));
    let from_moment = ["--since", "2026-10-31T23:29:59.5Z", "--until", "2026-10-31T23:30:01Z"];
    assert_eq!(keys(berlin, "day", &from_moment), pairs(&[("2026-11-01", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_books_and_the_longest_names_fit() {
    let Some((database, sandbox)) = books().await else { return };
    execute(
        &database,
        "INSERT INTO projects (id, user_id, brief, title, slug, aspect, duration_seconds, shot_count, created_at, updated_at)
         VALUES ('00000000-0000-7000-8000-0000000000ff', 'a-user-whose-name-is-longer-than-anybody-would-think', 'b',
                 E'夜の料理人たちが語る、\x1b[31m深夜の屋台の物語\nと、その後の長い一日のこと', 's', '9:16', 30, 6, '2026-11-01Z', '2026-11-01Z');
         INSERT INTO budgets (id, scope, subject, cap_usd, period, time_zone, created_at, updated_at)
         VALUES (gen_random_uuid(), 'user', 'a-user-whose-name-is-longer-than-anybody-would-think', 99999999, 'month', 'UTC', '2026-11-01Z', '2026-11-01Z');
         SELECT pay('a-user-whose-name-is-longer-than-anybody-would-think', '00000000-0000-7000-8000-0000000000ff', component,
                    'provider', 'a-model-with-a-name-that-is-too-long-for-any-table', kind, state, 12345678.123456789,
                    '2026-11-02T10:00:00', 999999999999, 999999999999, 999999999999, 999999999999)
         FROM unnest(ARRAY['conversation', 'image', 'video', 'embedding'], ARRAY['language', 'image', 'clip', 'embedding'])
              AS calls (component, kind), unnest(ARRAY['settled', 'unknown']) AS state;
         UPDATE charges SET images = images * 987654321, video_seconds = video_seconds * 98765432, wasted = component = 'image',
                            cache_saved_usd = 12345678, cache_premium_usd = 12345678, reuse_saved_usd = 12345678
         WHERE user_id LIKE 'a-user%'",
    )
    .await;
    let sandbox = sandbox.with("AIDA_USER", "a-user-whose-name-is-longer-than-anybody-would-think");
    for words in [
        "--since 2026-11-01",
        "--last 10",
        "--by project",
        "--by day",
        "--by user",
        "--by model,project",
        "--by project,model",
        "--by campaign,day",
        "--by project --chart",
        "--by model,user --chart",
    ] {
        let words: Vec<_> = ["costs"].into_iter().chain(words.split(' ')).collect();
        let shown = sandbox.aida(&words);
        assert_eq!(shown.code, 0, "{words:?}: {shown}");
        assert_fits(&shown);
        assert!(!shown.stdout.contains('\x1b'), "{words:?}: {shown}");
        assert!(shown.stdout.contains('?'), "{words:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_in_words() {
    let Some((_database, sandbox)) = books().await else { return };
    for (words, told) in [
        (
            "--since 2026-11-10 --until 2026-11-01",
            "--since 2026-11-10 lies after --until 2026-11-01",
        ),
        ("--since today --until yesterday", "no time from --since today to --until yesterday"),
        ("--since soon", "--since: 'soon' is none of"),
        ("--since 9999-01-01", "lies in the future"),
        ("--by day,week,month", "one level or two"),
        ("--by day,day", "one level twice"),
        ("--by hour", "possible values: day, week"),
        ("--provider fall", "anthropic, openai, voyage, compatible, kie, fal"),
        ("--project nothing", "there is no project 'nothing'"),
        ("--campaign nothing", "there is no campaign 'nothing'"),
        ("--min-cache-hit 101", "not a share"),
        ("--csv --json", "cannot be used with"),
        ("--ndjson --csv", "cannot be used with"),
    ] {
        let words: Vec<_> = ["costs"].into_iter().chain(words.split(' ')).collect();
        let shown = sandbox.aida(&words);
        assert_eq!(shown.code, 2, "{words:?}: {shown}");
        assert!(shown.stderr.contains(told), "{words:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_videos_leave_other_money_out() {
    let Some((_database, sandbox)) = books().await else { return };
    let report = json(&sandbox.aida(&["costs", "--json", "--last", "1"]));
    assert_eq!(report["rows"].as_array().unwrap().len(), 1);
    assert_eq!(report["rows"][0]["label"], "running-shoes");
    assert_eq!(report["rows"][0]["status"], "draft");
    assert_eq!(report["totals"]["settled_usd"], "0.010000000000");
    let report = json(&sandbox.aida(&["costs", "--json", "--last", "9"]));
    assert_eq!(report["rows"][1]["status"], "kept");
    assert_eq!(report["totals"]["settled_usd"], "0.432345678900");
    // 2600 of 4000 input tokens: weighted by volume, not an average of two rates.
    assert_eq!(report["totals"]["cache_hit_rate"], "0.6500");
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_books_are_friendly_and_checks_fail_with_ten() {
    let Some((_database, sandbox)) = books().await else { return };
    for more in [&[][..], &["--by", "day"], &["--last", "3"], &["--chart"], &["--since", "7d"]] {
        let words: Vec<_> = ["costs", "--user", "nobody"].iter().chain(more).copied().collect();
        let shown = sandbox.aida(&words);
        let told = (shown.code, shown.stdout.as_str());
        assert_eq!(told, (0, "Nothing has been spent yet.\n"), "{words:?}");
    }
    let report = json(&sandbox.aida(&["costs", "--user", "nobody", "--json"]));
    assert_eq!(report["rows"].as_array().unwrap().len(), 0);
    assert_eq!(report["totals"]["settled_usd"], "0");
    assert!(report["cache"]["hit_rate"].is_null());
    assert!(report["overview"]["forecast"].is_null());
    let rows = sandbox.aida(&["costs", "--user", "nobody", "--ndjson"]);
    assert_eq!((rows.code, rows.stdout.as_str()), (0, ""));
    for (check, code) in [
        (["--fail-over", "0.47"], 10),
        (["--fail-over", "0.48"], 0),
        (["--min-cache-hit", "0.66"], 10),
        (["--min-cache-hit", "66%"], 10),
        (["--min-cache-hit", "66"], 10),
        (["--min-cache-hit", "0.65"], 0),
        (["--min-cache-hit", "65%"], 0),
    ] {
        let words: Vec<_> =
            ["costs", "--json", "--since", "2026-11-01"].into_iter().chain(check).collect();
        let shown = sandbox.aida(&words);
        assert_eq!(shown.code, code, "{check:?}: {shown}");
        assert_eq!(shown.stdout.lines().count(), 1, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_behind_names_migrate() {
    let Some(database) = TestDatabase::native_empty().await else { return };
    let sandbox = Sandbox::new().with("DATABASE_URL", database.url().unwrap());
    let shown = sandbox.aida(&["costs"]);
    assert_eq!(shown.code, 9, "{shown}");
    assert!(shown.stderr.contains("aida migrate"), "{shown}");
    let shown = sandbox.aida(&["migrate", "--dry-run"]);
    assert!(shown.stdout.contains("CREATE TABLE charges"), "{}", shown.code);
    let pending = json(&sandbox.aida(&["migrate", "--status", "--json"]));
    assert!(pending["migrations"][0]["applied_at"].is_null());
    let shown = sandbox.aida(&["migrate"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (0, ""), "{shown}");
    let applied = json(&sandbox.aida(&["migrate", "--status", "--json"]));
    assert!(applied["migrations"][0]["applied_at"].is_string());
    assert_eq!(sandbox.aida(&["costs"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_down_by_its_worst_dependency() {
    let Some((_database, sandbox)) = books().await else { return };
    let shown = sandbox.aida(&["health", "--json"]);
    assert_eq!(shown.code, 8, "{shown}");
    let report: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(report["status"], "down");
    let status = |name: &str| {
        let all = report["dependencies"].as_array().unwrap();
        all.iter().find(|entry| entry["name"] == name).unwrap()["status"].as_str().unwrap()
    };
    assert_eq!(status("database"), "ok");
    assert_eq!(status("pgvector"), "ok");
    assert_eq!(status("migrations"), "ok");
    assert_eq!(status("anthropic"), "down");
    assert_eq!(status("openai"), "ok");
    assert_eq!(status("unknown money"), "degraded");
}
