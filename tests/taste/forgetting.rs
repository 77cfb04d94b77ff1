//! Forgetting: nothing of a forgotten preference is left in any table or file, it does not come
//! back, and the books stay as they are.

use std::path::Path;

use aida::ids::RunId;
use aida::memory::MemoryError;
use aida::store::runs;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

use crate::viewer::Viewer;

/// Every table in which a text stands, with the number of its rows that hold it, whatever its case.
async fn tables_with(connection: &mut PgConnection, text: &str) -> Vec<(String, i64)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("SELECT count(*) FROM {table} AS entry WHERE entry::text ILIKE $1");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(format!("%{}%", text.replace('%', "\\%")))
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if rows > 0 {
            found.push((table, rows));
        }
    }
    found
}

/// Every file of aida's own below a folder that holds a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        // The server's own files hold what it has not swept up yet.
        if path.is_dir() && path.file_name().is_some_and(|name| name != "database") {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && String::from_utf8_lossy(&bytes).to_lowercase().contains(&text.to_lowercase())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_left_of_what_is_forgotten() {
    let viewer = Viewer::new().await;
    let (project, _) = viewer.make("food video", None).await;
    viewer.rate(project, Some(2), "Way too dark for a lunch place! I love the ginger tea.").await;
    viewer.rate(project, Some(1), "Still much too dark \"inside\".").await;
    viewer
        .memory
        .set_preference("ada", None, "Never film a purple \"zeppelin\" please")
        .await
        .unwrap();

    // What a run keeps of it: what the team was told, what it answered, and what it made.
    let told = "- Prefers bright, airy pictures to dark ones.";
    let mut session = viewer.store.session().await.unwrap();
    session
        .execute(AssertSqlSafe(format!(
            "INSERT INTO runs (id, project_id, user_id, kind, state, options, created_at, updated_at)
             VALUES ('00000000-0000-7000-8000-000000000001', '{project}', 'ada', 'film', 'done',
                     jsonb_build_object('recalled', jsonb_build_object(
                         'preferences', '{told}' || chr(10) || '- Never film a purple \"zeppelin\" please.',
                         'work', 'The user remarked: Way too dark for a lunch place! I love the ginger tea.',
                         'campaign', '')), now(), now());
             INSERT INTO prices VALUES ('p', 'anthropic', 'm', '2026-01-01', '{{}}', 'test', now());
             INSERT INTO operations (id, user_id, project_id, run_id, kind, component, provider, model, endpoint, state,
                                     price_id, quantity, estimated_usd, request_sha256, result, created_at)
             SELECT gen_random_uuid(), 'ada', '{project}', '00000000-0000-7000-8000-000000000001', 'language', 'writer',
                    'anthropic', 'm', 'e', 'kept', 'p', '{{}}', 0.123456789012, 'abc',
                    to_jsonb('Since she prefers BRIGHT, airy pictures to dark ones, and: never film a purple \"zeppelin\" please'::text)::text,
                    now();
             INSERT INTO charges (id, operation_id, user_id, project_id, component, provider, model, state, price_id,
                                  estimated_usd, reserved_usd, settled_usd, created_at)
             SELECT id, id, 'ada', '{project}', 'writer', 'anthropic', 'm', 'settled', 'p', 0.1, 0.2, 0.123456789012, now()
             FROM operations;
             UPDATE shots SET image_prompt = 'A table. Prefers bright, airy pictures to dark ones. A spoon.'
             WHERE project_id = '{project}' AND number = 1"
        )))
        .await
        .unwrap();
    let operation: aida::ids::OperationId =
        sqlx::query_scalar("SELECT id FROM operations").fetch_one(&mut *session).await.unwrap();
    viewer.store.journal(&mut session, operation).await.unwrap();
    session.close().await;
    let purpose = aida::ledger::Purpose {
        user_id: "ada".to_owned(),
        project: Some(project),
        run: None,
        shot: None,
        component: aida::ledger::Component::Embedding,
        owner: None,
    };
    viewer.memory.remember(&purpose, project).await.unwrap();

    let sentence = "prefers bright, airy pictures to dark ones";
    let mut session = viewer.store.session().await.unwrap();
    let before = tables_with(&mut session, sentence).await;
    assert!(before.len() >= 5, "{before:?}");
    let money = "SELECT sum(settled_usd)::text || ' ' || sum(calls)::text FROM charge_sums";
    let books: String = sqlx::query_scalar(money).fetch_one(&mut *session).await.unwrap();
    session.close().await;

    let known = viewer.memory.preferences("ada").await.unwrap();
    let meant: Vec<_> =
        known.iter().filter(|known| !known.statement.contains("ginger")).cloned().collect();
    assert_eq!(meant.len(), 2, "{known:#?}");
    let forgetting = viewer.memory.forget("ada", &meant).await.unwrap();
    assert_eq!((forgetting.preferences, forgetting.notes), (2, 2));

    let mut session = viewer.store.session().await.unwrap();
    for text in [sentence, "too dark", "zeppelin", "light.bright"] {
        assert_eq!(tables_with(&mut session, text).await, [], "{text}");
        assert_eq!(files_with(viewer.database.data_dir(), text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(tables_with(&mut session, "love the ginger tea").await.len(), 4, "the rest stays");
    let after: String = sqlx::query_scalar(money).fetch_one(&mut *session).await.unwrap();
    assert_eq!(books, after, "no cent was touched");
    let (fingerprint, state): (Option<String>, String) =
        sqlx::query_as("SELECT request_sha256, state FROM operations")
            .fetch_one(&mut *session)
            .await
            .unwrap();
    assert_eq!(
        (fingerprint, state.as_str()),
        (None, "kept"),
        "a changed reply is never handed out again"
    );
    let ratings: Vec<i16> =
        sqlx::query_scalar("SELECT rating FROM project_feedback WHERE superseded_at IS NULL")
            .fetch_all(&mut *session)
            .await
            .unwrap();
    assert_eq!(ratings, [1], "the rating stays");
    session.close().await;
}

#[tokio::test]
async fn what_is_forgotten_comes_back_only_where_the_user_sets_it() {
    let viewer = Viewer::new().await;
    let (project, _) = viewer.make("food video", None).await;
    viewer.rate(project, Some(2), "too dark").await;
    let known = viewer.memory.preferences("ada").await.unwrap();
    viewer.memory.forget("ada", &known).await.unwrap();
    for _ in 0..3 {
        let (project, _) = viewer.make("another film", None).await;
        viewer.rate(project, Some(2), "too dark, and love the drone shots").await;
    }
    assert_eq!(viewer.told().await, ["Likes drone shots and aerial views."]);
    viewer.memory.set_preference("ada", None, "Bright pictures.").await.unwrap();
    let all = viewer.memory.preferences("ada").await.unwrap();
    assert!(all.iter().any(|known| known.topic == "trait:light.bright"), "{all:#?}");
}

#[tokio::test]
async fn everything_can_be_forgotten_and_learnt_anew() {
    let viewer = Viewer::new().await;
    let (old, _) = viewer.make("food video", None).await;
    viewer.rate(old, Some(2), "too dark. Nothing else to say about it").await;
    viewer.memory.set_preference("ada", None, "No umbrellas.").await.unwrap();
    let forgetting = viewer.memory.forget_everything("ada").await.unwrap();
    assert_eq!((forgetting.preferences, forgetting.notes), (2, 1));
    let mut session = viewer.store.session().await.unwrap();
    for text in ["too dark", "nothing else", "umbrellas"] {
        assert_eq!(tables_with(&mut session, text).await, [], "{text}");
    }
    session.close().await;
    viewer.memory.learn("ada").await.unwrap();
    assert_eq!(viewer.told().await, Vec::<String>::new());
    viewer.clock.pass(1);
    let (new, _) = viewer.make("another film", None).await;
    viewer.rate(new, Some(2), "too dark").await;
    assert_eq!(viewer.told().await.len(), 1, "what is said from now on counts");
}

/// A film of a user's with a run and operations that hold these texts.
async fn film_of(viewer: &Viewer, user: &str, options: &Value) -> Uuid {
    let (project, run) = (Uuid::now_v7(), Uuid::now_v7());
    let mut session = viewer.store.session().await.unwrap();
    sqlx::query(
        "INSERT INTO projects (id, user_id, brief, slug, aspect, duration_seconds, shot_count, created_at, updated_at)
         VALUES ($1, $2, 'food video', 'food-video', '9:16', 30, 6, now(), now())",
    )
    .bind(project)
    .bind(user)
    .execute(&mut *session)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO runs (id, project_id, user_id, kind, state, options, created_at, updated_at)
         VALUES ($1, $2, $3, 'film', 'shooting', $4, now(), now())",
    )
    .bind(run)
    .bind(project)
    .bind(user)
    .bind(options)
    .execute(&mut *session)
    .await
    .unwrap();
    session.close().await;
    run
}

/// An operation of a run.
async fn operation_of(
    viewer: &Viewer,
    run: Uuid,
    kind: &str,
    state: &str,
    request: &Value,
) -> Uuid {
    let id = Uuid::now_v7();
    let mut session = viewer.store.session().await.unwrap();
    sqlx::query(
        "INSERT INTO operations (id, user_id, project_id, run_id, kind, component, provider, model, endpoint, state,
                                 price_id, quantity, estimated_usd, request, failure, created_at)
         SELECT $1, user_id, project_id, id, $3, 'video', 'fal', 'kling', 'e', $4, 'p', '{}', 0.35, $5,
                '{\"class\":\"warm\",\"money\":\"warm\",\"message\":\"Too warm\"}', now()
         FROM runs WHERE id = $2",
    )
    .bind(id)
    .bind(run)
    .bind(kind)
    .bind(state)
    .bind(request)
    .execute(&mut *session)
    .await
    .unwrap();
    session.close().await;
    id
}

async fn json_of(viewer: &Viewer, table: &str, column: &str, id: Uuid) -> Value {
    let mut session = viewer.store.session().await.unwrap();
    let value =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT {column} FROM {table} WHERE id = $1")))
            .bind(id)
            .fetch_one(&mut *session)
            .await
            .unwrap();
    session.close().await;
    value
}

#[tokio::test]
async fn a_word_is_forgotten_as_a_word_and_nobody_elses() {
    let viewer = Viewer::new().await;
    let options = json!({
        "image_model": "warm", "folder": "/home/warm", "warm": 1,
        "recalled": {"work": "Warm, warmer, lukewarm.", "preferences": "- Warm.", "campaign": "", "warm": "-"},
    });
    let (mine, others) =
        (film_of(&viewer, "ada", &options).await, film_of(&viewer, "bob", &options).await);
    let request = json!({"prompt": "warm", "model": "warm"});
    let failed = operation_of(&viewer, mine, "clip", "failed_charged", &request).await;
    viewer.memory.set_preference("ada", None, "Warm.").await.unwrap();
    let known = viewer.memory.preferences("ada").await.unwrap();
    assert_eq!(viewer.memory.forget("ada", &known).await.unwrap().preferences, 1);

    let mut expected = options.clone();
    expected["recalled"]["work"] = json!("…, warmer, lukewarm.");
    expected["recalled"]["preferences"] = json!("- ….");
    assert_eq!(json_of(&viewer, "runs", "options", mine).await, expected);
    assert_eq!(json_of(&viewer, "runs", "options", others).await, options);
    assert_eq!(
        json_of(&viewer, "operations", "failure", failed).await,
        json!({"class": "warm", "money": "warm", "message": "Too …"})
    );
    assert_eq!(
        json_of(&viewer, "operations", "request", failed).await,
        request,
        "one word is no quote"
    );
}

#[tokio::test]
async fn what_was_sent_is_forgotten_in_every_state_and_recovery_still_knows_it() {
    let viewer = Viewer::new().await;
    let run = film_of(&viewer, "ada", &json!({})).await;
    let clip = json!({"prompt": "A roof. Never film a purple zeppelin.", "duration": "5",
                      "image_url": "https://f.example/Never-film-a-purple-zeppelin.png"});
    let image = json!({"model": "m", "input": {"prompt": "Never film a purple zeppelin"}});
    let states = ["submitting", "submitted", "ready", "unknown", "kept", "failed_not_charged"];
    let mut operations = Vec::new();
    for state in states {
        for (kind, request) in [("clip", &clip), ("image", &image)] {
            operations.push((state, kind, operation_of(&viewer, run, kind, state, request).await));
        }
    }
    viewer.memory.set_preference("ada", None, "Never film a purple zeppelin.").await.unwrap();
    let known = viewer.memory.preferences("ada").await.unwrap();
    viewer.memory.forget("ada", &known).await.unwrap();
    for (state, kind, operation) in operations {
        let request = json_of(&viewer, "operations", "request", operation).await;
        let expected = match (kind, state) {
            ("image", _) => json!({"model": "m", "input": {"prompt": "…"}}),
            // fal is asked for it by what was sent: the keyframe's address tells it.
            (_, "submitting" | "unknown") => {
                json!({"prompt": null, "duration": "5", "image_url": clip["image_url"]})
            }
            _ => json!({"prompt": "A roof. ….", "duration": "5", "image_url": clip["image_url"]}),
        };
        assert_eq!(request, expected, "{kind} {state}");
    }
}

#[tokio::test]
async fn nothing_is_forgotten_while_a_film_is_made() {
    let viewer = Viewer::new().await;
    let run = film_of(&viewer, "ada", &json!({"recalled": {"work": "no umbrellas at all"}})).await;
    viewer.memory.set_preference("ada", None, "No umbrellas at all.").await.unwrap();
    let known = viewer.memory.preferences("ada").await.unwrap();
    let owned_by = async |owner: &str, state: &str| {
        let mut session = viewer.store.session().await.unwrap();
        sqlx::query("UPDATE runs SET owner = $2, state = $3, owner_until = '2026-03-02T00:00:00Z' WHERE id = $1")
            .bind(run)
            .bind(owner)
            .bind(state)
            .execute(&mut *session)
            .await
            .unwrap();
        session.close().await;
    };
    let alive = aida::process::owner();
    for state in ["writing", "planned", "shooting", "cutting", "partial"] {
        for owner in [alive.as_str(), "elsewhere:1/1/0"] {
            owned_by(owner, state).await;
            for refused in [
                viewer.memory.forget("ada", &known).await,
                viewer.memory.forget_everything("ada").await,
            ] {
                let refused = refused.unwrap_err();
                assert!(
                    matches!(refused, MemoryError::RunUnderWay { run: named } if named.uuid() == run),
                    "{state} {refused}"
                );
                assert_eq!(aida::error::Error::from(refused).kind().exit_code(), 11);
            }
        }
    }
    assert_eq!(viewer.memory.preferences("ada").await.unwrap().len(), 1);
    assert_eq!(
        json_of(&viewer, "runs", "options", run).await["recalled"]["work"],
        "no umbrellas at all"
    );
    // Bob's films are none of Ada's.
    viewer.memory.forget_everything("bob").await.unwrap();
    // What ended badly holds nothing any more, whatever its lease says.
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    let dead = alive.replace(&format!("/{}/", std::process::id()), &format!("/{}/", ended.id()));
    ended.wait().unwrap();
    owned_by(&dead, "shooting").await;
    viewer.memory.forget("ada", &known).await.unwrap();
    assert_eq!(json_of(&viewer, "runs", "options", run).await["recalled"]["work"], "…");
}

#[tokio::test]
async fn a_run_is_not_taken_over_while_something_is_forgotten() {
    let Some(database) = crate::database::TestDatabase::native().await else { return };
    let viewer = Viewer::on(database).await;
    let run = RunId::from_uuid(film_of(&viewer, "ada", &json!({})).await);
    let mut forgetting = viewer.store.session().await.unwrap();
    let mut transaction = forgetting.begin().await.unwrap();
    aida::store::taste::lock(&mut transaction, "ada").await.unwrap();
    let mut session = viewer.store.session().await.unwrap();
    session.execute("SET lock_timeout = '50ms'").await.unwrap();
    runs::claim(&mut session, run, "a", None).await.unwrap_err();
    transaction.commit().await.unwrap();
    assert!(runs::claim(&mut session, run, "a", None).await.unwrap());
    // Two films are begun side by side all the same.
    let mut transaction = forgetting.begin().await.unwrap();
    aida::store::taste::wait_for_run(&mut transaction, run).await.unwrap();
    assert!(runs::claim(&mut session, run, "a", None).await.unwrap());
}

#[tokio::test]
async fn what_is_like_something_forgotten_is_forgotten() {
    let viewer = Viewer::new().await;
    let (project, _) = viewer.make("food video", None).await;
    viewer.rate(project, None, "Love the ginger tea.").await;
    let known = viewer.memory.preferences("ada").await.unwrap();
    assert_eq!(known[0].topic, "words:ginger tea");
    viewer.memory.forget("ada", &known).await.unwrap();
    for note in ["Love the hot ginger tea!", "More ginger tea please", "Love the matcha latte"] {
        let (project, _) = viewer.make("another film", None).await;
        viewer.rate(project, None, note).await;
    }
    assert_eq!(viewer.told().await, ["Love the matcha latte."]);
    // Set by the user, it may be believed again.
    viewer.memory.set_preference("ada", None, "More ginger tea.").await.unwrap();
    let known = viewer.memory.preferences("ada").await.unwrap();
    assert!(
        known
            .iter()
            .any(|known| known.topic.starts_with("words:") && known.topic.contains("ginger")),
        "{known:#?}"
    );
    let kept: i64 = {
        let mut session = viewer.store.session().await.unwrap();
        let kept = sqlx::query_scalar("SELECT count(*) FROM forgotten_preferences")
            .fetch_one(&mut *session)
            .await
            .unwrap();
        session.close().await;
        kept
    };
    assert_eq!(kept, 0, "every sign of it is lifted");
}

#[tokio::test]
async fn where_the_journal_cannot_be_changed_nothing_is_forgotten() {
    let viewer = Viewer::on(crate::database::TestDatabase::embedded()).await;
    viewer.memory.set_preference("ada", None, "No umbrellas at all.").await.unwrap();
    let known = viewer.memory.preferences("ada").await.unwrap();
    let journal = viewer.database.data_dir().join("operations.journal");
    std::fs::create_dir(&journal).unwrap();
    viewer.memory.forget("ada", &known).await.unwrap_err();
    std::fs::remove_dir(&journal).unwrap();
    assert_eq!(viewer.memory.preferences("ada").await.unwrap().len(), 1);
    viewer.memory.forget("ada", &known).await.unwrap();
    assert_eq!(viewer.memory.preferences("ada").await.unwrap().len(), 0);
}
