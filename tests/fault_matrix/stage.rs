//! Where a case is played: one shot, or one conversation, or one embedding, in the rooms themselves.

use std::sync::Arc;
use std::time::Duration;

use aida::clock::{SharedClock, SystemClock};
use aida::error::{Error, Kind};
use aida::ids::RunId;
use aida::ledger::money::Usd;
use aida::ledger::prices::PriceBook;
use aida::ledger::{Component, Purpose, Till, TillError};
use aida::memory::files::Vault;
use aida::memory::{Embedding, Memory};
use aida::process::Liveness;
use aida::providers::TextRole;
use aida::providers::anthropic::AnthropicModel;
use aida::providers::fal::{FalAccount, video_model};
use aida::providers::http::{BaseUrl, HttpClient};
use aida::providers::kie::{KieAccount, image_model};
use aida::providers::openai::OpenAiEmbedder;
use aida::store::bills::{self, Line};
use aida::store::runs::{self, Afterwards};
use aida::store::{Store, operations};
use aida::studio::StudioError;
use aida::studio::brief::{Aspect, Brief};
use aida::studio::claim::Claim;
use aida::studio::film::Ffmpeg;
use aida::studio::producer::{EditSuites, Media, NewVideo, Producer};
use aida::studio::run::{RunOptions, RunState};
use aida::studio::why::{Facts, diagnose};
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::cases::{Case, Step};
use crate::database::{TestDatabase, say};
use crate::support::{Service, World};

/// The ffmpeg on the PATH, without which no film is begun; none where the test is to be skipped.
pub(crate) async fn ffmpeg() -> Option<Ffmpeg> {
    let found = Ffmpeg::find(None).await;
    if found.is_err() {
        assert!(
            std::env::var("AIDA_TEST_REQUIRE_ALL").as_deref() != Ok("1"),
            "ffmpeg is missing, and AIDA_TEST_REQUIRE_ALL forbids to skip"
        );
        say("SKIPPED: films need ffmpeg, which is not on the PATH");
    }
    found.ok()
}

/// A database that some cases share.
pub(crate) struct Stage {
    store: Store,
    clock: SharedClock,
    client: HttpClient,
    ffmpeg: Ffmpeg,
    database: TestDatabase,
}

/// What is asked of the world in one case.
struct Scene<'a> {
    stage: &'a Stage,
    world: World,
    producer: Producer,
    client: HttpClient,
}

impl Stage {
    /// None where there is no native server: the embedded one would take minutes for all cases.
    pub(crate) async fn build(ffmpeg: Ffmpeg, client: HttpClient) -> Option<Self> {
        let database = TestDatabase::native().await?;
        let store = database.open().await;
        Some(Self { store, clock: Arc::new(SystemClock), client, ffmpeg, database })
    }

    /// Plays a case in a world of its own and answers its line.
    pub(crate) async fn play(&self, case: &Case) -> String {
        let world = World::start(1_000.0);
        for order in &case.orders {
            let ordering = world.faults().on(order.service, order.path);
            let ordering = if order.is_result {
                ordering.when(|call| !call.path.ends_with("/status"))
            } else {
                ordering
            };
            let ordering = if order.always { ordering.always() } else { ordering };
            ordering.meets(order.fault.clone());
        }
        let client = self.client.clone();
        let till = Till::new(
            self.store.clone(),
            Arc::new(PriceBook::shipped()),
            self.clock.clone(),
            20,
            self.database.data_dir().join("answers"),
        );
        let memory = Memory::new(self.store.clone(), Embedding::Builtin, self.clock.clone());
        let producer = Producer {
            store: self.store.clone(),
            till,
            memory,
            clock: self.clock.clone(),
            recover_patience: Duration::from_secs(2),
            suites: EditSuites::default(),
            client: client.clone(),
            projects_folder: self.database.data_dir().join("projects"),
            vault: Vault::new(self.database.data_dir().join("files")),
            vision_model: "claude-haiku-5-5".to_owned(),
        };
        let scene = Scene { stage: self, world, producer, client };
        scene.play(case).await
    }
}

