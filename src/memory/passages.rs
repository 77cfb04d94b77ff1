//! What is remembered of a project or a file: texts cut into passages of a size that one vector
//! can stand for.

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::ids::{FileId, ProjectId};
use crate::ledger::operation::OperationKind;
use crate::memory::files::blocks::{Block, Place, Text};
use crate::store::embeddings::{Passage, PassageKind};
use crate::store::project_texts::{ProjectText, ShotText};
use crate::studio::script::Script;

/// The longest passage, in characters. In the worst script this is 6,000 bytes, which stays
/// under the 8,192 tokens that OpenAI takes for one text.
pub(crate) const LONGEST_PASSAGE: usize = 1_500;

/// The passages of a project: its title and brief, its script, each of its shots and
/// each of their takes.
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
    for kept in &text.takes {
        if let Some(shot) = text.shots.iter().find(|shot| shot.id == kept.shot) {
            take(PassageKind::Take, kept.id.uuid(), &take_text(shot, kept.kind));
        }
    }
    passages
}

/// What a take shows: its keyframe, and for a clip what moves as well.
pub(crate) fn take_text(shot: &ShotText, kind: OperationKind) -> String {
    match kind {
        OperationKind::Clip => clip_text(&shot.motion_prompt, &shot.image_prompt),
        _ => shot.image_prompt.clone(),
    }
}

/// What a clip shows: what moves in it, and its keyframe.
pub(crate) fn clip_text(motion_prompt: &str, image_prompt: &str) -> String {
    lines([motion_prompt, image_prompt])
}

/// The first passage of a text; empty for a blank one.
pub(crate) fn first(text: &str) -> String {
    cut(&text.nfc().collect::<String>()).into_iter().next().unwrap_or_default()
}

/// The passages of a file. Pieces in one place stand together as long as they fit, every passage
/// knows its place, and the file's name is part of the first one.
pub(crate) fn of_file(file: FileId, name: &str, text: &Text) -> Vec<Passage> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (index, block) in text.blocks().enumerate() {
        let composed: String = if index == 0 {
            lines([name, block.text]).nfc().collect()
        } else {
            block.text.nfc().collect()
        };
        for piece in cut(&composed) {
            let length = piece.chars().count();
            match parts.last_mut() {
                Some(part) if part.may_take(block, length) => part.take(block, &piece, length),
                _ => {
                    let place = block.place;
                    parts.push(Part { first: place, last: place, text: piece, length });
                }
            }
        }
    }
    let parts = (0..).zip(parts);
    parts
        .map(|(number, part)| Passage {
            project: None,
            kind: PassageKind::File,
            subject: file.uuid(),
            part: number,
            place: part.first.up_to(part.last),
            content: part.text,
        })
        .collect()
}

/// A passage shorter than this takes in the next piece although that stands in another place.
const SHORT_PASSAGE: usize = 300;

/// A passage that is being put together.
struct Part<'file> {
    first: &'file Place,
    last: &'file Place,
    text: String,
    /// Characters of the text.
    length: usize,
}

impl<'file> Part<'file> {
    fn may_take(&self, block: Block<'file>, length: usize) -> bool {
        let belongs = self.last.runs_on_into(block.place) || self.length < SHORT_PASSAGE;
        belongs && self.length + block.separator().len() + length <= LONGEST_PASSAGE
    }

    fn take(&mut self, block: Block<'file>, piece: &str, length: usize) {
        self.text.push_str(block.separator());
        self.text.push_str(piece);
        self.length += block.separator().len() + length;
        self.last = block.place;
    }
}

fn of_text(
    project: Option<ProjectId>,
    kind: PassageKind,
    subject: Uuid,
    text: &str,
) -> impl Iterator<Item = Passage> {
    let parts = cut(&text.nfc().collect::<String>());
    (0..).zip(parts).map(move |(part, content)| {
        let place = String::new();
        Passage { project, kind, subject, part, place, content }
    })
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
    use crate::ids::{ShotId, TakeId};
    use crate::store::project_texts::TakeText;

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
    fn the_passages_of_a_file_know_their_places() {
        let long = "Steel and glass. ".repeat(60);
        let (long, mut text) = (long.as_str(), Text::default());
        for (page, words) in [(1, "Short."), (2, long), (2, long), (3, "The end.")] {
            text.push(Place::Page(page), words).unwrap();
        }
        let passages = of_file(FileId::new(), "oven.pdf", &text);
        let seen: Vec<_> = passages
            .iter()
            .map(|passage| (passage.part, passage.place.as_str(), &passage.content[..8]))
            .collect();
        assert_eq!(
            seen,
            [(0, "pages 1–2", "oven.pdf"), (1, "page 2", "Steel an"), (2, "page 3", "The end.")]
        );
        let mut rows = Text::default();
        for row in 1..=400 {
            rows.push(Place::Row(row), &format!("name: Loaf {row}; price: 4.50")).unwrap();
        }
        let passages = of_file(FileId::new(), "prices.csv", &rows);
        assert!(passages.len() > 5);
        assert!(passages.iter().all(|passage| passage.content.chars().count() <= LONGEST_PASSAGE));
        assert!(passages[1].place.starts_with("rows "), "{}", passages[1].place);
        assert!(passages[1].content.starts_with("name: Loaf "), "{}", passages[1].content);
    }

    #[test]
    fn a_project_has_a_passage_for_each_thing_worth_finding() {
        let project = ProjectId::new();
        let (shot, image, clip) = (ShotId::new(), TakeId::new(), TakeId::new());
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
                motion_prompt: "The cloth lifts".to_owned(),
                on_screen_text: "Wait.".to_owned(),
                narration: String::new(),
            }],
            takes: vec![
                TakeText { id: image, shot, kind: OperationKind::Image },
                TakeText { id: clip, shot, kind: OperationKind::Clip },
            ],
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
                (PassageKind::Take, image.uuid(), "Dough under a cloth"),
                (PassageKind::Take, clip.uuid(), "The cloth lifts\nDough under a cloth"),
            ]
        );
    }
}
