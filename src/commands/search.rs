//! `aida search`: past projects, scripts, shots and files by meaning and by words.

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use console::{Style, truncate_str};

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid, wrap};
use crate::commands::{Context, campaigns, costs};
use crate::error::Error;
use crate::ledger::till::{Component, Purpose};
use crate::memory::search::MOST_HITS;
use crate::memory::{Hit, SearchFilter, SearchReport};
use crate::store::embeddings::PassageKind;
use crate::studio::brief::Aspect;

/// Arguments of `aida search`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Find past projects, scripts, shots and files",
    long_about = "Find past projects, scripts, shots and files by meaning and by words.\n\n\
        Words are found in all their forms, in several languages, and when they are misspelt. \
        Words in quotation marks must stand there as they are, and -word must not; such a \
        query is taken at its word and costs nothing. A kept image or clip is shown as its \
        shot, unless --kind take asks for it.\n\n\
        The embedder setting says what compares meanings; the output names it.",
    after_help = "\
Examples:
  aida search \"warm kitchen light\"
  aida search \"neon street at night\" --kind shot --limit 5
  aida search \"latte art\" --since 30d --rating 4 --aspect 9:16
  aida search \"harbour at dawn\" --kind take --json
  aida search '\"latte art\" -barista'

With --json, one object:
  {embedder, hits: [{kind, id, project_id, shot, title, snippet, marks,
   score, matched_by, takes: [{id, kind, path, chosen}]}], waiting_rows,
   left_out_by_filters, read_as: [{word, read_as}], words_only}
marks are [from, to] in characters of the snippet; matched_by is meaning,
words or both; words_only is there only where no vectors were compared."
)]
pub struct SearchArgs {
    /// What to look for
    #[arg(value_name = "QUERY", allow_hyphen_values = true)]
    pub query: String,
    /// Only this kind of thing (can be repeated)
    #[arg(long = "kind", value_name = "KIND", value_parser = kinds())]
    pub kinds: Vec<PassageKind>,
    /// Only in this campaign, by name or id
    #[arg(long, value_name = "CAMPAIGN")]
    pub campaign: Option<String>,
    /// Only what was made from this time on: today, 24h, 7d, 2w, 3mo, a date, or a time with its
    /// offset
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only what was made until then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only what was rated so well at least, 1 to 5, on average: the shot, else its project
    #[arg(long, value_name = "N", value_parser = rating)]
    pub rating: Option<f64>,
    /// Only of this aspect ratio, as 9:16
    #[arg(long, value_name = "W:H")]
    pub aspect: Option<Aspect>,
    /// The most results, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MOST_HITS as i64))]
    pub limit: u32,
    /// Agree beforehand to what the query's embedding may cost
    #[arg(long, short)]
    pub yes: bool,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = PassageKind> {
    PossibleValuesParser::new(PassageKind::ALL.map(PassageKind::as_str))
        .try_map(|name| name.parse::<PassageKind>())
}

fn rating(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|rating| (1.0..=5.0).contains(rating))
        .ok_or_else(|| format!("'{text}' is no rating from 1 to 5"))
}

/// Searches.
pub async fn run(arguments: &SearchArgs, context: &Context) -> Result<(), Error> {
    let user = &context.settings.user;
    let (since, until) =
        costs::stretch(arguments.since.as_deref(), arguments.until.as_deref(), context)?;
    let campaign = match &arguments.campaign {
        Some(reference) => {
            let mut session = context.store().await?.session().await?;
            let campaign = campaigns::find_campaign(&mut session, user, reference).await?;
            session.close().await;
            Some(campaign.id)
        }
        None => None,
    };
    let memory = context.memory().await?;
    let most = memory.search_ceiling(&arguments.query)?;
    if most > context.settings.ask_above {
        let question = format!("Searching may cost up to {most}. Go on?");
        context.need_yes(arguments.yes, &question).await?;
    }
    let purpose = Purpose {
        user_id: user.clone(),
        project: None,
        run: None,
        shot: None,
        component: Component::Embedding,
        owner: None,
    };
    let filter = SearchFilter {
        kinds: arguments.kinds.clone(),
        campaign,
        without_project: None,
        aspect: arguments.aspect.map(|aspect| aspect.as_str().to_owned()),
        since,
        until,
        rating: arguments.rating,
        limit: usize::try_from(arguments.limit).unwrap_or(MOST_HITS),
    };
    let mut report = memory.search(&purpose, &arguments.query, &filter).await?;
    let folder = context.settings.data_dir.join("projects");
    for take in report.hits.iter_mut().flat_map(|hit| &mut hit.takes) {
        take.path = folder.join(&take.path).display().to_string();
    }
    show(&report, &context.output);
    Ok(())
}

fn show(report: &SearchReport, output: &Output) {
    match &report.words_only {
        Some(reason) => output.warning(format!("searched by words only: {reason}")),
        None => output.status(format!("embedder: {}", report.embedder)),
    }
    if report.lacks_index {
        output.warning(format!(
            "{} has no index, so every vector was compared; build it with: aida memory reindex",
            report.embedder
        ));
    }
    for read in &report.read_as {
        output.status(format!(
            "nothing has '{}'; it was read as {}",
            read.word,
            read.read_as.join(", ")
        ));
    }
    if report.waiting_rows > 0 {
        let has = if report.waiting_rows == 1 { "has" } else { "have" };
        output.status(format!(
            "{} of your passages {has} no vector of {}: until `aida memory reindex`, only words \
             find them",
            report.waiting_rows, report.embedder
        ));
    }
    if output.is_json() {
        output.json(report);
    } else if !report.hits.is_empty() {
        output.data(page(report, output));
    } else if report.left_out_by_filters {
        output.status("nothing was found; without the filters something would have been");
    } else {
        output.status("nothing was found");
    }
}

