//! Pictures and clips: submitted, waited for, fetched; and the requests that must be refused.

use std::time::{Duration, Instant};

use reqwest::Client;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use crate::support::environment::{colour_at, probe};
use crate::support::{Fault, Service, World, media};

const CLIP: &str = "fal-ai/kling-video/v2.6/pro/image-to-video";
const PATIENCE: Duration = Duration::from_secs(30);

async fn kie(world: &World, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}{path}", world.variable("KIE_BASE_URL"));
    let client = Client::builder().user_agent("aida/0.1").build().unwrap();
    let request = match body {
        Some(body) => client.post(url).json(&body),
        None => client.get(url),
    };
    let answer = request.bearer_auth(world.variable("KIE_API_KEY")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "KIE hides its errors in the envelope");
    answer.json().await.unwrap()
}

async fn fal(world: &World, method: &str, url: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = Client::new().request(method.parse().unwrap(), url);
    if let Some(body) = body {
        request = request.json(body);
    }
    let key = format!("Key {}", world.variable("FAL_KEY"));
    let answer = request.header("authorization", key).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Asks until `is_done`, and answers what was heard then.
async fn poll(world: &World, path: &str, is_done: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = kie(world, path, None).await;
        if is_done(&answer["data"]) {
            return answer["data"].clone();
        }
        assert!(start.elapsed() < PATIENCE, "{answer}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn midjourney(prompt: &str) -> Value {
    json!({"taskType": "mj_txt2img", "prompt": prompt, "aspectRatio": "9:16", "version": "7", "speed": "fast"})
}

async fn draw(world: &World, prompt: &str) -> Vec<String> {
    let task = kie(world, "/api/v1/mj/generate", Some(midjourney(prompt))).await;
    let path =
        format!("/api/v1/mj/record-info?taskId={}", task["data"]["taskId"].as_str().unwrap());
    let record = poll(world, &path, |data| data["successFlag"] == 1).await;
    let urls = record["resultInfoJson"]["resultUrls"].as_array().unwrap();
    urls.iter().map(|url| url["resultUrl"].as_str().unwrap().to_owned()).collect()
}

async fn upload(world: &World, bytes: Vec<u8>) -> String {
    let url = format!(
        "{}/storage/upload/initiate?storage_type=fal-cdn-v3",
        world.variable("FAL_STORAGE_URL")
    );
    let body = json!({"content_type": "image/png", "file_name": "shot.png"});
    let (status, answer) = fal(world, "POST", &url, Some(&body)).await;
    assert_eq!(status, 200);
    let put = Client::new()
        .put(answer["upload_url"].as_str().unwrap())
        .header("content-type", "image/png")
        .body(bytes);
    assert_eq!(put.send().await.unwrap().status(), 200);
    answer["file_url"].as_str().unwrap().to_owned()
}

async fn submit(world: &World, body: &Value) -> (u16, Value) {
    fal(world, "POST", &format!("{}/{CLIP}", world.variable("FAL_QUEUE_URL")), Some(body)).await
}

async fn fetch(url: &str) -> (u16, Vec<u8>) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

/// Waits for a fal job; answers its last state and its result.
async fn finish(world: &World, job: &Value) -> (Value, u16, Value) {
    let start = Instant::now();
    loop {
        let (status, state) = fal(world, "GET", job["status_url"].as_str().unwrap(), None).await;
        if state["status"] == "COMPLETED" {
            assert_eq!(status, 200);
            let (status, result) =
                fal(world, "GET", job["response_url"].as_str().unwrap(), None).await;
            return (state, status, result);
        }
        assert_eq!(status, 202);
        assert!(start.elapsed() < PATIENCE, "{state}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_prompt_becomes_four_pictures_and_one_of_them_a_clip_of_its_colour() {
    let world = World::start(1_000.0);
    let urls = draw(&world, "a bowl of soup").await;
    assert_eq!(urls.len(), 4);
    let pictures: Vec<Vec<u8>> = futures_util::future::join_all(urls.iter().map(|url| fetch(url)))
        .await
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    assert_ne!(pictures[0], pictures[1], "the pictures can be told apart");
    let look = media::look(&pictures[0]).unwrap();
    assert_eq!((look.width, look.height), (540, 960));
    assert_eq!(look.colour, world.kie().colour_of("a bowl of soup"));

    let image = upload(&world, pictures[0].clone()).await;
    let body = json!({"prompt": "steam rises", "start_image_url": image, "duration": "5", "generate_audio": false});
    let (status, job) = submit(&world, &body).await;
    assert_eq!((status, &job["status"]), (200, &json!("IN_QUEUE")));
    let (_, status, result) = finish(&world, &job).await;
    assert_eq!(status, 200);
    let (status, clip) = fetch(result["video"]["url"].as_str().unwrap()).await;
    assert_eq!(status, 200);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    std::fs::write(&path, clip).unwrap();
    if let Some((seconds, width, height)) = probe(&path) {
        assert!((seconds - 5.0).abs() < 0.001, "{seconds}");
        assert_eq!((width, height), (404, 720));
        let seen = colour_at(&path, 2.5).unwrap();
        assert!(media::is_near(seen, look.colour), "{seen:?} is not {:?}", look.colour);
    }
    assert_eq!(world.bill().total(), dec!(0.04) + dec!(0.35));
    world.assert_no_violations();
}

#[tokio::test]
async fn unified_jobs_report_their_results_as_json_in_json() {
    let world = World::start(1_000.0);
    let body = json!({"model": "nano-banana-2", "input": {"prompt": "tea", "aspect_ratio": "16:9",
        "resolution": "1K", "output_format": "png"}});
    let task = kie(&world, "/api/v1/jobs/createTask", Some(body)).await;
    let path =
        format!("/api/v1/jobs/recordInfo?taskId={}", task["data"]["taskId"].as_str().unwrap());
    let record = poll(&world, &path, |data| data["state"] == "success").await;
    let result: Value = serde_json::from_str(record["resultJson"].as_str().unwrap()).unwrap();
    let (_, bytes) = fetch(result["resultUrls"][0].as_str().unwrap()).await;
    let look = media::look(&bytes).unwrap();
    assert_eq!((look.width, look.height), (960, 540));
    let credit = kie(&world, "/api/v1/chat/credit", None).await;
    assert_eq!(credit["data"], json!(9_992), "eight credits went");
    world.assert_no_violations();
}

#[tokio::test]
async fn wrong_bodies_are_refused_by_both_and_cost_nothing() {
    let world = World::start(1_000.0);
    let mut wrong = 0;
    for change in [
        json!({"aspectRatio": "7:3"}),
        json!({"stylization": 25}),
        json!({"seed": 1}),
        json!({"prompt": ""}),
    ] {
        let mut body = midjourney("soup");
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(kie(&world, "/api/v1/mj/generate", Some(body)).await["code"], 422, "{change}");
        wrong += 1;
    }
    let picture = media::picture((540, 960), [40, 100, 160], 1, image::ImageFormat::Png);
    let image = upload(&world, picture.to_vec()).await;
    let good =
        json!({"prompt": "p", "start_image_url": image, "duration": "5", "generate_audio": false});
    let changes: [fn(&mut Value); 6] = [
        |body| body["duration"] = json!(5),
        |body| body["duration"] = json!("7"),
        |body| body["cfg_scale"] = json!(0.5),
        |body| {
            body.as_object_mut().unwrap().shift_remove("generate_audio");
        },
        |body| body["start_image_url"] = json!("https://example.com/picture.png"),
        |body| {
            let url = body.as_object_mut().unwrap().shift_remove("start_image_url").unwrap();
            body["image_url"] = url;
        },
    ];
    for change in changes {
        let mut body = good.clone();
        change(&mut body);
        let (status, answer) = submit(&world, &body).await;
        assert_eq!(status, 422, "{body}");
        assert!(answer["detail"].is_array());
        wrong += 1;
    }
    assert!(world.violations().len() >= wrong);
    assert_eq!(world.bill().items(), Vec::new());
}

#[tokio::test]
async fn the_twenty_first_job_within_ten_seconds_is_turned_away() {
    let world = World::start(1_000.0);
    for number in 0..20 {
        let answer =
            kie(&world, "/api/v1/mj/generate", Some(midjourney(&format!("soup {number}")))).await;
        assert_eq!(answer["code"], 200, "{number}");
    }
    let answer = kie(&world, "/api/v1/mj/generate", Some(midjourney("one too many"))).await;
    assert_eq!((&answer["code"], world.kie().orders().len()), (&json!(429), 20));
}

#[tokio::test]
async fn kie_lies_on_demand() {
    let world = World::start(1_000.0);
    let path = "mj/generate";
    world.faults().on(Service::Kie, path).nth(1).meets(Fault::EmptySuccess { polls: 2 });
    world
        .faults()
        .on(Service::Kie, path)
        .nth(2)
        .meets(Fault::FailJob { message: "no luck".to_owned() });
    world.faults().on(Service::Kie, path).nth(3).meets(Fault::ForbidDownload);
    world.faults().on(Service::Kie, path).nth(4).meets(Fault::withdrawn());

    let task = kie(&world, "/api/v1/mj/generate", Some(midjourney("empty"))).await;
    let record =
        format!("/api/v1/mj/record-info?taskId={}", task["data"]["taskId"].as_str().unwrap());
    let mut lies = 0;
    let first = poll(&world, &record, |data| data["successFlag"] == 1).await;
    assert_eq!(first["resultInfoJson"]["resultUrls"], json!([]));
    while kie(&world, &record, None).await["data"]["resultInfoJson"]["resultUrls"] == json!([]) {
        lies += 1;
    }
    assert_eq!(lies, 1, "two polls in all were lied to");

    let task = kie(&world, "/api/v1/mj/generate", Some(midjourney("failing"))).await;
    let record =
        format!("/api/v1/mj/record-info?taskId={}", task["data"]["taskId"].as_str().unwrap());
    let failed = poll(&world, &record, |data| data["successFlag"] != 0).await;
    assert_eq!((&failed["successFlag"], &failed["errorMessage"]), (&json!(3), &json!("no luck")));
    assert_eq!(world.bill().items().len(), 1, "what failed is not charged");

    let urls = draw(&world, "forbidden").await;
    assert_eq!(fetch(&urls[0]).await.0, 403);
    let link = kie(&world, "/api/v1/common/download-url", Some(json!({"url": urls[0]}))).await;
    assert_eq!(fetch(link["data"].as_str().unwrap()).await.0, 200);

    let gone = kie(&world, "/api/v1/mj/generate", Some(midjourney("gone"))).await;
    assert_eq!(gone["code"], 505);
    world.assert_no_violations();
}

#[tokio::test]
async fn fal_fails_jobs_keeps_its_concurrency_and_can_be_asked_about_lost_replies() {
    let world = World::start(200.0);
    world.fal().set_concurrency(1);
    let picture = media::picture((540, 960), [220, 100, 40], 1, image::ImageFormat::Png);
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let image = upload(&world, picture.to_vec()).await;
        bodies.push(json!({"prompt": "p", "start_image_url": image, "duration": "5", "generate_audio": true}));
    }
    world.faults().on(Service::Fal, "/queue/").nth(1).meets(Fault::Moderate);
    world.faults().on(Service::Fal, "/queue/").nth(3).meets(Fault::LoseReply);
    let (_, failing) = submit(&world, &bodies[0]).await;
    let (_, waiting) = submit(&world, &bodies[1]).await;
    let lost = Client::new()
        .post(format!("{}/{CLIP}", world.variable("FAL_QUEUE_URL")))
        .header("authorization", format!("Key {}", world.variable("FAL_KEY")))
        .json(&bodies[2])
        .send()
        .await;
    assert!(lost.is_err(), "the connection is cut: {lost:?}");

    let (state, status, result) = finish(&world, &failing).await;
    assert_eq!((&state["status"], status), (&json!("COMPLETED"), 422));
    assert_eq!(result["detail"][0]["type"], "content_policy_violation");
    let (_, state) = fal(&world, "GET", waiting["status_url"].as_str().unwrap(), None).await;
    assert_ne!(state["status"], "COMPLETED", "it had to wait for the first one");
    finish(&world, &waiting).await;

    let asked = format!(
        "{}/models/requests/by-endpoint?endpoint_id={CLIP}&expand=payloads",
        world.variable("FAL_API_URL")
    );
    let (_, page) = fal(&world, "GET", &asked, None).await;
    let inputs: Vec<&Value> =
        page["items"].as_array().unwrap().iter().map(|item| &item["json_input"]).collect();
    assert!(inputs.contains(&&bodies[2]), "the lost request can be found by its payload");
    let spent: Decimal = world.bill().total_of(Service::Fal);
    assert_eq!(spent, dec!(0.70) * dec!(2), "the failed job is free, the lost one is not");
    world.assert_no_violations();
}

#[tokio::test]
async fn a_download_can_break_off_and_a_result_be_damaged() {
    let world = World::start(1_000.0);
    world.faults().on(Service::Kie, "mj/generate").nth(2).meets(Fault::DamageResult);
    world.faults().on(Service::Kie, "GET /files/").nth(1).meets(Fault::CutMidway);
    let whole = draw(&world, "whole").await;
    let broken = reqwest::get(&whole[0]).await.unwrap();
    let announced = broken.content_length().unwrap();
    assert!(broken.bytes().await.is_err());
    let (_, bytes) = fetch(&whole[0]).await;
    assert_eq!(u64::try_from(bytes.len()).unwrap(), announced);
    let damaged = draw(&world, "damaged").await;
    assert!(media::look(&fetch(&damaged[0]).await.1).is_err());
}

#[tokio::test]
async fn keys_are_not_wanted_where_the_files_lie() {
    let world = World::start(1_000.0);
    let urls = draw(&world, "soup").await;
    world.assert_no_violations();
    Client::new().get(&urls[0]).bearer_auth("key").send().await.unwrap();
    assert_eq!(world.violations().len(), 1);
}

#[cfg(feature = "render")]
#[test]
fn clips_can_be_made_without_ffmpeg() {
    let clip =
        media::Clip { width: 180, height: 320, seconds: 1, colour: [40, 220, 100], audio: false };
    let bytes = clip.make_in_process();
    assert_eq!(&bytes[4..8], b"ftyp");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    std::fs::write(&path, bytes).unwrap();
    if let Some((seconds, width, height)) = probe(&path) {
        assert!((seconds - 1.0).abs() < 0.05, "{seconds}");
        assert_eq!((width, height), (180, 320));
        assert!(media::is_near(colour_at(&path, 0.5).unwrap(), [40, 220, 100]));
    }
}
