//! The operations journal: what was paid for is known again after the database has lost it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aida::store::redaction::{Redaction, Redactor};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use sqlx::{Connection as _, PgConnection};

use crate::rows::Work;
use crate::support::TestDatabase;

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn journal(database: &TestDatabase) -> String {
    fs::read_to_string(database.data_dir().join("operations.journal")).unwrap_or_default()
}

/// State, revision and request id of an operation.
async fn operation(connection: &mut PgConnection, work: Work) -> (String, i32, Option<String>) {
    sqlx::query_as("SELECT state, revision, request_id FROM operations WHERE id = $1")
        .bind(work.operation)
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_older_database_learns_what_was_bought_since() {
    let database = TestDatabase::embedded();
    let folder = database.data_dir().join("database");
    let older = database.data_dir().join("older");
    let [first, second, third] = [Work::new(), Work::new(), Work::new()];

    // What the older database knows: one operation that is being sent.
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    first.submit(&mut session).await;
    store.journal(&mut session, first.operation).await.unwrap();
    session.close().await;
    database.end_host("TERM");
    copy_folder(&folder, &older);

    // What it will have missed: the first one's outcome, a second one that was bought from
    // beginning to end, and a third one that was caught being sent.
    let mut session = store.session().await.unwrap();
    first.submitted(&mut session, "request-1").await;
    store.journal(&mut session, first.operation).await.unwrap();
    second.submit(&mut session).await;
    store.journal(&mut session, second.operation).await.unwrap();
    second.submitted(&mut session, "request-2").await;
    store.journal(&mut session, second.operation).await.unwrap();
    second.kept(&mut session).await;
    store.journal(&mut session, second.operation).await.unwrap();
    third.submit(&mut session).await;
    store.journal(&mut session, third.operation).await.unwrap();
    session.close().await;
    database.end_host("KILL");
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&older, &folder).unwrap();

    let mut session = store.session().await.unwrap();
    let connection = &mut *session;
    assert_eq!(
        operation(connection, first).await,
        ("submitted".to_owned(), 2, Some("request-1".to_owned()))
    );
    assert_eq!(
        operation(connection, second).await,
        ("kept".to_owned(), 3, Some("request-2".to_owned()))
    );
    assert_eq!(operation(connection, third).await, ("submitting".to_owned(), 1, None));
    // Every digit of the money, the cap of the run and the texts of the shot.
    let (settled, cap, prompt, path): (Decimal, Decimal, String, String) = sqlx::query_as(
        "SELECT settled_usd, cap_usd, image_prompt, path
         FROM charges
         JOIN budgets ON budgets.subject = charges.run_id::text
         JOIN shots ON shots.project_id = charges.project_id
         JOIN takes ON takes.operation_id = charges.operation_id
         WHERE charges.operation_id = $1",
    )
    .bind(second.operation)
    .fetch_one(connection)
    .await
    .unwrap();
    assert_eq!(settled, dec!(0.350000000001));
    assert_eq!(cap, dec!(5.000000000001));
    assert_eq!(prompt, "a bowl of soup, \"steaming\"\nçà et là");
    assert_eq!(path, "takes/1.mp4");
    session.close().await;

    // A clean end leaves nothing for the journal to know better.
    assert!(!journal(&database).is_empty());
    database.end_host("TERM");
    assert_eq!(journal(&database), "");
    let mut session = store.session().await.unwrap();
    assert_eq!(operation(&mut session, second).await.0, "kept");
}

