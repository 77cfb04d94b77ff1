//! What is remembered, moved between embedders and carried between databases, with the real program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/database.rs"]
mod database;
mod support;

use std::fmt::Write as _;
use std::time::Duration;

use database::TestDatabase;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use support::{Finished, Running, Service, TestEnvironment, World, wait_until};

/// A world, a machine in it, and a database.
struct Stage {
    world: World,
    machine: TestEnvironment,
    database: TestDatabase,
}

impl Stage {
    async fn at_speed(speed: f64) -> Self {
        Self::on(speed, TestDatabase::fresh().await)
    }

    /// On a native server, or `None` where there is none: the embedded one takes its time with the
    /// index of thousands of rows, and there is nothing of its own in what is tested.
    async fn native_at_speed(speed: f64) -> Option<Self> {
        Some(Self::on(speed, TestDatabase::native().await?))
    }

    fn on(speed: f64, database: TestDatabase) -> Self {
        let world = World::start(speed);
        let mut machine = TestEnvironment::in_world(&world);
        if let Some(url) = database.url() {
            machine = machine.with_database(&url);
        }
        machine.set("AIDA_EMBEDDER", "builtin");
        Self { world, machine, database }
    }

    fn aida(&self, words: &[&str]) -> Finished {
        self.machine.run(words)
    }

    /// The last line of a command's JSON.
    #[track_caller]
    fn report(&self, code: i32, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        self.aida(&words).expect(code).json_lines().pop().unwrap()
    }

    /// A number of the database; none where it belongs to the program.
    async fn number(&self, sql: &str) -> Option<i64> {
        let mut connection = PgConnection::connect(&self.database.url()?).await.unwrap();
        Some(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap())
    }

    async fn assert_books_match_bill(&self) {
        let Some(url) = self.database.url() else { return };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let settled: Decimal =
            sqlx::query_scalar("SELECT coalesce(sum(settled_usd), 0) FROM charges")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        assert_eq!(settled, self.world.bill().total(), "{}", self.world.bill());
    }
}

