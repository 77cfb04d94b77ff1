//! `aida campaigns`: videos that belong together.

mod report;
mod style;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::Context;
use crate::error::Error;
use crate::ids::{CampaignId, ProjectId};
use crate::ledger::money::Usd;
use crate::store::campaign_styles::{self, CampaignStyle};
use crate::store::campaigns::{self, Campaign, CampaignName, CampaignTotals};
use crate::store::projects::{self, Project};
use report::CampaignReport;
use style::{Clear, StyleArgs};

/// Arguments of `aida campaigns`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Group videos into campaigns",
    long_about = "Group videos into campaigns.\n\n\
        The team reads a campaign's description and style, and what was made for it, before each \
        of its videos. A style has a palette, words to use and to avoid, a look, a logo, an \
        aspect and a budget for each video; flags of create-video come before it, and settings \
        after it. A script or storyboard that breaks its words is sent back. Campaigns are named \
        by name or id, projects by id or the end of it.",
    after_help = "\
Examples:
  aida campaigns create \"Spring launch\" --description \"fresh, bright, quick\"
  aida campaigns style \"Spring launch\" --palette \"coral, #F5E9DC\" --avoid cheap
  aida create-video \"running shoes launch\" --campaign \"Spring launch\"
  aida campaigns add \"Spring launch\" 23456789
  aida campaigns show \"Spring launch\""
)]
pub struct CampaignsArgs {
    /// What to do; lists the campaigns if not said
    #[command(subcommand)]
    pub command: Option<CampaignsCommand>,
}

/// What can be done with campaigns. Campaigns are named by name or id, projects by id or slug.
#[derive(Debug, Clone, Subcommand)]
pub enum CampaignsCommand {
    /// List the campaigns
    List {
        /// Archived ones too
        #[arg(long)]
        all: bool,
    },
    /// Make a campaign
    Create {
        /// Its name
        name: String,
        /// What it is about; the team reads it for every video
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// What every video of it follows
        #[command(flatten)]
        style: StyleArgs,
    },
    /// Change what every video of a campaign follows, or show it
    Style {
        /// The campaign
        campaign: String,
        /// What changes; the rest stays
        #[command(flatten)]
        style: StyleArgs,
        /// Lay nothing down there any more (can be repeated)
        #[arg(long, value_name = "WHAT")]
        clear: Vec<Clear>,
    },
    /// Show a campaign with its videos
    Show {
        /// The campaign
        campaign: String,
    },
    /// Put a video into a campaign
    Add {
        /// The campaign
        campaign: String,
        /// The project
        project: String,
    },
    /// Take a video out of a campaign
    Remove {
        /// The campaign
        campaign: String,
        /// The project
        project: String,
    },
    /// Give a campaign another name
    Rename {
        /// The campaign
        campaign: String,
        /// Its new name
        name: String,
    },
    /// Put a campaign out of sight; its videos stay
    Archive {
        /// The campaign
        campaign: String,
        /// Take it back instead
        #[arg(long)]
        restore: bool,
    },
}

/// Works on campaigns.
pub async fn run(arguments: &CampaignsArgs, context: &Context) -> Result<(), Error> {
    let mut session = context.store().await?.session().await?;
    let result = work(arguments, context, &mut session).await;
    session.close().await;
    result
}

async fn work(
    arguments: &CampaignsArgs,
    context: &Context,
    connection: &mut PgConnection,
) -> Result<(), Error> {
    let (user, output, now) = (&context.settings.user, &context.output, context.clock.now());
    match arguments.command.as_ref().unwrap_or(&CampaignsCommand::List { all: false }) {
        CampaignsCommand::List { all } => {
            let totals = campaigns::list(connection, user, *all).await?;
            show_list(&CampaignList::from(totals), output);
        }
        CampaignsCommand::Create { name, description, style } => {
            let name: CampaignName = name.parse()?;
            let description = campaigns::checked_description(description)?;
            let wanted = style.checked(CampaignStyle::default(), &[])?;
            let logo = style.read_logo(connection, context).await?;
            let created = campaigns::create(connection, user, &name, description, now).await?;
            let campaign = created.ok_or_else(|| name_taken(&name))?;
            let wanted = style::keep(connection, &campaign, wanted, logo, context).await?;
            tell(&campaign, &wanted, "created", output);
            if !output.is_json() {
                output.data(campaign.id.short());
            }
        }
        CampaignsCommand::Show { campaign } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            CampaignReport::read(connection, campaign, context).await?.show(output);
        }
        CampaignsCommand::Style { campaign, style, clear } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            let known = campaign_styles::of(connection, campaign.id).await?;
            if style.is_empty() && clear.is_empty() {
                style::show(&campaign, &known, output);
                return Ok(());
            }
            let wanted = style.checked(known, clear)?;
            let logo = style.read_logo(connection, context).await?;
            let wanted = style::keep(connection, &campaign, wanted, logo, context).await?;
            tell(&campaign, &wanted, "changed", output);
        }
        CampaignsCommand::Add { campaign, project } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            if campaign.archived_at.is_some() {
                return Err(Error::usage(format!("the campaign '{}' is archived", campaign.name))
                    .hint(format!("aida campaigns archive {} --restore", campaign.id.short())));
            }
            let project = find_project(connection, user, project).await?;
            let is_new = campaigns::add(connection, campaign.id, project.id, now).await?;
            let change = if is_new { "added" } else { "was in it already" };
            tell_membership(&campaign, &project, is_new, change, output);
        }
        CampaignsCommand::Remove { campaign, project } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            let project = find_project(connection, user, project).await?;
            let was_in = campaigns::remove(connection, campaign.id, project.id).await?;
            let change = if was_in { "removed" } else { "was not in it" };
            tell_membership(&campaign, &project, was_in, change, output);
        }
        CampaignsCommand::Rename { campaign, name } => {
            let name: CampaignName = name.parse()?;
            let campaign = find_campaign(connection, user, campaign).await?;
            if !campaigns::rename(connection, campaign.id, &name, now).await? {
                return Err(name_taken(&name));
            }
            let campaign = Campaign { name: name.to_string(), ..campaign };
            let style = campaign_styles::of(connection, campaign.id).await?;
            tell(&campaign, &style, "renamed", output);
        }
        CampaignsCommand::Archive { campaign, restore } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            campaigns::archive(connection, campaign.id, !restore, now).await?;
            let archived_at = (!restore).then(|| campaign.archived_at.unwrap_or(now));
            let campaign = Campaign { archived_at, ..campaign };
            let style = campaign_styles::of(connection, campaign.id).await?;
            tell(&campaign, &style, if *restore { "restored" } else { "archived" }, output);
        }
    }
    Ok(())
}

