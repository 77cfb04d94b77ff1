//! `aida create-video`: the main job, from a brief to a film.

mod followed;
mod given;
mod offer;
mod order;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgGroup, Args};
use rust_decimal::Decimal;

use crate::cli::progress::Bars;
use crate::cli::settings::{Override, Settings};
use crate::commands::making;
use crate::commands::{Context, Service};
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::memory::files::Shelf;
use crate::providers::LanguageModel;
use crate::studio::brief::{Brief, BriefError, MOST_SHOTS};
use crate::studio::events::Event;
use crate::studio::making::Orders;
use crate::studio::plan::Quote;
pub(crate) use order::Order;

/// Arguments of `aida create-video`.
#[derive(Debug, Clone, Args)]
#[command(about = "Make a film from a brief", 
    long_about = "Make a film from a brief.\n\n\
        Before anything is paid for, aida says what the film may cost and asks. Without a \
        terminal it needs --yes, or it spends nothing and exits with 3. The path of the film is \
        printed on standard output.",
    after_help = "\
Examples:
  aida create-video \"food video\" --preview         free, without any key
  aida create-video \"food video\" --dry-run         what it would cost
  aida create-video \"food video\" --budget 5.00     asks, then makes it
  aida create-video \"running shoes launch\" --duration 15 --aspect 16:9 --audio
  aida create-video \"spring sale\" --file prices.csv --reference logo.png
  aida create-video --from 23456789 --yes          shoots a kept storyboard
  aida create-video \"food video\" --reuse auto      buys what no kept take fits",
    group = ArgGroup::new("what").required(true).args(["brief", "from"]),
    group = ArgGroup::new("how far").args(["preview", "plan", "dry_run"])
)]
pub struct CreateVideoArgs {
    /// What the film is about, in a sentence or a few
    #[arg(value_name = "BRIEF", allow_hyphen_values = true)]
    pub brief: Option<String>,
    /// Shoot the kept storyboard of this project instead
    #[arg(long, value_name = "PROJECT")]
    pub from: Option<String>,
    /// Put the video into this campaign
    #[arg(long, value_name = "NAME")]
    pub campaign: Option<String>,
    /// Length of the film in seconds, 1 to 600 [default: 30]
    #[arg(long, value_name = "SECONDS", conflicts_with = "from")]
    pub duration: Option<String>,
    /// Number of shots, 1 to 60 [default: one for each 5 s]
    #[arg(long, value_name = "N", conflicts_with = "from",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SHOTS)))]
    pub scenes: Option<u32>,
    /// Shape of the picture, such as 9:16, 16:9 or 1:1 [default: 9:16]
    #[arg(long, value_name = "W:H", conflicts_with = "from")]
    pub aspect: Option<String>,
    /// Model that draws the keyframes [default: midjourney-7-fast]
    #[arg(long, value_name = "MODEL")]
    pub image_model: Option<String>,
    /// Model that moves them [default: kling-2.6-pro]
    #[arg(long, value_name = "MODEL")]
    pub video_model: Option<String>,
    /// Buy clips with sound, which costs more
    #[arg(long)]
    pub audio: bool,
    /// Use this document or picture (can be repeated)
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Show this picture to the image model for every keyframe: a path, or one of your files by its
    /// id or name (can be repeated)
    #[arg(long = "reference", value_name = "PATH|FILE")]
    pub references: Vec<PathBuf>,
    /// Refuse to start above this, and stop before passing it, in USD
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub budget: Option<Usd>,
    /// Make a free preview of drawn cards instead of a film
    #[arg(long)]
    pub preview: bool,
    /// Stop after the storyboard; `aida resume` shoots it
    #[arg(long)]
    pub plan: bool,
    /// Say what it would cost and stop; free
    #[arg(long)]
    pub dry_run: bool,
    /// Use kept images and clips again: auto, ask or never [default: ask on a terminal, else never]
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "ask", "never"], hide_possible_values = true)]
    pub reuse: Option<String>,
    /// Put the film into this folder [default: videos_dir, or the current folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Agree beforehand to what is quoted
    #[arg(long, short)]
    pub yes: bool,
}

impl CreateVideoArgs {
    /// The settings that these flags override.
    pub fn overrides(&self) -> Vec<Override> {
        [
            ("duration_seconds", "--duration", self.duration.clone()),
            ("aspect", "--aspect", self.aspect.clone()),
            ("image_model", "--image-model", self.image_model.clone()),
            ("video_model", "--video-model", self.video_model.clone()),
            ("audio", "--audio", self.audio.then(|| "true".to_owned())),
            ("reuse", "--reuse", self.reuse.clone()),
        ]
        .into_iter()
        .filter_map(|(name, flag, value)| Some(Override { name, flag, value: value? }))
        .collect()
    }

