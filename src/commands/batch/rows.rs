//! A file of briefs: each row becomes the command line that it stands for, and is checked as such.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cli::args::{Command, parse};
use crate::cli::settings::Override;
use crate::commands::create_video::CreateVideoArgs;
use crate::error::Error;

/// The most rows of one batch.
pub(super) const MOST_ROWS: usize = 10_000;
/// The most bytes of one file of briefs.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The columns, each named as the flag is, with what its cell holds.
const COLUMNS: [(&str, Cell); 16] = [
    ("brief", Cell::Brief),
    ("from", Cell::Value),
    ("user", Cell::User),
    ("campaign", Cell::Value),
    ("duration", Cell::Value),
    ("scenes", Cell::Value),
    ("aspect", Cell::Value),
    ("image-model", Cell::Value),
    ("video-model", Cell::Value),
    ("audio", Cell::Switch),
    ("file", Cell::Paths),
    ("reference", Cell::References),
    ("budget", Cell::Value),
    ("preview", Cell::Switch),
    ("plan", Cell::Switch),
    ("reuse", Cell::Value),
];
/// A folder is a path of its own.
const OUT: &str = "out";

/// What a cell holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Brief,
    Value,
    User,
    Switch,
    /// Paths, several of them with `;` between; in JSON a list.
    Paths,
    /// The same, or the user's kept files by name.
    References,
    Folder,
}

/// A row that could be read.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Where it stands in the file, from 1.
    pub(super) line: u32,
    /// What it asks for.
    pub(super) arguments: CreateVideoArgs,
    /// The user that it is for, if the row says so.
    pub(super) user: Option<String>,
    /// Whether it says that clips have no sound.
    is_silent: bool,
    /// The same in one text, by which the same rows are known again.
    pub(super) canonical: String,
}

impl Row {
    /// The settings that the row overrides.
    pub(super) fn overrides(&self) -> Vec<Override> {
        let user = self.user.clone().map(|value| Override { name: "user", flag: "user", value });
        // A "no" beats a setting that says yes.
        let silent = self.is_silent.then(|| Override {
            name: "audio",
            flag: "audio",
            value: "false".to_owned(),
        });
        self.arguments.overrides().into_iter().chain(user).chain(silent).collect()
    }
}

/// A row that cannot be made, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where it stands in the file, from 1.
    pub(super) line: u32,
    /// What is wrong, as a sentence.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// What a file of briefs holds.
#[derive(Debug, Default)]
pub(super) struct Briefs {
    pub(super) rows: Vec<Row>,
    pub(super) problems: Vec<Problem>,
}

/// Reads a file of briefs, or standard input where `path` is `-`. What is JSON is read as JSON lines,
/// everything else as CSV. Paths in it are relative to the file's folder.
pub(super) fn read(path: &Path) -> Result<Briefs, Error> {
    let is_input = path == Path::new("-");
    let refused = |source: std::io::Error| {
        Error::usage(format!("the briefs in {} cannot be read", path.display())).because(source)
    };
    let mut bytes = Vec::new();
    if is_input {
        std::io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(refused)?;
    } else {
        let file = std::fs::File::open(path).map_err(refused)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(refused)?;
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::usage("the briefs are more than 64 MB").hint("split the file"));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::usage("the briefs are not UTF-8 text").hint("save the file as UTF-8 CSV or JSONL")
    })?;
    // Absolute, so that the same rows are the same however their file is named.
    let folder = match path.parent() {
        Some(folder) if !is_input && !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().map_err(refused)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let briefs = if text.trim_start().starts_with('{') {
        json_lines(text, &folder)
    } else {
        comma_separated(text, &folder)?
    };
    if briefs.rows.is_empty() && briefs.problems.is_empty() {
        return Err(Error::usage("there is no brief in it").hint(
            "a CSV file needs a line with the names of its columns, and one line for each video",
        ));
    }
    if briefs.rows.len() > MOST_ROWS {
        return Err(Error::usage(format!(
            "{} rows are more than the {MOST_ROWS} of one batch",
            briefs.rows.len()
        ))
        .hint("split the file"));
    }
    Ok(briefs)
}

