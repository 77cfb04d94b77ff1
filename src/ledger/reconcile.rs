//! The books beside the bills: what each provider says it billed for each call, and why that is not
//! what was settled where it is not. Makes no paid call, and asks about nothing twice once its bill is
//! known.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::clock::SharedClock;
use crate::ids::{ChargeId, OperationId};
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::{Till, TillError};
use crate::providers::fal::{BillingEvent, FalAccount, ListedPrice};
use crate::providers::kie::{CREDIT_PRICE, KieAccount};
use crate::providers::{FailureClass, Provider};
use crate::store::bills::{self, Bill, Known, Line, Scope};
use crate::store::operations::Operation;
use crate::store::{Store, StoreError};

/// The note of a job whose record does not tell what it cost.
const KIE_DOES_NOT_TELL: &str = "KIE does not tell what this job cost";
/// How much earlier than an operation its line on the bill may be: clocks differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// What the bill of a finished job is, where the units that came with its result say it for
/// certain: KIE's credits have one price.
pub(super) fn bill_of_units(operation: &Operation, units: Decimal) -> Option<Bill> {
    (operation.provider == Provider::Kie.as_str())
        .then(|| bill_of_credits(units, operation.estimated_usd, &operation.price_id))
}

fn bill_of_credits(credits: Decimal, settled: Usd, price: &str) -> Bill {
    let usd = CREDIT_PRICE * credits;
    let (credits_text, each) = (credits.normalize(), CREDIT_PRICE.dollars().normalize());
    let mut note = format!("{credits_text} credits at {each} USD");
    if usd != settled {
        let settled = settled.dollars().normalize();
        note = format!("{note}; settled {settled} by {price}");
    }
    Bill { usd: Some(usd), units: Some(credits), note }
}

/// One charge whose bill was read now.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The charge; none for one that was made now.
    pub charge_id: Option<ChargeId>,
    /// The operation.
    pub operation_id: OperationId,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What was settled before the bill was read, USD; nothing for what was taken to be free.
    pub settled_usd: Usd,
    /// What was billed, USD; none where that cannot be told.
    pub billed_usd: Option<Usd>,
    /// Billed less settled, USD.
    pub difference_usd: Option<Usd>,
    /// How the bill was read, and why it differs.
    pub why: String,
}

/// What came of reading the bills.
#[derive(Debug, Clone, Serialize)]
pub struct Reconciliation {
    /// From when on.
    pub since: Timestamp,
    /// What was read now.
    pub rows: Vec<Row>,
    /// Everything whose bill is not what was settled, whenever it was read.
    pub differences: Vec<Row>,
    /// Calls that were taken to be free and stand on the bill.
    pub billed_after_all: usize,
    /// What could not be read, for people.
    pub notes: Vec<String>,
    /// Charges whose bill is known now.
    pub billed_charges: i64,
    /// Of those, the charges whose bill is what was settled.
    pub equal_charges: i64,
    /// What was settled for them, USD.
    pub settled_usd: Usd,
    /// What was billed for them, USD.
    pub billed_usd: Usd,
    /// Settled charges whose bill is still to be read.
    pub open_charges: i64,
    /// Settled charges of providers that have no bill to read.
    pub without_a_bill: i64,
}

/// Reads the bills. An account without its key is not asked.
#[derive(Debug)]
pub struct Reconciler<'a> {
    /// Where the books are.
    pub store: &'a Store,
    /// Books what was billed after all.
    pub till: &'a Till,
    /// The time.
    pub clock: SharedClock,
    /// fal, if its key is set.
    pub fal: Option<FalAccount>,
    /// KIE, if its key is set.
    pub kie: Option<KieAccount>,
}

