//! A prompt taken apart into what the cache can tell apart. Fingerprints and lengths, no text.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::providers::{LanguageRequest, Message};

/// Hex digits of a fingerprint: 64 bits are enough to tell a user's prompts apart.
const DIGITS: usize = 16;

/// What stands in front of a place that can be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Tools and system text: the same for all roles, videos and users.
    Shared,
    /// What is known of the user's taste: the same for many videos.
    Taste,
    /// The assignment: the same for the roles of one video.
    Assignment,
    /// A conversation so far.
    Conversation,
}

impl Place {
    /// The name in the books.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Taste => "taste",
            Self::Assignment => "assignment",
            Self::Conversation => "conversation",
        }
    }
}

/// A place that can be marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// What stands in front of it.
    pub place: Place,
    /// The fingerprint of everything up to there.
    pub sha: String,
    /// How long that is, in bytes.
    pub bytes: u64,
    /// How many blocks that is.
    pub block: u32,
}

/// A prompt, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The model's id.
    pub model: String,
    /// The fingerprint of what the key depends on beside the texts: effort, thinking, pictures.
    pub settings: String,
    /// The fingerprint of the tools.
    pub tools: String,
    /// The fingerprint of the system text.
    pub system: String,
    /// The fingerprint of model, tools and system text together.
    pub prefix: String,
    /// The fingerprint of the first message, which tells one conversation from another.
    pub opening: String,
    /// How many answers of the model it holds.
    pub turn: u32,
    /// How many blocks it has.
    pub blocks: u32,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The places that can be marked, in their order.
    pub places: Vec<Marked>,
}

/// A fingerprint in the making, and how much went into it.
#[derive(Clone)]
struct Reader {
    hash: Sha256,
    bytes: u64,
    blocks: u32,
}

impl Reader {
    fn block(&mut self, text: &str) {
        self.hash.update(text.len().to_le_bytes());
        self.hash.update(text);
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.blocks += 1;
    }

    fn sha(&self) -> String {
        short(&self.hash.clone().finalize())
    }
}

impl Prompt {
    /// Takes a request apart. `settings` is what the provider sends beside its texts.
    ///
    /// A place at the end of the first message ends the opening of the conversation. Of the places
    /// before it in that message the last ends the assignment, and others hold for more than one
    /// video.
    pub fn of(request: &LanguageRequest, settings: &Value) -> Self {
        let mut reader = Reader { hash: Sha256::new(), bytes: 0, blocks: 0 };
        reader.hash.update(&request.model);
        for tool in &request.tools {
            reader.block(&serde_json::to_string(tool).unwrap_or_default());
        }
        let mut places = Vec::new();
        if !request.system.is_empty() {
            reader.block(&request.system);
            places.push(reader.marked(Place::Shared));
        }
        let prefix = reader.sha();
        let (mut turn, mut has_pictures, mut opening) = (0, false, String::new());
        for (number, message) in request.messages.iter().enumerate() {
            let first_place = places.len();
            let (role, blocks): (_, Vec<Value>) = match message {
                Message::User(blocks) => {
                    let values = blocks.iter().map(serde_json::to_value);
                    ("user", values.map(Result::unwrap_or_default).collect())
                }
                Message::Assistant(blocks) => {
                    turn += 1;
                    ("assistant", blocks.clone())
                }
            };
            for mut block in blocks {
                has_pictures |= block["type"] == "image";
                let is_ours = role == "user";
                // The mark itself is no part of the key.
                let flag = block
                    .as_object_mut()
                    .filter(|_| is_ours)
                    .and_then(|block| block.remove("cache"));
                let is_blank = block["text"].as_str().is_some_and(|text| text.trim().is_empty());
                reader.block(&format!("{role} {block}"));
                if flag == Some(Value::Bool(true)) && !is_blank {
                    places.push(reader.marked(Place::Conversation));
                }
            }
            if number == 0 {
                opening = reader.sha();
                name_the_first(&mut places[first_place..], reader.blocks);
            }
        }
        let tools = serde_json::to_string(&request.tools).unwrap_or_default();
        let settings = json!([settings, has_pictures]).to_string();
        Self {
            model: request.model.clone(),
            settings: fingerprint(&settings),
            tools: fingerprint(&tools),
            system: fingerprint(&request.system),
            prefix,
            opening,
            turn,
            blocks: reader.blocks,
            bytes: reader.bytes,
            places,
        }
    }

