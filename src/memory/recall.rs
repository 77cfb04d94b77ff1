//! What the team is told before it writes: similar projects and how they were received, the
//! user's files, the campaign and the preferences.
//!
//! The texts hold no dates, ids or scores, and their order depends on nothing but what is
//! stored, so that they can be cached as a part of a prompt. Each has a bounded size.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::ids::{CampaignId, FileId, ProjectId};
use crate::ledger::till::Purpose;
use crate::memory::palette::palette_text;
use crate::memory::search::{LONGEST_QUERY, Matches, SearchFilter};
use crate::memory::snippet::{one_line, shortened};
use crate::memory::taste::telling;
use crate::memory::{Memory, MemoryError};
use crate::store::campaign_styles::{self, CampaignStyle, LONGEST_LOOK};
use crate::store::campaigns;
use crate::store::embeddings::PassageKind;
use crate::store::files::{self, UserFile};
use crate::store::project_texts::{self, ProjectAccount};

/// The most similar projects that are told of.
const MOST_PROJECTS: usize = 3;
/// The most passages of files that are quoted by a search.
const MOST_FILE_PASSAGES: usize = 4;
/// The most characters of one file that the user gave for this video.
const LONGEST_GIVEN_FILE: usize = 4_000;
/// The most characters of all such files together.
const LONGEST_GIVEN_FILES: usize = 16_000;
/// The most characters of a brief, a note or a prompt that are quoted.
const LONGEST_QUOTE: usize = 280;
/// The most projects of a campaign that are told of.
const MOST_CAMPAIGN_PROJECTS: i64 = 5;

/// What a video is to be made from.
#[derive(Debug, Clone, Copy)]
pub struct RecallRequest<'request> {
    /// The user's words.
    pub brief: &'request str,
    /// The project itself, which is not told of.
    pub project: Option<ProjectId>,
    /// The campaign that it belongs to.
    pub campaign: Option<CampaignId>,
    /// The files that the user gave for it.
    pub files: &'request [FileId],
}

/// What is known that could help.
#[derive(Debug, Clone)]
pub struct Recall {
    /// How many similar projects and other pieces were found.
    pub found: RecallCounts,
    /// Similar projects and the user's files, under headings. Says so where nothing is known.
    pub work: String,
    /// What the user likes.
    pub preferences: String,
    /// The campaign that the video belongs to.
    pub campaign: String,
    /// The model that compared the brief with what is stored.
    pub embedder: String,
    /// Why only words were compared, if so.
    pub words_only: Option<String>,
}

/// How much was recalled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecallCounts {
    /// Similar projects.
    pub projects: usize,
    /// The user's files, given or found.
    pub files: usize,
    /// Preferences.
    pub preferences: usize,
}

impl Memory {
    /// Recalls what could help with a brief. Costs one embedding call where the embedder is paid.
    pub async fn recall(
        &self,
        purpose: &Purpose,
        request: &RecallRequest<'_>,
    ) -> Result<Recall, MemoryError> {
        let user_id = &purpose.user_id;
        let filter =
            SearchFilter { without_project: request.project, limit: 40, ..SearchFilter::default() };
        let found = self.find(purpose, &query_from(request.brief), &filter).await?;
        let similar = best_projects(&found);

        let mut session = self.store.session().await?;
        let accounts = project_texts::accounts(&mut session, &similar).await?;
        let given = files::by_ids(&mut session, user_id, request.files).await?;
        session.close().await;
        let preferences = self.told(user_id, request.campaign).await?;

        let accounts = in_order(accounts, &similar);
        let (files_text, file_count) = tell_files(&given, &found);
        let sections = [
            ("Similar projects of this user", tell_projects(&accounts)),
            ("The user's files", files_text),
        ];
        Ok(Recall {
            found: RecallCounts {
                projects: accounts.len(),
                files: file_count,
                preferences: preferences.len(),
            },
            work: sections.map(|(heading, text)| format!("## {heading}\n\n{text}\n")).join("\n"),
            preferences: telling::text(&preferences),
            campaign: self.campaign_text(user_id, request.campaign).await?,
            embedder: self.embedder().to_owned(),
            words_only: found.words_only,
        })
    }

    /// The user's projects that fit a query, told for a model.
    pub async fn search_projects(
        &self,
        purpose: &Purpose,
        query: &str,
        without: Option<ProjectId>,
    ) -> Result<String, MemoryError> {
        let kinds = vec![PassageKind::Project, PassageKind::Script, PassageKind::Shot];
        let filter =
            SearchFilter { kinds, without_project: without, limit: 40, ..SearchFilter::default() };
        let found = self.find(purpose, &query_from(query), &filter).await?;
        let similar = best_projects(&found);
        let mut session = self.store.session().await?;
        let accounts = project_texts::accounts(&mut session, &similar).await?;
        session.close().await;
        Ok(tell_projects(&in_order(accounts, &similar)))
    }