impl Reconciler<'_> {
    /// Reads the bills of everything in `scope` whose bill is not known.
    pub async fn run(&self, scope: &Scope<'_>) -> Result<Reconciliation, TillError> {
        let (mut rows, mut notes) = (Vec::new(), Vec::new());
        self.read_fal(scope, &mut rows, &mut notes).await?;
        self.read_kie(scope, &mut rows, &mut notes).await?;
        let mut session = self.store.session().await?;
        let known: Known = bills::known(&mut session, scope).await?;
        let differences = bills::differing(&mut session, scope).await?;
        session.close().await;
        if known.without_a_bill > 0 {
            notes.push(
                "Anthropic and OpenAI show no bill by request: settled is computed from the usage \
                 that they reported with each answer."
                    .to_owned(),
            );
        }
        let after_all = |row: &&Row| row.charge_id.is_none();
        Ok(Reconciliation {
            since: scope.since,
            billed_after_all: rows.iter().filter(after_all).count(),
            rows,
            differences: differences.iter().map(difference).collect(),
            notes,
            billed_charges: known.charges,
            equal_charges: known.equal,
            settled_usd: known.settled_usd,
            billed_usd: known.billed_usd,
            open_charges: known.open,
            without_a_bill: known.without_a_bill,
        })
    }

    async fn unbilled(
        &self,
        scope: &Scope<'_>,
        provider: Provider,
    ) -> Result<Vec<Line>, StoreError> {
        let mut session = self.store.session().await?;
        let lines = bills::unbilled(&mut session, scope, provider.as_str()).await;
        session.close().await;
        lines
    }

    async fn read_fal(
        &self,
        scope: &Scope<'_>,
        rows: &mut Vec<Row>,
        notes: &mut Vec<String>,
    ) -> Result<(), TillError> {
        let lines = self.unbilled(scope, Provider::Fal).await?;
        let Some(first) = lines.first() else { return Ok(()) };
        let Some(fal) = &self.fal else {
            notes.push(format!(
                "fal was not asked about {}: FAL_KEY is not set.",
                calls(lines.len())
            ));
            return Ok(());
        };
        let ids: Vec<&str> = lines.iter().filter_map(|line| line.request_id.as_deref()).collect();
        let earliest = first.sent_at.unwrap_or(first.created_at).to_jiff();
        let since = earliest.checked_sub(CLOCKS_DIFFER).unwrap_or(earliest);
        let events = match fal.billing_events(&ids, since, self.clock.now()).await {
            Ok(events) => events,
            Err(error) if error.class == FailureClass::Credentials => {
                notes.push(
                    "fal shows its bill to keys with administrator rights only; this key's clips are \
                     compared by the units that came with them and the listed base price, and those \
                     with sound in units alone."
                        .to_owned(),
                );
                return self.read_fal_by_units(fal, &lines, rows).await;
            }
            Err(error) => return Err(error.into()),
        };
        let mut by_request: HashMap<&str, Vec<&BillingEvent>> = HashMap::new();
        for event in &events {
            by_request.entry(&event.request_id).or_default().push(event);
        }
        for line in &lines {
            let events = line.request_id.as_deref().and_then(|id| by_request.get(id));
            if let Some(events) = events {
                self.keep(line, bill_of_events(line, events), rows).await?;
            }
        }
        Ok(())
    }

    /// Without the bill: the units that came with each clip, at the listed base price.
    async fn read_fal_by_units(
        &self,
        fal: &FalAccount,
        lines: &[Line],
        rows: &mut Vec<Row>,
    ) -> Result<(), TillError> {
        let mut endpoints: Vec<&str> = lines
            .iter()
            .filter(|line| line.billed_units.is_some())
            .map(|line| line.endpoint.as_str())
            .collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        let listed = fal.listed_prices(&endpoints).await?;
        for line in lines {
            let listed = listed.iter().find(|listed| listed.endpoint == line.endpoint);
            if let (Some(units), Some(listed)) = (line.billed_units, listed) {
                self.keep(line, bill_by_units(line, units, listed), rows).await?;
            }
        }
        Ok(())
    }

    async fn read_kie(
        &self,
        scope: &Scope<'_>,
        rows: &mut Vec<Row>,
        notes: &mut Vec<String>,
    ) -> Result<(), TillError> {
        let lines = self.unbilled(scope, Provider::Kie).await?;
        let mut not_asked = 0;
        for line in lines.iter().filter(|line| line.charge_id.is_some()) {
            if let Some(credits) = line.billed_units {
                self.keep(line, bill_of_line(line, credits), rows).await?;
                continue;
            }
            if line.bill_note.as_deref() == Some(KIE_DOES_NOT_TELL) {
                continue;
            }
            let (Some(kie), Some(task)) = (&self.kie, &line.request_id) else {
                not_asked += 1;
                continue;
            };
            let bill = match kie.credits_consumed(&line.model, task).await? {
                Some(credits) => bill_of_line(line, credits),
                None => Bill { usd: None, units: None, note: KIE_DOES_NOT_TELL.to_owned() },
            };
            self.keep(line, bill, rows).await?;
        }
        if not_asked > 0 {
            notes.push(format!(
                "KIE was not asked about {}: KIE_API_KEY is not set.",
                calls(not_asked)
            ));
        }
        Ok(())
    }

    /// Keeps the bill of one line, in a unit of work of its own.
    async fn keep(&self, line: &Line, bill: Bill, rows: &mut Vec<Row>) -> Result<(), TillError> {
        let settled = line.settled_usd.unwrap_or(Usd::ZERO);
        let was_free = line.operation_state == "failed_not_charged";
        let bill = match bill.usd {
            Some(billed) if was_free && !billed.is_zero() => {
                let note = format!("{}; billed although it failed", bill.note);
                self.till.bill_after_all(line.operation_id, billed, bill.units, &note).await?;
                Bill { note, ..bill }
            }
            // It was free, and the bill says so too.
            _ if line.charge_id.is_none() => return Ok(()),
            _ => {
                let mut session = self.store.session().await?;
                if let Some(charge) = line.charge_id {
                    bills::keep_bill(&mut session, charge, &bill, self.clock.now()).await?;
                }
                session.close().await;
                bill
            }
        };
        rows.push(Row {
            charge_id: line.charge_id.filter(|_| !was_free),
            operation_id: line.operation_id,
            provider: line.provider.clone(),
            model: line.model.clone(),
            settled_usd: settled,
            billed_usd: bill.usd,
            difference_usd: bill.usd.map(|billed| billed - settled),
            why: bill.note,
        });
        Ok(())
    }
}

