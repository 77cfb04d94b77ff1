//! `aida prices`: the price book.

mod refresh;

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Serialize;

use self::refresh::RefreshArgs;
use crate::cli::tables::{self, Column, Grid};
use crate::commands::Context;
use crate::error::Error;
use crate::ledger::prices::{Origin, Price, PriceBook, Rates, TokenRates};
use crate::providers::Provider;

/// Arguments of `aida prices`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Show the price book, and compare it with a provider's list",
    long_about = "Show the price book: what each model costs today, since when, and where the \
        figure was read.\n\nAmounts are US dollars without tax. A model that has no entry is not \
        bought. Entries of your own stand in config.toml under [[price]]; \
        `aida config example` shows how.",
    after_help = "\
Examples:
  aida prices                          what is in force today
  aida prices --provider fal --all     past and future entries too
  aida prices --csv > prices.csv
  aida prices refresh                  compares Kling's prices with fal's list
  aida prices refresh --write          and keeps what differs",
    args_conflicts_with_subcommands = true
)]
pub struct PricesArgs {
    #[command(subcommand)]
    pub(crate) action: Option<PricesAction>,
    /// Past and future entries too
    #[arg(long)]
    pub all: bool,
    /// Only this provider's models
    #[arg(long, value_enum)]
    pub provider: Option<Seller>,
    /// Print CSV on standard output
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// What to do with the book.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PricesAction {
    Refresh(RefreshArgs),
}

/// A provider, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Seller {
    /// Claude
    Anthropic,
    /// Embeddings
    Openai,
    /// Embeddings
    Voyage,
    /// Embeddings by a host of your own
    Compatible,
    /// Keyframes
    Kie,
    /// Clips
    Fal,
}

impl From<Seller> for Provider {
    fn from(seller: Seller) -> Self {
        match seller {
            Seller::Anthropic => Self::Anthropic,
            Seller::Openai => Self::OpenAi,
            Seller::Voyage => Self::Voyage,
            Seller::Compatible => Self::Compatible,
            Seller::Kie => Self::Kie,
            Seller::Fal => Self::Fal,
        }
    }
}

/// One entry as scripts read it. Of the figures only those of its unit are set.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    id: String,
    provider: &'a str,
    model: &'a str,
    unit: &'static str,
    from: Date,
    in_force: bool,
    origin: Origin,
    source: &'a str,
    input: Option<Decimal>,
    output: Option<Decimal>,
    cache_write_5m: Option<Decimal>,
    cache_write_1h: Option<Decimal>,
    cache_read: Option<Decimal>,
    above_input_tokens: Option<u64>,
    above_input: Option<Decimal>,
    above_output: Option<Decimal>,
    above_cache_write_5m: Option<Decimal>,
    above_cache_write_1h: Option<Decimal>,
    above_cache_read: Option<Decimal>,
    each: Option<Decimal>,
    audio: Option<Decimal>,
}

impl<'a> Entry<'a> {
    fn new(price: &'a Price, in_force: bool) -> Self {
        let (tokens, each, audio) = match &price.rates {
            Rates::Tokens(rates) => (Some(rates), None, None),
            Rates::Embedding(each) | Rates::Image(each) => (None, Some(*each), None),
            Rates::Video { silent, audio } => (None, Some(*silent), *audio),
        };
        let above = tokens.and_then(|rates| rates.above.as_deref());
        let band = above.map(|band| &band.rates);
        Self {
            id: price.id(),
            provider: &price.provider,
            model: &price.model,
            unit: unit(&price.rates),
            from: price.from,
            in_force,
            origin: price.origin,
            source: &price.source,
            input: tokens.map(|rates| rates.input),
            output: tokens.map(|rates| rates.output),
            cache_write_5m: tokens.map(|rates| rates.cache_write_5m),
            cache_write_1h: tokens.map(|rates| rates.cache_write_1h),
            cache_read: tokens.map(|rates| rates.cache_read),
            above_input_tokens: above.map(|band| band.input_tokens),
            above_input: band.map(|rates| rates.input),
            above_output: band.map(|rates| rates.output),
            above_cache_write_5m: band.map(|rates| rates.cache_write_5m),
            above_cache_write_1h: band.map(|rates| rates.cache_write_1h),
            above_cache_read: band.map(|rates| rates.cache_read),
            each,
            audio,
        }
    }
}

