//! Pictures that the image model is shown: uploaded once, checked, and counted.

use super::*;

#[tokio::test]
async fn references_reach_the_image_model() {
    let Some(stage) = Stage::build().await else { return };
    let logo = picture([210, 35, 30], ImageFormat::Png);
    stage.machine.write("logo.png", &logo);
    stage.machine.run(&film(&["--reference", "logo.png"])).expect(0);
    let orders = stage.world.kie().orders();
    let uploads = stage.world.kie().uploads();
    assert_eq!(uploads.len(), 2, "the logo once, and the first keyframe");
    let path_of_logo = &uploads.iter().find(|upload| upload.bytes == logo).unwrap().path;
    let first = orders.iter().find(|order| order.prompt.starts_with("Shot 1")).unwrap();
    let second = orders.iter().find(|order| order.prompt.starts_with("Shot 2")).unwrap();
    assert_eq!(&first.references, std::slice::from_ref(path_of_logo));
    assert_eq!(first.model, "midjourney mj_omni_reference fast");
    assert_eq!(second.references.len(), 2);
    assert_eq!(&second.references[0], path_of_logo);
    assert_eq!(second.model, "midjourney mj_style_reference fast");
    // What the second looks like is the first's own picture.
    let shown = uploads.iter().find(|upload| upload.path == second.references[1]).unwrap();
    let look = support::media::look(&shown.bytes).unwrap();
    assert!(support::media::is_near(look.colour, first.colour), "{look:?}");
    // The team was told of it by name and by what is seen in it.
    let told = stage.world.requests(Service::Anthropic, "messages");
    let body = told[1].body.to_string();
    assert!(body.contains("logo.png") && body.contains("A zebra crossing"), "{body}");
    stage.balance().await;

    // Another take of the second shot, when the original is gone: shown the same, uploaded no more.
    std::fs::remove_file(stage.machine.work().join("logo.png")).unwrap();
    let listed = stage.machine.run(&["show", "--json"]).expect(0).json();
    let project = listed["projects"][0]["project_id"].as_str().unwrap();
    stage.machine.run(&["retake", project, "--shot", "2", "--image", "--yes"]).expect(0);
    let orders = stage.world.kie().orders();
    assert_eq!(orders.last().unwrap().references, second.references);
    assert_eq!(stage.world.requests(Service::Kie, "file-stream-upload").len(), 2);
    stage.balance().await;
}

#[tokio::test]
async fn a_kept_picture_is_a_reference_by_its_id_and_a_forward_reference_is_refused() {
    let Some(stage) = Stage::build().await else { return };
    stage.machine.write("cup.webp", picture([20, 70, 35], ImageFormat::WebP));
    let report = stage.files(&["add", "cup.webp", "--json"]).expect(0).json();
    let id = added(&report, "cup.webp")["id"].as_str().unwrap().replace('-', "");
    std::fs::remove_file(stage.machine.work().join("cup.webp")).unwrap();
    let words =
        ["create-video", "tea (shot 1 like cup.webp)", "--yes", "--duration", "5", "--scenes", "1"];
    // Named by the storyboard, and once more for all: shown once.
    let more = ["--reference", &id[24..], "--image-model", "nano-banana-2"];
    let all: Vec<&str> = words.iter().chain(&more).copied().collect();
    stage.machine.run(&all).expect(0);
    let order = &stage.world.kie().orders()[0];
    assert_eq!(order.references.len(), 1);
    let uploads = stage.world.kie().uploads();
    let format = image::guess_format(&uploads[0].bytes).unwrap();
    assert_eq!(format, ImageFormat::Jpeg, "a WebP is packed anew");
    stage.balance().await;

    let before = stage.world.kie().orders().len();
    let forward =
        ["create-video", "tea (shot 1 like shot 2)", "--yes", "--duration", "10", "--scenes", "2"];
    let refused = stage.machine.run(&forward);
    assert_ne!(refused.code, Some(0));
    assert_eq!(stage.world.kie().orders().len(), before, "no picture was bought");
    stage.balance().await;
}

#[tokio::test]
async fn too_many_references_are_refused_before_anything_is_spent() {
    let stage = Stage::on(100.0, TestDatabase::fresh().await);
    stage.machine.write("logo.png", picture([210, 35, 30], ImageFormat::Png));
    let words = film(&["--reference", "logo.png", "--image-model", "imagen4"]);
    let refused = stage.machine.run(&words).expect(2);
    assert!(refused.stderr.contains("imagen4 can be shown none"), "{}", refused.stderr);
    for number in 1..=5_u8 {
        stage
            .machine
            .write(&format!("{number}.png"), picture([number * 40, 0, 0], ImageFormat::Png));
    }
    let five = ["1", "2", "3", "4", "5"].map(|number| format!("{number}.png"));
    let more: Vec<&str> = five.iter().flat_map(|path| ["--reference", path.as_str()]).collect();
    let refused = stage.machine.run(&film(&more)).expect(2);
    assert!(
        refused.stderr.contains("midjourney-7-fast can be shown at most 4"),
        "{}",
        refused.stderr
    );
    stage.machine.write("notes.md", "# No picture");
    let refused = stage.machine.run(&film(&["--reference", "notes.md"])).expect(2);
    assert!(refused.stderr.contains("is no picture"), "{}", refused.stderr);
    stage.machine.run(&film(&["--reference", "nowhere.png"])).expect(2);
    assert!(stage.world.bill().items().is_empty());
    assert!(stage.world.records().is_empty(), "nobody was asked anything");
}

