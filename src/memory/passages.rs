//! What is remembered of a project or a file: texts cut into passages of a size that one vector
//! can stand for.

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::ids::{FileId, ProjectId};
use crate::store::embeddings::{Passage, PassageKind};
use crate::store::project_texts::ProjectText;
use crate::studio::script::Script;

/// The longest passage, in characters. In the worst script this is 6,000 bytes, which stays
/// under the 8,192 tokens that OpenAI takes for one text.
pub(crate) const LONGEST_PASSAGE: usize = 1_500;

/// The passages of a project: its title and brief, its script, and each of its shots.
pub(crate) fn of_project(project: ProjectId, text: &ProjectText) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut take = |kind, subject: Uuid, text: &str| {
        passages.extend(of_text(Some(project), kind, subject, text));
    };
    take(PassageKind::Project, project.uuid(), &lines([&text.title, &text.brief]));
    if let Some(script) = text.script.clone() {
        match serde_json::from_value::<Script>(script) {
            Ok(script) => take(PassageKind::Script, project.uuid(), &script_text(&script)),
            Err(error) => {
                tracing::warn!(%project, %error, "the script cannot be read, so it cannot be found by search");
            }
        }
    }
    for shot in &text.shots {
        let text = lines([&shot.image_prompt, &shot.on_screen_text, &shot.narration]);
        take(PassageKind::Shot, shot.id.uuid(), &text);
    }
    passages
}

/// The passages of a file; its name is part of the first one.
pub(crate) fn of_file(file: FileId, name: &str, content: &str) -> Vec<Passage> {
    of_text(None, PassageKind::File, file.uuid(), &lines([name, content])).collect()
}

fn of_text(
    project: Option<ProjectId>,
    kind: PassageKind,
    subject: Uuid,
    text: &str,
) -> impl Iterator<Item = Passage> {
    let parts = cut(&text.nfc().collect::<String>());
    (0..).zip(parts).map(move |(part, content)| Passage { project, kind, subject, part, content })
}

fn script_text(script: &Script) -> String {
    let beats =
        script.beats.iter().flat_map(|beat| [&beat.action, &beat.narration, &beat.on_screen_text]);
    lines([&script.title, &script.logline].into_iter().chain(beats))
}

fn lines<Line: AsRef<str>>(texts: impl IntoIterator<Item = Line>) -> String {
    let mut lines = String::new();
    for text in texts {
        let text = text.as_ref().trim();
        if !text.is_empty() {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(text);
        }
    }
    lines
}

/// Cuts a text into passages of at most [`LONGEST_PASSAGE`] characters: at an empty line if
/// one stands in the second half of the passage, else at a line's end, a sentence's end, a
/// space, or, where there is nothing of the kind, anywhere. No passage is blank.
pub(crate) fn cut(text: &str) -> Vec<String> {
    let mut passages = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some((end, _)) = rest.char_indices().nth(LONGEST_PASSAGE) else {
            passages.push(rest.to_owned());
            break;
        };
        let window = &rest[..end];
        let at = ["\n\n", "\n", ". ", "! ", "? ", " "]
            .into_iter()
            .filter_map(|border| window.rfind(border).map(|at| at + border.len()))
            .find(|at| *at > end / 2)
            .unwrap_or(end);
        passages.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start();
    }
    passages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShotId;
    use crate::store::project_texts::ShotText;

    #[test]
    fn long_texts_are_cut_at_borders_and_nothing_is_lost() {
        let text = "Ein Satz über Käse. ".repeat(400);
        let passages = cut(&text);
        assert!(passages.len() > 4);
        for passage in &passages {
            assert!(passage.chars().count() <= LONGEST_PASSAGE);
            assert!(passage.ends_with('.'), "{passage}");
        }
        assert_eq!(passages.join(" "), text.trim());
    }

    #[test]
    fn a_text_without_borders_is_cut_all_the_same() {
        let passages = cut(&"夜".repeat(LONGEST_PASSAGE * 2 + 1));
        let lengths: Vec<_> = passages.iter().map(|passage| passage.chars().count()).collect();
        assert_eq!(lengths, [LONGEST_PASSAGE, LONGEST_PASSAGE, 1]);
        assert!(cut(" \n ").is_empty());
    }

    #[test]
    fn a_project_has_a_passage_for_each_thing_worth_finding() {
        let project = ProjectId::new();
        let shot = ShotId::new();
        let text = ProjectText {
            user_id: "ada".to_owned(),
            brief: "food video".to_owned(),
            title: "Slow Bread".to_owned(),
            script: Some(serde_json::json!({
                "title": "Slow Bread", "logline": "A loaf wakes up.",
                "beats": [{"action": "Dough rises.", "narration": "", "on_screen_text": "Wait."}],
            })),
            shots: vec![ShotText {
                id: shot,
                number: 1,
                image_prompt: "Dough under a cloth".to_owned(),
                on_screen_text: "Wait.".to_owned(),
                narration: String::new(),
            }],
        };
        let passages = of_project(project, &text);
        let seen: Vec<_> = passages
            .iter()
            .map(|passage| (passage.kind, passage.subject, passage.content.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (PassageKind::Project, project.uuid(), "Slow Bread\nfood video"),
                (
                    PassageKind::Script,
                    project.uuid(),
                    "Slow Bread\nA loaf wakes up.\nDough rises.\nWait."
                ),
                (PassageKind::Shot, shot.uuid(), "Dough under a cloth\nWait."),
            ]
        );
    }
}
