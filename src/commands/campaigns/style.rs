//! The style of a campaign on the command line.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;
use sqlx::PgConnection;

use crate::cli::output::Output;
use crate::commands::Context;
use crate::commands::create_video::dollars;
use crate::error::Error;
use crate::ids::CampaignId;
use crate::ledger::money::Usd;
use crate::memory::files::{self, ReadFile};
use crate::memory::palette::palette_text;
use crate::store::campaign_styles::{self, CampaignStyle, Logo};
use crate::store::campaigns::Campaign;
use crate::studio::brief::Aspect;
use crate::studio::wording::Wording;

/// What of a style is given.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Style")]
pub struct StyleArgs {
    /// Colours, by name or as #RRGGBB, separated by commas
    #[arg(long, value_name = "COLOURS")]
    pub palette: Vec<String>,
    /// Words that each film says, separated by commas
    #[arg(long = "use", value_name = "WORDS", id = "use words")]
    pub words_to_use: Vec<String>,
    /// Words that no film says in any form, separated by commas
    #[arg(long = "avoid", value_name = "WORDS", id = "avoid words")]
    pub words_to_avoid: Vec<String>,
    /// Tone and look, in words
    #[arg(long, value_name = "TEXT")]
    pub look: Option<String>,
    /// The logo: a picture's path, or one of your files by id or name
    #[arg(long, value_name = "FILE")]
    pub logo: Option<String>,
    /// Shape of the picture, such as 9:16, 16:9 or 1:1
    #[arg(long, value_name = "W:H")]
    pub aspect: Option<Aspect>,
    /// What one video may cost where --budget is not given, in USD
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub budget: Option<Usd>,
}

/// What of a style can be laid down no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Clear {
    /// Colours
    Palette,
    /// Words to use
    Use,
    /// Words to avoid
    Avoid,
    /// Tone and look
    Look,
    /// The logo
    Logo,
    /// The shape of the picture
    Aspect,
    /// What one video may cost
    Budget,
    /// All of it
    All,
}

/// A logo that is given: a file that is to be kept, or one that is kept already.
pub(super) enum GivenLogo {
    New(Box<ReadFile>),
    Kept(Logo),
}

impl StyleArgs {
    /// Whether nothing is given.
    pub(super) fn is_empty(&self) -> bool {
        let Self { palette, words_to_use, words_to_avoid, look, logo, aspect, budget } = self;
        palette.is_empty()
            && words_to_use.is_empty()
            && words_to_avoid.is_empty()
            && look.is_none()
            && logo.is_none()
            && aspect.is_none()
            && budget.is_none()
    }

    /// A style with what is cleared, and then what is given, checked. The logo comes later.
    pub(super) fn checked(
        &self,
        mut style: CampaignStyle,
        clear: &[Clear],
    ) -> Result<CampaignStyle, Error> {
        let is_cleared = |what| clear.contains(&what) || clear.contains(&Clear::All);
        let nothing = CampaignStyle::default();
        if is_cleared(Clear::Palette) || !self.palette.is_empty() {
            style.palette = campaign_styles::colours(&self.palette)?;
        }
        if is_cleared(Clear::Use) || !self.words_to_use.is_empty() {
            style.words_to_use = campaign_styles::words("the words to use", &self.words_to_use)?;
        }
        if is_cleared(Clear::Avoid) || !self.words_to_avoid.is_empty() {
            style.words_to_avoid =
                campaign_styles::words("the words to avoid", &self.words_to_avoid)?;
        }
        if is_cleared(Clear::Look) || self.look.is_some() {
            style.look = campaign_styles::checked_look(self.look.as_deref().unwrap_or_default())?;
        }
        if is_cleared(Clear::Logo) {
            style.logo = nothing.logo;
        }
        if is_cleared(Clear::Aspect) || self.aspect.is_some() {
            style.aspect = self.aspect;
        }
        if is_cleared(Clear::Budget) || self.budget.is_some() {
            style.default_budget_usd = self.budget;
        }
        let wording =
            Wording { to_use: style.words_to_use.clone(), to_avoid: style.words_to_avoid.clone() };
        if let Some(word) = wording.contradiction() {
            return Err(Error::usage(format!("'{word}' is to be used and to be avoided"))
                .hint("leave it out of --use or of --avoid"));
        }
        Ok(style)
    }