/// What a price is for one of.
const fn unit(rates: &Rates) -> &'static str {
    match rates {
        Rates::Tokens(_) | Rates::Embedding(_) => "million tokens",
        Rates::Image(_) => "image",
        Rates::Video { .. } => "second",
    }
}

/// Prints the book, or compares it.
pub async fn run(arguments: &PricesArgs, context: &Context) -> Result<(), Error> {
    match &arguments.action {
        Some(PricesAction::Refresh(refresh)) => refresh::run(refresh, context).await,
        None => show(arguments, context),
    }
}

fn show(arguments: &PricesArgs, context: &Context) -> Result<(), Error> {
    let book = context.prices()?;
    let today = today(context);
    let chosen = chosen(arguments, &book, today);
    let entries = || chosen.iter().map(|price| Entry::new(price, book.is_in_force(price, today)));
    let output = &context.output;
    if arguments.csv {
        output.bytes(&tables::csv(entries())?);
    } else if output.is_json() {
        let entries: Vec<_> = entries().collect();
        output.json(&serde_json::json!({ "schema": 1, "day": today, "prices": entries }));
    } else {
        output.data(page(&chosen, output.width()));
        if !arguments.all {
            output.hint("prices of your own: [[price]] in config.toml (see `aida config example`)");
        }
    }
    Ok(())
}

/// The day whose prices are in force, UTC.
fn today(context: &Context) -> Date {
    context.clock.now().to_zoned(TimeZone::UTC).date()
}

/// The entries to show, by provider, then by model, the latest first.
fn chosen<'a>(arguments: &PricesArgs, book: &'a PriceBook, today: Date) -> Vec<&'a Price> {
    let provider = arguments.provider.map(|seller| Provider::from(seller).as_str());
    let mut chosen: Vec<_> = book
        .entries()
        .iter()
        .filter(|price| provider.is_none_or(|provider| price.provider == provider))
        .filter(|price| arguments.all || book.is_in_force(price, today))
        .collect();
    chosen.sort_by(|left, right| {
        (&left.provider, &left.model, right.from).cmp(&(&right.provider, &right.model, left.from))
    });
    chosen
}

/// One table for each provider: its columns are what that provider's prices have.
fn page(prices: &[&Price], width: u16) -> String {
    let mut page = String::new();
    for of_one in prices.chunk_by(|left, right| left.provider == right.provider) {
        let Some(first) = of_one.first() else { continue };
        if !page.is_empty() {
            page.push('\n');
        }
        let classes = match first.rates {
            Rates::Tokens(_) => " (w: written to the cache, read: from it)",
            _ => "",
        };
        let _ = writeln!(page, "{}, USD per {}{classes}", first.provider, unit(&first.rates));
        page.push_str(&table(of_one, &first.rates).render(width));
    }
    if page.is_empty() { "The book has no such entry.\n".to_owned() } else { page }
}

fn table(prices: &[&Price], kind: &Rates) -> Grid {
    let figures: &[&'static str] = match kind {
        Rates::Tokens(_) => &["input", "output", "w 5m", "w 1h", "read"],
        Rates::Embedding(_) | Rates::Image(_) => &["price"],
        Rates::Video { .. } => &["silent", "sound"],
    };
    let mut grid = Grid::new(
        [Column::flexible("model", 26)]
            .into_iter()
            .chain(figures.iter().map(|title| Column::right(title)))
            .chain([Column::left("since"), Column::flexible("source", 6)]),
    );
    let number = |amount: Decimal| amount.normalize().to_string();
    for price in prices {
        let since = price.from.to_string();
        let source = price.source.clone();
        let cells = match &price.rates {
            Rates::Tokens(rates) => classes(rates).map(number).to_vec(),
            Rates::Embedding(each) | Rates::Image(each) => vec![number(*each)],
            Rates::Video { silent, audio } => {
                vec![number(*silent), audio.map_or_else(|| "-".to_owned(), number)]
            }
        };
        grid.row([price.model.clone()].into_iter().chain(cells).chain([since, source]));
        if let Rates::Tokens(TokenRates { above: Some(band), .. }) = &price.rates {
            let name = format!("  over {}k input", band.input_tokens / 1_000);
            let cells = classes(&band.rates).map(number);
            grid.row([name].into_iter().chain(cells).chain([String::new(), String::new()]));
        }
    }
    grid
}

const fn classes(rates: &TokenRates) -> [Decimal; 5] {
    [rates.input, rates.output, rates.cache_write_5m, rates.cache_write_1h, rates.cache_read]
}
