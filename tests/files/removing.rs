//! Files that are removed or replaced: what still needs them keeps them.

use super::*;

/// Where the copy of a picture lies.
fn copy_of(stage: &Stage, report: &Value) -> PathBuf {
    let sha256 = report["sha256"].as_str().unwrap();
    stage.machine.data().join("files").join(&sha256[..2]).join(sha256)
}

/// A logo that was laid down and then replaced by another picture under the same path; what `files add`
/// said of both.
fn replaced_logo(stage: &Stage) -> (Value, Value) {
    stage.machine.write("brand/logo.png", picture([210, 35, 30], ImageFormat::Png));
    let old = stage.files(&["add", "brand", "--json"]).expect(0).json();
    let words = ["campaigns", "create", "Spring", "--logo", "LOGO.png"];
    stage.machine.run(&words).expect(0);
    stage.machine.write("brand/logo.png", picture([20, 70, 35], ImageFormat::Png));
    let new = stage.files(&["add", "brand", "--json"]).expect(0).json();
    (added(&old, "logo.png").clone(), added(&new, "logo.png").clone())
}

#[tokio::test]
async fn a_replaced_logo_stays_until_no_campaign_has_it() {
    let stage = without_keys().await;
    let (old, new) = replaced_logo(&stage);
    assert_eq!(new["replaces"][0], old["id"]);
    std::fs::remove_dir_all(stage.machine.work().join("brand")).unwrap();
    let listed = || stage.files(&["list", "--all", "--json"]).expect(0).json()["files"].clone();

    let removed = stage.files(&["remove", "logo.png"]).expect(0);
    let stays = "stays until nothing needs it: it is the logo of the campaign 'Spring'";
    assert!(removed.stderr.contains(stays), "{}", removed.stderr);
    let left = listed();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!((&left[0]["id"], &left[0]["removed"]), (&old["id"], &true.into()));
    assert!(copy_of(&stage, &old).is_file() && !copy_of(&stage, &new).exists());
    let shown = stage.machine.run(&["campaigns", "style", "Spring", "--json"]).expect(0).json();
    assert_eq!(shown["style"]["logo"]["file_id"], old["id"], "{shown}");
    // It is nobody's any more but the campaign's.
    assert_eq!(stage.files(&["list", "--json"]).expect(0).json()["files"], serde_json::json!([]));
    let words = ["campaigns", "create", "Autumn", "--logo", "logo.png"];
    stage.machine.run(&words).expect(2);
    let refused = stage.files(&["remove", old["id"].as_str().unwrap()]).expect(2);
    assert!(refused.stderr.contains("still the logo of the campaign"), "{}", refused.stderr);

    // With the next look at the files after the campaign has let it go, it goes as well.
    stage.machine.run(&["campaigns", "style", "Spring", "--clear", "logo"]).expect(0);
    stage.machine.write("notes.md", "# Notes");
    stage.files(&["add", "notes.md"]).expect(0);
    assert_eq!(listed().as_array().unwrap().len(), 1, "{}", listed());
    assert!(!copy_of(&stage, &old).exists());
}

#[tokio::test]
async fn a_logo_is_the_picture_that_bears_the_name_now() {
    let stage = without_keys().await;
    let (_, new) = replaced_logo(&stage);
    let words = ["campaigns", "create", "Autumn", "--logo", "Logo.PNG", "--json"];
    stage.machine.run(&words).expect(0);
    let shown = stage.machine.run(&["campaigns", "style", "Autumn", "--json"]).expect(0).json();
    assert_eq!(shown["style"]["logo"]["file_id"], new["id"], "{shown}");
}