    /// The passages of the user's files that fit a query, told for a model.
    pub async fn search_files(
        &self,
        purpose: &Purpose,
        query: &str,
    ) -> Result<String, MemoryError> {
        let filter = SearchFilter {
            kinds: vec![PassageKind::File],
            limit: MOST_FILE_PASSAGES,
            ..SearchFilter::default()
        };
        let found = self.find(purpose, &query_from(query), &filter).await?;
        Ok(tell_files(&[], &found).0)
    }

    /// The campaign of a video, told for a model.
    pub async fn campaign_text(
        &self,
        user_id: &str,
        campaign: Option<CampaignId>,
    ) -> Result<String, MemoryError> {
        let none = "This video belongs to no campaign.".to_owned();
        let Some(id) = campaign else { return Ok(none) };
        let mut session = self.store.session().await?;
        let campaign = campaigns::by_id(&mut session, user_id, id).await?;
        let style = campaign_styles::of(&mut session, id).await?;
        let projects =
            project_texts::accounts_of_campaign(&mut session, id, MOST_CAMPAIGN_PROJECTS).await?;
        session.close().await;
        let Some(campaign) = campaign else { return Ok(none) };
        let mut text = format!("### {}\n", campaign.name);
        push_field(&mut text, "About", &campaign.description, LONGEST_QUOTE * 4);
        text.push_str(&tell_style(&style));
        if projects.is_empty() {
            text.push_str("It has no videos yet.");
        } else {
            text.push_str("Its latest videos:\n");
            for project in projects {
                let sentence =
                    if project.logline.is_empty() { &project.brief } else { &project.logline };
                let sentence = shortened(&one_line(sentence), LONGEST_QUOTE);
                // Writing to a string cannot fail.
                let _infallible = writeln!(text, "- {}: {sentence}", title_of(&project));
            }
        }
        Ok(text.trim_end().to_owned())
    }
}

/// A brief or a model's words as a query: without the marks that would have it taken at its
/// word, and short enough.
fn query_from(text: &str) -> String {
    text.replace('"', " ")
        .replace(" -", " ")
        .trim_start_matches('-')
        .chars()
        .take(LONGEST_QUERY)
        .collect()
}

/// The projects that the matches belong to, the best match of each deciding.
fn best_projects(found: &Matches) -> Vec<ProjectId> {
    let mut projects = Vec::new();
    for project in found.best.iter().filter_map(|found| found.details.project) {
        if !projects.contains(&project) && projects.len() < MOST_PROJECTS {
            projects.push(project);
        }
    }
    projects
}

fn in_order(accounts: Vec<ProjectAccount>, order: &[ProjectId]) -> Vec<ProjectAccount> {
    let mut accounts: HashMap<ProjectId, ProjectAccount> =
        accounts.into_iter().map(|account| (account.id, account)).collect();
    order.iter().filter_map(|id| accounts.remove(id)).collect()
}

fn title_of(account: &ProjectAccount) -> String {
    let title = if account.title.is_empty() { &account.brief } else { &account.title };
    shortened(&one_line(title), 80)
}

fn tell_projects(accounts: &[ProjectAccount]) -> String {
    if accounts.is_empty() {
        return "No earlier project is like this one.".to_owned();
    }
    let told = accounts.iter().map(|account| {
        let mut text = format!("### {}\n", title_of(account));
        push_field(&mut text, "Brief", &account.brief, LONGEST_QUOTE);
        push_field(&mut text, "Logline", &account.logline, LONGEST_QUOTE);
        if let Some(mean) = account.mean_rating {
            let times = if account.ratings == 1 { "once" } else { "on average" };
            push_field(&mut text, "Rating", &format!("{} of 5 {times}", mean.normalize()), 40);
        }
        for note in &account.notes {
            push_field(&mut text, "The user remarked", note, LONGEST_QUOTE);
        }
        for (number, shot) in (1..).zip(&account.shots) {
            push_field(&mut text, &format!("Shot {number}"), shot, LONGEST_QUOTE);
        }
        text.trim_end().to_owned()
    });
    told.collect::<Vec<_>>().join("\n\n")
}

/// The files that were given, from their beginnings, and then passages of other files that
/// the search found. Answers the text and how many files it quotes.
fn tell_files(given: &[UserFile], found: &Matches) -> (String, usize) {
    let mut told = Vec::new();
    let mut room = LONGEST_GIVEN_FILES;
    for file in given {
        let text = shortened(file.text().trim(), LONGEST_GIVEN_FILE.min(room.max(1)));
        room = room.saturating_sub(text.chars().count());
        told.push(format!("### {} (given for this video)\n{text}", file.name));
    }
    let others = found
        .best
        .iter()
        .map(|found| &found.details)
        .filter(|details| details.kind == PassageKind::File)
        .filter(|details| given.iter().all(|file| file.id.uuid() != details.subject))
        .take(MOST_FILE_PASSAGES);
    for details in others {
        told.push(format!("### From {}\n{}", details.title, details.content.trim()));
    }
    if told.is_empty() {
        return ("No file of this user has anything on this.".to_owned(), 0);
    }
    (told.join("\n\n"), told.len())
}