fn json_lines(text: &str, folder: &Path) -> Briefs {
    let mut briefs = Briefs::default();
    for (text, line) in text.lines().zip(1..) {
        if text.trim().is_empty() {
            continue;
        }
        let cells = serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|error| (format!("not a JSON object: {error}"), None))
            .and_then(|object| {
                let mut cells = Vec::new();
                for (name, value) in object {
                    let cell = column(&name)?;
                    let texts = texts(&name, &value)?;
                    let takes_many = matches!(cell.1, Cell::Paths | Cell::References);
                    if texts.len() > 1 && !takes_many {
                        return Err((format!("{name} is a list of several"), None));
                    }
                    cells.push((cell, texts));
                }
                Ok(cells)
            });
        briefs.take_in(line, cells, folder);
    }
    briefs
}

/// What a JSON value says in the words of a command line.
fn texts(name: &str, value: &Value) -> Result<Vec<String>, (String, Option<String>)> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => {
            let of_item = |item: &Value| match item {
                Value::String(text) => Ok(text.clone()),
                _ => Err((format!("{name} is a list of something else than texts"), None)),
            };
            items.iter().map(of_item).collect()
        }
        Value::Object(_) => Err((format!("{name} is an object"), None)),
    }
}

/// Where quotation marks are not what CSV makes of them: the line, and what is wrong there. A lenient reader
/// would take all rows to the end of the file for one brief.
fn misquoted(text: &str) -> Option<(u32, &'static str)> {
    let (mut line, mut opened) = (1, 1);
    let (mut begins, mut is_quoted, mut was_quoted) = (true, false, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        line += u32::from(character == '\n');
        match character {
            '"' if is_quoted => {
                is_quoted = characters.next_if_eq(&'"').is_some();
                was_quoted = !is_quoted;
            }
            _ if is_quoted => {}
            '"' if begins => (begins, is_quoted, opened) = (false, true, line),
            ',' | '\n' | '\r' => (begins, was_quoted) = (true, false),
            _ if was_quoted && !character.is_whitespace() => {
                return Some((line, "there is text after the closing quotation mark of a cell"));
            }
            _ => begins = false,
        }
    }
    is_quoted.then_some((opened, "a quotation mark opens a cell, and none closes it"))
}

