//! One campaign with its style, its videos and what came of them.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::PgConnection;

use super::{amount_or_nothing, day, style};
use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid, wrap};
use crate::commands::Context;
use crate::error::Error;
use crate::ids::{CampaignId, ProjectId};
use crate::ledger::budget::Scope;
use crate::ledger::money::Usd;
use crate::ledger::report::{BudgetLeft, CostReport, Level, Overview, Question};
use crate::store::campaign_styles::{self, CampaignStyle, Yield};
use crate::store::campaigns::{self, Campaign, CampaignVideo};

/// One campaign with its videos. All money is what the reports on costs say.
#[derive(Debug, Serialize)]
pub(super) struct CampaignReport {
    id: CampaignId,
    name: String,
    description: String,
    style: CampaignStyle,
    created_at: Timestamp,
    archived_at: Option<Timestamp>,
    /// What its videos cost for certain, USD.
    settled_usd: Usd,
    /// What they may have cost beyond that at most, USD.
    unknown_usd: Usd,
    /// Settled for results that were kept.
    kept_usd: Usd,
    /// Settled for results that were not.
    wasted_usd: Usd,
    /// Seconds of finished film.
    film_seconds: Decimal,
    /// What each of those seconds cost, drafts and waste included; null where there are none.
    usd_per_second: Option<Usd>,
    #[serde(flatten)]
    yields: Yield,
    /// Share of the images and clips paid for that were kept, 0 to 1; null where none were.
    take_yield: Option<Decimal>,
    /// Share of the films begun that were finished, 0 to 1; null where none were.
    film_yield: Option<Decimal>,
    /// What is left of the campaign's caps.
    budgets: Vec<BudgetLeft>,
    videos: Vec<ReportedVideo>,
}

/// A video of the campaign.
#[derive(Debug, Serialize)]
pub(super) struct ReportedVideo {
    project_id: ProjectId,
    title: String,
    /// Where its latest run stands.
    status: Option<String>,
    /// What the user rated it, 1 to 5.
    rating: Option<i16>,
    /// Where its latest film lies.
    video: Option<String>,
    settled_usd: Usd,
    unknown_usd: Usd,
    created_at: Timestamp,
    added_at: Timestamp,
}

impl CampaignReport {
    /// Reads a campaign's videos, and what the books say of them.
    pub(super) async fn read(
        connection: &mut PgConnection,
        campaign: Campaign,
        context: &Context,
    ) -> Result<Self, Error> {
        let settings = &context.settings;
        let videos = campaigns::videos(connection, campaign.id).await?;
        let style = campaign_styles::of(connection, campaign.id).await?;
        let yields = campaign_styles::yields(connection, campaign.id).await?;
        let question = Question {
            campaign: Some(campaign.id),
            zone: settings.time_zone.clone(),
            ..Question::of_everything(
                Level::Project,
                context.clock.now(),
                settings.cache_hit_target,
            )
        };
        let costs = question.ask(connection).await?;
        let overview = question.overview(connection, &costs, &settings.user).await?;
        Ok(Self::new(campaign, style, videos, yields, &costs, overview))
    }

    fn new(
        campaign: Campaign,
        style: CampaignStyle,
        videos: Vec<CampaignVideo>,
        yields: Yield,
        costs: &CostReport,
        overview: Overview,
    ) -> Self {
        let reported = |video: CampaignVideo| ReportedVideo {
            project_id: video.project,
            title: video.title,
            status: video.state,
            rating: video.rating,
            video: video.video_path,
            settled_usd: video.settled,
            unknown_usd: video.unknown,
            created_at: video.created_at,
            added_at: video.added_at,
        };
        let own =
            |budget: &BudgetLeft| budget.scope == Scope::Campaign && budget.name == campaign.name;
        Self {
            settled_usd: costs.totals.settled_usd,
            unknown_usd: costs.totals.unknown_usd,
            kept_usd: overview.kept_usd,
            wasted_usd: overview.wasted_usd,
            film_seconds: overview.films.seconds,
            usd_per_second: overview.films.usd_per_second,
            take_yield: share(yields.takes_kept, yields.takes_bought),
            film_yield: share(yields.films_finished, yields.films_begun),
            yields,
            budgets: overview.budgets.into_iter().filter(own).collect(),
            videos: videos.into_iter().map(reported).collect(),
            style,
            id: campaign.id,
            name: campaign.name,
            description: campaign.description,
            created_at: campaign.created_at,
            archived_at: campaign.archived_at,
        }
    }

