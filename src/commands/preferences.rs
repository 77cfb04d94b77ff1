//! `aida preferences`: what aida believes the user likes, and why.

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::Output;
use crate::cli::tables::wrap;
use crate::commands::Context;
use crate::commands::campaigns::find_campaign;
use crate::error::Error;
use crate::ids::{CampaignId, PreferenceId, ProjectId};
use crate::memory::Memory;
use crate::memory::taste::{self, MOST_SET, Standing, decay, standing};
use crate::store::campaigns;
use crate::store::preferences::{EvidenceLine, Preference};

/// Arguments of `aida preferences`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Show what aida believes you like, and why",
    long_about = "Show what aida believes you like, and why; set and forget it.\n\n\
        Preferences are learnt from `aida feedback`, from retakes and from briefs. They fade: \
        after half a year a sign counts half. What you set yourself never fades and is told to \
        the team first. What holds in one campaign alone is told for its videos alone.\n\n\
        To forget is for good: the sentence, what it rests on, the words of your notes that said \
        it, and every text that quotes it are removed, and it is not believed again until you set \
        it. Ratings and the books stay. A video whose storyboard is not written yet asks the \
        team anew. While a video is being made nothing is forgotten (exit code 11).",
    after_help = "\
Examples:
  aida preferences
  aida preferences why 23456789
  aida preferences set \"Never show faces.\"
  aida preferences set \"Warm morning light.\" --campaign \"Spring launch\"
  aida preferences forget 23456789
  aida preferences forget --all --yes"
)]
pub struct PreferencesArgs {
    /// What to do; lists them if not said
    #[command(subcommand)]
    pub command: Option<PreferencesCommand>,
    /// Only what holds for this campaign, by name or id
    #[arg(long, value_name = "CAMPAIGN")]
    pub campaign: Option<String>,
}

/// What can be done with preferences.
#[derive(Debug, Clone, Subcommand)]
pub enum PreferencesCommand {
    /// List them, as they are told to the team
    List {
        /// Only what holds for this campaign, by name or id
        #[arg(long, value_name = "CAMPAIGN")]
        campaign: Option<String>,
    },
    /// Show what one rests on
    Why {
        /// The preference, by its id or the end of it
        id: String,
    },
    /// Say what you want in so many words; it is told first
    Set {
        /// The sentence
        #[arg(value_name = "SENTENCE")]
        statement: String,
        /// Only for the videos of this campaign, by name or id
        #[arg(long, value_name = "CAMPAIGN")]
        campaign: Option<String>,
    },
    /// Forget one for good, or all
    #[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
    Forget {
        /// The preferences, by their ids or the ends of them
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Everything that is known of your taste, and the words of all your notes
        #[arg(long)]
        all: bool,
        /// Agree beforehand to forget everything
        #[arg(long, short)]
        yes: bool,
    },
}

/// A preference in `--json`.
#[derive(Debug, Serialize)]
struct PreferenceLine {
    preference_id: PreferenceId,
    statement: String,
    /// `set`, `strong`, `told` or `faint`.
    standing: Standing,
    /// `user`, or the campaign's name.
    scope: String,
    campaign_id: Option<CampaignId>,
    support: i32,
    contradictions: i32,
    /// What speaks for it less what speaks against it, faded, in plain ratings.
    #[serde(serialize_with = "rounded")]
    strength: f64,
    /// Days since the last sign of it.
    age_days: i64,
    created_at: Timestamp,
    last_seen_at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn rounded<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 100.0).round() / 100.0)
}

/// Lists, explains, sets or forgets.
pub async fn run(arguments: &PreferencesArgs, context: &Context) -> Result<(), Error> {
    let memory = context.memory().await?;
    match &arguments.command {
        None => list(arguments.campaign.as_deref(), context, &memory).await,
        Some(PreferencesCommand::List { campaign }) => {
            list(campaign.as_deref().or(arguments.campaign.as_deref()), context, &memory).await
        }
        Some(PreferencesCommand::Why { id }) => why(id, context, &memory).await,
        Some(PreferencesCommand::Set { statement, campaign }) => {
            let campaign = campaign.as_deref().or(arguments.campaign.as_deref());
            set(statement, campaign, context, &memory).await
        }
        Some(PreferencesCommand::Forget { ids, all, yes }) => {
            forget(ids, *all, *yes, context, &memory).await
        }
    }
}

async fn campaign_of(typed: Option<&str>, context: &Context) -> Result<Option<CampaignId>, Error> {
    let Some(typed) = typed else { return Ok(None) };
    let mut session = context.store().await?.session().await?;
    let campaign = find_campaign(&mut session, &context.settings.user, typed).await?;
    session.close().await;
    Ok(Some(campaign.id))
}