fn comma_separated(text: &str, folder: &Path) -> Result<Briefs, Error> {
    if let Some((line, problem)) = misquoted(text) {
        return Err(Error::usage(format!("line {line}: {problem}"))
            .hint("a quotation mark inside of a quoted text is written twice"));
    }
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let unreadable = |error: csv::Error| {
        Error::usage("the briefs are not CSV that can be read")
            .because(error)
            .hint("put texts with commas, quotation marks or line feeds between quotation marks")
    };
    let header = reader.headers().map_err(unreadable)?.clone();
    let mut columns: Vec<(&str, Cell)> = Vec::new();
    for name in &header {
        let found = column(name).map_err(|(message, hint)| {
            let error = Error::usage(format!("line 1: {message}"));
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        let takes_many = matches!(found.1, Cell::Paths | Cell::References);
        if columns.contains(&found) && !takes_many {
            return Err(Error::usage(format!("line 1: there are two columns '{}'", found.0)));
        }
        columns.push(found);
    }
    let mut briefs = Briefs::default();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = line_at(text, record.position().map_or(0, csv::Position::byte));
        if record.iter().all(str::is_empty) {
            continue;
        }
        let cells = if record.len() > columns.len() {
            let (cells, names) = (record.len(), columns.len());
            Err((
                format!("{cells} cells for {names} columns"),
                Some("put a text that has commas between quotation marks".to_owned()),
            ))
        } else {
            let cells = columns.iter().zip(record.iter());
            Ok(cells.map(|(column, cell)| (*column, several(*column, cell))).collect())
        };
        briefs.take_in(line, cells, folder);
    }
    Ok(briefs)
}

/// The line that a record stands on, from 1: where the reader says that it begins, line ends and empty lines
/// of the one before may stand.
fn line_at(text: &str, byte: u64) -> u32 {
    let begins = usize::try_from(byte).unwrap_or(usize::MAX).min(text.len());
    let rest = &text.as_bytes()[begins..];
    let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let before = text.get(..begins + ends).unwrap_or_default();
    let lines = before.matches('\n').count();
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}

/// What a cell of CSV says: several paths have `;` between.
fn several((_, cell): (&str, Cell), text: &str) -> Vec<String> {
    if matches!(cell, Cell::Paths | Cell::References) {
        return text.split(';').map(|one| one.trim().to_owned()).collect();
    }
    vec![text.to_owned()]
}

/// The column of a name: as the flag is called, with `-` or `_`, also in the plural where it may be
/// given several times.
fn column(name: &str) -> Result<(&'static str, Cell), (String, Option<String>)> {
    let wanted = name.trim().trim_start_matches("--").to_lowercase().replace(['_', ' '], "-");
    let singular = match wanted.as_str() {
        "files" => "file",
        "references" => "reference",
        other => other,
    };
    let known = COLUMNS.iter().chain(std::iter::once(&(OUT, Cell::Folder)));
    if let Some(found) = known.clone().find(|(known, _)| *known == singular) {
        return Ok(*found);
    }
    let nearest = known
        .map(|(known, _)| (strsim::jaro_winkler(singular, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(left, _), (right, _)| left.total_cmp(right));
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).chain([OUT]).collect();
    let hint = match nearest {
        Some((_, nearest)) => format!("did you mean '{nearest}'?"),
        None => format!("known columns: {}", names.join(", ")),
    };
    Err((format!("there is no column '{name}'"), Some(hint)))
}

type Cells = Vec<((&'static str, Cell), Vec<String>)>;

impl Briefs {
    fn take_in(
        &mut self,
        line: u32,
        cells: Result<Cells, (String, Option<String>)>,
        folder: &Path,
    ) {
        match cells.and_then(|cells| row(line, cells, folder)) {
            Ok(row) => self.rows.push(row),
            Err((message, hint)) => self.problems.push(Problem { line, message, hint }),
        }
    }
}

fn row(line: u32, cells: Cells, folder: &Path) -> Result<Row, (String, Option<String>)> {
    let (mut words, mut brief, mut user, mut is_silent) = (Vec::new(), None, None, false);
    for ((name, cell), values) in cells {
        let values = values.into_iter().filter(|value| !value.trim().is_empty());
        for value in values {
            match cell {
                Cell::Brief => brief = Some(value),
                Cell::User => user = Some(value),
                Cell::Value => words.push(format!("--{name}={value}")),
                Cell::Switch => match value.to_lowercase().as_str() {
                    "true" | "yes" | "y" | "1" | "x" => words.push(format!("--{name}")),
                    "false" | "no" | "n" | "0" => is_silent |= name == "audio",
                    _ => return Err((format!("{name} is '{value}', not yes or no"), None)),
                },
                Cell::Paths | Cell::References => {
                    let path = folder.join(&value);
                    // What is no path may be one of the user's files.
                    let is_name = cell == Cell::References && !path.exists();
                    let path = if is_name { PathBuf::from(value) } else { path };
                    words.push(format!("--{name}={}", path.display()));
                }
                Cell::Folder => words.push(format!("--{name}={}", folder.join(value).display())),
            }
        }
    }
    words.sort();
    let mut canonical = words.clone();
    canonical.extend(user.iter().map(|user| format!("user {user}")));
    canonical.extend(is_silent.then(|| "silent".to_owned()));
    if let Some(brief) = brief {
        canonical.push(format!("brief {brief}"));
        words.extend(["--".to_owned(), brief]);
    }
    let typed = ["aida", "create-video"].into_iter().map(str::to_owned).chain(words);
    let cli = parse(typed).map_err(|error| (said(&error), None))?;
    let Command::CreateVideo(arguments) = cli.command else {
        return Err(("not a video".to_owned(), None));
    };
    Ok(Row { line, arguments, user, is_silent, canonical: canonical.join("\u{1f}") })
}

/// What clap says of a wrong value, in one line and without the usage.
fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let end = text.find("\n\n").unwrap_or(text.len());
    let words: Vec<_> = text[..end].split_whitespace().collect();
    let text = words.join(" ");
    if text.contains("required arguments were not provided") {
        return "there is neither a brief nor a project to shoot (from)".to_owned();
    }
    text.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Briefs {
        if text.starts_with('{') {
            json_lines(text, Path::new("/briefs"))
        } else {
            comma_separated(text, Path::new("/briefs")).unwrap()
        }
    }

    #[test]
    fn every_option_of_create_video_has_a_column() {
        let command = crate::cli::args::command();
        let create = command.find_subcommand("create-video").unwrap();
        // These are said for the whole batch.
        let of_the_whole = ["yes", "dry-run"];
        for argument in create.get_arguments().filter(|argument| !argument.is_global_set()) {
            let name = argument.get_long().unwrap_or(argument.get_id().as_str());
            if of_the_whole.contains(&name) || name == "help" {
                continue;
            }
            assert!(column(name).is_ok(), "no column for {name}");
        }
    }

    #[test]
    fn quotation_marks_that_do_not_fit_are_named_by_their_line() {
        let misquoted = |rows: &str| misquoted(&format!("brief,duration\n{rows}"));
        assert_eq!(misquoted("\"bread, \"\"slowly\"\"\",5\n5\" pans,10\n\"\",\"\"\n"), None);
        assert_eq!(misquoted("tea,5\n\"two\nlines\" ,5\r\n"), None);
        assert_eq!(misquoted("tea,5\n\"never closed,5\nfilm,10\nfilm,10\n").unwrap().0, 3);
        assert_eq!(misquoted("tea,5\n\"two\nlines\" and more,5\n").unwrap().0, 4);
    }

    #[test]
    fn csv_and_json_say_the_same() {
        let csv = of("brief,duration,audio,files\n\"bread, slowly\",12.5,yes,a.md; b.md\n");
        let json = of(
            r#"{"brief": "bread, slowly", "duration": 12.5, "audio": true, "file": ["a.md", "b.md"]}"#,
        );
        for briefs in [csv, json] {
            assert_eq!(briefs.problems, []);
            let arguments = &briefs.rows[0].arguments;
            assert_eq!(arguments.brief.as_deref(), Some("bread, slowly"));
            assert_eq!(arguments.duration.as_deref(), Some("12.5"));
            assert!(arguments.audio);
            assert_eq!(arguments.files, ["/briefs/a.md", "/briefs/b.md"].map(PathBuf::from));
        }
    }

    #[test]
    fn every_problem_is_named_by_its_line() {
        let briefs = of("brief,scenes,budget\nfood,6,5\n,6,5\nfood,99,5\nfood,6,-1\nfood,1,2,3\n");
        assert_eq!(briefs.rows.len(), 1);
        let lines: Vec<_> = briefs.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        assert!(briefs.problems[0].message.contains("neither a brief"), "{:?}", briefs.problems);
        assert!(briefs.problems[1].message.contains("--scenes"), "{:?}", briefs.problems);
    }

    #[test]
    fn lines_count_what_stands_in_quotation_marks() {
        let briefs = of("brief,scenes\n\"two\nlines\",3\nfood,99\n");
        assert_eq!(briefs.rows[0].line, 2);
        assert_eq!(briefs.problems[0].line, 4);
    }

    #[test]
    fn lines_are_those_of_an_editor_whatever_ends_them() {
        for text in ["brief,scenes\r\nfood,3\r\nfood,99\r\n", "brief,scenes\nfood,3\nfood,99"] {
            let briefs = of(text);
            assert_eq!((briefs.rows[0].line, briefs.problems[0].line), (2, 3), "{text:?}");
        }
        let briefs = of("brief,scenes\n\n\nfood,3\n\r\nfood,99\n");
        assert_eq!((briefs.rows[0].line, briefs.problems[0].line), (4, 6));
    }

    #[test]
    fn nothing_is_said_twice() {
        assert!(comma_separated("brief,brief\na,b\n", Path::new("/")).is_err());
        let briefs = of(r#"{"brief": ["a", "b"]}"#);
        assert!(briefs.problems[0].message.contains("several"), "{:?}", briefs.problems);
        let briefs = of(r#"{"brief": "a", "file": ["a;b.md"]}"#);
        assert_eq!(briefs.rows[0].arguments.files, [PathBuf::from("/briefs/a;b.md")]);
    }

    #[test]
    fn no_sound_is_said_as_well() {
        let briefs = of("brief,audio\nfood,no\nfood,\n");
        let said: Vec<_> = briefs.rows.iter().map(|row| row.overrides().len()).collect();
        assert_eq!(said, [1, 0]);
    }

    #[test]
    fn a_brief_may_look_like_a_flag() {
        let briefs = of("brief\n--help me sell bread\n");
        assert_eq!(briefs.rows[0].arguments.brief.as_deref(), Some("--help me sell bread"));
    }

    #[test]
    fn an_unknown_column_is_named_with_the_nearest() {
        let (message, hint) = column("durration").unwrap_err();
        assert_eq!(message, "there is no column 'durration'");
        assert_eq!(hint.as_deref(), Some("did you mean 'duration'?"));
    }

    #[test]
    fn the_same_rows_are_known_again_in_any_order_of_columns() {
        let one = of("brief,scenes,aspect\nfood,3,1:1\n");
        let other = of("aspect,brief,scenes\n1:1,food,3\n");
        assert_eq!(one.rows[0].canonical, other.rows[0].canonical);
    }
}