/// Projects as a team may have them elsewhere: some of ada's and some of bob's.
fn projects(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let (day, user) = (number % 28 + 1, if number % 4 == 3 { "bob" } else { "ada" });
        let line = json!({
            "format": 1, "user": user, "created_at": format!("2025-03-{day:02}T10:00:00.25Z"),
            "campaign": if number % 2 == 0 { json!("Spring menu") } else { Value::Null },
            "brief": format!("Bread number {number} from the bakery"), "title": format!("Loaf {number}"),
            "aspect": "1:1", "rating": if number % 3 == 0 { json!(number % 5 + 1) } else { Value::Null },
            "script": {"title": "Loaf", "logline": format!("Loaf {number} rises."), "beats": []},
            "shots": [
                {"image_prompt": format!("Dough {number} under a cloth"), "motion_prompt": "it rises", "duration_seconds": 4.5,
                 "on_screen_text": "Wait.", "narration": "Slowly."},
                {"image_prompt": "A baker scores a loaf with a razor", "motion_prompt": "the blade moves"},
            ],
            "feedback": [{"created_at": "2025-04-01T00:00:00Z", "note": "more steam", "shot": 1}],
        });
        writeln!(lines, "{line}").unwrap();
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_out_comes_in_and_goes_out_alike() {
    let first = Stage::at_speed(1_000.0).await;
    first.machine.write("in.jsonl", projects(30));
    let report = first.report(0, &["--user", "ada", "memory", "import", "in.jsonl"]);
    assert_eq!((&report["new"], &report["unchanged"]), (&json!(30), &json!(0)));
    assert_eq!(report["waiting_rows"], 0);
    assert_eq!(report["embedded"], 120);
    let twice = first.report(0, &["--user", "ada", "memory", "import", "in.jsonl"]);
    assert_eq!(
        (&twice["new"], &twice["unchanged"], &twice["embedded"]),
        (&json!(0), &json!(30), &json!(0))
    );

    let export = ["memory", "export", "out.jsonl", "--all-users", "--vectors", "--force"];
    assert_eq!(first.report(0, &export)["vectors"], 120);
    let bytes = std::fs::read(first.machine.work().join("out.jsonl")).unwrap();
    let second = Stage::at_speed(1_000.0).await;
    // Vectors that came along cost nothing, whoever made them.
    second.machine.write("in.jsonl", &bytes);
    let report = second.report(0, &["memory", "import", "in.jsonl"]);
    assert_eq!(
        (&report["new"], &report["embedded"], &report["waiting_rows"]),
        (&json!(30), &json!(0), &json!(0))
    );
    second.report(0, &export);
    let again = std::fs::read(second.machine.work().join("out.jsonl")).unwrap();
    assert!(bytes == again, "the second export differs from the first");
    let piped = second.aida(&["memory", "export", "--all-users", "--vectors", "-"]).expect(0);
    assert!(piped.stdout.as_bytes() == bytes, "standard output differs from the file");

    // It is there as if it had been made here, and nothing was paid.
    let hits = second.report(0, &["--user", "ada", "search", "dough 4 under a cloth"]);
    assert_eq!(hits["hits"][0]["title"], "Loaf 4", "{hits}");
    let shown = second.aida(&["--user", "bob", "show"]).expect(0);
    assert!(shown.stdout.contains("Loaf 3"), "{}", shown.stdout);
    let campaigns = second.aida(&["--user", "ada", "campaigns"]).expect(0);
    assert!(campaigns.stdout.contains("Spring menu"), "{}", campaigns.stdout);
    assert_eq!(second.number("SELECT count(*) FROM charges").await.unwrap_or_default(), 0);
    let runs = second.aida(&["--user", "ada", "resume"]).expect(0);
    assert_eq!(runs.stdout.trim(), "");
    first.world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_mistakes_is_refused_by_its_lines_and_stores_nothing() {
    let stage = Stage::at_speed(1_000.0).await;
    let mut text = projects(2);
    text.push_str("{\"format\":1,\"created_at\":\"2025-01-01\",\"brief\":\"b\",\"tilte\":\"x\"}\n");
    text.push_str("not json\n");
    text.push_str("{\"format\":1,\"created_at\":\"yesterday\",\"brief\":\"b\"}\n");
    text.push_str("{\"format\":1,\"created_at\":\"2025-01-01\",\"brief\":\" \",\"rating\":7}\n");
    stage.machine.write("in.jsonl", text);
    let refused = stage.aida(&["memory", "import", "in.jsonl"]).expect(2);
    for told in [
        "line 3: unknown field `tilte`",
        "line 4: ",
        "line 5: 'yesterday' is not a time",
        "line 6: brief: the brief is empty",
        "line 6: rating is 7",
        "5 problems in the file; nothing was imported",
    ] {
        assert!(refused.stderr.contains(told), "{told}\n{}", refused.stderr);
    }
    assert_eq!(stage.number("SELECT count(*) FROM projects").await.unwrap_or_default(), 0);
    let report = stage.report(2, &["memory", "import", "in.jsonl"]);
    assert_eq!(report["problems"].as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_differs_is_changed_only_on_demand() {
    let stage = Stage::at_speed(1_000.0).await;
    let line = |title: &str, user: &str| {
        let id = "019aab12-3456-7890-abcd-ef0123456789";
        json!({"format": 1, "id": id, "user": user, "created_at": "2025-01-01", "brief": "b", "title": title,
               "shots": [{"image_prompt": format!("{title} in the rain")}]})
        .to_string()
    };
    stage.machine.write("a.jsonl", line("Umbrellas", "ada"));
    stage.machine.write("b.jsonl", line("Puddles", "ada"));
    stage.machine.write("c.jsonl", line("Puddles", "eve"));
    stage.aida(&["memory", "import", "a.jsonl"]).expect(0);
    let refused = stage.aida(&["memory", "import", "b.jsonl"]).expect(2);
    assert!(refused.stderr.contains("is there with another title; --update"), "{}", refused.stderr);
    let refused = stage.aida(&["memory", "import", "c.jsonl", "--update"]).expect(2);
    assert!(refused.stderr.contains("belongs to somebody else"), "{}", refused.stderr);
    assert_eq!(stage.report(0, &["memory", "import", "b.jsonl", "--update"])["updated"], 1);
    let found = |query: &str| {
        let hits = stage.report(0, &["--user", "ada", "search", query]);
        hits["hits"].as_array().unwrap().len()
    };
    // At its word: by meaning, umbrellas are not far from rain.
    assert_eq!(found("\"umbrellas\""), 0);
    assert!(found("\"puddles\"") > 0);
    stage.machine.write("d.jsonl", line("Puddles", "eve"));
    let mapped = stage.report(0, &["memory", "import", "d.jsonl", "--user-map", "eve=ada"]);
    assert_eq!(mapped["unchanged"], 1);
}

/// The one line of an export with its vectors, and what is changed in it.
fn exported(stage: &Stage, change: impl FnOnce(&mut Value)) -> String {
    let text = stage.aida(&["memory", "export", "--all-users", "--vectors", "-"]).expect(0).stdout;
    let mut line: Value = serde_json::from_str(text.trim()).unwrap();
    change(&mut line);
    line.to_string()
}

const BUN: &str = r#"{"id":"019aab12-3456-7890-abcd-ef0123456789","user":"ada","created_at":"2025-01-01","brief":"a bun",
    "shots":[{"image_prompt":"A bun under steam"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn vectors_come_along_with_an_update_and_both_are_stored_or_neither() {
    let Some(first) = Stage::native_at_speed(1_000.0).await else { return };
    let Some(second) = Stage::native_at_speed(1_000.0).await else { return };
    let bun = BUN.replace('\n', "");
    first.machine.write("a.jsonl", bun.replace("A bun under steam", "A croissant in the rain"));
    first.aida(&["memory", "import", "a.jsonl"]).expect(0);
    second.machine.write("b.jsonl", bun);
    second.aida(&["memory", "import", "b.jsonl"]).expect(0);
    // As another program may write vectors: not of length 1, and too long for halves.
    let line = exported(&first, |line| {
        for vector in line["vectors"].as_array_mut().unwrap() {
            for number in vector["numbers"].as_array_mut().unwrap() {
                *number = json!(number.as_f64().unwrap() * 1e7);
            }
        }
    });
    second.machine.write("a.jsonl", line);

    let mut connection = PgConnection::connect(&second.database.url().unwrap()).await.unwrap();
    sqlx::raw_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON project_embeddings FOR EACH ROW
             WHEN (NEW.embedding IS NOT NULL) EXECUTE FUNCTION refuse()",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let update = ["memory", "import", "a.jsonl", "--update"];
    second.aida(&update).expect(9);
    let there = "SELECT count(*) FROM shots WHERE image_prompt LIKE '%bun%'";
    assert_eq!(second.number(there).await, Some(1), "the words were stored without the vectors");
    sqlx::raw_sql("DROP TRIGGER refuse ON project_embeddings")
        .execute(&mut connection)
        .await
        .unwrap();

    let report = second.report(0, &update);
    assert_eq!((&report["updated"], &report["embedded"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(report["waiting_rows"], 0);
    assert_eq!(second.number(there).await, Some(0));
    let long =
        "SELECT count(*) FROM project_embeddings WHERE abs(vector_norm(embedding) - 1) > 0.01";
    assert_eq!(second.number(long).await, Some(0));
    let hits = second.report(0, &["--user", "ada", "search", "pastry when it rains"]);
    assert_eq!(hits["hits"][0]["kind"], "shot", "{hits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cannot_name_models_that_nobody_here_has() {
    let Some(stage) = Stage::native_at_speed(1_000.0).await else { return };
    stage.machine.write("a.jsonl", BUN.replace('\n', ""));
    stage.aida(&["memory", "import", "a.jsonl"]).expect(0);
    let line = exported(&stage, |line| {
        line["id"] = json!("another bun");
        let vectors = line["vectors"].as_array_mut().unwrap();
        let shot = vectors.iter().position(|vector| vector["of"] == "shot").unwrap();
        let made_up = vectors.remove(shot);
        for number in 0..30 {
            let mut vector = made_up.clone();
            vector["model"] = json!(format!("made-up-{number:02}"));
            vectors.push(vector);
        }
    });
    stage.machine.write("b.jsonl", &line);
    let told = stage.aida(&["memory", "import", "b.jsonl"]).expect(0);
    assert!(told.stderr.contains("1 vectors of made-up-00 are left out"), "{}", told.stderr);
    assert!(told.stderr.contains("and 10 vectors of more models"), "{}", told.stderr);
    assert!(told.stderr.contains("1 passages embedded by builtin"), "{}", told.stderr);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'";
    assert_eq!(stage.number(indexes).await, Some(1));
    let made_up = "SELECT count(*) FROM project_embeddings WHERE model LIKE 'made-up%'";
    assert_eq!(stage.number(made_up).await, Some(0));

    let wide = exported_as(&line, "voyage-4");
    stage.machine.write("c.jsonl", wide);
    let refused = stage.aida(&["memory", "import", "c.jsonl"]).expect(2);
    assert!(
        refused.stderr.contains("line 1: vectors: 1536 numbers of voyage-4, which makes 1024"),
        "{}",
        refused.stderr
    );
}

/// A line whose vectors are all as wide as can be, and of one model.
fn exported_as(line: &str, model: &str) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    line["id"] = json!("a third bun");
    for vector in line["vectors"].as_array_mut().unwrap() {
        vector["model"] = json!(model);
        vector["numbers"] = json!(vec![0.5; 1536]);
    }
    line.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_imported_ratings_the_latest_counts() {
    let Some(stage) = Stage::native_at_speed(1_000.0).await else { return };
    let line = |said: &str| {
        let bun = BUN.replace('\n', "");
        let shots = bun.find("\"shots\"").unwrap();
        format!("{}\"feedback\":[{said}],{}", &bun[..shots], &bun[shots..])
    };
    let early = r#"{"created_at":"2025-02-01","rating":2}"#;
    let late = r#"{"created_at":"2025-04-01","rating":5,"note":"better now"}"#;
    let of_shot = r#"{"created_at":"2025-01-15","rating":1,"shot":1}"#;
    let between = r#"{"created_at":"2025-03-01","rating":3}"#;
    let counting =
        "SELECT coalesce(sum(rating), 0)::bigint FROM project_feedback WHERE superseded_at IS NULL";
    stage.machine.write("a.jsonl", line(&format!("{late},{early},{of_shot}")));
    stage.aida(&["memory", "import", "a.jsonl"]).expect(0);
    assert_eq!(stage.number(counting).await, Some(6));
    // What is brought along later, and is older, does not count either.
    stage.machine.write("b.jsonl", line(&format!("{late},{early},{of_shot},{between}")));
    stage.aida(&["memory", "import", "b.jsonl"]).expect(0);
    assert_eq!(stage.number(counting).await, Some(6));
    let at =
        "SELECT count(*) FROM project_feedback WHERE rating = 2 AND superseded_at = '2025-03-01Z'";
    assert_eq!(stage.number(at).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_somebody_else_is_none() {
    let Some(stage) = Stage::native_at_speed(1_000.0).await else { return };
    let bun = BUN.replace('\n', "");
    let source = "\"source_project\":\"019aab12-3456-7890-abcd-ef0123456789\",\"shots\"";
    let made_from = bun.replace("019aab12-3456-7890-abcd-ef0123456789", "made from it");
    let made_from = made_from.replace("\"shots\"", source);
    stage.machine.write("a.jsonl", &bun);
    stage.machine.write("b.jsonl", made_from.replace("\"ada\"", "\"bob\""));
    stage.machine.write("c.jsonl", &made_from);
    stage.machine.write("d.jsonl", made_from.replace("\"ada\"", "\"bob\"").replace("a bun", "two"));
    stage.aida(&["memory", "import", "a.jsonl"]).expect(0);
    stage.aida(&["memory", "import", "b.jsonl"]).expect(0);
    stage.aida(&["memory", "import", "d.jsonl", "--update"]).expect(0);
    let linked = "SELECT count(*) FROM projects WHERE source_project IS NOT NULL";
    assert_eq!(stage.number(linked).await, Some(0));
    stage.aida(&["memory", "import", "c.jsonl"]).expect(0);
    assert_eq!(stage.number(linked).await, Some(1));
}

/// Nobody ever writes into the pipe, and nothing is ever typed.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_input_ends_at_once_when_it_is_asked_to() {
    let stage = Stage::at_speed(1_000.0).await;
    let pipe = stage.machine.work().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open at both ends, so that it is read from and nothing comes.
    let kept_open = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    for (from, signal, code) in [("pipe", "INT", 130), ("-", "TERM", 143)] {
        let mut command = stage.machine.command(&["memory", "import", from]);
        command.stdin(kept_open.try_clone().unwrap());
        let waiting = Running::start(command);
        let began = std::time::Instant::now();
        wait_until("it reads", Duration::from_secs(20), || reads(waiting.id()));
        waiting.signal(signal);
        let stopped = waiting.wait(Duration::from_secs(20)).expect(code);
        assert!(began.elapsed() < Duration::from_secs(20), "{}", stopped.stderr);
    }
    let kept = std::fs::read_dir(stage.machine.data()).unwrap().filter_map(Result::ok);
    let kept: Vec<_> = kept.map(|file| file.file_name()).collect();
    assert!(kept.iter().all(|name| !name.to_string_lossy().starts_with("import-")), "{kept:?}");
    // A pipe that is never opened for writing blocks already when it is opened for reading.
    drop(kept_open);
    let waiting = stage.machine.spawn(&["memory", "import", "pipe", "--deadline", "1s"]);
    waiting.wait(Duration::from_secs(20)).expect(12);
}

/// Whether a process has begun to read: what it reads is kept in a file, which need not have a name.
fn reads(process: u32) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .any(|target| target.to_string_lossy().contains("/import-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_moves_to_any_embedder_and_each_is_billed_right() {
    let mut stage = Stage::at_speed(1_000.0).await;
    stage.machine.write("in.jsonl", projects(24));
    stage.aida(&["memory", "import", "in.jsonl", "--user-map", "*=ada"]).expect(0);
    stage.machine.set("AIDA_USER", "ada");

    let planned = stage.report(0, &["memory", "reindex", "--to", "voyage-4-lite", "--dry-run"]);
    assert_eq!((&planned["status"], &planned["rows"]), (&json!("planned"), &json!(96)));
    assert!(stage.world.requests(Service::Voyage, "/embeddings").is_empty());
    for (embedder, service) in
        [("voyage-4-lite", Service::Voyage), ("text-embedding-3-small", Service::OpenAi)]
    {
        let moved = stage.report(0, &["memory", "reindex", "--to", embedder]);
        assert_eq!((&moved["moved"], &moved["waiting_rows"]), (&json!(96), &json!(0)), "{moved}");
        // The second shot's words are the same in every project, and are sent once.
        let texts: usize = stage
            .world
            .requests(service, "/embeddings")
            .iter()
            .map(|request| request.body["input"].as_array().unwrap().len())
            .sum();
        assert_eq!(texts, 73, "{embedder}");
        stage.machine.set("AIDA_EMBEDDER", embedder);
        let hits = stage.report(0, &["search", "dough 4 under a cloth"]);
        assert_eq!((&hits["embedder"], &hits["waiting_rows"]), (&json!(embedder), &json!(0)));
        assert_eq!(hits["hits"][0]["title"], "Loaf 4", "{hits}");
    }
    let asked = stage.world.requests(Service::Voyage, "/embeddings");
    assert_eq!(asked[0].body["input_type"], "document");
    assert_eq!(asked.last().unwrap().body["input_type"], "query");
    stage.assert_books_match_bill().await;
    let of =
        "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%' AND indexdef LIKE '%''{}''%'";
    if let Some(kept) = stage.number(&of.replace("{}", "text-embedding-3-small")).await {
        assert_eq!(kept, 1);
        let gone = stage.number(&of.replace("{}", "voyage-4-lite")).await;
        assert_eq!(gone, Some(0), "nothing of that model is left");
    }
    stage.world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_ones_own_needs_a_price_and_a_width_that_fits() {
    let mut stage = Stage::at_speed(1_000.0).await;
    stage.machine.write("in.jsonl", projects(4));
    stage.aida(&["memory", "import", "in.jsonl", "--user-map", "*=local"]).expect(0);
    stage.machine.set("AIDA_EMBEDDER", "compatible");
    let unpriced = stage.aida(&["memory", "reindex"]).expect(8);
    assert!(
        unpriced.stderr.contains("no price for compatible nomic-embed-text"),
        "{}",
        unpriced.stderr
    );
    let config = stage.machine.write(
        "config.toml",
        ["nomic-embed-text", "qwen3-embedding", "never-pulled"]
            .map(|model| {
                format!("[[price]]\nprovider = \"compatible\"\nmodel = \"{model}\"\nfrom = \"2026-01-01\"\nembedding = \"0\"\n")
            })
            .concat(),
    );
    stage.machine.set("AIDA_CONFIG", &config.display().to_string());
    let moved = stage.report(0, &["memory", "reindex"]);
    assert_eq!((&moved["moved"], &moved["settled_usd"]), (&json!(16), &json!("0")));
    assert_eq!(moved["embedder"], "compatible/nomic-embed-text");
    assert!(stage.aida(&["health"]).stdout.contains("the host answers, no key is set"));

    stage.machine.set("EMBEDDING_MODEL", "qwen3-embedding");
    let wide = stage.aida(&["memory", "reindex"]).expect(8);
    assert!(wide.stderr.contains("vectors of 4096 numbers"), "{}", wide.stderr);
    stage.machine.set("EMBEDDING_DIMENSIONS", "1024");
    assert_eq!(stage.report(0, &["memory", "reindex"])["moved"], 16);
    // The same name with another width is another model.
    stage.machine.set("EMBEDDING_DIMENSIONS", "512");
    let other = stage.aida(&["search", "anything"]).expect(5);
    assert!(
        other.stderr.contains("vectors of 1024 numbers so far, and now of 512"),
        "{}",
        other.stderr
    );
    stage.machine.set("EMBEDDING_MODEL", "never-pulled");
    let missing = stage.aida(&["search", "anything"]).expect(5);
    assert!(missing.stderr.contains("ollama pull"), "{}", missing.stderr);
    stage.world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_goes_on_and_pays_for_nothing_that_is_stored() {
    // Slow enough that there is a middle to be killed in.
    let Some(stage) = Stage::native_at_speed(4.0).await else { return };
    let lines = projects(1_200).replace("A baker scores", "Somebody scores");
    stage.machine.write("in.jsonl", lines);
    // Thousands of passages are embedded first, which takes its time unoptimised.
    let import = stage.machine.spawn(&["memory", "import", "in.jsonl", "--user-map", "*=local"]);
    import.wait(Duration::from_mins(8)).expect(0);
    let move_all = ["memory", "reindex", "--to", "text-embedding-3-small", "--json"];
    let mut sent = 0;
    for least in [2, 5, 7] {
        let running = stage.machine.spawn(&move_all);
        wait_until("some batches are answered", Duration::from_mins(1), || {
            let requests = stage.world.requests(Service::OpenAi, "/embeddings");
            sent = requests.len();
            requests.iter().filter(|request| request.status.is_some()).count() >= least
        });
        running.kill();
    }
    let moved = stage.report(0, &move_all[..4]);
    assert_eq!(moved["waiting_rows"], 0, "{moved}");
    assert!(sent > 2);
    // Every text once, and again only what was under way when it was killed: four calls at most.
    let texts: usize = stage
        .world
        .requests(Service::OpenAi, "/embeddings")
        .iter()
        .map(|request| request.body["input"].as_array().unwrap().len())
        .sum();
    let different = 1_200 * 3 + 10;
    assert!(texts >= 1_200 * 3 && texts <= different + 3 * 4 * 512, "{texts} texts were sent");
    if let Some(rows) = stage
        .number("SELECT count(*) FROM project_embeddings WHERE model = 'text-embedding-3-small'")
        .await
    {
        assert_eq!(rows, 4_800);
    }
    stage.world.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_stops_a_move_and_raising_it_lets_it_go_on() {
    let Some(stage) = Stage::native_at_speed(1_000.0).await else { return };
    stage.machine.write("in.jsonl", projects(300));
    stage.aida(&["memory", "import", "in.jsonl", "--user-map", "*=local"]).expect(0);
    // A batch may cost 0.00025 and costs a quarter of it: after the first there is no room for another.
    stage.aida(&["budget", "set", "day", "0.0003"]).expect(0);
    let move_all = ["memory", "reindex", "--to", "text-embedding-3-small"];
    let stopped = stage.aida(&move_all).expect(4);
    assert!(stopped.stderr.contains("what was moved stays moved"), "{}", stopped.stderr);
    stage.aida(&["budget", "set", "day", "1.00"]).expect(0);
    let moved = stage.report(0, &move_all);
    assert_eq!(moved["waiting_rows"], 0);
    assert!(moved["rows"].as_u64().unwrap() < 1_200, "the first attempt moved something: {moved}");
    stage.assert_books_match_bill().await;
    stage.world.assert_no_violations();
}