#[tokio::test]
async fn what_was_forgotten_does_not_come_back_out_of_the_journal() {
    // Whether the process that forgets is ended before it commits or behind that.
    for is_committed in [false, true] {
        let database = TestDatabase::embedded();
        let folder = database.data_dir().join("database");
        let older = database.data_dir().join("older");
        let (mine, others) = (Work::new(), Work::new());
        let store = database.open().await;
        store.session().await.unwrap().close().await;
        database.end_host("TERM");
        copy_folder(&folder, &older);

        let mut session = store.session().await.unwrap();
        mine.submit(&mut session).await;
        others.submit(&mut session).await;
        for table in ["projects", "runs", "operations"] {
            let sql = format!("UPDATE {table} SET user_id = 'bob' WHERE id = $1");
            let id = match table {
                "projects" => others.project.uuid(),
                "runs" => others.run.uuid(),
                _ => others.operation.uuid(),
            };
            sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(&mut *session).await.unwrap();
        }
        for work in [mine, others] {
            store.journal(&mut session, work.operation).await.unwrap();
        }
        let redaction = Redaction {
            words: "Bowl of soup, \"steaming\" çà".to_owned(),
            instead: "…".to_owned(),
            is_everywhere: true,
        };
        let redactor = Arc::new(Redactor::new("anna", &[redaction]));
        let mut transaction = session.begin().await.unwrap();
        redactor.redact(&mut transaction).await.unwrap();
        store.redact_journal(&mut transaction, &redactor).await.unwrap();
        if is_committed {
            transaction.commit().await.unwrap();
        } else {
            drop(transaction);
        }
        drop(session);
        database.end_host("KILL");
        let text = journal(&database);
        assert_eq!(text.matches("bowl of soup").count(), 1, "{text}");
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(&older, &folder).unwrap();

        let mut session = store.session().await.unwrap();
        for (work, expected) in
            [(mine, "a … et là"), (others, "a bowl of soup, \"steaming\"\nçà et là")]
        {
            assert_eq!(operation(&mut session, work).await, ("submitting".to_owned(), 1, None));
            let (prompt, reserved): (String, Decimal) = sqlx::query_as(
                "SELECT image_prompt, reserved_usd FROM shots JOIN operations ON shot_id = shots.id
                 WHERE operations.id = $1",
            )
            .bind(work.operation)
            .fetch_one(&mut *session)
            .await
            .unwrap();
            assert_eq!((prompt.as_str(), reserved), (expected, dec!(0.350000000001)));
        }
    }
}

#[tokio::test]
async fn a_known_outcome_replaces_an_unknown_one_and_never_the_other_way() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let [settled_later, unknown_before] = [Work::new(), Work::new()];
    let mut session = store.session().await.unwrap();
    for work in [settled_later, unknown_before] {
        work.submit(&mut session).await;
    }
    // The journal knows it settled; the database is put back to unknown.
    settled_later.charged(&mut session, "settled").await;
    store.journal(&mut session, settled_later.operation).await.unwrap();
    sqlx::query("UPDATE charges SET state = 'unknown', settled_usd = NULL")
        .execute(&mut *session)
        .await
        .unwrap();
    // The journal knows it unknown; the database has learnt better since.
    unknown_before.charged(&mut session, "unknown").await;
    store.journal(&mut session, unknown_before.operation).await.unwrap();
    sqlx::query("UPDATE charges SET state = 'settled', settled_usd = 0.1 WHERE operation_id = $1")
        .bind(unknown_before.operation)
        .execute(&mut *session)
        .await
        .unwrap();
    sqlx::query("UPDATE operations SET revision = 7, state = 'kept' WHERE id = $1")
        .bind(unknown_before.operation)
        .execute(&mut *session)
        .await
        .unwrap();
    session.close().await;
    database.end_host("KILL");

    let mut session = store.session().await.unwrap();
    let charge = async |connection: &mut PgConnection, work: Work| -> (String, Option<Decimal>) {
        sqlx::query_as("SELECT state, settled_usd FROM charges WHERE operation_id = $1")
            .bind(work.operation)
            .fetch_one(connection)
            .await
            .unwrap()
    };
    assert_eq!(
        charge(&mut session, settled_later).await,
        ("settled".to_owned(), Some(dec!(0.350000000001)))
    );
    let (state, amount) = charge(&mut session, unknown_before).await;
    assert_eq!(
        (state.as_str(), amount.map(|amount| amount.normalize())),
        ("settled", Some(dec!(0.1)))
    );
    assert_eq!(operation(&mut session, unknown_before).await.1, 7);
}