/// The user's campaign that is meant: by name, whatever its case, or by id or short id.
pub async fn find_campaign(
    connection: &mut PgConnection,
    user_id: &str,
    reference: &str,
) -> Result<Campaign, Error> {
    let mut found = campaigns::by_reference(connection, user_id, reference).await?;
    match (found.pop(), found.is_empty()) {
        (Some(campaign), true) => Ok(campaign),
        (Some(last), false) => {
            found.push(last);
            let ids = found.iter().map(|found| format!("{} ({})", found.id, found.name));
            Err(Error::usage(format!("'{reference}' may mean several campaigns"))
                .hint(format!("name one by its whole id: {}", ids.collect::<Vec<_>>().join(", "))))
        }
        (None, _) => Err(Error::usage(format!("there is no campaign '{reference}'"))
            .hint("aida campaigns list --all")
            .hint(format!("aida campaigns create \"{reference}\""))),
    }
}

/// The user's project that is meant: by id, short id, or slug where only one has it.
pub async fn find_project(
    connection: &mut PgConnection,
    user_id: &str,
    reference: &str,
) -> Result<Project, Error> {
    let mut found = projects::find(connection, user_id, reference.trim()).await?;
    match (found.pop(), found.is_empty()) {
        (Some(project), true) => Ok(project),
        (Some(last), false) => {
            found.push(last);
            let ids = found.iter().map(|found| found.id.to_string());
            Err(Error::usage(format!("'{reference}' may mean several projects"))
                .hint(format!("name one by its whole id: {}", ids.collect::<Vec<_>>().join(", "))))
        }
        (None, _) => Err(Error::usage(format!("there is no project '{reference}'"))
            .hint("`aida show` lists the projects with their ids")),
    }
}

fn name_taken(name: &CampaignName) -> Error {
    Error::usage(format!("there is a campaign '{name}' already (case does not count)"))
        .hint("aida campaigns list --all")
}

/// The answer to a change of one campaign.
#[derive(Serialize)]
struct CampaignChange<'campaign> {
    id: CampaignId,
    name: &'campaign str,
    description: &'campaign str,
    style: &'campaign CampaignStyle,
    created_at: Timestamp,
    archived_at: Option<Timestamp>,
}

fn tell(campaign: &Campaign, style: &CampaignStyle, change: &str, output: &Output) {
    if output.is_json() {
        output.json(&CampaignChange {
            id: campaign.id,
            name: &campaign.name,
            description: &campaign.description,
            style,
            created_at: campaign.created_at,
            archived_at: campaign.archived_at,
        });
    } else {
        output.status(format!(
            "{change} the campaign '{}' ({})",
            campaign.name,
            campaign.id.short()
        ));
    }
}

/// The answer to putting a project in or taking it out.
#[derive(Serialize)]
struct MembershipChange {
    campaign_id: CampaignId,
    project_id: ProjectId,
    changed: bool,
}

fn tell_membership(
    campaign: &Campaign,
    project: &Project,
    changed: bool,
    change: &str,
    output: &Output,
) {
    if output.is_json() {
        let (campaign_id, project_id) = (campaign.id, project.id);
        output.json(&MembershipChange { campaign_id, project_id, changed });
    } else {
        let title = if project.title.is_empty() { &project.brief } else { &project.title };
        output.status(format!("campaign '{}': '{title}' {change}", campaign.name));
    }
}

/// The user's campaigns.
#[derive(Debug, Serialize)]
struct CampaignList {
    campaigns: Vec<ListedCampaign>,
}