async fn lines(all: Vec<Preference>, context: &Context) -> Result<Vec<PreferenceLine>, Error> {
    let (user, now) = (&context.settings.user, context.clock.now());
    let mut session = context.store().await?.session().await?;
    let campaigns = campaigns::list(&mut session, user, true).await?;
    session.close().await;
    let name = |id: CampaignId| {
        let found = campaigns.iter().find(|totals| totals.campaign.id == id);
        found.map_or_else(|| id.short(), |totals| totals.campaign.name.clone())
    };
    let line = |preference: Preference| PreferenceLine {
        preference_id: preference.id,
        standing: standing(&preference, now),
        scope: preference.campaign.map_or_else(|| "user".to_owned(), name),
        campaign_id: preference.campaign,
        support: preference.support,
        contradictions: preference.contradictions,
        strength: taste::strength(&preference, now),
        age_days: now.duration_since(preference.updated_at).as_hours().max(0) / 24,
        created_at: preference.created_at,
        last_seen_at: preference.updated_at,
        statement: preference.statement,
    };
    Ok(all.into_iter().map(line).collect())
}

async fn list(typed: Option<&str>, context: &Context, memory: &Memory) -> Result<(), Error> {
    let campaign = campaign_of(typed, context).await?;
    let mut all = memory.preferences(&context.settings.user).await?;
    if campaign.is_some() {
        all.retain(|preference| preference.campaign == campaign);
    }
    let lines = lines(all, context).await?;
    let output = &context.output;
    if output.is_json() {
        output.json(&serde_json::json!({ "preferences": lines }));
    } else if lines.is_empty() {
        output.status("Nothing is known yet about what you like.");
        output
            .hint("rate what was made: aida feedback --last --rating 4 --note \"love the light\"");
        output.hint("or say it: aida preferences set \"Warm morning light.\"");
    } else {
        let width = usize::from(output.width());
        let texts: Vec<String> = lines.iter().map(|line| text(line, width)).collect();
        output.data(texts.join("\n"));
        output.hint("see what one rests on with: aida preferences why ID");
    }
    Ok(())
}

/// A preference in the list: its sentence, and under it how it stands.
fn text(line: &PreferenceLine, width: usize) -> String {
    let counted =
        |count: i64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let mut facts = vec![line.standing.as_str().to_owned()];
    if line.standing != Standing::Set {
        facts.push(counted(line.support.into(), "sign"));
        if line.contradictions > 0 {
            facts.push(format!("{} against", line.contradictions));
        }
    }
    facts.push(format!("{} old", counted(line.age_days, "day")));
    if line.campaign_id.is_some() {
        facts.push(format!("for '{}'", line.scope));
    }
    let mut lines = Vec::new();
    for (place, part) in wrap(&line.statement, width.saturating_sub(10)).into_iter().enumerate() {
        let id = if place == 0 { line.preference_id.short() } else { String::new() };
        lines.push(format!("{id:<10}{part}"));
    }
    lines.extend(
        wrap(&facts.join(", "), width.saturating_sub(10))
            .into_iter()
            .map(|part| format!("{:10}{part}", "")),
    );
    lines.join("\n")
}

/// The user's preference that is meant: by id, or the end of it.
fn find<'all>(all: &'all [Preference], typed: &str) -> Result<&'all Preference, Error> {
    let typed = typed.trim().to_lowercase();
    let is_meant = |known: &&Preference| known.id.to_string() == typed || known.id.short() == typed;
    all.iter().find(is_meant).ok_or_else(|| {
        Error::usage(format!("there is no preference '{typed}'")).hint("aida preferences list")
    })
}

/// A piece of evidence in `--json`.
#[derive(Debug, Serialize)]
struct EvidenceReport {
    kind: String,
    supports: bool,
    project_id: ProjectId,
    title: String,
    shot: Option<i32>,
    rating: Option<i16>,
    words: String,
    /// What it counts now, in plain ratings.
    #[serde(serialize_with = "rounded")]
    counts: f64,
    observed_at: Timestamp,
}

async fn why(typed: &str, context: &Context, memory: &Memory) -> Result<(), Error> {
    let all = memory.preferences(&context.settings.user).await?;
    let preference = find(&all, typed)?.clone();
    let now = context.clock.now();
    let evidence: Vec<EvidenceReport> = memory
        .evidence_of(preference.id)
        .await?
        .into_iter()
        .map(|line: EvidenceLine| EvidenceReport {
            counts: decay::left(u32::try_from(line.weight).unwrap_or(0), line.at, now),
            kind: line.kind,
            supports: line.supports,
            project_id: line.project,
            title: line.title,
            shot: line.shot,
            rating: line.rating,
            words: line.words,
            observed_at: line.at,
        })
        .collect();
    let line = lines(vec![preference], context).await?.remove(0);
    let output = &context.output;
    if output.is_json() {
        output.json(&serde_json::json!({ "preference": line, "evidence": evidence }));
        return Ok(());
    }
    output.data(page(&line, &evidence, context, output));
    Ok(())
}