    /// The place at which the turn before ended, where the conversation offers one beside its end.
    pub fn earlier_turn(&self) -> Option<usize> {
        let last = self.places.len().checked_sub(1)?;
        let earlier = last.checked_sub(1)?;
        let is_conversation = |index: usize| self.places[index].place == Place::Conversation;
        (self.turn > 0 && is_conversation(last) && is_conversation(earlier)).then_some(earlier)
    }
}

impl Reader {
    fn marked(&self, place: Place) -> Marked {
        Marked { place, sha: self.sha(), bytes: self.bytes, block: self.blocks }
    }
}

/// Says what the places of a first message stand for, whose last block is `end`.
fn name_the_first(places: &mut [Marked], end: u32) {
    let mut before: Vec<_> = places.iter_mut().filter(|place| place.block < end).collect();
    if let Some(assignment) = before.pop() {
        assignment.place = Place::Assignment;
    }
    for other in before {
        other.place = Place::Taste;
    }
}

fn fingerprint(text: &str) -> String {
    short(&Sha256::digest(text))
}

fn short(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().take(DIGITS / 2).fold(String::with_capacity(DIGITS), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{Tool, UserBlock};

    fn text(text: &str, cache: bool) -> UserBlock {
        UserBlock::Text { text: text.to_owned(), cache }
    }

    fn request(messages: Vec<Message>) -> LanguageRequest {
        LanguageRequest {
            model: "claude-sonnet-5-5".to_owned(),
            system: "You make films.".to_owned(),
            tools: vec![Tool {
                name: "search".to_owned(),
                description: "Searches.".to_owned(),
                input_schema: json!({"type": "object"}),
            }],
            messages,
            max_output_tokens: 1_000,
        }
    }

    fn opening() -> Message {
        Message::User(vec![text("taste", true), text("brief", true), text("role", true)])
    }

    fn names(prompt: &Prompt) -> Vec<&'static str> {
        prompt.places.iter().map(|place| place.place.as_str()).collect()
    }

    #[test]
    fn places_are_told_apart_by_where_they_stand() {
        let first = Prompt::of(&request(vec![opening()]), &Value::Null);
        assert_eq!(names(&first), ["shared", "taste", "assignment", "conversation"]);
        assert_eq!((first.turn, first.blocks, first.earlier_turn()), (0, 5, None));
        let later = Prompt::of(
            &request(vec![
                Message::User(vec![text("taste", false), text("brief", true), text("role", true)]),
                Message::Assistant(vec![json!({"type": "text", "text": "Yes."})]),
                Message::User(vec![text("Go on.", true)]),
            ]),
            &Value::Null,
        );
        assert_eq!(names(&later), ["shared", "assignment", "conversation", "conversation"]);
        assert_eq!((later.turn, later.earlier_turn()), (1, Some(2)));
        // A mark that moved leaves all fingerprints as they were.
        assert_eq!(later.places[1].sha, first.places[2].sha);
        assert_eq!(later.places[2].sha, first.places[3].sha);
        assert_eq!(later.opening, first.opening);
        let bare = Prompt::of(&request(vec![Message::User(vec![text("x", false)])]), &Value::Null);
        assert_eq!(names(&bare), ["shared"]);
    }

    #[test]
    fn each_part_has_a_fingerprint_of_its_own() {
        type Change = fn(&mut LanguageRequest);
        let before = Prompt::of(&request(vec![opening()]), &json!({"effort": "medium"}));
        let changes: [(Change, [bool; 4]); 4] = [
            (|request| request.model.push('x'), [false, false, true, true]),
            (|request| request.tools[0].name.push('x'), [true, false, true, true]),
            (|request| request.system.push('x'), [false, true, true, true]),
            (|request| request.max_output_tokens += 1, [false; 4]),
        ];
        for (place, (change, expected)) in changes.into_iter().enumerate() {
            let mut changed = request(vec![opening()]);
            change(&mut changed);
            let after = Prompt::of(&changed, &json!({"effort": "medium"}));
            let differs = [
                after.tools != before.tools,
                after.system != before.system,
                after.prefix != before.prefix,
                after.places[3].sha != before.places[3].sha,
            ];
            assert_eq!(differs, expected, "change {place}");
        }
        let other = Prompt::of(&request(vec![opening()]), &json!({"effort": "low"}));
        assert_ne!(other.settings, before.settings);
        assert_eq!(other.prefix, before.prefix);
    }
}