#[tokio::test]
async fn what_a_storyboard_names_and_the_model_cannot_be_shown_is_told() {
    let Some(mut stage) = Stage::build().await else { return };
    let price = "[[price]]\nprovider = \"kie\"\nmodel = \"imagen4\"\nfrom = \"2026-01-01\"\nimage = \"0.03\"\n";
    let config = stage.machine.write("config.toml", price);
    stage.machine.set("AIDA_CONFIG", &config.display().to_string());
    let finished = stage.machine.run(&film(&["--image-model", "imagen4", "--json"])).expect(0);
    let notes: Vec<Value> = finished
        .json_lines()
        .into_iter()
        .filter(|line| line["event"] == "note")
        .map(|line| line["message"].clone())
        .collect();
    assert!(
        notes.iter().any(|note| note
            .as_str()
            .unwrap()
            .contains("imagen4 cannot be shown reference pictures: shot 2")),
        "{notes:?}"
    );
    assert!(stage.world.kie().orders().iter().all(|order| order.references.is_empty()));
    stage.balance().await;
}

#[tokio::test]
async fn an_upload_is_used_again_until_it_is_too_old() {
    let database = TestDatabase::fresh().await;
    let store = database.open().await;
    let purpose = Purpose {
        user_id: "ada".to_owned(),
        project: None,
        run: None,
        shot: None,
        component: Component::Upload,
        owner: None,
    };
    let lifetime = Duration::from_hours(20);
    let mut made = 0;
    for (time, sha256, uploads) in [
        ("2026-11-22T12:00:00Z", "a", 1),
        ("2026-11-23T07:00:00Z", "a", 1),
        ("2026-11-23T07:00:00Z", "b", 2),
        ("2026-11-23T09:00:00Z", "a", 3),
        ("2026-11-23T10:00:00Z", "a", 3),
    ] {
        let clock: SharedClock = Arc::new(FixedClock(time.parse().unwrap()));
        let answers = database.data_dir().join("answers");
        let till = Till::new(store.clone(), Arc::new(PriceBook::shipped()), clock, 1, answers);
        let seller = (Provider::Kie, "midjourney-7-fast");
        let uploading = async {
            made += 1;
            Ok(format!("https://kie.example/{sha256}"))
        };
        let url = till.upload_once(&purpose, seller, sha256, lifetime, uploading).await.unwrap();
        assert_eq!(url, format!("https://kie.example/{sha256}"));
        assert_eq!(made, uploads, "{time} {sha256}");
    }
}

#[tokio::test]
async fn a_run_that_is_killed_around_an_upload_buys_nothing_twice() {
    if !has_ffmpeg() {
        return;
    }
    for (moment, uploads) in [("kie upload submitting", 2..=3), ("kie upload kept", 2..=2)] {
        let stage = Stage::on(100.0, TestDatabase::fresh().await);
        let Some(url) = stage.database.url() else {
            say("SKIPPED: to be told of transitions needs a Postgres of one's own");
            return;
        };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute(sqlx::raw_sql(TELL)).await.unwrap();
        let mut listener = PgListener::connect(&url).await.unwrap();
        listener.listen("transitions").await.unwrap();
        stage.machine.write("logo.png", picture([210, 35, 30], ImageFormat::Png));
        let mut running = stage.machine.spawn(&film(&["--reference", "logo.png"]));
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline && running.is_running(), "{moment} did not come");
            let told = tokio::time::timeout(Duration::from_millis(50), listener.recv()).await;
            if told.is_ok_and(|told| told.unwrap().payload() == moment) {
                running.kill();
                break;
            }
        }
        // The original may go: the run has its copy.
        std::fs::remove_file(stage.machine.work().join("logo.png")).unwrap();
        stage.machine.run(&["resume", "--last", "--yes"]).expect(0);
        let orders = stage.world.kie().orders();
        assert_eq!(orders.len(), 2, "{moment}");
        assert!(orders.iter().all(|order| !order.references.is_empty()), "{moment}");
        let sent = stage.world.requests(Service::Kie, "file-stream-upload").len();
        assert!(uploads.contains(&sent), "{moment}: {sent} uploads");
        stage.balance().await;
    }
}