fn page(
    line: &PreferenceLine,
    evidence: &[EvidenceReport],
    context: &Context,
    output: &Output,
) -> String {
    let width = usize::from(output.width());
    let zone = &context.settings.time_zone;
    let mut lines = wrap(&line.statement, width);
    lines.push(match line.standing {
        Standing::Set => {
            let day = zone.at(line.created_at).strftime("%Y-%m-%d");
            format!("you set it on {day}; it is told first and does not fade")
        }
        Standing::Strong => format!("strong: {:.1}, told before others", line.strength),
        Standing::Told => format!("told to the team: {:.1}", line.strength),
        Standing::Faint => {
            format!("faint: {:.1}, and told from {:.1} on", line.strength, decay::TOLD)
        }
    });
    if line.campaign_id.is_some() {
        lines.push(format!("for the campaign '{}'", line.scope));
    }
    for one in evidence {
        let sign = if one.supports { '+' } else { '-' };
        let day = zone.at(one.observed_at).strftime("%Y-%m-%d");
        let of = one.shot.map_or_else(String::new, |shot| format!(", shot {shot}"));
        let (project, title) = (one.project_id.short(), &one.title);
        let what = match (one.kind.as_str(), one.rating) {
            ("note", Some(rating)) => format!("rated {rating}: \"{}\"", one.words),
            ("note", None) => format!("\"{}\"", one.words),
            ("rating", Some(rating)) => format!("rated {rating}, {}", one.words),
            ("retake", _) => format!("taken again, {}", one.words),
            ("kept", _) => format!("kept while others were taken again, {}", one.words),
            ("brief", _) => format!("asked for: \"{}\"", one.words),
            _ => one.words.clone(),
        };
        let text = format!("{sign}{:.2}  {day}  {project} '{title}'{of}: {what}", one.counts);
        for (place, part) in wrap(&text, width.saturating_sub(2)).into_iter().enumerate() {
            lines.push(if place == 0 { part } else { format!("  {part}") });
        }
    }
    lines.join("\n")
}

async fn set(
    statement: &str,
    campaign: Option<&str>,
    context: &Context,
    memory: &Memory,
) -> Result<(), Error> {
    let user = &context.settings.user;
    let statement = taste::checked_statement(statement).map_err(|error| {
        Error::usage(error.to_string())
            .hint("as in: aida preferences set \"Prefers warm morning light.\"")
    })?;
    let campaign = campaign_of(campaign, context).await?;
    let set = memory.preferences(user).await?.iter().filter(|known| known.pinned).count();
    if set >= MOST_SET {
        return Err(Error::usage(format!("{MOST_SET} preferences are set, which is the most"))
            .hint("forget one first: aida preferences forget ID"));
    }
    let id = memory.set_preference(user, campaign, &statement).await?;
    if context.output.is_json() {
        context.output.json(&serde_json::json!({
            "preference_id": id, "statement": statement, "campaign_id": campaign,
        }));
    } else {
        context.output.status(format!("told first from now on: {statement}"));
        context.output.data(id.short());
    }
    Ok(())
}

async fn forget(
    ids: &[String],
    is_all: bool,
    yes: bool,
    context: &Context,
    memory: &Memory,
) -> Result<(), Error> {
    let user = &context.settings.user;
    let known = memory.preferences(user).await?;
    let meant: Vec<Preference> = if is_all {
        known.clone()
    } else {
        ids.iter().map(|typed| find(&known, typed).cloned()).collect::<Result<_, _>>()?
    };
    let forgetting = if is_all {
        let question = "Forget everything about your taste, and the words of all your notes?";
        context.need_yes_or(yes, question, "nothing was forgotten").await?;
        memory.forget_everything(user).await?
    } else {
        memory.forget(user, &meant).await?
    };
    let (preferences, notes) = (forgetting.preferences, forgetting.notes);
    if context.output.is_json() {
        context
            .output
            .json(&serde_json::json!({ "forgotten": preferences, "notes_changed": notes }));
    } else {
        let counted = |count: usize, noun: &str| {
            format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
        };
        let mut said = format!("{} forgotten for good", counted(preferences, "preference"));
        if notes > 0 {
            said = format!("{said}, and their words taken out of {}", counted(notes, "note"));
        }
        context.output.status(said);
    }
    Ok(())
}
