//! All services at once, each on a port of its own.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::anthropic::Anthropic;
use super::bench::{Bench, Record, Service, Violation};
use super::bill::Bill;
use super::fal::Fal;
use super::faults::Faults;
use super::kie::Kie;
use super::ollama::Ollama;
use super::openai::OpenAi;
use super::voyage::Voyage;
use super::wire::{self, Server, StandIn};

const ANTHROPIC_KEY: &str = "sk-ant-stand-in-7f3a91";
const OPENAI_KEY: &str = "sk-stand-in-openai-52c8d4";
const KIE_KEY: &str = "stand-in-kie-0b6e2f";
const VOYAGE_KEY: &str = "pa-stand-in-voyage-93ab17";
const FAL_KEY: &str = "stand-in-id:stand-in-fal-secret-d41e88";

/// The outside world as aida sees it. It lives on threads of its own, so that it answers while
/// a test waits for a process, and ends when it is dropped.
#[derive(Debug)]
pub struct World {
    bench: Arc<Bench>,
    anthropic: Arc<Anthropic>,
    openai: Arc<OpenAi>,
    kie: Arc<Kie>,
    fal: Arc<Fal>,
    servers: Vec<(Service, Server)>,
    runtime: Option<Runtime>,
}

impl World {
    /// Starts every service. At speed 20 a job that takes a minute in life takes 3 seconds.
    pub fn start(speed: f64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("stand-ins")
            .enable_all()
            .build()
            .unwrap();
        let bench = Arc::new(Bench::new(speed));
        let listeners: Vec<TcpListener> =
            Service::ALL.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let origins: Vec<String> = listeners.iter().map(wire::origin).collect();
        let anthropic = Arc::new(Anthropic::new(Arc::clone(&bench), ANTHROPIC_KEY));
        let openai = Arc::new(OpenAi::new(Arc::clone(&bench), OPENAI_KEY));
        let kie = Arc::new(Kie::new(Arc::clone(&bench), KIE_KEY, &origins[2]));
        let fal = Arc::new(Fal::new(Arc::clone(&bench), FAL_KEY, &origins[3]));
        let voyage = Arc::new(Voyage::new(Arc::clone(&bench), VOYAGE_KEY));
        let ollama = Arc::new(Ollama::new(Arc::clone(&bench)));
        let stand_ins: [Arc<dyn StandIn>; 6] = [
            Arc::clone(&anthropic) as _,
            Arc::clone(&openai) as _,
            Arc::clone(&kie) as _,
            Arc::clone(&fal) as _,
            voyage,
            ollama,
        ];
        let servers = {
            let _context = runtime.enter();
            Service::ALL
                .into_iter()
                .zip(listeners)
                .zip(stand_ins)
                .map(|((service, listener), stand_in)| {
                    (service, Server::start(listener, service, stand_in, Arc::clone(&bench)))
                })
                .collect()
        };
        Self { bench, anthropic, openai, kie, fal, servers, runtime: Some(runtime) }
    }

    fn origin(&self, service: Service) -> &str {
        let found = self.servers.iter().find(|(of, _)| *of == service);
        found.map(|(_, server)| server.origin.as_str()).unwrap()
    }

    /// The environment variables with which aida finds the stand-ins, keys included.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let kie = self.origin(Service::Kie);
        let fal = self.origin(Service::Fal);
        vec![
            ("ANTHROPIC_API_KEY", ANTHROPIC_KEY.to_owned()),
            ("ANTHROPIC_BASE_URL", self.origin(Service::Anthropic).to_owned()),
            ("OPENAI_API_KEY", OPENAI_KEY.to_owned()),
            ("OPENAI_BASE_URL", format!("{}/v1", self.origin(Service::OpenAi))),
            ("VOYAGE_API_KEY", VOYAGE_KEY.to_owned()),
            ("VOYAGE_BASE_URL", format!("{}/v1", self.origin(Service::Voyage))),
            ("EMBEDDING_BASE_URL", format!("{}/v1", self.origin(Service::Ollama))),
            ("EMBEDDING_MODEL", "nomic-embed-text".to_owned()),
            ("KIE_API_KEY", KIE_KEY.to_owned()),
            ("KIE_BASE_URL", kie.to_owned()),
            ("KIE_UPLOAD_URL", format!("{kie}/upload")),
            ("FAL_KEY", FAL_KEY.to_owned()),
            ("FAL_QUEUE_URL", format!("{fal}/queue")),
            ("FAL_API_URL", format!("{fal}/api/v1")),
            ("FAL_STORAGE_URL", format!("{fal}/storage-host")),
        ]
    }

    /// One of [`World::variables`].
    pub fn variable(&self, name: &str) -> String {
        let found = self.variables().into_iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value).unwrap()
    }

    /// Every secret that must not be seen in any output, log or stored exchange.
    pub const SECRETS: [&'static str; 5] =
        [ANTHROPIC_KEY, OPENAI_KEY, VOYAGE_KEY, KIE_KEY, FAL_KEY];

    /// What everything would cost so far.
    pub fn bill(&self) -> &Bill {
        &self.bench.bill
    }

    /// Where faults are ordered.
    pub fn faults(&self) -> &Faults {
        &self.bench.faults
    }

    /// Sets the clock by which Claude's prompt cache forgets forward, as if so much time had passed.
    pub fn skip(&self, time: Duration) {
        self.bench.skip(time);
    }

    /// A clock for aida that is set forward together with the services'.
    pub fn clock(&self) -> Arc<dyn aida::clock::Clock> {
        Arc::new(SkippingClock(Arc::clone(&self.bench)))
    }

    /// Every request so far that its vendor would have refused.
    pub fn violations(&self) -> Vec<Violation> {
        self.bench.violations()
    }

    /// Fails with the list of all violations, if there are any.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        let violations: Vec<String> = self.violations().iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "invalid requests:\n{}", violations.join("\n"));
    }

    /// Every request so far, in the order of arrival.
    pub fn records(&self) -> Vec<Record> {
        self.bench.records()
    }

    /// The requests of `service` whose `METHOD /path` contains `path`.
    pub fn requests(&self, service: Service, path: &str) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| {
            record.service == service && format!("{} {}", record.method, record.path).contains(path)
        });
        records
    }

    /// Claude.
    pub fn anthropic(&self) -> &Anthropic {
        &self.anthropic
    }

    /// Embeddings.
    pub fn openai(&self) -> &OpenAi {
        &self.openai
    }

    /// Keyframes.
    pub fn kie(&self) -> &Kie {
        &self.kie
    }

    /// Clips.
    pub fn fal(&self) -> &Fal {
        &self.fal
    }

    /// Takes a service off the net: connections to it are refused from now on.
    pub fn stop(&self, service: Service) {
        for (_, server) in self.servers.iter().filter(|(of, _)| *of == service) {
            server.stop();
        }
    }
}

/// The machine's clock, set forward by what was skipped.
#[derive(Debug)]
struct SkippingClock(Arc<Bench>);

impl aida::clock::Clock for SkippingClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now() + jiff::SignedDuration::try_from(self.0.skipped()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A runtime must not be dropped where async code runs; this may be called there.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