    pub(super) fn show(&self, output: &Output) {
        if output.is_json() {
            output.json(self);
        } else {
            output.data(page(self, output.width()));
        }
    }
}

/// A share of a whole, with four digits.
fn share(part: i64, whole: i64) -> Option<Decimal> {
    Some(Decimal::from(part).checked_div(Decimal::from(whole))?.round_dp(4).normalize())
}

/// The campaign for people: what it is, what came of it, and a table of its videos.
fn page(report: &CampaignReport, width: u16) -> String {
    let mut page = format!("{}  ({})\n", report.name, report.id.short());
    if !report.description.is_empty() {
        page.push_str(&report.description);
        page.push('\n');
    }
    for line in style::lines(&report.style) {
        page.push_str(&wrap(&line, width.into()).join("\n"));
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
    for line in outcome(report) {
        page.push_str(&line);
        page.push('\n');
    }
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

/// What came of the money, and what is left of it.
fn outcome(report: &CampaignReport) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.settled_usd.is_zero() {
        let mut facts =
            vec![format!("{} kept", report.kept_usd), format!("{} wasted", report.wasted_usd)];
        facts.extend(report.usd_per_second.map(|second| {
            format!("{second} for each of {} usable seconds", report.film_seconds.normalize())
        }));
        lines.push(facts.join(" · "));
    }
    let Yield { takes_bought, takes_kept, takes_in_films, films_begun, films_finished } =
        report.yields;
    let mut facts = Vec::new();
    if takes_bought > 0 {
        facts.push(format!("{takes_kept} of {takes_bought} takes kept, {takes_in_films} in use"));
    }
    if films_begun > 0 {
        facts.push(format!("{films_finished} of {films_begun} films finished"));
    }
    if !facts.is_empty() {
        lines.push(facts.join(" · "));
    }
    for budget in &report.budgets {
        lines.push(format!("{} of {} left: {}", budget.left_usd, budget.cap_usd, budget.what));
    }
    lines
}

fn video_table(report: &CampaignReport) -> Grid {
    let any_unknown = !report.unknown_usd.is_zero();
    let any_rating = report.videos.iter().any(|video| video.rating.is_some());
    let mut columns =
        vec![Column::left("id"), Column::flexible("title", 12), Column::left("status")];
    columns.extend(any_rating.then_some(Column::right("rated")));
    columns.push(Column::right("spent"));
    columns.extend(any_unknown.then_some(Column::right("unknown")));
    columns.push(Column::left("added"));
    let mut grid = Grid::new(columns);
    for video in &report.videos {
        let mut cells = vec![
            video.project_id.short(),
            video.title.clone(),
            video.status.clone().unwrap_or_default(),
        ];
        cells.extend(
            any_rating.then(|| video.rating.map(|rating| rating.to_string()).unwrap_or_default()),
        );
        cells.push(video.settled_usd.to_string());
        cells.extend(any_unknown.then(|| amount_or_nothing(video.unknown_usd)));
        cells.push(day(video.added_at));
        grid.row(cells);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use rust_decimal_macros::dec;

    fn video(title: &str, unknown: Usd) -> ReportedVideo {
        ReportedVideo {
            project_id: "019aab12-3456-7890-abcd-ef01deadbeef".parse().unwrap(),
            title: title.to_owned(),
            status: Some("partial".to_owned()),
            rating: None,
            video: Some("/home/ada/videos/slow-bread-deadbeef.mp4".to_owned()),
            settled_usd: Usd::new(dec!(2.5)),
            unknown_usd: unknown,
            created_at: "2026-11-02T10:00:00Z".parse().unwrap(),
            added_at: "2026-11-03T10:00:00Z".parse().unwrap(),
        }
    }

    fn report(name: &str, videos: Vec<ReportedVideo>) -> CampaignReport {
        CampaignReport {
            id: "019aab12-3456-7890-abcd-ef0123456789".parse().unwrap(),
            name: name.to_owned(),
            description: "fresh, bright, quick".to_owned(),
            style: CampaignStyle::default(),
            created_at: "2026-11-01T10:00:00Z".parse().unwrap(),
            archived_at: None,
            settled_usd: videos.iter().map(|video| video.settled_usd).sum(),
            unknown_usd: videos.iter().map(|video| video.unknown_usd).sum(),
            kept_usd: Usd::new(dec!(4.5)),
            wasted_usd: Usd::new(dec!(0.5)),
            film_seconds: dec!(30.0),
            usd_per_second: Some(Usd::new(dec!(0.15))),
            take_yield: share(11, 12),
            film_yield: share(1, 1),
            yields: Yield {
                takes_bought: 12,
                takes_kept: 11,
                takes_in_films: 10,
                films_begun: 1,
                films_finished: 1,
            },
            budgets: Vec::new(),
            videos,
        }
    }

    /// Lines with single spaces: the width of a column is the table's own business.
    fn lines(text: &str) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(words).filter(|line| !line.starts_with('─')).collect()
    }

    #[test]
    fn a_campaign_is_shown_with_its_style_and_its_videos() {
        let videos = vec![
            video("Slow Bread", Usd::new(dec!(0.35))),
            ReportedVideo {
                video: None,
                status: None,
                rating: Some(4),
                ..video("Crumbs", Usd::ZERO)
            },
        ];
        let mut report = report("Spring", videos);
        report.style.palette = vec!["#F5E9DC".to_owned(), "coral".to_owned()];
        report.style.words_to_avoid = vec!["cheap".to_owned(), "sale".to_owned()];
        assert_eq!(
            lines(&page(&report, 80)),
            [
                "Spring (23456789)",
                "fresh, bright, quick",
                "palette cream (#F5E9DC), coral",
                "avoid cheap, sale",
                "2 videos · $5.00 spent · up to $0.35 unknown · created 2026-11-01",
                "$4.50 kept · $0.50 wasted · $0.15 for each of 30 usable seconds",
                "11 of 12 takes kept, 10 in use · 1 of 1 films finished",
                "",
                "id title status rated spent unknown added",
                "deadbeef Slow Bread partial $2.50 $0.35 2026-11-03",
                "deadbeef Crumbs 4 $2.50 2026-11-03",
                "",
                "deadbeef /home/ada/videos/slow-bread-deadbeef.mp4",
            ]
        );
    }

    #[test]
    fn tables_fit_eighty_columns() {
        let long = "A slow film about bread and the people who bake it before dawn".repeat(2);
        let mut report = report(&long, vec![video(&long, Usd::new(dec!(9)))]);
        report.videos[0].rating = Some(5);
        for line in video_table(&report).render(80).lines() {
            assert!(console::measure_text_width(line) <= 80, "{line}");
        }
    }

    #[test]
    fn scripts_get_exact_amounts() {
        let (output, stdout, _) = Output::captured(Format::Json, false);
        report("Spring", vec![video("Short", Usd::ZERO)]).show(&output);
        let object: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
        assert_eq!(object["settled_usd"], "2.5");
        assert_eq!(object["usd_per_second"], "0.15");
        assert_eq!(object["takes_bought"], 12);
        assert_eq!(object["videos"][0]["status"], "partial");
        assert_eq!(object["videos"][0]["added_at"], "2026-11-03T10:00:00Z");
    }
}
