//! `aida campaigns`: videos that belong together.

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
use crate::store::campaigns::{self, Campaign, CampaignName, CampaignTotals, CampaignVideo};
use crate::store::projects::{self, Project};

/// Arguments of `aida campaigns`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Group videos into campaigns",
    long_about = "Group videos into campaigns.\n\n\
        The team reads a campaign's description, and what was made for it, before each of its \
        videos. Campaigns are named by name or id, projects by id or the end of it.",
    after_help = "\
Examples:
  aida campaigns create \"Spring launch\" --description \"fresh, bright, quick\"
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
        CampaignsCommand::Create { name, description } => {
            let name: CampaignName = name.parse()?;
            let description = campaigns::checked_description(description)?;
            let created = campaigns::create(connection, user, &name, description, now).await?;
            let campaign = created.ok_or_else(|| name_taken(&name))?;
            tell(&campaign, "created", output);
            if !output.is_json() {
                output.data(campaign.id.short());
            }
        }
        CampaignsCommand::Show { campaign } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            let videos = campaigns::videos(connection, campaign.id).await?;
            show_campaign(&CampaignReport::new(campaign, videos), output);
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
            tell(&campaign, "renamed", output);
        }
        CampaignsCommand::Archive { campaign, restore } => {
            let campaign = find_campaign(connection, user, campaign).await?;
            campaigns::archive(connection, campaign.id, !restore, now).await?;
            let archived_at = (!restore).then(|| campaign.archived_at.unwrap_or(now));
            let campaign = Campaign { archived_at, ..campaign };
            tell(&campaign, if *restore { "restored" } else { "archived" }, output);
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
async fn find_project(
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
            .hint("`aida costs --last 10` lists the last videos with their ids")),
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
    created_at: Timestamp,
    archived_at: Option<Timestamp>,
}

