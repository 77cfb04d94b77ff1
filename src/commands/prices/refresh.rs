//! `aida prices refresh`: the book beside the list of the one provider that has one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use clap::Args;

use super::today;
use crate::cli::settings::prices;
use crate::cli::tables::{Column, Grid};
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ledger::prices::{Origin, Price, PriceBook, Rates};
use crate::ledger::refresh::{Comparison, Outcome, compare};
use crate::providers::fal::VIDEO_MODELS;

/// Arguments of `aida prices refresh`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Compare Kling's prices with fal's list, and keep what differs",
    long_about = "Compare Kling's prices with fal's list, and keep what differs.\n\n\
        Free; needs FAL_KEY. fal lists the base price, without sound: a price with sound is kept \
        beside a new base if it is not below it, and is otherwise unknown, so that sound is not \
        bought until config.toml says what it costs. What differs is kept in prices.toml in the \
        data directory; config.toml comes before it.",
    after_help = "\
Examples:
  aida prices refresh             shows the differences
  aida prices refresh --write     keeps them, for cron"
)]
pub(crate) struct RefreshArgs {
    /// Keep what differs without asking
    #[arg(long)]
    pub(crate) write: bool,
}

pub(super) async fn run(arguments: &RefreshArgs, context: &Context) -> Result<(), Error> {
    context.require(&[Service::Fal])?;
    let output = &context.output;
    let (book, today) = (context.prices()?, today(context));
    let mut endpoints: Vec<_> = VIDEO_MODELS.iter().map(|known| known.endpoint).collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let listed = context.fal_account()?.listed_prices(&endpoints).await?;
    let comparisons: Vec<Comparison> = VIDEO_MODELS
        .iter()
        .map(|known| {
            let price = book.find("fal", known.name, today);
            let listed = listed.iter().find(|listed| listed.endpoint == known.endpoint);
            compare(known, price, listed, today)
        })
        .collect();
    let entries: Vec<Price> = comparisons
        .iter()
        .filter_map(|comparison| match &comparison.outcome {
            Outcome::Differs { entry, .. } => Some(entry.clone()),
            _ => None,
        })
        .collect();
    if !output.is_json() {
        output.data(page(&comparisons, output.width()));
        output.status(
            "Anthropic, OpenAI and KIE have no price API: their prices are compared by hand.",
        );
    }
    let path = context.refreshed_prices_path();
    let wanted = !entries.is_empty()
        && (arguments.write
            || (output.can_prompt()
                && output
                    .confirm(
                        &format!("Keep {} in {}?", prices_of(entries.len()), path.display()),
                        &context.cancel,
                    )
                    .await?));
    if wanted {
        keep(&path, entries.clone())?;
    }
    if output.is_json() {
        output.json(&serde_json::json!({
            "schema": 1,
            "day": today,
            "models": comparisons,
            "differences": entries.len(),
            "written": if wanted { Some(&path) } else { None },
            "without_a_price_api": ["anthropic", "openai", "kie"],
        }));
    } else if wanted {
        output.status(format!("{} kept in {}.", prices_of(entries.len()), path.display()));
    } else if entries.is_empty() {
        output.status("The book holds what fal lists.");
    } else {
        output.hint("keep what differs with: aida prices refresh --write");
    }
    Ok(())
}

fn prices_of(number: usize) -> String {
    if number == 1 { "1 price".to_owned() } else { format!("{number} prices") }
}

fn page(comparisons: &[Comparison], width: u16) -> String {
    let mut grid = Grid::new([
        Column::left("model"),
        Column::right("book"),
        Column::right("listed"),
        Column::flexible("what follows", 20),
    ]);
    for comparison in comparisons {
        let number = |amount: Option<rust_decimal::Decimal>| {
            amount.map_or_else(|| "-".to_owned(), |amount| amount.normalize().to_string())
        };
        let follows = match &comparison.outcome {
            Outcome::Same => "the same".to_owned(),
            Outcome::Own => "differs; your own in config.toml stays".to_owned(),
            Outcome::NotCompared(why) => format!("not compared: {why}"),
            Outcome::Differs { loses_sound: true, .. } => {
                "differs; sound is then unpriced and refused".to_owned()
            }
            Outcome::Differs { entry, .. } => match entry.rates {
                Rates::Video { audio: Some(audio), .. } => {
                    format!("differs; with sound {}", audio.normalize())
                }
                _ => "differs; silent only".to_owned(),
            },
        };
        grid.row([
            comparison.model.to_owned(),
            number(comparison.book),
            number(comparison.listed),
            follows,
        ]);
    }
    format!("fal, USD per second, base price without sound\n{}", grid.render(width))
}

/// Adds entries to the file of refreshed prices: written beside it and moved into its place.
fn keep(path: &Path, entries: Vec<Price>) -> Result<(), Error> {
    let earlier = prices::read(path, Origin::Refreshed)?;
    let book = PriceBook::default().with(earlier).with(entries);
    let write = || {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(folder)?;
        let half = path.with_extension("half");
        let mut file = std::fs::File::create(&half)?;
        file.write_all(text(book.entries()).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&half, path)
    };
    write().map_err(|error| {
        Error::new(Kind::Settings, format!("the prices cannot be written to {}", path.display()))
            .because(error)
            .hint("is the data directory yours, and is there space? AIDA_DATA_DIR names another")
    })
}

fn text(entries: &[Price]) -> String {
    let mut text = String::from(
        "# Prices that `aida prices refresh` read, over those that aida ships with and under those of\n\
         # config.toml. Each counts from its day until a later one.\n",
    );
    let quoted = |text: &str| toml::Value::from(text).to_string();
    for Price { provider, model, from, source, rates, .. } in entries {
        let Rates::Video { silent, audio } = rates else { continue };
        let sound = audio.map(|audio| format!(", audio = \"{audio}\"")).unwrap_or_default();
        let _ = write!(
            text,
            "\n[[price]]\nprovider = {}\nmodel = {}\nfrom = \"{from}\"\nsource = {}\n\
             video = {{ silent = \"{silent}\"{sound} }}\n",
            quoted(provider),
            quoted(model),
            quoted(source),
        );
    }
    text
}
