//! Many processes under one cap: real processes on a native server, each with a till of its own, buy
//! from a shop that keeps its own bill.
//!
//! `AIDA_TEST_ROUNDS` sets the number of rounds (100).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends at the first thing that is not as it should be, and prints what it measured"
)]

#[path = "support/database.rs"]
mod database;

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aida::clock::{SystemClock, Zone};
use aida::ledger::budget::{Period, Scope};
use aida::ledger::money::{Quantity, TokenCounts, Usd};
use aida::ledger::operation::OperationKind;
use aida::ledger::prices::PriceBook;
use aida::ledger::{Component, Parcel, Purpose, Reservation, Submission, Till, TillError};
use aida::providers::{
    Job, JobResult, LanguageModel, LanguageReply, LanguageRequest, Probe, Provider, ProviderError,
    StopReason,
};
use aida::store::{DatabaseSettings, Store, budgets, operations};
use async_trait::async_trait;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use database::{TestDatabase, say};

const PROCESSES: usize = 64;
/// The cap of every round, USD. What the processes want is more than twice as much.
const CAP: Decimal = dec!(3.00);
/// Pictures at 0.04 USD that each process wants.
const PICTURES: usize = 3;

/// The shop's own bill: a file to which every process appends lines of `customer<TAB>usd`.
#[derive(Debug, Clone)]
struct Bill(PathBuf);

impl Bill {
    fn charge(&self, customer: &str, usd: Decimal) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        file.write_all(format!("{customer}\t{usd}\n").as_bytes()).unwrap();
    }

    fn total_of(&self, customer: &str) -> Decimal {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        lines
            .filter(|(of, _)| *of == customer)
            .map(|(_, usd)| usd.parse::<Decimal>().unwrap())
            .sum()
    }
}

/// A writer whose calls may cost 0.185 USD and cost 0.0079.
struct Writer {
    bill: Bill,
    customer: String,
}

#[async_trait]
impl LanguageModel for Writer {
    fn provider(&self) -> Provider {
        Provider::Anthropic
    }

    async fn respond(
        &self,
        _: Reservation,
        _: &LanguageRequest,
    ) -> Result<LanguageReply, ProviderError> {
        self.bill.charge(&self.customer, dec!(0.0079));
        Ok(LanguageReply {
            content: vec![json!({"type": "text", "text": "reply"})],
            stop: StopReason::EndTurn,
            tokens: TokenCounts {
                uncached_input: 1_000,
                cache_read: 9_000,
                output: 500,
                ..TokenCounts::default()
            },
            model: "claude-sonnet-5-5".to_owned(),
            request_id: Some("req".to_owned()),
        })
    }

    fn most_input_tokens(&self, _: &LanguageRequest) -> u64 {
        10_000
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        Ok(Probe { note: String::new(), balance: None })
    }
}

/// One of the processes: started by the test below, it buys what it wants in every round that it is
/// told of.
#[test]
#[ignore = "a part of many_processes_stay_under_one_cap"]
fn one_of_many() {
    let Ok(url) = std::env::var("AIDA_TEST_SHOP") else { return };
    let bill = Bill(std::env::var_os("AIDA_TEST_BILL").unwrap().into());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = DatabaseSettings {
            url: Some(url.clone().into()),
            data_dir: folder.path().to_owned(),
            executable: std::path::PathBuf::new(),
        };
        let clock = Arc::new(SystemClock);
        let store = Store::open(&settings, clock.clone()).await.unwrap();
        let answers = folder.path().join("answers");
        let till = Till::new(store.clone(), Arc::new(PriceBook::shipped()), clock, 100, answers);
        // The test runner has begun a line of its own.
        println!("\nready");
        for line in std::io::stdin().lines() {
            buy(&till, &store, &bill, &line.unwrap()).await;
            println!("done");
        }
    });
}