/// What every film of a campaign follows; nothing where nothing is laid down.
fn tell_style(style: &CampaignStyle) -> String {
    let mut text = String::new();
    let quoted = |words: &[String]| {
        words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
    };
    push_field(&mut text, "Palette", &palette_text(&style.palette), usize::MAX);
    push_field(&mut text, "Look", &style.look, LONGEST_LOOK);
    if !style.words_to_use.is_empty() {
        let words = quoted(&style.words_to_use);
        let rule = "each at least once in the title, a narration or an on-screen text";
        push_field(&mut text, "Words to use", &format!("{words} ({rule})"), usize::MAX);
    }
    if !style.words_to_avoid.is_empty() {
        let words = quoted(&style.words_to_avoid);
        let rule = "nowhere and in no form, or the work is sent back";
        push_field(&mut text, "Words to avoid", &format!("{words} ({rule})"), usize::MAX);
    }
    if let Some(logo) = &style.logo {
        let place = format!("the attached file {:?}; the user's own", logo.name);
        push_field(&mut text, "Logo", &place, usize::MAX);
    }
    text
}

fn push_field(text: &mut String, name: &str, value: &str, most_characters: usize) {
    let value = one_line(value);
    if !value.is_empty() {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{name}: {}", shortened(&value, most_characters));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::fusion::MatchedBy;
    use crate::memory::search::Match;
    use crate::store::embeddings::PassageDetails;
    use rust_decimal_macros::dec;
    use uuid::Uuid;

    fn account(title: &str) -> ProjectAccount {
        ProjectAccount {
            id: ProjectId::new(),
            title: title.to_owned(),
            brief: "food\nvideo".to_owned(),
            logline: "A loaf wakes up.".to_owned(),
            mean_rating: Some(dec!(4.0)),
            ratings: 1,
            notes: vec!["too slow".to_owned()],
            shots: vec!["Dough under a cloth".to_owned()],
        }
    }

    fn file(content: String) -> UserFile {
        UserFile {
            id: FileId::new(),
            user_id: "ada".to_owned(),
            project_id: None,
            name: "notes.md".to_owned(),
            path: "/notes.md".to_owned(),
            media_type: "text/markdown".to_owned(),
            bytes: 1,
            sha256: String::new(),
            content,
            facts: files::Facts::default(),
            description: String::new(),
            described_by: None,
            replaced_by: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_project_is_told_in_few_words() {
        assert_eq!(
            tell_projects(&[account("Slow Bread")]),
            "### Slow Bread\nBrief: food video\nLogline: A loaf wakes up.\nRating: 4 of 5 once\n\
             The user remarked: too slow\nShot 1: Dough under a cloth"
        );
    }

    #[test]
    fn what_is_told_has_a_bound() {
        let mut long = account(&"Title ".repeat(100));
        long.brief = "word ".repeat(5_000);
        long.shots = vec!["prompt ".repeat(300); 3];
        assert!(tell_projects(&[long.clone(), long.clone(), long]).chars().count() < 5_000);
        let file = file("word ".repeat(200_000));
        let nothing = Matches::default();
        let (text, count) = tell_files(&vec![file; 20], &nothing);
        assert_eq!(count, 20);
        assert!(text.chars().count() < LONGEST_GIVEN_FILES + 20 * 60, "{}", text.len());
    }

    #[test]
    fn a_given_file_is_not_quoted_twice() {
        let file = file("Only oat milk.".to_owned());
        let passage = |subject, title: &str| Match {
            details: PassageDetails {
                id: Uuid::now_v7(),
                kind: PassageKind::File,
                subject,
                project: None,
                shot: None,
                shot_number: None,
                takes: Vec::new(),
                title: title.to_owned(),
                place: String::new(),
                content: "Passage.".to_owned(),
            },
            score: 0.5,
            matched_by: MatchedBy::Both,
        };
        let found = Matches {
            best: vec![passage(file.id.uuid(), "notes.md"), passage(Uuid::now_v7(), "menu.md")],
            ..Matches::default()
        };
        assert_eq!(
            tell_files(&[file], &found).0,
            "### notes.md (given for this video)\nOnly oat milk.\n\n### From menu.md\nPassage."
        );
    }

    #[test]
    fn a_brief_is_never_taken_at_its_word() {
        assert_eq!(query_from("-a \"big\" city -night"), "a  big  city night");
    }
}