/// The hits, each with the piece of its text that fits under it.
fn page(report: &SearchReport, output: &Output) -> String {
    let mut grid = Grid::new([
        Column::left("kind"),
        Column::left("id"),
        Column::right("score"),
        Column::left("by"),
        Column::flexible("title", 14),
    ]);
    for hit in &report.hits {
        let kind = match hit.shot {
            Some(number) => format!("{} {number}", hit.kind),
            None => hit.kind.to_string(),
        };
        grid.row([
            kind,
            hit.short_id(),
            format!("{:.2}", hit.score),
            hit.matched_by.as_str().to_owned(),
            match &hit.place {
                Some(place) => format!("{}, {place}", hit.title),
                None => hit.title.clone(),
            },
        ]);
    }
    let table = grid.render(output.width());
    let mut lines = table.lines();
    let mut page: String = lines.by_ref().take(2).flat_map(|line| [line, "\n"]).collect();
    let width = usize::from(output.width()).saturating_sub(INDENT.len()).max(20);
    for (line, hit) in lines.zip(&report.hits) {
        page.push_str(line);
        page.push('\n');
        for line in wrap(&marked(hit, output), width) {
            page.push_str(INDENT);
            page.push_str(&truncate_str(&line, width, "…"));
            page.push('\n');
        }
    }
    page
}

/// What stands before the text of a hit.
const INDENT: &str = "  ";

/// The snippet with what was looked for made to stand out, where the terminal can.
fn marked(hit: &Hit, output: &Output) -> String {
    let style = Style::new().bold();
    // What could move the cursor is left out, and every place stays where it is.
    let characters: Vec<char> =
        hit.snippet.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    let (mut text, mut at) = (String::new(), 0);
    for &(from, to) in &hit.marks {
        text.extend(&characters[at..from]);
        let mark: String = characters[from..to].iter().collect();
        text.push_str(&output.data_style(&style, &mark));
        at = to;
    }
    text.extend(&characters[at..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::memory::MatchedBy;

    fn report() -> SearchReport {
        let project = "019aab12-3456-7890-abcd-ef0123456789";
        SearchReport {
            embedder: "builtin-lexical-1".to_owned(),
            hits: vec![Hit {
                kind: PassageKind::Shot,
                id: "019aab12-3456-7890-abcd-ef01deadbeef".parse().unwrap(),
                project_id: Some(project.parse().unwrap()),
                shot: Some(2),
                title: "A slow film about bread and the people who bake it".to_owned(),
                place: None,
                snippet: "A baker scores a loaf with a razor, flour in the air, morning".to_owned(),
                marks: vec![(2, 7), (17, 21)],
                takes: Vec::new(),
                score: 0.7312,
                matched_by: MatchedBy::Both,
            }],
            waiting_rows: 1,
            left_out_by_filters: false,
            read_as: Vec::new(),
            words_only: None,
            lacks_index: false,
        }
    }

    #[test]
    fn hits_are_a_table_and_the_rest_is_talk() {
        let (output, stdout, stderr) = Output::captured(Format::Human, false);
        show(&report(), &output);
        let lines: Vec<Vec<String>> = stdout
            .text()
            .lines()
            .map(|line| line.split_whitespace().take(5).map(str::to_owned).collect())
            .collect();
        assert_eq!(lines[0], ["kind", "id", "score", "by", "title"]);
        assert_eq!(lines[2], ["shot", "2", "23456789", "0.73", "both"]);
        assert_eq!(lines[3], ["A", "baker", "scores", "a", "loaf"]);
        assert_eq!(
            stderr.text(),
            "embedder: builtin-lexical-1\n1 of your passages has no vector of builtin-lexical-1: \
             until `aida memory reindex`, only words find them\n"
        );
    }

    #[test]
    fn a_missing_index_is_told_of() {
        let (output, _, stderr) = Output::captured(Format::Human, false);
        show(&SearchReport { lacks_index: true, ..report() }, &output);
        assert!(stderr.text().contains("build it with: aida memory reindex"), "{}", stderr.text());
    }

    #[test]
    fn a_script_gets_one_object() {
        let (output, stdout, _) = Output::captured(Format::Json, false);
        show(&report(), &output);
        let object: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
        assert_eq!(object["embedder"], "builtin-lexical-1");
        assert_eq!(object["waiting_rows"], 1);
        assert_eq!(object["hits"][0]["kind"], "shot");
        assert_eq!(object["hits"][0]["matched_by"], "both");
        assert_eq!(object["hits"][0]["shot"], 2);
    }

    #[test]
    fn nothing_found_prints_no_data() {
        let (output, stdout, stderr) = Output::captured(Format::Human, false);
        show(&SearchReport { hits: Vec::new(), waiting_rows: 0, ..report() }, &output);
        assert_eq!(stdout.text(), "");
        assert!(stderr.text().contains("nothing was found\n"));

        let (output, _, stderr) = Output::captured(Format::Human, false);
        let left_out = SearchReport { hits: Vec::new(), left_out_by_filters: true, ..report() };
        show(&left_out, &output);
        assert!(stderr.text().contains("without the filters something would have been"));
    }
}
