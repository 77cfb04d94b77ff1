//! Keyframes and clips from the stand-ins of KIE and fal.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aida::ids::OperationId;
use aida::ledger::money::Quantity;
use aida::ledger::operation::OperationKind;
use aida::ledger::{Component, Parcel, Submission, TillError};
use aida::providers::fal::{VIDEO_MODELS, video_model};
use aida::providers::http::download;
use aida::providers::kie::{IMAGE_MODELS, image_model};
use aida::providers::{
    ClipRequest, FailureClass, ImageModel, ImageRequest, Job, JobResult, JobState, Provider,
    ProviderError, VideoModel,
};
use aida::store::operations;
use aida::studio::brief::Aspect;
use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::studio::{Studio, purpose};
use crate::support::{Fault, Service, media};

const PATIENCE: Duration = Duration::from_secs(30);

fn image_request(prompt: &str) -> ImageRequest {
    ImageRequest {
        prompt: prompt.to_owned(),
        aspect: Aspect::Portrait9x16,
        reference_urls: Vec::new(),
    }
}

fn clip_request(keyframe_url: String, seconds: u32, audio: bool) -> ClipRequest {
    ClipRequest { prompt: "steam rises".to_owned(), keyframe_url, seconds, audio }
}

/// Plans and sends one image through the till.
async fn order_image(
    studio: &Studio,
    model: &dyn ImageModel,
    prompt: &str,
) -> (OperationId, Submission) {
    let what = (Provider::Kie, model.model(), model.endpoint());
    let new = studio
        .till
        .plan(&purpose(Component::Image), OperationKind::Image, what, Quantity::Images(1))
        .unwrap();
    let payload = model.payload(&image_request(prompt));
    let operation = planned(studio, &new).await;
    let never = CancellationToken::new();
    let parcel = Parcel { payload: &payload, balance_before: None, owner: None };
    let submission = studio
        .till
        .submit(&operation, parcel, &never, |reservation| model.submit(reservation, &payload))
        .await
        .unwrap();
    (new.id, submission)
}

async fn planned(studio: &Studio, new: &operations::NewOperation) -> operations::Operation {
    let mut session = studio.store.session().await.unwrap();
    operations::plan(&mut session, new, Timestamp::now()).await.unwrap();
    let operation = operations::load(&mut session, new.id).await.unwrap();
    session.close().await;
    operation
}

/// Plans and sends one clip through the till.
async fn order_clip(
    studio: &Studio,
    model: &dyn VideoModel,
    request: &ClipRequest,
) -> (OperationId, Submission) {
    let what = (Provider::Fal, model.model(), model.endpoint());
    let quantity = Quantity::VideoSeconds { seconds: request.seconds, audio: request.audio };
    let new =
        studio.till.plan(&purpose(Component::Video), OperationKind::Clip, what, quantity).unwrap();
    let payload = model.payload(request);
    let operation = planned(studio, &new).await;
    let never = CancellationToken::new();
    let parcel = Parcel { payload: &payload, balance_before: None, owner: None };
    let submission = studio
        .till
        .submit(&operation, parcel, &never, |reservation| model.submit(reservation, &payload))
        .await
        .unwrap();
    (new.id, submission)
}

/// Asks until the job is done or has failed for good.
async fn finish<Asked>(ask: impl Fn() -> Asked) -> Result<JobResult, ProviderError>
where
    Asked: Future<Output = Result<JobState, ProviderError>>,
{
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(JobState::Done(result)) => return Ok(result),
            Err(error) if !error.class.is_transient() => return Err(error),
            _ => {}
        }
        assert!(start.elapsed() < PATIENCE, "the job never ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn accepted(submission: Submission) -> Job {
    match submission {
        Submission::Accepted(job) => job,
        other => panic!("{other:?}"),
    }
}

/// Books a finished job as kept.
async fn settle(studio: &Studio, id: OperationId, result: &JobResult) -> Result<(), TillError> {
    studio.till.ready(id, result).await?;
    let mut session = studio.store.session().await.unwrap();
    let operation = operations::load(&mut session, id).await.unwrap();
    session.close().await;
    studio.till.keep(&operation, result, &[]).await
}

async fn fetch(studio: &Studio, url: &str, folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    download(&studio.client, url, &path, |_| {}).await.unwrap();
    path
}

