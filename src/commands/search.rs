//! `aida search`: past projects, scripts, shots and files by meaning and by words.

use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;

use crate::cli::output::Output;
use crate::cli::tables::{Column, Grid};
use crate::commands::{Context, campaigns};
use crate::error::Error;
use crate::ledger::till::{Component, Purpose};
use crate::memory::search::MOST_HITS;
use crate::memory::{SearchFilter, SearchReport};
use crate::store::embeddings::PassageKind;

/// Arguments of `aida search`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Find past projects, scripts, shots and files",
    long_about = "Find past projects, scripts, shots and files by meaning and by words.\n\n\
        Words in quotation marks must stand there as they are, and -word must not; such a \
        query is taken at its word and costs nothing. Without an OpenAI key the built-in \
        embedder is used, which compares words and their forms, not meanings.",
    after_help = "\
Examples:
  aida search \"slow motion coffee\"
  aida search \"neon street at night\" --kind shot --limit 5
  aida search '\"latte art\" -barista'
  aida search \"price list\" --kind file --json"
)]
pub struct SearchArgs {
    /// What to look for
    #[arg(value_name = "QUERY", allow_hyphen_values = true)]
    pub query: String,
    /// Only this kind of thing (can be repeated)
    #[arg(long = "kind", value_name = "KIND", value_parser = kinds())]
    pub kinds: Vec<PassageKind>,
    /// The most results, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MOST_HITS as i64))]
    pub limit: u32,
    /// Only in this campaign, by name or id
    #[arg(long, value_name = "CAMPAIGN")]
    pub campaign: Option<String>,
    /// Agree beforehand to what the query's embedding may cost
    #[arg(long, short)]
    pub yes: bool,
}

fn kinds() -> impl clap::builder::TypedValueParser<Value = PassageKind> {
    PossibleValuesParser::new(PassageKind::ALL.map(PassageKind::as_str))
        .try_map(|name| name.parse::<PassageKind>())
}

/// Searches.
pub async fn run(arguments: &SearchArgs, context: &Context) -> Result<(), Error> {
    let user = &context.settings.user;
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
    };
    let filter = SearchFilter {
        kinds: arguments.kinds.clone(),
        campaign,
        without_project: None,
        limit: usize::try_from(arguments.limit).unwrap_or(MOST_HITS),
    };
    let report = memory.search(&purpose, &arguments.query, &filter).await?;
    show(&report, &context.output);
    Ok(())
}

fn show(report: &SearchReport, output: &Output) {
    match &report.words_only {
        Some(reason) => output.warning(format!("searched by words only: {reason}")),
        None => output.status(format!("embedder: {}", report.embedder)),
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
    } else if report.hits.is_empty() {
        output.status("nothing was found");
    } else {
        output.data(table(report).render(output.width()));
    }
}

/// The hits, one a line.
fn table(report: &SearchReport) -> Grid {
    let mut grid = Grid::new([
        Column::left("kind"),
        Column::left("id"),
        Column::right("score"),
        Column::left("by"),
        Column::flexible("title", 14),
        Column::flexible("text", 16),
    ]);
    for hit in &report.hits {
        let kind = match hit.shot {
            Some(number) => format!("shot {number}"),
            None => hit.kind.to_string(),
        };
        grid.row([
            kind,
            hit.short_id(),
            format!("{:.2}", hit.score),
            hit.matched_by.as_str().to_owned(),
            hit.title.clone(),
            hit.snippet.clone(),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::memory::{Hit, MatchedBy};

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
                snippet: "A baker scores a loaf with a razor, flour in the air, morning".to_owned(),
                score: 0.7312,
                matched_by: MatchedBy::Both,
            }],
            waiting_rows: 1,
            words_only: None,
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
        assert_eq!(
            stderr.text(),
            "embedder: builtin-lexical-1\n1 of your passages has no vector of builtin-lexical-1: \
             until `aida memory reindex`, only words find them\n"
        );
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
        assert!(stderr.text().contains("nothing was found"));
    }
}