    /// The brief that these arguments and the settings make; none with `--from`. A wrong brief
    /// is wrong usage.
    pub fn to_brief(&self, settings: &Settings) -> Result<Option<Brief>, Error> {
        let Some(text) = &self.brief else { return Ok(None) };
        let text = text.parse().map_err(|error: BriefError| {
            let hint = match error {
                BriefError::Empty => "say what the film is about: aida create-video \"food video\"",
                BriefError::TooLong { .. } => {
                    "keep the brief short and give long texts with --file PATH"
                }
                BriefError::Binary { .. } => {
                    "a brief is plain text; give documents and pictures with --file PATH"
                }
            };
            Error::usage(error.to_string()).hint(hint)
        })?;
        let shots = self.scenes.unwrap_or_else(|| Brief::default_shots(settings.duration_seconds));
        if settings.duration_seconds < Decimal::from(shots) {
            return Err(Error::usage(format!(
                "{shots} shots do not fit into {} s: each lasts at least 1 s",
                settings.duration_seconds
            ))
            .hint("raise --duration or lower --scenes"));
        }
        Ok(Some(Brief {
            text,
            duration_seconds: settings.duration_seconds,
            shots,
            aspect: settings.aspect,
            files: self.files.clone(),
        }))
    }
}

/// Reads an amount of dollars for a flag.
pub fn dollars(text: &str) -> Result<Usd, String> {
    text.parse::<Usd>()
        .ok()
        .filter(|amount| *amount >= Usd::ZERO)
        .ok_or_else(|| "not an amount of dollars from 0 up, such as 5.00".to_owned())
}

/// Makes the film.
pub async fn run(arguments: &CreateVideoArgs, context: &Context) -> Result<(), Error> {
    let order = Order::check(arguments, &mut Shelf::default(), context).await?;
    if arguments.dry_run {
        order.offer.show(context, &order.brief, &order.followed);
        return order.is_within_its_budget();
    }
    order.followed.tell(context, &order.brief);
    order.is_within_its_budget()?;
    let folder = folder(arguments, context)?;
    if !arguments.preview
        && let Err(missing) = order.require_services(context)
    {
        return offer_preview(arguments, context, missing).await;
    }
    let language = writer(arguments, context, order.source.is_some()).await?;
    let media = if arguments.preview {
        None
    } else {
        agree(arguments, context, &order).await?;
        Some(context.media(order.image.clone(), order.video.clone()).await?)
    };
    order.copy_pictures(context).await?;
    let producer = context.producer().await?;
    let (quote, video, is_written) =
        (order.offer.quote, order.video.clone(), order.source.is_some());
    let accepted = order.agreed_usd().filter(|_| arguments.yes);
    let new = order.into_new_video(context, folder, language.is_some(), accepted, None);
    let run = producer.begin(new).await?;

    let (events, bars) = Bars::start(&context.output);
    let claim = producer.claim(run, events, &context.cancel, false).await?;
    if is_written {
        producer.take_in_files(&claim, None).await?;
    }
    if !arguments.preview {
        claim.tell(Event::Quoted { low_usd: quote.low_usd, high_usd: quote.high_usd });
    }
    if language.is_none() && !is_written {
        claim.tell(Event::Note { message: OUTLINE_NOTE.to_owned() });
    }
    let orders = Orders {
        yes: arguments.yes,
        yes_is_for_the_quote: true,
        plan_only: arguments.plan,
        clip_lengths: video.durations(),
        reuse: context.settings.reuse,
        try_again_after: None,
    };
    let report =
        making::drive(context, &producer, claim, language.as_deref(), media.as_ref(), bars, orders)
            .await?;
    making::finish(context, &report)
}

/// What the built-in writer's work is announced with.
const OUTLINE_NOTE: &str =
    "written by the built-in outline writer; with an Anthropic key and --yes Claude writes it";

/// The folder for the film, absolute, made if it is missing, and proven to take a file.
pub(crate) fn folder(arguments: &CreateVideoArgs, context: &Context) -> Result<PathBuf, Error> {
    let wanted = arguments
        .out
        .clone()
        .or_else(|| context.settings.videos_dir.clone())
        .unwrap_or_else(|| ".".into());
    folder_for_films(&wanted)
}

/// A folder for films, absolute, made if it is missing, and proven to take a file.
pub(crate) fn folder_for_films(wanted: &Path) -> Result<PathBuf, Error> {
    let refused = |source: std::io::Error| {
        Error::usage(format!("films cannot be written to {}", wanted.display()))
            .because(source)
            .hint("choose another folder with --out DIR")
    };
    std::fs::create_dir_all(wanted).map_err(refused)?;
    let folder = wanted.canonicalize().map_err(refused)?;
    if folder.to_str().is_none() {
        let problem = "its path is not UTF-8, so it could not be found again";
        return Err(refused(std::io::Error::other(problem)));
    }
    let probe = folder.join(format!(".aida-{}", uuid::Uuid::now_v7().simple()));
    std::fs::write(&probe, b"aida").map_err(refused)?;
    std::fs::remove_file(&probe).map_err(refused)?;
    Ok(folder)
}