#[tokio::test]
async fn a_keyframe_becomes_a_clip_and_the_books_match_the_bill() {
    let studio = Studio::open().await;
    let folder = tempfile::tempdir().unwrap();
    let images = image_model("midjourney-7-fast", &studio.kie()).unwrap();
    let clips = video_model("kling-2.6-pro", &studio.fal()).unwrap();

    let (image, submission) = order_image(&studio, &*images, "a bowl of soup").await;
    let job = accepted(submission);
    let drawn = finish(|| images.state(&job)).await.unwrap();
    assert_eq!(drawn.urls.len(), 4);
    settle(&studio, image, &drawn).await.unwrap();
    let keyframe = fetch(&studio, &drawn.urls[0], folder.path(), "keyframe.png").await;

    for audio in [false, true] {
        let request = clip_request(clips.upload(&keyframe).await.unwrap(), 10, audio);
        let (clip, submission) = order_clip(&studio, &*clips, &request).await;
        let job = accepted(submission);
        let filmed = finish(|| clips.state(&job)).await.unwrap();
        settle(&studio, clip, &filmed).await.unwrap();
        fetch(&studio, &filmed.urls[0], folder.path(), "clip.mp4").await;
    }
    studio.world.assert_no_violations();
    assert_eq!(studio.books().await, (studio.world.bill().total(), Decimal::ZERO));

    let mut session = studio.store.session().await.unwrap();
    let units: Decimal =
        sqlx::query_scalar("SELECT sum(billed_units) FROM charges WHERE provider = 'fal'")
            .fetch_one(&mut *session)
            .await
            .unwrap();
    session.close().await;
    // Ten seconds in silence, and ten with sound at twice the unit price.
    assert_eq!(units, Decimal::from(30), "what fal says it billed is kept");
    assert_eq!(images.balance().await.unwrap(), Some(Decimal::from(9_992)));
    assert!(images.probe().await.is_ok() && clips.probe().await.is_ok());
    studio.world.assert_no_violations();
}

#[tokio::test]
async fn every_model_is_asked_in_its_own_words() {
    let studio = Studio::open().await;
    let folder = tempfile::tempdir().unwrap();
    let keyframe = folder.path().join("keyframe.png");
    let picture = media::picture((540, 960), [40, 100, 160], 1, image::ImageFormat::Png);
    std::fs::write(&keyframe, picture).unwrap();
    let http = reqwest::Client::builder().user_agent("aida").build().unwrap();

    for known in &IMAGE_MODELS {
        let model = image_model(known.name, &studio.kie()).unwrap();
        let path =
            if known.name.starts_with("midjourney") { "mj/generate" } else { "jobs/createTask" };
        http.post(format!("{}/api/v1/{path}", studio.world.variable("KIE_BASE_URL")))
            .bearer_auth(studio.world.variable("KIE_API_KEY"))
            .json(&model.payload(&image_request("soup with bread")))
            .send()
            .await
            .unwrap();
    }
    assert_eq!(
        studio.world.kie().orders().len(),
        IMAGE_MODELS.len(),
        "{:#?}",
        studio.world.violations()
    );

    for known in &VIDEO_MODELS {
        let model = video_model(known.name, &studio.fal()).unwrap();
        for &seconds in model.durations() {
            let url = model.upload(&keyframe).await.unwrap();
            http.post(format!("{}/{}", studio.world.variable("FAL_QUEUE_URL"), model.endpoint()))
                .header("authorization", format!("Key {}", studio.world.variable("FAL_KEY")))
                .json(&model.payload(&clip_request(url, seconds, false)))
                .send()
                .await
                .unwrap();
            let order = studio.world.fal().orders().pop();
            let order = order.unwrap_or_else(|| panic!("{:#?}", studio.world.violations()));
            assert_eq!((order.endpoint.as_str(), order.seconds), (model.endpoint(), seconds));
            assert!(!order.audio);
        }
    }
    studio.world.assert_no_violations();
}

#[tokio::test]
async fn a_submit_that_is_not_heard_of_is_lost_and_one_that_is_refused_is_free() {
    let studio = Studio::open().await;
    let images = image_model("midjourney-7-fast", &studio.kie()).unwrap();
    let faults = studio.world.faults();
    faults.on(Service::Kie, "mj/generate").nth(1).meets(Fault::LoseReply);
    faults.on(Service::Kie, "mj/generate").nth(2).meets(Fault::withdrawn());
    faults.on(Service::Kie, "mj/generate").nth(3).meets(Fault::envelope(429, "slow down"));

    let (_, lost) = order_image(&studio, &*images, "one").await;
    assert!(matches!(lost, Submission::Lost(_)), "{lost:?}");
    let (_, withdrawn) = order_image(&studio, &*images, "two").await;
    let Submission::Refused(error) = withdrawn else { panic!("{withdrawn:?}") };
    assert_eq!(error.class, FailureClass::NotOffered);
    let (_, slowed) = order_image(&studio, &*images, "three").await;
    let Submission::Refused(error) = slowed else { panic!("{slowed:?}") };
    assert!(error.may_be_sent_again());
    let (settled, unknown) = studio.books().await;
    assert_eq!((settled, unknown), (Decimal::ZERO, studio.world.bill().total()));
}

