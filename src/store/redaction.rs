//! Taking words out of everything that was kept of earlier conversations, for good.
//!
//! Only words are touched, and only whole ones: no amount, state, time, id, key, address or hash.
//! What is JSON stays JSON, byte for byte but for its words. A reply that a run was given is kept
//! so that it need not be paid for again; where words are taken out of one, the run asks anew.
//!
//! # What is waited for or of unknown outcome
//!
//! Of what was sent for a picture or clip, recovery needs this: KIE is asked for a task by its id
//! or judged by its balance, and a clip that fal answered for is asked for by its id as well, so
//! their prompts can lose their words like everything else. A clip whose answer was lost is
//! recognised in fal's list by what was sent, and a prompt with words missing is not what was
//! sent: the purchase would be taken for one that never arrived. So of such a clip the prompt
//! becomes null, which fits whatever fal lists, and it is told by the keyframe's address, which was
//! made for it alone. Nothing stored is ever sent again.

mod json;
mod phrases;

use std::fmt;

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::store::StoreError;
use json::Becomes;
use phrases::Phrases;

/// Words to be taken out, and what stands in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction {
    /// The words, as they were written; case does not count.
    pub words: String,
    /// What stands in their place.
    pub instead: String,
    /// Whether they are a whole sentence of aida's own, which is taken out of scripts, shots and
    /// prompts as well. Words of a note may stand in a script for reasons of its own.
    pub is_everywhere: bool,
}

/// How many rows are looked at in one go.
const BATCH: usize = 100;

/// A column that may hold such words, and which of its rows are the user's.
struct Place {
    table: &'static str,
    column: &'static str,
    form: Form,
    rows: &'static str,
    /// Set beside it where words were taken out.
    beside: &'static str,
    is_memory: bool,
}

/// How words stand in a column.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// In the strings of JSON at the end of whose keys they may stand.
    Json(fn(&[&str]) -> bool),
    /// The same, and a string that has them becomes null.
    JsonOrNull(fn(&[&str]) -> bool),
}

const fn place(table: &'static str, column: &'static str, rows: &'static str) -> Place {
    Place { table, column, form: Form::Text, rows, beside: "", is_memory: false }
}

const OF_USER: &str = "user_id = $1";
const OF_PROJECTS: &str = "project_id IN (SELECT id FROM projects WHERE user_id = $1)";
/// What is looked for in a provider's list by what was sent; the same as [`is_looked_for`].
const LOOKED_FOR: &str = "user_id = $1 AND kind = 'clip' AND state IN ('submitting', 'unknown')";
const NOT_LOOKED_FOR: &str =
    "user_id = $1 AND NOT (kind = 'clip' AND state IN ('submitting', 'unknown'))";

fn is_looked_for(kind: &str, state: &str) -> bool {
    kind == "clip" && matches!(state, "submitting" | "unknown")
}

const PLACES: &[Place] = &[
    Place {
        form: Form::Json(|keys| keys.first() == Some(&"recalled")),
        is_memory: true,
        ..place("runs", "options", OF_USER)
    },
    Place { is_memory: true, ..place("runs", "stop_message", OF_USER) },
    Place {
        form: Form::Json(is_said_in_reply),
        is_memory: true,
        // A reply that was changed must never be handed out as the one that was given.
        beside: ", request_sha256 = NULL",
        ..place("operations", "result", "user_id = $1 AND kind = 'language'")
    },
    Place {
        form: Form::Json(|keys| matches!(keys, ["message" | "decision"])),
        is_memory: true,
        ..place("operations", "failure", OF_USER)
    },
    Place { is_memory: true, ..place("project_feedback", "note", OF_USER) },
    Place {
        is_memory: true,
        ..place("user_preferences", "statement", "user_id = $1 AND NOT pinned")
    },
    Place {
        beside: ", embedding = NULL, model = NULL",
        ..place("project_embeddings", "content", "user_id = $1 AND kind <> 'file'")
    },
    Place { form: Form::Json(is_prompt), ..place("operations", "request", NOT_LOOKED_FOR) },
    Place { form: Form::JsonOrNull(is_prompt), ..place("operations", "request", LOOKED_FOR) },
    Place { form: Form::Json(|_| true), ..place("projects", "script", OF_USER) },
    place("projects", "title", OF_USER),
    place("shots", "image_prompt", OF_PROJECTS),
    place("shots", "motion_prompt", OF_PROJECTS),
    place("shots", "on_screen_text", OF_PROJECTS),
    place("shots", "narration", OF_PROJECTS),
];

/// The texts among what is sent for a picture or clip, whichever provider's form it has.
fn is_prompt(keys: &[&str]) -> bool {
    matches!(keys.last(), Some(&("prompt" | "negative_prompt" | "text")))
}

/// What a model said, in a reply as it is kept: not what machines go by.
fn is_said_in_reply(keys: &[&str]) -> bool {
    const OF_MACHINES: [&str; 12] = [
        "id",
        "type",
        "name",
        "tool_use_id",
        "signature",
        "data",
        "media_type",
        "model",
        "request_id",
        "role",
        "category",
        "tokens",
    ];
    // What it hands in to a tool has keys of the tool's own.
    keys.contains(&"input") || keys != ["stop"] && !keys.iter().any(|key| OF_MACHINES.contains(key))
}

/// Takes words out of whatever is kept of a user, in one pass over each place.
pub struct Redactor {
    user_id: String,
    remembered: Phrases,
    everywhere: Phrases,
}

