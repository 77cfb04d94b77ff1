//! One charge taken apart: units × price = amount for each thing that was bought, by the price row
//! that the charge refers to, and whether the sum is what was settled. Pure.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::ledger::money::{Quantity, TokenCounts, Usd};
use crate::ledger::prices::Rates;
use crate::store::bills::Line;

const PER_MILLION: u32 = 1_000_000;

/// One thing that was bought: `units` × `price_usd` / `per` = `amount_usd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What, for people.
    pub what: &'static str,
    /// How many.
    pub units: Decimal,
    /// Of what.
    pub unit: &'static str,
    /// The price of `per` units, USD.
    pub price_usd: Decimal,
    /// How many units the price is for.
    pub per: u32,
    /// What they cost, USD, exact.
    pub amount_usd: Usd,
}

/// A charge taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The things that were bought.
    pub parts: Vec<Part>,
    /// Their sum, USD; none where there is no price to compute it with.
    pub computed_usd: Option<Usd>,
    /// Whether the sum is what was settled; none where nothing is settled.
    pub agrees: Option<bool>,
    /// Why there is no sum, or why it is not what was settled.
    pub why: Option<String>,
}

/// Takes a line of the books apart.
pub fn explain(line: &Line) -> Explained {
    let without = |why: &str| Explained {
        parts: Vec::new(),
        computed_usd: None,
        agrees: None,
        why: Some(why.to_owned()),
    };
    if line.charge_id.is_none() {
        return without("nothing was booked for this call");
    }
    let rates = line.rates.clone().and_then(|rates| serde_json::from_value::<Rates>(rates).ok());
    let Some(rates) = rates else {
        return without("the price that it was made with is not kept");
    };
    let parts = parts(line, &rates);
    let sum: Usd = parts.iter().map(|part| part.amount_usd).sum();
    let Some(settled) = line.settled_usd else {
        return Explained {
            parts,
            computed_usd: None,
            agrees: None,
            why: Some(format!(
                "nobody knows what became of it; it is held at its ceiling, {}",
                line.reserved_usd
            )),
        };
    };
    let agrees = sum == settled;
    let why = (!agrees).then(|| difference(line, settled, &parts));
    Explained { parts, computed_usd: Some(sum), agrees: Some(agrees), why }
}

fn difference(line: &Line, settled: Usd, parts: &[Part]) -> String {
    let decision = line.failure.as_ref().and_then(|failure| failure["decision"].as_str());
    if line.billed_usd == Some(settled) && line.operation_state == "failed_charged" {
        "it was taken to be free and was billed after all: what was settled is what was billed"
            .to_owned()
    } else if parts.is_empty() && settled == line.reserved_usd {
        match decision {
            Some(why) => format!("it was settled at its ceiling: {why}"),
            None => "it was settled at its ceiling: what was bought is not known".to_owned(),
        }
    } else {
        "the sum is not what was settled: this is a fault in aida; please report it".to_owned()
    }
}

fn parts(line: &Line, rates: &Rates) -> Vec<Part> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let mut parts = Vec::new();
    let mut add = |what, units: Decimal, unit, price_usd: Decimal, per: u32| {
        if !units.is_zero() {
            let amount_usd = Usd::new(units * price_usd / Decimal::from(per));
            parts.push(Part { what, units, unit, price_usd, per, amount_usd });
        }
    };
    match rates {
        Rates::Tokens(rates) => {
            let tokens = TokenCounts {
                uncached_input: count(line.uncached_input_tokens),
                cache_write_5m: count(line.cache_write_5m_tokens),
                cache_write_1h: count(line.cache_write_1h_tokens),
                cache_read: count(line.cache_read_tokens),
                output: count(line.output_tokens),
            };
            let rates = rates.of(tokens);
            for (what, number, price) in [
                ("uncached input", tokens.uncached_input, rates.input),
                ("cache write 5 min", tokens.cache_write_5m, rates.cache_write_5m),
                ("cache write 1 h", tokens.cache_write_1h, rates.cache_write_1h),
                ("cache read", tokens.cache_read, rates.cache_read),
                ("output", tokens.output, rates.output),
            ] {
                add(what, Decimal::from(number), "tokens", price, PER_MILLION);
            }
        }
        Rates::Embedding(price) => {
            let tokens = Decimal::from(line.embedding_tokens);
            add("embedded", tokens, "tokens", *price, PER_MILLION);
        }
        Rates::Image(price) => add("images", Decimal::from(line.images), "jobs", *price, 1),
        Rates::Video { silent, audio } => {
            let quantity = serde_json::from_value(line.quantity.clone()).ok();
            let has_sound = matches!(quantity, Some(Quantity::VideoSeconds { audio: true, .. }));
            let seconds = Decimal::from(line.video_seconds);
            match (has_sound, audio) {
                (true, Some(price)) => add("video with sound", seconds, "seconds", *price, 1),
                _ => add("silent video", seconds, "seconds", *silent, 1),
            }
        }
    }
    parts
}