#[tokio::test]
async fn jobs_that_fail_say_why() {
    let studio = Studio::open().await;
    let folder = tempfile::tempdir().unwrap();
    let keyframe = folder.path().join("keyframe.png");
    let picture = media::picture((540, 960), [40, 100, 160], 1, image::ImageFormat::Png);
    std::fs::write(&keyframe, picture).unwrap();
    let faults = studio.world.faults();
    let no_luck = || Fault::FailJob { message: "no luck today".to_owned() };
    for (nth, fault) in [(1, Fault::Moderate), (2, no_luck())] {
        faults.on(Service::Kie, "POST /api/v1/").nth(nth).meets(fault.clone());
        faults.on(Service::Kie, "createTask").nth(nth).meets(fault.clone());
        faults.on(Service::Fal, "POST /queue/").nth(nth).meets(fault);
    }
    for name in ["midjourney-7-fast", "nano-banana-2"] {
        let images = image_model(name, &studio.kie()).unwrap();
        for class in [FailureClass::Policy, FailureClass::Generation] {
            let (_, submission) = order_image(&studio, &*images, "soup").await;
            let job = accepted(submission);
            let error = finish(|| images.state(&job)).await.unwrap_err();
            assert_eq!(error.class, class, "{name}: {error:?}");
        }
    }
    let clips = video_model("kling-2.6-pro", &studio.fal()).unwrap();
    for class in [FailureClass::Policy, FailureClass::Generation] {
        let request = clip_request(clips.upload(&keyframe).await.unwrap(), 5, false);
        let (_, submission) = order_clip(&studio, &*clips, &request).await;
        let job = accepted(submission);
        let error = finish(|| clips.state(&job)).await.unwrap_err();
        assert_eq!(error.class, class, "{error:?}");
    }
    studio.world.assert_no_violations();
}

#[tokio::test]
async fn empty_successes_and_forbidden_links_are_lived_with() {
    let studio = Studio::open().await;
    let folder = tempfile::tempdir().unwrap();
    let faults = studio.world.faults();
    faults.on(Service::Kie, "mj/generate").nth(1).meets(Fault::EmptySuccess { polls: 2 });
    faults.on(Service::Kie, "mj/generate").nth(2).meets(Fault::ForbidDownload);
    let images = image_model("midjourney-7-fast", &studio.kie()).unwrap();

    let (_, submission) = order_image(&studio, &*images, "one").await;
    let job = accepted(submission);
    assert_eq!(finish(|| images.state(&job)).await.unwrap().urls.len(), 4);

    let (_, submission) = order_image(&studio, &*images, "two").await;
    let job = accepted(submission);
    let urls = finish(|| images.state(&job)).await.unwrap().urls;
    let path = folder.path().join("picture.png");
    let error = download(&studio.client, &urls[0], &path, |_| {}).await.unwrap_err();
    assert!(error.needs_fresh_url(), "{error}");
    let fresh = images.fresh_url(&urls[0]).await.unwrap();
    fetch(&studio, &fresh, folder.path(), "picture.png").await;
    assert!(media::look(&std::fs::read(path).unwrap()).is_ok());
    studio.world.assert_no_violations();
}

#[tokio::test]
async fn a_broken_download_is_begun_anew() {
    let studio = Studio::open().await;
    let folder = tempfile::tempdir().unwrap();
    studio.world.faults().on(Service::Kie, "GET /files/").nth(1).meets(Fault::CutMidway);
    let images = image_model("midjourney-7-fast", &studio.kie()).unwrap();
    let (_, submission) = order_image(&studio, &*images, "soup").await;
    let job = accepted(submission);
    let urls = finish(|| images.state(&job)).await.unwrap().urls;
    let path = fetch(&studio, &urls[0], folder.path(), "picture.png").await;
    assert!(media::look(&std::fs::read(path).unwrap()).is_ok());
    studio.world.assert_no_violations();
}