impl fmt::Debug for Redactor {
    /// The words are those that nobody is to read any more.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redactor").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

impl Redactor {
    /// What takes these words out of what is kept of a user.
    pub fn new(user_id: &str, redactions: &[Redaction]) -> Self {
        Self {
            user_id: user_id.to_owned(),
            remembered: Phrases::new(redactions.iter()),
            everywhere: Phrases::new(redactions.iter().filter(|one| one.is_everywhere)),
        }
    }

    const fn phrases_for(&self, place: &Place) -> &Phrases {
        if place.is_memory { &self.remembered } else { &self.everywhere }
    }

    /// Takes the words out of the database. To be called in a transaction.
    pub async fn redact(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        for place in PLACES {
            if !self.phrases_for(place).is_empty() {
                self.redact_place(connection, place).await?;
            }
        }
        Ok(())
    }

    async fn redact_place(
        &self,
        connection: &mut PgConnection,
        place: &Place,
    ) -> Result<(), StoreError> {
        let Place { table, column, form, rows, beside, .. } = place;
        let cast = match form {
            // Replies are kept as text, so that they stay as they were given byte for byte.
            Form::Json(_) | Form::JsonOrNull(_) if *column != "result" => "::jsonb",
            _ => "",
        };
        // Put together from constants.
        let read = format!(
            "SELECT id, {column}::text FROM {table}
             WHERE {rows} AND {column} IS NOT NULL AND {column}::text <> '' AND id > $2 ORDER BY id LIMIT {BATCH}"
        );
        let write = format!(
            "UPDATE {table} AS entry SET {column} = changed.new{cast}{beside}
             FROM unnest($1::uuid[], $2::text[], $3::text[]) AS changed (id, old, new)
             WHERE entry.id = changed.id AND entry.{column}::text = changed.old"
        );
        let mut after = Uuid::nil();
        loop {
            let batch: Vec<(Uuid, String)> = sqlx::query_as(AssertSqlSafe(read.clone()))
                .bind(&self.user_id)
                .bind(after)
                .fetch_all(&mut *connection)
                .await?;
            let Some(last) = batch.last().map(|(id, _)| *id) else { return Ok(()) };
            let is_last = batch.len() < BATCH;
            let (mut ids, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
            for (id, text) in batch {
                if let Some(changed) = self.value_without(place, &text) {
                    ids.push(id);
                    old.push(text);
                    new.push(changed);
                }
            }
            if !ids.is_empty() {
                let written = sqlx::query(AssertSqlSafe(write.clone()))
                    .bind(&ids)
                    .bind(&old)
                    .bind(&new)
                    .execute(&mut *connection)
                    .await?;
                // What another process wrote meanwhile is looked at again.
                if written.rows_affected() < ids.len() as u64 {
                    continue;
                }
            }
            if is_last {
                return Ok(());
            }
            after = last;
        }
    }

    /// What a column's value becomes; none where it stays.
    fn value_without(&self, place: &Place, value: &str) -> Option<String> {
        match place.form {
            Form::Text => self.phrases_for(place).taken_out_of(value),
            Form::Json(_) | Form::JsonOrNull(_) => {
                json::changed(value, &mut |keys, words| self.string_becomes(place, keys, words))
            }
        }
    }

    fn string_becomes(&self, place: &Place, keys: &[&str], words: &str) -> Option<Becomes> {
        let phrases = self.phrases_for(place);
        match place.form {
            Form::Text => phrases.taken_out_of(words).map(Becomes::Words),
            Form::Json(is_text) if is_text(keys) => phrases.taken_out_of(words).map(Becomes::Words),
            Form::JsonOrNull(is_text) if is_text(keys) => {
                phrases.taken_out_of(words).map(|_| Becomes::Nothing)
            }
            Form::Json(_) | Form::JsonOrNull(_) => None,
        }
    }

    /// What a line of the operations journal becomes; none where it stays, as the lines of other
    /// users do. Each of its parts is a row, which loses the words that it loses in the database.
    pub fn journal_line(&self, line: &str) -> Option<String> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_operation = |name: &str| value["operation"][name].as_str().unwrap_or_default();
        let is_mine = |part: &str| value[part]["user_id"].as_str() == Some(self.user_id.as_str());
        if !is_mine("operation") && !is_mine("project") {
            return None;
        }
        let (kind, state) = (of_operation("kind"), of_operation("state"));
        let is_of_row = |place: &Place, table: &str, column: &str| {
            place.table == table
                && place.column == column
                && match (place.form, column) {
                    (Form::JsonOrNull(_), _) => is_looked_for(kind, state),
                    (_, "request") => !is_looked_for(kind, state),
                    (_, "result") => kind == "language",
                    _ => true,
                }
        };
        let mut is_reply_changed = false;
        let new = json::changed(line, &mut |keys, words| {
            let [part, column, rest @ ..] = keys else { return None };
            let table = match *part {
                "project" => "projects",
                "run" => "runs",
                "shots" => "shots",
                "operation" => "operations",
                _ => return None,
            };
            let place = PLACES.iter().find(|place| is_of_row(place, table, column))?;
            let becomes = self.string_becomes(place, rest, words)?;
            is_reply_changed |= *column == "result";
            Some(becomes)
        });
        if !is_reply_changed {
            return new;
        }
        let new = new?;
        let without_fingerprint = json::changed(&new, &mut |keys, _| {
            (keys == ["operation", "request_sha256"]).then_some(Becomes::Nothing)
        });
        Some(without_fingerprint.unwrap_or(new))
    }
}

#[cfg(test)]
mod tests;
