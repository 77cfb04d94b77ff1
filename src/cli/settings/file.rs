//! Reading config.toml: names against the catalogue, types against the form, and errors that
//! show the line without showing what may be a secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Form, Key};
use super::prices;
use crate::error::Error;
use crate::ledger::prices::{Origin, Price};

/// A value that the file holds.
#[derive(Debug)]
pub(super) struct FileValue {
    /// Which setting.
    pub(super) key: &'static Key,
    /// Its value as one would write it in the environment. Not shown for secrets.
    pub(super) text: String,
    /// Where it stands.
    pub(super) place: Place,
}

/// A place in config.toml, and the lines that show it.
#[derive(Clone)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    excerpt: String,
}

// The excerpt hides secrets by itself, but the log has no use for it either.
impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)
    }
}

impl Place {
    /// A settings error about this place.
    pub(super) fn error(&self, problem: &str) -> Error {
        Error::settings(format!(
            "{problem}\n --> {}:{}\n{}",
            self.path.display(),
            self.line,
            self.excerpt
        ))
    }
}

/// What a config.toml holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The settings.
    pub(super) values: Vec<FileValue>,
    /// The entries of `[[price]]`.
    pub(super) prices: Vec<Price>,
}

/// Reads a config.toml text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Content, Error> {
    let document = Document::new(path, text);
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        document
            .unreadable()
            .place(span)
            .error(&format!("config.toml cannot be read: {}", error.message()))
            .hint("text stands in quotes: user = \"ada\"")
    })?;
    let mut content = Content::default();
    for (name, value) in table.get_ref() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("price", _) => content.prices = prices::entries(&document, value, Origin::Config)?,
            (table, DeValue::Table(entries)) if keys::is_table(table) => {
                for (name, value) in entries {
                    let full = format!("{table}.{}", name.get_ref());
                    content.values.push(file_value(document, &full, name.span(), value)?);
                }
            }
            (full, _) => content.values.push(file_value(document, full, name.span(), value)?),
        }
    }
    Ok(content)
}

/// One value of config.toml by its full name, such as `serve.port`.
fn file_value(
    document: Document<'_>,
    name: &str,
    name_span: Range<usize>,
    value: &Spanned<DeValue<'_>>,
) -> Result<FileValue, Error> {
    let Some(key) = keys::find(name) else {
        let place = document.place(name_span);
        let error = place.error(&format!("config.toml has an unknown key '{name}'"));
        return Err(match keys::nearest(name) {
            Some(known) => error.hint(format!("did you mean '{known}'?")),
            None => error.hint("config.example.toml lists every key"),
        });
    };
    let place = document.place(value.span());
    let text = text_of(key, value.get_ref()).map_err(|wanted| {
        place.error(&format!("'{}' must be {wanted}, not {}", key.name, kind_of(value.get_ref())))
    })?;
    Ok(FileValue { key, text, place })
}