    /// Looks for the logo that is given, before anything is stored, and copies a new one, so that it is
    /// there for every video.
    pub(super) async fn read_logo(
        &self,
        connection: &mut PgConnection,
        context: &Context,
    ) -> Result<Option<GivenLogo>, Error> {
        let Some(typed) = &self.logo else { return Ok(None) };
        let path = Path::new(typed);
        if path.is_file() {
            let file = context.reader().read_one(path).await?;
            if !file.is_picture() {
                return Err(Error::usage(format!("{typed} is not a picture"))
                    .hint("a logo is a PNG, JPEG or WebP file"));
            }
            context.vault().keep_soon(&file).await?;
            return Ok(Some(GivenLogo::New(Box::new(file))));
        }
        let user_id = &context.settings.user;
        let mut found = campaign_styles::pictures(connection, user_id, typed).await?;
        match (found.pop(), found.is_empty()) {
            (Some(logo), true) => Ok(Some(GivenLogo::Kept(logo))),
            (Some(_), false) => Err(Error::usage(format!("'{typed}' names several of your files"))
                .hint("name one by its id")),
            (None, _) => Err(Error::usage(format!("there is no picture '{typed}'"))
                .hint("give the path of a PNG, JPEG or WebP file, or one of your files")),
        }
    }
}

/// Keeps a style, and its logo first if it is new.
pub(super) async fn keep(
    connection: &mut PgConnection,
    campaign: &Campaign,
    mut style: CampaignStyle,
    logo: Option<GivenLogo>,
    context: &Context,
) -> Result<CampaignStyle, Error> {
    let now = context.clock.now();
    match logo {
        None => {}
        Some(GivenLogo::Kept(logo)) => style.logo = Some(logo),
        Some(GivenLogo::New(file)) => {
            let (user_id, embedder) = (&context.settings.user, context.memory().await?);
            let embedder = embedder.embedder();
            let vault = context.vault();
            let stored =
                files::store(connection, &vault, user_id, None, &file, embedder, now).await?;
            style.logo = Some(Logo { file_id: stored.id, name: file.name.clone() });
        }
    }
    campaign_styles::set(connection, campaign.id, &style, now).await?;
    Ok(style)
}

/// The style of a campaign in `--json`.
#[derive(Serialize)]
struct StyleReport<'campaign> {
    id: CampaignId,
    name: &'campaign str,
    style: &'campaign CampaignStyle,
}

/// Shows the style of a campaign.
pub(super) fn show(campaign: &Campaign, style: &CampaignStyle, output: &Output) {
    if output.is_json() {
        output.json(&StyleReport { id: campaign.id, name: &campaign.name, style });
        return;
    }
    let lines = lines(style);
    if lines.is_empty() {
        output.status(format!("the campaign '{}' lays nothing down", campaign.name));
        output.hint("aida campaigns style NAME --palette \"coral, cream\" --aspect 9:16");
    } else {
        output.data(lines.join("\n"));
    }
}

/// A style for people, a line for each thing that is laid down.
pub(super) fn lines(style: &CampaignStyle) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("{name:<8}{text}"));
        }
    };
    line("palette", palette_text(&style.palette));
    line("look", style.look.clone());
    line("use", style.words_to_use.join(", "));
    line("avoid", style.words_to_avoid.join(", "));
    line("logo", style.logo.as_ref().map(|logo| logo.name.clone()).unwrap_or_default());
    line("aspect", style.aspect.map(|aspect| aspect.to_string()).unwrap_or_default());
    let budget = style.default_budget_usd.map(|budget| format!("{budget} for each video"));
    line("budget", budget.unwrap_or_default());
    lines
}