#[tokio::test]
async fn a_later_storyboard_takes_the_place_of_an_earlier_one() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let work = Work::new();
    let mut session = store.session().await.unwrap();
    work.submit(&mut session).await;
    store.journal(&mut session, work.operation).await.unwrap();
    // As an older database has it: other shots, an earlier stage, and no operation yet.
    for statement in [
        "DELETE FROM operations",
        "DELETE FROM shots",
        "INSERT INTO shots (id, project_id, number, image_prompt, motion_prompt, duration_seconds)
         SELECT gen_random_uuid(), id, number, 'earlier', 'earlier', 5
         FROM projects, generate_series(1, 3) AS number",
        "UPDATE projects SET title = 'earlier', updated_at = updated_at - interval '1 minute'",
        "UPDATE runs SET state = 'writing', updated_at = updated_at - interval '1 minute'",
    ] {
        sqlx::query(statement).execute(&mut *session).await.unwrap();
    }
    session.close().await;
    database.end_host("KILL");

    let mut session = store.session().await.unwrap();
    let (title, state, shots, prompt): (String, String, i64, String) = sqlx::query_as(
        "SELECT title, state, (SELECT count(*) FROM shots),
                (SELECT image_prompt FROM shots WHERE number = 1)
         FROM projects JOIN runs ON runs.project_id = projects.id",
    )
    .fetch_one(&mut *session)
    .await
    .unwrap();
    assert_eq!((title.as_str(), state.as_str(), shots), ("", "shooting", 1));
    assert!(prompt.starts_with("a bowl of soup"), "{prompt}");
}

#[tokio::test]
async fn lines_of_other_versions_and_broken_ones_stop_nothing() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let [plain, altered] = [Work::new(), Work::new()];
    let mut session = store.session().await.unwrap();
    for work in [plain, altered] {
        work.submit(&mut session).await;
        store.journal(&mut session, work.operation).await.unwrap();
    }
    sqlx::query("DELETE FROM operations").execute(&mut *session).await.unwrap();
    session.close().await;
    database.end_host("KILL");

    let path = database.data_dir().join("operations.journal");
    let text = journal(&database);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    // From a version that knows a column more, and one less that has a default.
    assert!(lines[1].contains("\"reserved_usd\""), "{}", lines[1]);
    lines[1] = lines[1]
        .replacen("\"reserved_usd\"", "\"a_column_of_tomorrow\"", 1)
        .replacen("\"v\": 1", "\"v\": 2", 1);
    lines.insert(0, "{\"v\":1,\"operation\":{\"id\":\"no id\"}}".to_owned());
    fs::write(&path, format!("{}\n{{\"v\":1,\"oper", lines.join("\n"))).unwrap();

    let mut session = store.session().await.unwrap();
    assert_eq!(operation(&mut session, plain).await.0, "submitting");
    assert_eq!(operation(&mut session, altered).await.0, "submitting");
    session.close().await;
    // What could not be read stays, for a person to look at.
    database.end_host("TERM");
    assert!(journal(&database).contains("no id"));
}

#[tokio::test]
async fn it_stands_on_the_disk_before_anything_is_sent() {
    let database = TestDatabase::embedded();
    let store = database.open().await;
    let work = Work::new();
    let mut session = store.session().await.unwrap();
    work.submit(&mut session).await;
    store.journal(&mut session, work.operation).await.unwrap();
    let text = journal(&database);
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["v"], 1);
    assert_eq!(line["operation"]["id"], work.operation.to_string());
    assert_eq!(line["operation"]["state"], "submitting");
    assert_eq!(line["run"]["id"], work.run.to_string());
    assert_eq!(line["charge"], serde_json::Value::Null);
    assert!(text.contains("0.350000000001"));
    // Where it cannot be written, the caller hears of it and must not send.
    let path = database.data_dir().join("operations.journal");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    store.journal(&mut session, work.operation).await.unwrap_err();
    fs::remove_dir(&path).unwrap();
}

#[tokio::test]
async fn an_external_server_needs_none() {
    let Some(database) = TestDatabase::native().await else { return };
    let store = database.open().await;
    let work = Work::new();
    let mut session = store.session().await.unwrap();
    work.submit(&mut session).await;
    store.journal(&mut session, work.operation).await.unwrap();
    assert!(!store.is_embedded());
    assert!(!database.data_dir().exists());
}