impl Scene<'_> {
    fn base(&self, name: &str) -> BaseUrl {
        self.world.variable(name).parse().unwrap()
    }

    fn key(&self, name: &str) -> SecretString {
        self.world.variable(name).into()
    }

    fn media(&self, image: &str) -> Media {
        let kie = KieAccount::new(
            self.client.clone(),
            self.base("KIE_BASE_URL"),
            self.key("KIE_API_KEY"),
        )
        .uploading_to(self.base("KIE_UPLOAD_URL"));
        let fal = FalAccount::new(
            self.client.clone(),
            self.base("FAL_QUEUE_URL"),
            self.base("FAL_API_URL"),
            self.base("FAL_STORAGE_URL"),
            self.key("FAL_KEY"),
        );
        Media {
            image: image_model(image, &kie).unwrap(),
            video: video_model("kling-2.6-pro", &fal).unwrap(),
            former: None,
            ffmpeg: self.stage.ffmpeg.clone(),
        }
    }

    async fn begin(&self, image: &str) -> Claim {
        let new = NewVideo {
            user_id: "ada".to_owned(),
            brief: Brief {
                text: "food video".parse().unwrap(),
                duration_seconds: dec!(5),
                shots: 1,
                aspect: Aspect::Portrait9x16,
                files: Vec::new(),
            },
            preview: false,
            options: RunOptions {
                language_model: Some("claude-sonnet-5-5".to_owned()),
                image_model: image.to_owned(),
                video_model: "kling-2.6-pro".to_owned(),
                audio: false,
                campaign: None,
                files: Vec::new(),
                references: Vec::new(),
                folder: self.stage.database.data_dir().join("films"),
                language_budget_usd: Usd::new(dec!(5)),
                retake: None,
                plan_only: false,
                reuse: None,
                reused: None,
                style: None,
                pictures: None,
                recalled: None,
            },
            quote: None,
            estimate: None,
            accepted: None,
            budget: None,
            queue: None,
            source: None,
            files: Vec::new(),
            for_all: Vec::new(),
        };
        let run = self.producer.begin(new).await.unwrap();
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        self.producer.claim(run, events, &CancellationToken::new(), false).await.unwrap()
    }

    async fn play(&self, case: &Case) -> String {
        let mut claim = self.begin(case.image_model).await;
        let run = claim.run.id;
        let result = match case.step {
            Step::Writing => self.write(&mut claim).await,
            Step::Embedding => self.embed(&claim).await,
            Step::Drawing | Step::Filming => self.shoot(&mut claim, case.image_model).await,
        };
        let reason = result.as_ref().err().map(|error| (error.word(), error.stop_message()));
        let reason = reason.as_ref().map(|(word, message)| (*word, message.as_str()));
        self.producer.release(claim, reason, Afterwards::Leaves).await.unwrap();
        self.judge(case, run, result).await
    }

    async fn write(&self, claim: &mut Claim) -> Result<(), StudioError> {
        let base = self.base("ANTHROPIC_BASE_URL");
        let claude = AnthropicModel::new(self.client.clone(), base, self.key("ANTHROPIC_API_KEY"));
        self.producer.write(claim, &claude, &[5, 10], 4).await
    }

    async fn embed(&self, claim: &Claim) -> Result<(), StudioError> {
        let base = self.base("OPENAI_BASE_URL");
        let key = Some(self.key("OPENAI_API_KEY"));
        let model = OpenAiEmbedder::new(self.client.clone(), base, key, "text-embedding-3-small");
        let purpose = Purpose { ..claim.purpose(Component::Embedding) };
        let texts = ["a bowl of soup".to_owned()];
        self.producer.till.embed(&purpose, &model, &texts, TextRole::Document).await?;
        Ok(())
    }

    async fn shoot(&self, claim: &mut Claim, image: &str) -> Result<(), StudioError> {
        let media = self.media(image);
        self.producer.write_outline(claim, &[5, 10]).await?;
        let shots = self.producer.shots(claim).await?;
        self.producer.enter(claim, RunState::Shooting).await?;
        let mut shooting = self.producer.shoot(claim, &media, &shots).await;
        if !shooting.unknown.is_empty() {
            shooting.stopped.push(StudioError::UnknownMoney { shots: shooting.unknown.clone() });
        }
        if let Some(gravest) = shooting.stopped.drain(..).max_by_key(StudioError::gravity) {
            return Err(gravest);
        }
        match shooting.failed.first() {
            Some((_, first)) => Err(StudioError::NothingShot { first: first.clone() }),
            None => Ok(()),
        }
    }

    /// The line of a case, after what must hold in every one of them.
    async fn judge(&self, case: &Case, run: RunId, result: Result<(), StudioError>) -> String {
        let mut session = self.stage.store.session().await.unwrap();
        let row = runs::load(&mut session, run).await.unwrap();
        let lines = bills::of_run(&mut session, run).await.unwrap();
        let reply = operations::last_reply(&mut session, run).await.unwrap();
        session.close().await;
        let name = format!("{} {}", case.endpoint, case.what);
        let bill = self.world.bill();
        let sum = |of: &dyn Fn(&Line) -> Option<Usd>| {
            lines.iter().filter_map(of).sum::<Usd>().dollars().normalize()
        };
        let settled = sum(&|line| line.settled_usd);
        let unknown = sum(&|line| {
            (line.charge_state.as_deref() == Some("unknown")).then_some(line.reserved_usd)
        });
        let held = sum(&|line| {
            let is_held = ["submitting", "submitted", "ready"].contains(&&*line.operation_state);
            is_held.then_some(line.reserved_usd)
        });
        // One picture, one clip, whatever happens.
        assert!(bill.items_of(Service::Kie).len() <= 1, "{name}: two pictures\n{bill}");
        assert!(bill.items_of(Service::Fal).len() <= 1, "{name}: two clips\n{bill}");
        // What is known is on the bill to the last digit; the rest is within what is held for it.
        let billed = bill.total().normalize();
        assert!(settled <= billed, "{name}: {settled} settled\n{bill}");
        assert!(
            billed <= settled + unknown + held,
            "{name}: {settled} + {unknown} + {held}\n{bill}"
        );
        if (unknown + held).is_zero() {
            assert_eq!(settled, billed, "{name}\n{bill}");
        }
        let is_made = result.is_ok();
        let exit = result.err().map_or(0, exit_code);
        let stop = reply.as_ref().map(|reply| &reply["stop"]);
        let stop = stop.and_then(|stop| {
            stop.as_str().or_else(|| stop.as_object()?.keys().next().map(String::as_str))
        });
        let liveness = Liveness::Dead;
        let now = self.stage.clock.now();
        let facts = Facts {
            run: &row,
            lines: &lines,
            last_stop_reason: stop,
            liveness,
            now,
            keys_elsewhere: &[],
        };
        let found = diagnose(&facts);
        let why = if is_made { "-" } else { found.trouble.map_or("?", |trouble| trouble.as_str()) };
        format!(
            "{:<28} {:<44} exit {exit} {:<4} {:<26} {:<34} {:<9} {why}",
            case.endpoint,
            case.what,
            if is_made { "made" } else { "not" },
            self.sends(case.step),
            states(&lines, case.step),
            money(case.step, settled, unknown, held),
        )
    }

    /// How often something paid was sent.
    fn sends(&self, step: Step) -> String {
        let count = |service, path| self.world.requests(service, path).len();
        match step {
            Step::Writing => format!("{} turns", count(Service::Anthropic, "/v1/messages")),
            Step::Embedding => format!("{} calls", count(Service::OpenAi, "/embeddings")),
            Step::Drawing | Step::Filming => format!(
                "sent {} image, {} clip",
                count(Service::Kie, "mj/generate") + count(Service::Kie, "createTask"),
                count(Service::Fal, "POST /queue/"),
            ),
        }
    }
}