/// Who writes: Claude for a film; for a preview Claude only where a key is set and somebody said
/// yes to what it costs; nobody where the storyboard is kept.
async fn writer(
    arguments: &CreateVideoArgs,
    context: &Context,
    is_written: bool,
) -> Result<Option<Arc<dyn LanguageModel>>, Error> {
    if is_written {
        return Ok(None);
    }
    if !arguments.preview {
        return Ok(Some(context.language_model()?));
    }
    if context.key(Service::Anthropic).is_none() {
        return Ok(None);
    }
    if arguments.yes {
        return Ok(Some(context.language_model()?));
    }
    if !context.output.can_prompt() {
        return Ok(None);
    }
    let cap = context.settings.language_budget;
    let question = format!("Let Claude write the storyboard, for at most {cap}?");
    let yes = context.output.confirm(&question, &context.cancel).await?;
    if yes { Ok(Some(context.language_model()?)) } else { Ok(None) }
}

/// Where keys are missing, somebody at a terminal is offered what works without them. A script
/// gets the error: nothing falls back to something else without being told to.
async fn offer_preview(
    arguments: &CreateVideoArgs,
    context: &Context,
    missing: Error,
) -> Result<(), Error> {
    if !context.output.can_prompt() {
        return Err(missing);
    }
    context.output.warning(missing.to_string());
    let question = "Make a free preview instead? (`aida config init` sets the keys)";
    if !context.output.confirm(question, &context.cancel).await? {
        return Err(missing);
    }
    let preview = CreateVideoArgs { preview: true, plan: false, ..arguments.clone() };
    Box::pin(run(&preview, context)).await
}

/// Shows the quote and gets a yes for it.
async fn agree(arguments: &CreateVideoArgs, context: &Context, order: &Order) -> Result<(), Error> {
    let Quote { low_usd, high_usd } = order.offer.quote;
    if high_usd.is_zero() {
        return Ok(());
    }
    let question = if arguments.plan {
        format!("Write the storyboard for at most {}?", high_usd - low_usd)
    } else {
        let price = if low_usd == high_usd {
            format!("at most {high_usd}")
        } else {
            format!("{low_usd} to {high_usd}")
        };
        let estimate = order.offer.estimate_text();
        context.output.status(format!("This may cost {price}; {estimate}."));
        if !arguments.yes {
            let again = "You are asked again before images and clips are bought.";
            context.output.status(again);
        }
        let begin = if order.is_written() { "Begin?" } else { "Begin with script and storyboard?" };
        begin.to_owned()
    };
    context.need_yes(arguments.yes, &question).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Command, parse};
    use crate::cli::environment::Environment;
    use crate::studio::brief::LONGEST_BRIEF_BYTES;

    fn brief(words: &[&str]) -> Result<Option<Brief>, Error> {
        let cli = parse(["aida", "create-video"].iter().chain(words)).unwrap();
        let environment =
            Environment { data_dir: Some(PathBuf::from("/data")), ..Environment::default() };
        let settings = Settings::resolve(&cli.flags(), &environment)?;
        let Command::CreateVideo(arguments) = cli.command else { panic!("another command") };
        arguments.to_brief(&settings)
    }

    #[test]
    fn a_brief_is_made_of_flags_and_settings() {
        let made =
            brief(&["food video", "--duration", "12.5", "--aspect", "1:1"]).unwrap().unwrap();
        assert_eq!(made.duration_seconds, Decimal::new(125, 1));
        assert_eq!(made.shots, 2);
        assert_eq!(made.aspect.as_str(), "1:1");
        assert!(brief(&["--from", "23456789"]).unwrap().is_none());
    }

    #[test]
    fn bad_briefs_are_wrong_usage() {
        let long = "x".repeat(LONGEST_BRIEF_BYTES + 1);
        for words in [
            &[" "][..],
            &[&long],
            &["a\u{1}b"],
            &["food", "--duration", "0"],
            &["food", "--duration", "1e3"],
            &["food", "--aspect", "5:4"],
            &["food", "--duration", "5", "--scenes", "6"],
        ] {
            assert_eq!(brief(words).unwrap_err().kind().exit_code(), 2, "{words:?}");
        }
    }

    #[test]
    fn wrong_flags_do_not_parse() {
        for words in [
            &["create-video"][..],
            &["create-video", "food", "--from", "x"],
            &["create-video", "food", "--scenes", "0"],
            &["create-video", "food", "--scenes", "61"],
            &["create-video", "food", "--budget", "-1"],
            &["create-video", "food", "--plan", "--preview"],
            // A kept storyboard has its own.
            &["create-video", "--from", "x", "--scenes", "2"],
            &["create-video", "--from", "x", "--duration", "10"],
            &["create-video", "--from", "x", "--aspect", "1:1"],
        ] {
            let error = parse(["aida"].iter().chain(words)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}