/// A campaign in the list.
#[derive(Debug, Serialize)]
struct ListedCampaign {
    id: CampaignId,
    name: String,
    description: String,
    videos: i64,
    /// What its videos cost for certain, USD.
    settled_usd: Usd,
    /// What they may have cost beyond that at most, USD.
    unknown_usd: Usd,
    last_added_at: Option<Timestamp>,
    created_at: Timestamp,
    archived_at: Option<Timestamp>,
}

impl From<Vec<CampaignTotals>> for CampaignList {
    fn from(totals: Vec<CampaignTotals>) -> Self {
        let listed = |totals: CampaignTotals| ListedCampaign {
            id: totals.campaign.id,
            name: totals.campaign.name,
            description: totals.campaign.description,
            videos: totals.videos,
            settled_usd: totals.settled,
            unknown_usd: totals.unknown,
            last_added_at: totals.last_added_at,
            created_at: totals.campaign.created_at,
            archived_at: totals.campaign.archived_at,
        };
        Self { campaigns: totals.into_iter().map(listed).collect() }
    }
}

fn show_list(list: &CampaignList, output: &Output) {
    if output.is_json() {
        output.json(list);
    } else if list.campaigns.is_empty() {
        output.status("there are no campaigns");
        output.hint("aida campaigns create \"Spring launch\"");
    } else {
        output.data(list_table(list).render(output.width()));
    }
}

fn list_table(list: &CampaignList) -> Grid {
    let any_unknown = list.campaigns.iter().any(|campaign| !campaign.unknown_usd.is_zero());
    let any_archived = list.campaigns.iter().any(|campaign| campaign.archived_at.is_some());
    let mut columns = vec![
        Column::left("id"),
        Column::flexible("name", 12),
        Column::right("videos"),
        Column::right("spent"),
    ];
    columns.extend(any_unknown.then_some(Column::right("unknown")));
    columns.push(Column::left("created"));
    columns.extend(any_archived.then_some(Column::left("archived")));
    let mut grid = Grid::new(columns);
    for campaign in &list.campaigns {
        let mut cells = vec![
            campaign.id.short(),
            campaign.name.clone(),
            campaign.videos.to_string(),
            campaign.settled_usd.to_string(),
        ];
        cells.extend(any_unknown.then(|| amount_or_nothing(campaign.unknown_usd)));
        cells.push(day(campaign.created_at));
        cells.extend(any_archived.then(|| campaign.archived_at.map(day).unwrap_or_default()));
        grid.row(cells);
    }
    grid
}

/// Nothing for zero, so that a column of unknown money catches the eye where there is any.
fn amount_or_nothing(amount: Usd) -> String {
    if amount.is_zero() { String::new() } else { amount.to_string() }
}

/// The day, UTC.
fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use rust_decimal_macros::dec;

    fn totals(name: &str, unknown: Usd) -> CampaignTotals {
        CampaignTotals {
            campaign: campaign(name),
            videos: 12,
            settled: Usd::new(dec!(23.4051)),
            unknown,
            last_added_at: None,
        }
    }

    fn campaign(name: &str) -> Campaign {
        Campaign {
            id: "019aab12-3456-7890-abcd-ef0123456789".parse().unwrap(),
            name: name.to_owned(),
            description: "fresh, bright, quick".to_owned(),
            archived_at: None,
            created_at: "2026-11-01T10:00:00Z".parse().unwrap(),
        }
    }

    /// Lines with single spaces: the width of a column is the table's own business.
    fn lines(text: &str) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).filter(|line| !line.starts_with('─')).collect()
    }

    #[test]
    fn lists_show_what_there_is_to_know() {
        let list = CampaignList::from(vec![totals("Spring", Usd::ZERO)]);
        assert_eq!(
            lines(&list_table(&list).render(80)),
            ["id name videos spent created", "23456789 Spring 12 $23.41 2026-11-01"]
        );
        let mut archived = totals("Весна", Usd::new(dec!(0.35)));
        archived.campaign.archived_at = Some("2026-11-20T23:59:59Z".parse().unwrap());
        let list = CampaignList::from(vec![totals("Spring", Usd::ZERO), archived]);
        assert_eq!(
            lines(&list_table(&list).render(80)),
            [
                "id name videos spent unknown created archived",
                "23456789 Spring 12 $23.41 2026-11-01",
                "23456789 Весна 12 $23.41 $0.35 2026-11-01 2026-11-20",
            ]
        );
    }

    #[test]
    fn tables_fit_eighty_columns() {
        let long = "A slow film about bread and the people who bake it before dawn".repeat(2);
        let mut totals = totals(&long, Usd::new(dec!(1234.56)));
        totals.campaign.archived_at = Some(totals.campaign.created_at);
        let list = CampaignList::from(vec![totals]);
        for line in list_table(&list).render(80).lines() {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
    }

    #[test]
    fn an_empty_list_prints_no_data() {
        let (output, stdout, stderr) = Output::captured(Format::Human, false);
        show_list(&CampaignList { campaigns: Vec::new() }, &output);
        assert_eq!(stdout.text(), "");
        assert!(stderr.text().contains("campaigns create"));
    }
}