async fn buy(till: &Till, store: &Store, bill: &Bill, customer: &str) {
    let purpose = |component| Purpose {
        user_id: customer.to_owned(),
        project: None,
        run: None,
        shot: None,
        component,
        owner: None,
    };
    let never = CancellationToken::new();
    let writer = Writer { bill: bill.clone(), customer: customer.to_owned() };
    let request = LanguageRequest {
        model: "claude-sonnet-5-5".to_owned(),
        system: String::new(),
        tools: Vec::new(),
        messages: Vec::new(),
        max_output_tokens: 16_000,
    };
    match till.language(&purpose(Component::Writer), &writer, &request, &never).await {
        Ok(_) | Err(TillError::OverBudget { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    // fal takes as many jobs as are wanted; KIE's limit of sends is not what is tested here.
    let seller = (Provider::Fal, "kling-2.5-turbo-standard", "endpoint");
    for picture in 0..PICTURES {
        let quantity = Quantity::VideoSeconds { seconds: 1, audio: false };
        let new =
            till.plan(&purpose(Component::Video), OperationKind::Clip, seller, quantity).unwrap();
        let mut session = store.session().await.unwrap();
        operations::plan(&mut session, &new, jiff::Timestamp::now()).await.unwrap();
        let operation = operations::load(&mut session, new.id).await.unwrap();
        session.close().await;
        let payload = json!({ "prompt": picture });
        let parcel = Parcel { payload: &payload, balance_before: None, owner: None };
        let submission = loop {
            let sent = till
                .submit(&operation, parcel, &never, |_| async {
                    bill.charge(customer, dec!(0.042));
                    let request_id = operation.id.to_string();
                    Ok(Job { request_id, status_url: None, response_url: None, cancel_url: None })
                })
                .await;
            match sent {
                Ok(Submission::Wait(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => break other,
            }
        };
        match submission {
            Ok(Submission::Accepted(_)) => {}
            Err(TillError::OverBudget { .. }) => return,
            other => panic!("{other:?}"),
        }
        let result = JobResult { urls: Vec::new(), billed_units: None };
        till.ready(operation.id, &result).await.unwrap();
        let mut session = store.session().await.unwrap();
        let ready = operations::load(&mut session, operation.id).await.unwrap();
        session.close().await;
        till.keep(&ready, &result, &[]).await.unwrap();
    }
}

/// A process at the other end of two pipes.
struct Shopper {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shopper {
    fn start(url: &str, bill: &Bill) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_of_many", "--ignored", "--nocapture", "--test-threads", "1"])
            .env("AIDA_TEST_SHOP", url)
            .env("AIDA_TEST_BILL", &bill.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while line.trim() != word {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "a process ended early");
        }
    }
}

impl Drop for Shopper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn many_processes_stay_under_one_cap() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(database) = runtime.block_on(TestDatabase::native()) else { return };
    let url = database.url().unwrap();
    let rounds: usize =
        std::env::var("AIDA_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let began = Instant::now();
    let mut connection = runtime.block_on(PgConnection::connect(&url)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bill = Bill(folder.path().join("bill"));
    let mut shoppers: Vec<Shopper> = (0..PROCESSES).map(|_| Shopper::start(&url, &bill)).collect();
    for shopper in &mut shoppers {
        shopper.wait_for("ready");
    }
    let mut least_used = Decimal::ONE;
    for round in 0..rounds {
        let customer = format!("customer {round}");
        runtime.block_on(async {
            let (zone, cap, now) = (Zone::utc(), Usd::new(CAP), jiff::Timestamp::now());
            let which = (Scope::User, customer.as_str());
            budgets::set(&mut connection, which, Period::Month, &zone, cap, now).await.unwrap();
        });
        for shopper in &mut shoppers {
            writeln!(shopper.orders, "{customer}").unwrap();
        }
        for shopper in &mut shoppers {
            shopper.wait_for("done");
        }
        let billed = bill.total_of(&customer);
        let booked: Decimal = runtime
            .block_on(
                sqlx::query_scalar("SELECT sum(settled_usd) FROM charges WHERE user_id = $1")
                    .bind(&customer)
                    .fetch_one(&mut connection),
            )
            .unwrap();
        assert!(billed <= CAP, "round {round}: {billed} was spent under a cap of {CAP}");
        assert_eq!(billed.normalize(), booked.normalize(), "round {round}");
        least_used = least_used.min(billed / CAP);
        assert!(billed >= CAP * dec!(0.95), "round {round}: only {billed} of {CAP} was used");
    }
    say(&format!(
        "{PROCESSES} processes under one cap of {CAP} USD: never passed in {rounds} rounds, used to at least {:.1} %; {:.0} s",
        least_used * Decimal::ONE_HUNDRED,
        began.elapsed().as_secs_f64()
    ));
}
