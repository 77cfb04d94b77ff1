//! The books beside the bills: the real binary against stand-ins that bill more, less and otherwise
//! than they said.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::ops::Deref;

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use database::TestDatabase;
use stage::{Stage, has_ffmpeg};
use support::{Fault, Service, TestEnvironment, World};

/// Ten seconds in two shots, agreed to beforehand.
const FILM: [&str; 7] =
    ["create-video", "food video", "--yes", "--duration", "10", "--scenes", "2"];

/// A stage whose books can be looked at.
struct Set(Stage);

impl Deref for Set {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.0
    }
}

impl Set {
    /// None where there is no ffmpeg, without which no film is begun, or no native server, in
    /// which the books can be looked at.
    async fn build() -> Option<Self> {
        if !has_ffmpeg() {
            return None;
        }
        Some(Self(Stage::on(200.0, TestDatabase::native().await?)))
    }

    fn reconcile(&self) -> Value {
        self.machine.run(&["costs", "reconcile", "--json"]).expect(0).json()
    }

    async fn query<T>(&self, statement: &'static str) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
    {
        let mut connection = PgConnection::connect(&self.database.url().unwrap()).await.unwrap();
        sqlx::query_as(statement).fetch_all(&mut connection).await.unwrap()
    }

    /// Settled and billed of one provider, USD.
    async fn sums(&self, provider: &str) -> (Decimal, Option<Decimal>) {
        let rows: Vec<(String, Decimal, Option<Decimal>)> = self
            .query(
                "SELECT provider, coalesce(sum(settled_usd), 0), sum(billed_usd) FROM charges
                 GROUP BY provider",
            )
            .await;
        let found = rows.into_iter().find(|(name, _, _)| name == provider);
        found.map_or((Decimal::ZERO, None), |(_, settled, billed)| (settled, billed))
    }
}

#[tokio::test]
async fn bills_are_read_once_and_match_the_books() {
    let Some(set) = Set::build().await else { return };
    set.machine.run(&[&FILM[..], &["--image-model", "nano-banana-2"]].concat()).expect(0);
    // What KIE counts is known when the picture is there.
    assert_eq!(set.sums("kie").await, (dec!(0.08), Some(dec!(0.08))));
    assert_eq!(set.sums("fal").await, (dec!(0.70), None));
    let report = set.reconcile();
    assert_eq!(report["rows"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!((&report["billed_charges"], &report["equal_charges"]), (&4.into(), &4.into()));
    assert_eq!((&report["open_charges"], &report["billed_after_all"]), (&0.into(), &0.into()));
    assert!(report["without_a_bill"].as_i64().unwrap() > 0);
    assert_eq!(set.sums("fal").await, (dec!(0.70), Some(set.world.bill().total_of(Service::Fal))));
    let asked = set.world.requests(Service::Fal, "billing-events").len();
    let again = set.reconcile();
    assert_eq!(again["rows"].as_array().unwrap().len(), 0, "{again}");
    assert_eq!(again["equal_charges"], 4);
    assert_eq!(set.world.requests(Service::Fal, "billing-events").len(), asked);
    set.world.assert_no_violations();
}

#[tokio::test]
async fn a_discount_and_a_silent_midjourney_are_explained() {
    let Some(set) = Set::build().await else { return };
    set.world.fal().set_discount(dec!(10));
    set.machine.run(&FILM).expect(0);
    let shown = set.machine.run(&["costs", "reconcile"]).expect(0);
    assert!(shown.stdout.contains("less 0.035 of discount"), "{}", shown.stdout);
    assert!(shown.stdout.contains("KIE does not tell what this job cost"), "{}", shown.stdout);
    for line in shown.stdout.lines().take_while(|line| !line.contains("fal billed")) {
        assert!(console::measure_text_width(line) <= 80, "{line}");
    }
    assert_eq!(set.sums("fal").await, (dec!(0.70), Some(dec!(0.63))));
    assert_eq!(set.sums("kie").await, (dec!(0.08), None));
    // What KIE does not tell is not asked again.
    let asked = set.world.requests(Service::Kie, "record-info").len();
    let report = set.reconcile();
    assert_eq!((&report["equal_charges"], &report["billed_charges"]), (&0.into(), &2.into()));
    // What differs is shown again, though it is not read again.
    assert_eq!(report["differences"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["differences"][0]["difference_usd"], "-0.035000000000");
    assert_eq!(set.world.requests(Service::Kie, "record-info").len(), asked);
    assert!(shown.stderr.contains("Anthropic and OpenAI show no bill"), "{}", shown.stderr);
    set.world.assert_no_violations();
}

#[tokio::test]
async fn a_failure_that_is_billed_after_all_is_booked_as_wasted() {
    let Some(set) = Set::build().await else { return };
    set.world
        .faults()
        .on(Service::Fal, "POST /queue/")
        .nth(1)
        .meets(Fault::BillFailure { tells_units: false });
    // The failure is taken to be free, and as it may be billed all the same it is not repeated.
    set.machine.run(&FILM).expect(6);
    let why = set.machine.run(&["why", "--last"]).expect(0);
    assert!(
        why.stdout.contains("not charged") && why.stdout.contains("clip of shot"),
        "{}",
        why.stdout
    );
    let bill = set.world.bill().total_of(Service::Fal);
    assert_eq!((set.sums("fal").await.0, bill), (dec!(0.35), dec!(0.70)));
    let report = set.reconcile();
    assert_eq!(report["billed_after_all"], 1, "{report}");
    assert_eq!(set.sums("fal").await, (bill, Some(bill)));
    let failed: Vec<(String, Decimal, bool, String)> = set
        .query(
            "SELECT operations.id::text, settled_usd, wasted, bill_note FROM operations
             JOIN charges ON charges.operation_id = operations.id
             WHERE operations.state = 'failed_charged'",
        )
        .await;
    let [(operation, settled, wasted, note)] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!((*settled, *wasted), (dec!(0.35), true));
    assert!(note.contains("billed although it failed"), "{note}");
    let explained = set.machine.run(&["costs", "explain", operation, "--json"]).expect(0).json();
    assert_eq!(
        (&explained["settled_usd"], &explained["agrees"]),
        (&"0.350000000000".into(), &true.into())
    );
    assert_eq!(set.reconcile()["rows"].as_array().unwrap().len(), 0);
    set.world.assert_no_violations();
}

#[tokio::test]
async fn a_failure_that_tells_its_units_is_charged_at_once_and_not_bought_again() {
    let Some(set) = Set::build().await else { return };
    set.world
        .faults()
        .on(Service::Fal, "POST /queue/")
        .nth(1)
        .meets(Fault::BillFailure { tells_units: true });
    set.machine.run(&FILM).expect(6);
    let why = set.machine.run(&["why", "--last"]).expect(0);
    assert!(
        why.stdout.contains("charged $0.35") && why.stdout.contains("aida retake"),
        "{}",
        why.stdout
    );
    let bill = set.world.bill().total_of(Service::Fal);
    assert_eq!((set.sums("fal").await.0, bill), (dec!(0.70), dec!(0.70)));
    let report = set.reconcile();
    assert_eq!((&report["equal_charges"], &report["billed_after_all"]), (&2.into(), &0.into()));
    set.world.assert_no_violations();
}

#[tokio::test]
async fn a_key_that_may_not_read_the_bill_compares_units() {
    let Some(set) = Set::build().await else { return };
    set.world.fal().set_administrator(false);
    set.machine.run(&FILM).expect(0);
    let shown = set.machine.run(&["costs", "reconcile"]).expect(0);
    assert!(shown.stderr.contains("administrator rights"), "{}", shown.stderr);
    assert_eq!(set.sums("fal").await, (dec!(0.70), Some(dec!(0.70))));

    // With sound the amount cannot be told by the base price.
    set.machine.run(&[&FILM[..], &["--audio"]].concat()).expect(0);
    let report = set.reconcile();
    let clips: Vec<&Value> =
        report["rows"].as_array().unwrap().iter().filter(|row| row["provider"] == "fal").collect();
    assert_eq!(clips.len(), 2, "{report}");
    assert!(clips.iter().all(|row| row["billed_usd"].is_null()
        && row["why"].as_str().unwrap().contains("10 units for 5 s")));
    // An administrator's key tells it later.
    set.world.fal().set_administrator(true);
    assert_eq!(set.reconcile()["open_charges"], 4, "Midjourney's four pictures");
    assert_eq!(set.sums("fal").await, (dec!(2.10), Some(dec!(2.10))));
    set.world.assert_no_violations();
}

#[tokio::test]
async fn every_charge_of_a_film_can_be_explained_to_the_last_digit() {
    let Some(set) = Set::build().await else { return };
    set.machine.run(&[&FILM[..], &["--audio"]].concat()).expect(0);
    let charges: Vec<(String, String, Decimal)> =
        set.query("SELECT id::text, provider, settled_usd FROM charges ORDER BY created_at").await;
    assert!(charges.len() >= 7, "{charges:?}");
    for (charge, provider, settled) in &charges {
        let report = set.machine.run(&["costs", "explain", charge, "--json"]).expect(0).json();
        assert_eq!(report["agrees"], true, "{report}");
        let sum: Decimal = report["computed_usd"].as_str().unwrap().parse().unwrap();
        assert_eq!(sum, *settled, "{provider}");
    }
    let (clip, _, _) = charges.iter().find(|(_, provider, _)| provider == "fal").unwrap();
    let shown = set.machine.run(&["costs", "explain", &clip[28..]]).expect(0);
    assert!(shown.stdout.contains("video with sound"), "{}", shown.stdout);
    assert!(shown.stdout.contains("exactly what was settled"), "{}", shown.stdout);
    let request = set.world.fal().orders()[0].request_id.clone();
    set.machine.run(&["costs", "explain", &request]).expect(0);
    set.machine.run(&["costs", "explain", "00000000"]).expect(2);
}

#[tokio::test]
async fn listed_prices_are_compared_kept_and_used() {
    let world = World::start(200.0);
    let machine = TestEnvironment::in_world(&world);
    let kling = "fal-ai/kling-video/v2.6/pro/image-to-video";
    let differences = || {
        let report = machine.run(&["prices", "refresh", "--json"]).expect(0).json();
        report["differences"].as_i64().unwrap()
    };
    // Four models that the shipped book does not price have one on the list.
    assert_eq!(differences(), 4);
    world.fal().list_price(kling, dec!(0.09));
    world.fal().list_price("fal-ai/kling-video/v3/pro/image-to-video", dec!(0.20));
    let shown = machine.run(&["prices", "refresh"]).expect(0);
    assert!(shown.stdout.contains("sound is then unpriced"), "{}", shown.stdout);
    assert!(shown.stderr.contains("no price API"), "{}", shown.stderr);
    assert!(!machine.data().join("prices.toml").exists(), "nobody said yes");
    machine.run(&["prices", "refresh", "--write"]).expect(0);
    assert_eq!(differences(), 0);
    let of = |model: &str| {
        let prices = machine.run(&["prices", "--json"]).expect(0).json();
        let all = prices["prices"].as_array().unwrap().clone();
        all.into_iter().find(|price| price["model"] == model).unwrap()
    };
    let price = of("kling-2.6-pro");
    assert_eq!(
        (&price["each"], &price["audio"], &price["origin"]),
        (&"0.09".into(), &"0.14".into(), &"refreshed".into())
    );
    assert_eq!(
        (&of("kling-3-pro")["each"], &of("kling-3-pro")["audio"]),
        (&"0.2".into(), &Value::Null)
    );
    // A second change on the same day replaces the first.
    world.fal().list_price(kling, dec!(0.10));
    machine.run(&["prices", "refresh", "--write"]).expect(0);
    assert_eq!(of("kling-2.6-pro")["each"], "0.1");
    world.assert_no_violations();
}
