//! Files of the user: kept once, quoted, and told to the team.

use super::*;

/// A folder for copies of pictures; the tests here keep none.
/// Keeps a document for a user, and makes it findable.
async fn keep_file(
    database: &Database,
    memory: &Memory,
    user: &str,
    path: &Path,
) -> (FileId, Remembered) {
    let reader = files::Reader::new(env!("CARGO_BIN_EXE_aida").into());
    let vault = files::Vault::new("no-such-folder".into());
    let (file, embedder) = (reader.read_one(path).await.unwrap(), memory.embedder());
    let mut session = database.store.session().await.unwrap();
    let now = database.clock.now();
    let stored = files::store(&mut session, &vault, user, None, &file, embedder, now);
    let stored = stored.await.unwrap();
    session.close().await;
    let (purpose, never) = (purpose(user), CancellationToken::new());
    (stored.id, memory.embed_file(&purpose, stored.id, &never).await.unwrap())
}

#[tokio::test]
async fn files_are_kept_once_and_quoted() {
    let database = Database::new().await;
    let memory = database.memory();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("menu.md");
    let text = format!(
        "# Spring menu\n\n{}\n\nThe rhubarb tart is served with cardamom ice cream.",
        "We cook with what grows nearby. ".repeat(80)
    );
    std::fs::write(&path, &text).unwrap();

    let (file, remembered) = keep_file(&database, &memory, "ada", &path).await;
    assert!(remembered.passages > 1);
    let (again, remembered) = keep_file(&database, &memory, "ada", &path).await;
    assert_eq!((again, remembered.embedded), (file, 0));
    let (others, _) = keep_file(&database, &memory, "eve", &path).await;
    assert_ne!(others, file);
    assert_eq!(database.number("SELECT count(*) FROM user_files").await, 2);

    let filter = SearchFilter { kinds: vec![PassageKind::File], ..SearchFilter::default() };
    let report = memory.search(&purpose("ada"), "rhubarb tarts", &filter).await.unwrap();
    assert_eq!(report.hits.len(), 1);
    assert_eq!((report.hits[0].title.as_str(), report.hits[0].id), ("menu.md", file.uuid()));
    assert!(report.hits[0].snippet.contains("rhubarb tart"), "{}", report.hits[0].snippet);

    let told = memory.search_files(&purpose("ada"), "rhubarb").await.unwrap();
    assert!(told.starts_with("### From menu.md\n"), "{told}");
    assert!(told.contains("cardamom ice cream"));
}

#[tokio::test]
async fn the_team_is_told_what_could_help() {
    let database = Database::new().await;
    let [bread, shoes, _] = database.with_films().await;
    let memory = database.memory();
    let now = database.clock.now();
    let campaign = create(&database, "Spring", "Everything that grows").await;
    let mut session = database.store.session().await.unwrap();
    assert!(campaigns::add(&mut session, campaign, shoes, now).await.unwrap());
    session.close().await;
    database
        .run(&format!(
            "INSERT INTO project_feedback (id, project_id, user_id, rating, note, created_at) VALUES
                 (gen_random_uuid(), '{bread}', 'ada', 4, 'warm, but the end is abrupt', '2026-11-01'),
                 (gen_random_uuid(), '{bread}', 'ada', 5, '', '2026-11-02');
             INSERT INTO user_preferences (id, user_id, statement, support, pinned, created_at, updated_at) VALUES
                 (gen_random_uuid(), 'ada', 'Warm light', 3, false, now(), now()),
                 (gen_random_uuid(), 'ada', 'Never show faces', 1, true, now(), now()),
                 (gen_random_uuid(), 'eve', 'Loud music', 9, true, now(), now())"
        ))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "Only rye flour.").unwrap();
    let (file, _) = keep_file(&database, &memory, "ada", &path).await;

    let request = RecallRequest {
        brief: "bread from a small bakery",
        project: None,
        campaign: Some(campaign),
        files: &[file],
    };
    let recall = memory.recall(&purpose("ada"), &request).await.unwrap();
    insta::assert_snapshot!(recall.work, @r"
    ## Similar projects of this user

    ### Slow Bread
    Brief: A bakery in Lyon that still bakes with a hundred-year-old starter
    Logline: Slow Bread, told briefly.
    Rating: 4.5 of 5 on average
    The user remarked: warm, but the end is abrupt
    Shot 1: Dough rising under a linen cloth, morning light
    Shot 2: A baker scores a loaf with a razor, flour in the air

    ## The user's files

    ### notes.txt (given for this video)
    Only rye flour.
    ");
    assert_eq!(
        recall.campaign,
        "### Spring\nAbout: Everything that grows\nIts latest videos:\n\
         - First Mile: First Mile, told briefly."
    );
    assert_eq!(recall.preferences, "- Never show faces (the user's own words)\n- Warm light");
    assert_eq!((recall.found.projects, recall.found.files, recall.found.preferences), (1, 1, 2));
    let again = memory.recall(&purpose("ada"), &request).await.unwrap();
    assert_eq!(recall.work, again.work);

    let itself = RecallRequest { project: Some(bread), campaign: None, files: &[], ..request };
    let recall = memory.recall(&purpose("ada"), &itself).await.unwrap();
    assert!(!recall.work.contains("Slow Bread"), "{}", recall.work);
    let nobody = memory.recall(&purpose("new"), &itself).await.unwrap();
    assert_eq!(nobody.found.projects, 0);
    assert!(nobody.work.contains("No earlier project"));
}