/// The states of the calls that the case is about, in their order; kept turns are left out.
fn states(lines: &[Line], step: Step) -> String {
    let kinds: &[&str] = match step {
        Step::Writing => &["language"],
        Step::Embedding => &["embedding"],
        Step::Drawing => &["image"],
        Step::Filming => &["upload", "clip"],
    };
    let of_step = lines.iter().filter(|line| kinds.contains(&line.kind.as_str()));
    let mut words: Vec<(&str, usize)> = Vec::new();
    for line in of_step {
        let word = match line.operation_state.as_str() {
            "failed_not_charged" => "free",
            "failed_charged" => "charged",
            state => state,
        };
        if line.kind == "upload" && word == "kept" {
            continue;
        }
        match words.last_mut() {
            Some((last, times)) if *last == word => *times += 1,
            _ => words.push((word, 1)),
        }
    }
    let shown: Vec<String> = words
        .iter()
        .map(
            |(word, times)| {
                if *times > 1 { format!("{word}×{times}") } else { (*word).to_owned() }
            },
        )
        .collect();
    shown.join(" ")
}

/// Whether money is settled, unknown, held, or there is none. Amounts would say more than is fixed:
/// what a conversation costs depends on its words.
fn money(step: Step, settled: Decimal, unknown: Decimal, held: Decimal) -> String {
    let _ = step;
    let parts = [("settled", settled), ("unknown", unknown), ("held", held)];
    let parts: Vec<&str> =
        parts.iter().filter(|(_, amount)| !amount.is_zero()).map(|(word, _)| *word).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("+") }
}

fn exit_code(error: StudioError) -> u8 {
    let error: Error = match error {
        StudioError::Till(TillError::Cancelled) => Error::new(Kind::Interrupted, "stopped"),
        error => error.into(),
    };
    error.kind().exit_code()
}