fn tell(campaign: &Campaign, change: &str, output: &Output) {
    if output.is_json() {
        output.json(&CampaignChange {
            id: campaign.id,
            name: &campaign.name,
            description: &campaign.description,
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

/// One campaign with its videos.
#[derive(Debug, Serialize)]
struct CampaignReport {
    id: CampaignId,
    name: String,
    description: String,
    created_at: Timestamp,
    archived_at: Option<Timestamp>,
    /// What its videos cost for certain, USD.
    settled_usd: Usd,
    /// What they may have cost beyond that at most, USD.
    unknown_usd: Usd,
    videos: Vec<ReportedVideo>,
}

/// A video of the campaign.
#[derive(Debug, Serialize)]
struct ReportedVideo {
    project_id: ProjectId,
    title: String,
    /// Where its latest run stands.
    status: Option<String>,
    /// Where its latest film lies.
    video: Option<String>,
    settled_usd: Usd,
    unknown_usd: Usd,
    created_at: Timestamp,
    added_at: Timestamp,
}

impl CampaignReport {
    fn new(campaign: Campaign, videos: Vec<CampaignVideo>) -> Self {
        let reported = |video: CampaignVideo| ReportedVideo {
            project_id: video.project,
            title: video.title,
            status: video.state,
            video: video.video_path,
            settled_usd: video.settled,
            unknown_usd: video.unknown,
            created_at: video.created_at,
            added_at: video.added_at,
        };
        Self {
            id: campaign.id,
            name: campaign.name,
            description: campaign.description,
            created_at: campaign.created_at,
            archived_at: campaign.archived_at,
            settled_usd: videos.iter().map(|video| video.settled).sum(),
            unknown_usd: videos.iter().map(|video| video.unknown).sum(),
            videos: videos.into_iter().map(reported).collect(),
        }
    }
}

fn show_campaign(report: &CampaignReport, output: &Output) {
    if output.is_json() {
        output.json(report);
    } else {
        output.data(page(report, output.width()));
    }
}

/// The campaign for people: what it is, and a table of its videos.
fn page(report: &CampaignReport, width: u16) -> String {
    let mut page = format!("{}  ({})\n", report.name, report.id.short());
    if !report.description.is_empty() {
        page.push_str(&report.description);
        page.push('\n');
    }
    let count = report.videos.len();
    let videos = if count == 1 { "1 video".to_owned() } else { format!("{count} videos") };
    let mut facts = vec![videos, format!("{} spent", report.settled_usd)];
    if !report.unknown_usd.is_zero() {
        facts.push(format!("up to {} unknown", report.unknown_usd));
    }
    facts.push(format!("created {}", day(report.created_at)));
    facts.extend(report.archived_at.map(|time| format!("archived {}", day(time))));
    page.push_str(&facts.join(" · "));
    page.push('\n');
    if !report.videos.is_empty() {
        page.push('\n');
        page.push_str(&video_table(report).render(width));
    }
    let mut films = report.videos.iter().filter_map(|video| {
        video.video.as_ref().map(|path| format!("{}  {path}\n", video.project_id.short()))
    });
    if let Some(first) = films.next() {
        page.push('\n');
        page.extend(std::iter::once(first).chain(films));
    }
    page
}

fn video_table(report: &CampaignReport) -> Grid {
    let any_unknown = !report.unknown_usd.is_zero();
    let mut columns = vec![
        Column::left("id"),
        Column::flexible("title", 12),
        Column::left("status"),
        Column::right("spent"),
    ];
    columns.extend(any_unknown.then_some(Column::right("unknown")));
    columns.push(Column::left("added"));
    let mut grid = Grid::new(columns);
    for video in &report.videos {
        let mut cells = vec![
            video.project_id.short(),
            video.title.clone(),
            video.status.clone().unwrap_or_default(),
            video.settled_usd.to_string(),
        ];
        cells.extend(any_unknown.then(|| amount_or_nothing(video.unknown_usd)));
        cells.push(day(video.added_at));
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

    fn video(title: &str, unknown: Usd) -> CampaignVideo {
        CampaignVideo {
            project: "019aab12-3456-7890-abcd-ef01deadbeef".parse().unwrap(),
            title: title.to_owned(),
            run: None,
            state: Some("partial".to_owned()),
            video_path: Some("/home/ada/videos/slow-bread-deadbeef.mp4".to_owned()),
            settled: Usd::new(dec!(2.5)),
            unknown,
            created_at: "2026-11-02T10:00:00Z".parse().unwrap(),
            added_at: "2026-11-03T10:00:00Z".parse().unwrap(),
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
        let report = CampaignReport::new(campaign(&long), vec![video(&long, Usd::new(dec!(9)))]);
        for table in [list_table(&list), video_table(&report)] {
            for line in table.render(80).lines() {
                assert!(console::measure_text_width(line) <= 80, "{line}");
            }
        }
    }

    #[test]
    fn a_campaign_is_shown_with_its_videos() {
        let videos = vec![
            video("Slow Bread", Usd::new(dec!(0.35))),
            CampaignVideo { video_path: None, state: None, ..video("Crumbs", Usd::ZERO) },
        ];
        let report = CampaignReport::new(campaign("Spring"), videos);
        assert_eq!(
            lines(&page(&report, 80)),
            [
                "Spring (23456789)",
                "fresh, bright, quick",
                "2 videos · $5.00 spent · up to $0.35 unknown · created 2026-11-01",
                "",
                "id title status spent unknown added",
                "deadbeef Slow Bread partial $2.50 $0.35 2026-11-03",
                "deadbeef Crumbs $2.50 2026-11-03",
                "",
                "deadbeef /home/ada/videos/slow-bread-deadbeef.mp4",
            ]
        );
    }

    #[test]
    fn scripts_get_exact_amounts() {
        let (output, stdout, _) = Output::captured(Format::Json, false);
        let report = CampaignReport::new(campaign("Spring"), vec![video("Short", Usd::ZERO)]);
        show_campaign(&report, &output);
        let object: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
        assert_eq!(object["settled_usd"], "2.5");
        assert_eq!(object["videos"][0]["status"], "partial");
        assert_eq!(object["videos"][0]["added_at"], "2026-11-03T10:00:00Z");
    }

    #[test]
    fn an_empty_list_prints_no_data() {
        let (output, stdout, stderr) = Output::captured(Format::Human, false);
        show_list(&CampaignList { campaigns: Vec::new() }, &output);
        assert_eq!(stdout.text(), "");
        assert!(stderr.text().contains("campaigns create"));
    }
}
