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

#[tokio::test(flavor = "multi_thread")]
async fn the_reports() {
    let Some((_database, sandbox)) = books().await else { return };
    for (name, words) in [
        ("default", "costs"),
        ("last", "costs --last 10"),
        ("last_one", "costs --last 1"),
        ("by_model", "costs --by model"),
        ("by_day", "costs --by day"),
        ("by_campaign", "costs --by campaign"),
        ("by_project", "costs --by project"),
        ("csv", "costs --by provider --csv"),
        ("since", "costs --since 2026-11-04"),
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let shown = sandbox.aida(&words);
        for line in shown.stdout.lines().filter(|_| !words.contains(&"--csv")) {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
        insta::assert_snapshot!(name, shown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_exact_and_each_charge_counts_once() {
    let Some((_database, sandbox)) = books().await else { return };
    for by in ["component", "provider", "model", "day", "campaign", "project"] {
        let report = json(&sandbox.aida(&["costs", "--json", "--by", by]));
        assert_eq!(report["schema"], 1);
        assert_eq!(report["totals"]["settled_usd"], "0.432345778900", "{by}");
        assert_eq!(report["totals"]["unknown_usd"], "0.040000000000", "{by}");
        assert_eq!(report["totals"]["calls"], 7, "{by}");
        assert_eq!(report["cache"]["hit_rate"], "0.6500", "{by}");
        assert_eq!(report["cache"]["met"], true, "{by}");
    }
    let everybody = json(&sandbox.aida(&["costs", "--json", "--all-users"]));
    assert_eq!(everybody["totals"]["settled_usd"], "7.432345778900");
    // A video in two campaigns counts in both, and the money of no campaign has its own row.
    let campaigns = json(&sandbox.aida(&["costs", "--json", "--by", "campaign"]));
    let rows = campaigns["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["settled_usd"], rows[1]["settled_usd"]);
    assert!(rows[2]["key"].is_null());
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
    let shown = sandbox.aida(&["costs", "--user", "nobody"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "Nothing has been spent yet.\n"));
    let report = json(&sandbox.aida(&["costs", "--user", "nobody", "--json"]));
    assert_eq!(report["rows"].as_array().unwrap().len(), 0);
    assert!(report["cache"]["hit_rate"].is_null());
    for (check, code) in [
        (["--fail-over", "0.47"], 10),
        (["--fail-over", "0.48"], 0),
        (["--min-cache-hit", "0.66"], 10),
        (["--min-cache-hit", "0.65"], 0),
    ] {
        let words: Vec<_> = ["costs", "--json"].into_iter().chain(check).collect();
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