/// The value as text, or what the setting wants.
fn text_of(key: &Key, value: &DeValue<'_>) -> Result<String, &'static str> {
    match (key.form, value) {
        // Amounts may be quoted, as in the environment; a bare number keeps its digits as well.
        (
            Form::Secret
            | Form::Text
            | Form::Path
            | Form::Address
            | Form::OneOf(_)
            | Form::Dollars
            | Form::Share
            | Form::Seconds(_),
            DeValue::String(text),
        ) => Ok(text.to_string()),
        (Form::Switch, DeValue::Boolean(switch)) => Ok(switch.to_string()),
        (
            Form::Whole(..) | Form::Dollars | Form::Share | Form::Seconds(_),
            DeValue::Integer(number),
        ) => Ok(number.as_str().to_owned()),
        (Form::Dollars | Form::Share | Form::Seconds(_), DeValue::Float(number)) => {
            Ok(number.as_str().to_owned())
        }
        (Form::Switch, _) => Err("true or false"),
        (Form::Whole(..), _) => Err("a whole number"),
        (Form::Dollars | Form::Share | Form::Seconds(_), _) => Err("a number"),
        (Form::Secret | Form::Text | Form::Path | Form::Address | Form::OneOf(_), _) => {
            Err("text in quotes")
        }
    }
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text with its file's name.
#[derive(Clone, Copy)]
pub(super) struct Document<'text> {
    path: &'text Path,
    text: &'text str,
    /// Whether its lines are what they seem. In a broken file anything may follow a harmless name.
    is_readable: bool,
}

impl<'text> Document<'text> {
    pub(super) const fn new(path: &'text Path, text: &'text str) -> Self {
        Self { path, text, is_readable: true }
    }

    /// The same text, of which nobody knows what is what.
    pub(super) const fn unreadable(self) -> Self {
        Self { is_readable: false, ..self }
    }

    /// The place of a span of bytes.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let start = floor_to_character(self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |position| position + 1);
        let line_end =
            self.text[start..].find('\n').map_or(self.text.len(), |position| start + position);
        let number = self.text[..start].matches('\n').count() + 1;
        let line = self.text[line_start..line_end].trim_end();
        let shown = self.without_secrets(line);
        let margin = " ".repeat(number.to_string().len());
        // The caret stands under what is shown; where the value is hidden, at its beginning.
        let column = console::measure_text_width(&self.text[line_start..start])
            .min(console::measure_text_width(&shown).saturating_sub(1));
        let width = if shown == line {
            let end = floor_to_character(self.text, span.end.clamp(start, line_end));
            console::measure_text_width(&self.text[start..end]).max(1)
        } else if shown.trim_end_matches('…').trim_end().ends_with('=') && column == 0 {
            // A hidden value beside an unknown name: the name is what is wrong.
            console::measure_text_width(shown.split('=').next().unwrap_or_default().trim_end())
                .max(1)
        } else {
            1
        };
        let excerpt = format!(
            "{margin} |\n{number} | {shown}\n{margin} | {}{}",
            " ".repeat(column),
            "^".repeat(width)
        );
        Place { path: self.path.to_owned(), line: number, excerpt }
    }

    /// The line with its value hidden, unless its name is known to hold no secret: the value of
    /// a misspelt key or of a broken line may be one.
    fn without_secrets(&self, line: &str) -> String {
        let Some((name, _)) = line.split_once('=') else {
            return if line.trim_start().starts_with('[') { line } else { "…" }.to_owned();
        };
        let is_harmless = keys::find(name.trim()).is_some_and(|key| key.form != Form::Secret)
            || prices::FIELDS.contains(&name.trim());
        if self.is_readable && is_harmless { line.to_owned() } else { format!("{name}= …") }
    }
}

/// The start of the character that holds this byte.
fn floor_to_character(text: &str, position: usize) -> usize {
    let position = position.min(text.len());
    (0..=position).rev().find(|&candidate| text.is_char_boundary(candidate)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let error = parse(Path::new("config.toml"), text).unwrap_err();
        assert_eq!(error.kind().exit_code(), 8);
        format!("{error}\n{}", error.hints().join("\n"))
    }

    #[test]
    fn values_keep_their_digits() {
        let values = parse(Path::new("config.toml"), "language_budget_usd = 0.30\naudio = true")
            .unwrap()
            .values;
        let texts: Vec<_> =
            values.iter().map(|value| (value.key.name, value.text.as_str())).collect();
        assert!(texts.contains(&("language_budget_usd", "0.30")), "{texts:?}");
        assert!(texts.contains(&("audio", "true")), "{texts:?}");
    }

    #[test]
    fn an_unknown_key_names_its_line_and_its_neighbour() {
        insta::assert_snapshot!(wrong("user = \"ada\"\nlangauge_model = \"claude\"\n"), @r"
        config.toml has an unknown key 'langauge_model'
         --> config.toml:2
          |
        2 | langauge_model = …
          | ^^^^^^^^^^^^^^
        did you mean 'language_model'?
        ");
    }

    #[test]
    fn a_wrong_type_is_pointed_at() {
        insta::assert_snapshot!(wrong("audio = \"yes\""), @r#"
        'audio' must be true or false, not text
         --> config.toml:1
          |
        1 | audio = "yes"
          |         ^^^^^
        "#);
    }

    #[test]
    fn no_error_shows_a_secret() {
        for text in [
            "anthropic_api_key = sk-secret",
            "anthropic_api_key = \"sk-secret",
            "antropic_api_key = \"sk-secret\"",
            "fal_key = [\"sk-secret\"]",
            "sk-secret",
            "fal_key = \"\"\"\nsk-secret",
            "fal_key = \"\"\"\nsk-secret\n\"\"\" x",
            "fal_key = \"sk-secret\"\nfal_key = \"sk-secret\"",
            "user = \"a\" fal_key = \"sk-secret\"",
        ] {
            let shown = wrong(text);
            assert!(!shown.contains("sk-secret"), "{shown}");
        }
    }
}