fn bill_of_line(line: &Line, credits: Decimal) -> Bill {
    bill_of_credits(credits, line.settled_usd.unwrap_or(Usd::ZERO), &line.price_id)
}

/// A charge whose bill is known and differs.
fn difference(line: &Line) -> Row {
    let settled = line.settled_usd.unwrap_or(Usd::ZERO);
    Row {
        charge_id: line.charge_id,
        operation_id: line.operation_id,
        provider: line.provider.clone(),
        model: line.model.clone(),
        settled_usd: settled,
        billed_usd: line.billed_usd,
        difference_usd: line.billed_usd.map(|billed| billed - settled),
        why: line.bill_note.clone().unwrap_or_default(),
    }
}

/// What fal's bill says of one request.
fn bill_of_events(line: &Line, events: &[&BillingEvent]) -> Bill {
    let total: Usd = events.iter().map(|event| event.total).sum();
    let discount: Usd = events.iter().map(|event| event.discount).sum();
    let units: Option<Decimal> = events.iter().map(|event| event.units).sum();
    let number = |amount: Option<Decimal>| {
        amount.map_or_else(|| "?".to_owned(), |amount| amount.normalize().to_string())
    };
    let lines: Vec<String> = events
        .iter()
        .map(|event| format!("{} units at {}", number(event.units), number(event.unit_price)))
        .collect();
    let mut note = format!("fal billed {}", lines.join(" and "));
    if !discount.is_zero() {
        note = format!("{note}, less {} of discount", discount.dollars().normalize());
    }
    if let Some(settled) = line.settled_usd.filter(|settled| *settled != total) {
        note = format!("{note}; {}", book_says(line, settled));
    }
    Bill { usd: Some(total), units, note }
}

/// What the units of a clip come to at the listed base price, which knows of no sound and no other
/// resolution.
fn bill_by_units(line: &Line, units: Decimal, listed: &ListedPrice) -> Bill {
    let quantity = serde_json::from_value(line.quantity.clone()).ok();
    let has_sound = matches!(quantity, Some(Quantity::VideoSeconds { audio: true, .. }));
    let is_base = crate::providers::fal::VIDEO_MODELS
        .iter()
        .find(|known| known.name == line.model)
        .is_some_and(crate::providers::fal::KnownVideoModel::has_the_listed_price);
    let (units_text, price) = (units.normalize(), listed.unit_price.normalize());
    if has_sound || !is_base || !listed.is_usd_per_second() {
        let seconds = line.video_seconds;
        let note = format!(
            "fal counted {units_text} units for {seconds} s; the listed {price} is the base price, \
             without sound or another resolution, so the amount is not told"
        );
        return Bill { usd: None, units: Some(units), note };
    }
    let usd = Usd::new(units * listed.unit_price);
    let mut note = format!("{units_text} units at the listed {price}, without the bill itself");
    if let Some(settled) = line.settled_usd.filter(|settled| *settled != usd) {
        note = format!("{note}; {}", book_says(line, settled));
    }
    Bill { usd: Some(usd), units: Some(units), note }
}

fn book_says(line: &Line, settled: Usd) -> String {
    let settled = settled.dollars().normalize();
    format!("settled {settled} by {} for {} s", line.price_id, line.video_seconds)
}

fn calls(number: usize) -> String {
    if number == 1 { "1 call".to_owned() } else { format!("{number} calls") }
}