#[tokio::test]
async fn what_a_run_may_go_on_with_stays_until_it_is_done() {
    let stage = without_keys().await;
    let (old, new) = replaced_logo(&stage);
    let Some(url) = stage.database.url() else {
        say("SKIPPED: to put a run into each of its states needs a Postgres of one's own");
        return;
    };
    stage.machine.run(&["campaigns", "style", "Spring", "--clear", "logo"]).expect(0);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    // Named by its bytes alone, as by a run that was given it before it was stored anew.
    let options = serde_json::json!({ "references": [{ "sha256": old["sha256"] }] }).to_string();
    stage.machine.run(&["create-video", "tea", "--preview", "--duration", "5"]).expect(0);
    let set = "UPDATE runs SET state = $1, options = options || $2::jsonb";
    for state in ["writing", "planned", "shooting", "cutting", "partial"] {
        let update = sqlx::query(set).bind(state).bind(&options);
        update.execute(&mut connection).await.unwrap();
        let refused = stage.files(&["remove", old["id"].as_str().unwrap()]).expect(2);
        assert!(refused.stderr.contains("aida resume"), "{state}: {}", refused.stderr);
    }
    let removed = stage.files(&["remove", new["id"].as_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(removed["removed"][0]["id"], new["id"], "{removed}");
    assert_eq!(removed["kept"][0]["id"], old["id"], "{removed}");
    assert!(removed["kept"][0]["run_id"].is_string(), "{removed}");
    assert!(copy_of(&stage, &old).is_file());
    let update = sqlx::query(set).bind("done").bind("{}");
    update.execute(&mut connection).await.unwrap();
    stage.machine.write("notes.md", "# Notes");
    stage.files(&["add", "notes.md"]).expect(0);
    assert!(!copy_of(&stage, &old).exists());
    assert_eq!(
        stage.files(&["list", "--all", "--json"]).expect(0).json()["files"][0]["name"],
        "notes.md"
    );
}

#[tokio::test]
async fn a_copy_that_is_stored_again_while_it_is_forgotten_stays() {
    // The embedded server has one session, so there is nobody to store anything meanwhile.
    let Some(database) = TestDatabase::native().await else { return };
    let store = database.open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logo.png");
    std::fs::write(&path, picture([210, 35, 30], ImageFormat::Png)).unwrap();
    let vault = Vault::new(folder.path().join("vault"));
    let logo = Reader::new("no-such-program".into()).read_one(&path).await.unwrap();
    let copy = folder.path().join("vault").join(&logo.sha256[..2]).join(&logo.sha256);
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let mut session = store.session().await.unwrap();
    let keep = async |session: &mut PgConnection| {
        files::store(session, &vault, "ada", None, &logo, "builtin", now).await.unwrap().id
    };

    // Its row is gone, and before its copy is gone as well it is stored again.
    let id = keep(&mut session).await;
    let removal = rows::remove(&mut session, &[id], false).await.unwrap();
    assert_eq!(removal.unused, std::slice::from_ref(&logo.sha256));
    let id = keep(&mut session).await;
    files::forget_copies(&mut session, &vault, &removal.unused).await.unwrap();
    assert!(copy.is_file());

    // It is being stored again, and whoever forgets it waits for what comes of that.
    rows::remove(&mut session, &[id], false).await.unwrap();
    let mut storing = session.begin().await.unwrap();
    keep(&mut storing).await;
    let (other, copies, unused) = (store.clone(), vault.clone(), removal.unused.clone());
    let forgetting = tokio::spawn(async move {
        let mut session = other.session().await.unwrap();
        files::forget_copies(&mut session, &copies, &unused).await.unwrap();
        session.close().await;
    });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    let deadline = Instant::now() + PATIENCE;
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut *storing).await.unwrap() {
        assert!(Instant::now() < deadline && !forgetting.is_finished(), "it does not wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    storing.commit().await.unwrap();
    forgetting.await.unwrap();
    assert!(copy.is_file());

    // What nothing names goes.
    let found = rows::find(&mut session, "ada", "logo.png").await.unwrap();
    rows::remove(&mut session, &[found[0].id], false).await.unwrap();
    files::forget_copies(&mut session, &vault, &removal.unused).await.unwrap();
    assert!(!copy.exists());
    session.close().await;
}
