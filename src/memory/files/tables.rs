//! Tables and JSON, made readable: a passage from the middle of a file must say what its figures mean.
//!
//! Both are read as a stream and written straight into the bounded text: the name of a column, or the
//! path to a value, stands before each value, and a long one would otherwise make gigabytes of a
//! small file.

use std::fmt;

use csv::StringRecord;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::blocks::{Place, Text};
use super::error::FileProblem;

/// A first row of more cells than this is no row of names.
const MOST_COLUMNS: usize = 10_000;

/// Writes a table with one line for each row, every value after the name of its column. Answers how
/// many rows it has.
pub(super) fn table(source: &str, is_tabbed: bool, text: &mut Text) -> Result<u32, FileProblem> {
    let delimiter = if is_tabbed { b'\t' } else { delimiter_of(source) };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(source.as_bytes());
    let mut read = |row: &mut StringRecord| {
        reader
            .read_record(row)
            .map_err(|error| FileProblem::Damaged { kind: "table", reason: error.to_string() })
    };
    let (mut row, mut next, mut names) = (StringRecord::new(), StringRecord::new(), None);
    let mut count = 0;
    let mut is_there = read(&mut row)?;
    while is_there {
        let is_followed = read(&mut next)?;
        count += 1;
        text.open(Place::Row(count));
        if count == 1 && is_followed && is_header(&row) {
            text.add("Columns: ")?;
            write_cells(&row, ", ", None, text)?;
            names = Some(row.clone());
        } else {
            write_cells(&row, "; ", names.as_ref(), text)?;
        }
        text.close();
        std::mem::swap(&mut row, &mut next);
        is_there = is_followed;
    }
    Ok(count)
}

/// Whether a row is one of names: no blanks, no figures, none twice.
fn is_header(row: &StringRecord) -> bool {
    if !(2..=MOST_COLUMNS).contains(&row.len()) {
        return false;
    }
    let is_name = |cell: &str| {
        !cell.is_empty() && !cell.chars().all(|c| c.is_ascii_digit() || ".,-+%$€ /:".contains(c))
    };
    let mut seen: Vec<&str> = row.iter().map(str::trim).collect();
    seen.sort_unstable();
    seen.dedup();
    row.iter().map(str::trim).all(is_name) && seen.len() == row.len()
}

/// Writes the cells that have something in them, each after the name of its column.
fn write_cells(
    row: &StringRecord,
    separator: &str,
    names: Option<&StringRecord>,
    text: &mut Text,
) -> Result<(), FileProblem> {
    let mut is_first = true;
    for (place, cell) in row.iter().map(str::trim).enumerate().filter(|(_, cell)| !cell.is_empty())
    {
        if !std::mem::take(&mut is_first) {
            text.add(separator)?;
        }
        if let Some(name) = names.and_then(|names| names.get(place)) {
            text.add(name.trim())?;
            text.add(": ")?;
        }
        text.add(cell)?;
    }
    Ok(())
}

/// What divides the first line most often, outside quotation marks.
fn delimiter_of(text: &str) -> u8 {
    let line = text.lines().next().unwrap_or_default();
    let mut is_quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    for byte in line.bytes() {
        is_quoted ^= byte == b'"';
        if let Some(found) =
            counts.iter_mut().find(|(delimiter, _)| *delimiter == byte && !is_quoted)
        {
            found.1 += 1;
        }
    }
    counts
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(delimiter, count)| if count == 0 { b',' } else { delimiter })
}

/// Writes a JSON text, one line for each value after its path.
pub(super) fn json(source: &str, text: &mut Text) -> Result<(), FileProblem> {
    let mut pen =
        Pen { text, path: String::new(), separator: "\n", has_line: false, problem: None };
    parse(source, Spot::Root, &mut pen)
        .map_err(|reason| FileProblem::Damaged { kind: "JSON file", reason })
        .map_err(|problem| pen.problem.take().unwrap_or(problem))
}

/// Writes JSON values, one in each line. Answers how many there are.
pub(super) fn json_lines(source: &str, text: &mut Text) -> Result<u32, FileProblem> {
    let mut count = 0;
    for (number, line) in (1..).zip(source.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        count += 1;
        text.open(Place::Row(number));
        let mut pen =
            Pen { text, path: String::new(), separator: "; ", has_line: false, problem: None };
        parse(line, Spot::Below, &mut pen)
            .map_err(|reason| FileProblem::Damaged {
                kind: "JSON Lines file",
                reason: format!("line {number}: {reason}"),
            })
            .map_err(|problem| pen.problem.take().unwrap_or(problem))?;
        text.close();
    }
    Ok(count)
}

/// Reads one value to its end. The depth is bounded by the parser, which takes no more than 128 levels.
fn parse(source: &str, spot: Spot<'_>, pen: &mut Pen<'_>) -> Result<(), String> {
    let mut parser = serde_json::Deserializer::from_str(source);
    let walked = Walk { pen, spot }.deserialize(&mut parser).and_then(|_| parser.end());
    walked.map_err(|error| error.to_string())
}

/// What writes the lines of a value.
struct Pen<'text> {
    text: &'text mut Text,
    /// The names on the way to the value that is read, with points between them.
    path: String,
    /// What stands between two lines.
    separator: &'static str,
    /// Whether the piece that is being written has a line already.
    has_line: bool,
    /// Why the text cannot be written on.
    problem: Option<FileProblem>,
}

impl Pen<'_> {
    /// Goes on with `name` of what the path leads to. Answers the length to go back to.
    fn enter(&mut self, name: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        length
    }

    /// Writes some words after the path to them; no line for none.
    fn line<'word, E: de::Error>(
        &mut self,
        words: impl Iterator<Item = &'word str> + Clone,
    ) -> Result<(), E> {
        if words.clone().all(|word| word.trim().is_empty()) {
            return Ok(());
        }
        let written = (|| {
            if std::mem::replace(&mut self.has_line, true) {
                self.text.add(self.separator)?;
            }
            if !self.path.is_empty() {
                self.text.add(&self.path)?;
                self.text.add(": ")?;
            }
            for (place, word) in words.enumerate() {
                self.text.add(if place == 0 { "" } else { ", " })?;
                self.text.add(word)?;
            }
            Ok(())
        })();
        written.map_err(|problem| {
            self.problem = Some(problem);
            E::custom("too long")
        })
    }

    fn open(&mut self, place: Place) {
        self.text.open(place);
        self.has_line = false;
    }
}

/// Where a value stands.
enum Spot<'list> {
    /// Nowhere: it is the whole file, whose members or items are pieces of their own.
    Root,
    /// It is a member of something, whose path is known.
    Below,
    /// It is an item of a list, and has this number, from 1.
    Item(&'list mut List, u32),
}

/// The items of a list so far. Whether it is one of words, which stand in one line, or of things,
/// which stand below their numbers, is known when its first thing comes.
#[derive(Default)]
struct List {
    is_root: bool,
    has_things: bool,
    /// The words before the first thing, one after the other.
    words: String,
    /// Whose number each word is, and where it ends.
    ends: Vec<(u32, usize)>,
}

impl List {
    /// Each word with its number.
    fn numbered(&self) -> impl Iterator<Item = (u32, &str)> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let words = self.ends.iter().zip(starts);
        words.map(|((number, end), start)| {
            (*number, self.words.get(start..*end).unwrap_or_default())
        })
    }

    /// Takes a word, which stands below its number if there are things in the list.
    fn take<E: de::Error>(&mut self, number: u32, word: &str, pen: &mut Pen<'_>) -> Result<(), E> {
        if !self.has_things {
            self.words.push_str(word);
            self.ends.push((number, self.words.len()));
            return Ok(());
        }
        self.write_below(number, word, pen)
    }

    fn write_below<E: de::Error>(
        &self,
        number: u32,
        word: &str,
        pen: &mut Pen<'_>,
    ) -> Result<(), E> {
        if self.is_root {
            pen.open(Place::Item(number));
            return pen.line(std::iter::once(word));
        }
        let length = pen.enter(&number.to_string());
        let written = pen.line(std::iter::once(word));
        pen.path.truncate(length);
        written
    }

    /// A thing comes: what came before it stands below its number as well.
    fn turn<E: de::Error>(&mut self, pen: &mut Pen<'_>) -> Result<(), E> {
        if std::mem::replace(&mut self.has_things, true) {
            return Ok(());
        }
        let earlier = std::mem::take(self);
        self.is_root = earlier.is_root;
        self.has_things = true;
        earlier.numbered().try_for_each(|(number, word)| self.write_below(number, word, pen))
    }

    /// Ends the list: one of words is one line.
    fn end<E: de::Error>(&self, pen: &mut Pen<'_>) -> Result<(), E> {
        if self.has_things {
            return Ok(());
        }
        pen.line(self.numbered().map(|(_, word)| word))
    }
}

/// Reads one value and writes its lines. Answers whether it is a thing, one that holds others.
struct Walk<'walk, 'text> {
    pen: &'walk mut Pen<'text>,
    spot: Spot<'walk>,
}

impl Walk<'_, '_> {
    fn word<E: de::Error>(self, word: &str) -> Result<bool, E> {
        match self.spot {
            Spot::Root => {
                self.pen.open(Place::Nowhere);
                self.pen.line(std::iter::once(word))?;
                self.pen.text.close();
            }
            Spot::Below => self.pen.line(std::iter::once(word))?,
            Spot::Item(list, number) => list.take(number, word, self.pen)?,
        }
        Ok(false)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<bool, E> {
        self.word(if truth { "true" } else { "false" })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<bool, E> {
        self.word(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<bool, E> {
        self.word(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<bool, E> {
        let number = serde_json::Number::from_f64(number);
        self.word(&number.map(|number| number.to_string()).unwrap_or_default())
    }

    fn visit_str<E: de::Error>(self, words: &str) -> Result<bool, E> {
        self.word(words)
    }

    fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let Self { pen, spot } = self;
        let is_root = matches!(spot, Spot::Root);
        let back = enter_item(spot, pen)?;
        while let Some(name) = members.next_key::<String>()? {
            if is_root {
                pen.open(Place::Nowhere);
            }
            let length = pen.enter(&name);
            let is_thing = members.next_value_seed(Walk { pen: &mut *pen, spot: Spot::Below })?;
            pen.path.truncate(length);
            if is_root {
                if is_thing {
                    let heading: String = name.chars().take(80).collect();
                    pen.text.is_in(Place::Heading(heading.into()));
                }
                pen.text.close();
            }
        }
        back.leave(pen);
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let Self { pen, spot } = self;
        let is_root = matches!(spot, Spot::Root);
        if is_root {
            pen.separator = "; ";
            pen.open(Place::Nowhere);
        }
        let back = enter_item(spot, pen)?;
        let mut list = List { is_root, ..List::default() };
        let mut number = 1;
        while items
            .next_element_seed(Walk { pen: &mut *pen, spot: Spot::Item(&mut list, number) })?
            .is_some()
        {
            number = number.saturating_add(1);
        }
        list.end(pen)?;
        back.leave(pen);
        if is_root {
            pen.text.close();
        }
        Ok(true)
    }
}

/// How far the path goes back when a thing has been read.
struct Back(usize);

impl Back {
    fn leave(self, pen: &mut Pen<'_>) {
        pen.path.truncate(self.0);
    }
}

/// Goes to where a thing stands: an item of a list stands below its number, or in a piece of its own.
fn enter_item<E: de::Error>(spot: Spot<'_>, pen: &mut Pen<'_>) -> Result<Back, E> {
    let Spot::Item(list, number) = spot else { return Ok(Back(pen.path.len())) };
    list.turn(pen)?;
    if list.is_root {
        pen.open(Place::Item(number));
        return Ok(Back(pen.path.len()));
    }
    Ok(Back(pen.enter(&number.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &Text) -> Vec<(String, &str)> {
        text.blocks().map(|block| (block.place.to_string(), block.text)).collect()
    }

    fn table_of(source: &str, is_tabbed: bool) -> (Text, u32) {
        let mut text = Text::default();
        let rows = table(source, is_tabbed, &mut text).unwrap();
        (text, rows)
    }

    fn json_of(source: &str) -> Result<Text, FileProblem> {
        let mut text = Text::default();
        json(source, &mut text).map(|()| text)
    }

    #[test]
    fn every_value_stands_after_its_column() {
        let (text, rows) = table_of("name;price\n\"Loaf; large\";4,50\nRoll;\n", false);
        assert_eq!(rows, 3);
        assert_eq!(
            seen(&text),
            [
                ("row 1".to_owned(), "Columns: name, price"),
                ("row 2".to_owned(), "name: Loaf; large; price: 4,50"),
                ("row 3".to_owned(), "name: Roll"),
            ]
        );
        let (text, _) = table_of("12,13\n14,15\n", false);
        assert_eq!(seen(&text)[0].1, "12; 13");
        let (text, _) = table_of("a\tb\n1\t2\t3\n", true);
        assert_eq!(seen(&text)[1].1, "a: 1; b: 2; 3");
    }

    #[test]
    fn json_is_paths_and_values() {
        let text = json_of(r#"{"brand":"Nord","colours":["blue","sand"],"shop":{"open":true,"rooms":[{"n":1},{"n":2}]},"x":null}"#).unwrap();
        assert_eq!(
            seen(&text),
            [
                (String::new(), "brand: Nord"),
                ("“colours”".to_owned(), "colours: blue, sand"),
                ("“shop”".to_owned(), "shop.open: true\nshop.rooms.1.n: 1\nshop.rooms.2.n: 2"),
            ]
        );
        let text = json_of(r#"[{"sku":"A1","price":1.10},{"sku":"B2"}]"#).unwrap();
        assert_eq!(
            seen(&text),
            [("item 1".to_owned(), "sku: A1; price: 1.1"), ("item 2".to_owned(), "sku: B2"),]
        );
        assert!(json_of("{\"a\":").is_err());
        assert!(json_of(&"[".repeat(100_000)).is_err(), "too deep is an error and not a fall");
        let mut text = Text::default();
        let broken = json_lines("{\"a\":1}\nno\n", &mut text);
        assert!(matches!(broken, Err(FileProblem::Damaged { .. })));
    }

    #[test]
    fn words_stand_in_one_line_until_a_thing_comes() {
        let text = json_of(r#"{"a":["x",null,2.5,{"b":[true,-3]},"y",[[1],2]],"c":[]}"#).unwrap();
        let lines = "a.1: x\na.3: 2.5\na.4.b: true, -3\na.5: y\na.6.1: 1\na.6.2: 2";
        assert_eq!(seen(&text), [("“a”".to_owned(), lines)]);
        let text = json_of(r#"["x",["y"],7]"#).unwrap();
        assert_eq!(
            seen(&text),
            [("item 1".to_owned(), "x"), ("item 2".to_owned(), "y"), ("item 3".to_owned(), "7")]
        );
        assert_eq!(seen(&json_of("[1,2]").unwrap()), [(String::new(), "1, 2")]);
        assert_eq!(seen(&json_of("\"hello\"").unwrap()), [(String::new(), "hello")]);
        let mut text = Text::default();
        assert_eq!(json_lines("{\"a\":[1,{\"b\":2}],\"c\":3}\n\n5\n", &mut text).unwrap(), 2);
        assert_eq!(
            seen(&text),
            [("row 1".to_owned(), "a.1: 1; a.2.b: 2; c: 3"), ("row 3".to_owned(), "5")]
        );
    }

    /// What stands before each value is written each time: two megabytes of it before a hundred thousand
    /// values would be two hundred gigabytes.
    #[test]
    fn a_long_name_before_many_values_is_too_long_and_no_more() {
        let name = "n".repeat(1_900_000);
        let rows = format!("{name},b\n{}", "1,2\n".repeat(100_000));
        let mut text = Text::default();
        assert!(matches!(table(&rows, false, &mut text), Err(FileProblem::TooLong)));
        assert!(text.content().len() <= crate::memory::files::LONGEST_TEXT + 16);
        for source in [
            format!("{{\"{name}\":{{{}}}}}", vec!["\"a\":1"; 100_000].join(",")),
            format!("{{\"{name}\":[{}]}}", vec!["[1]"; 100_000].join(",")),
            format!("[[],{{\"{name}\":{{\"a\":1,\"b\":2}}}}]"),
        ] {
            let mut text = Text::default();
            assert!(matches!(json(&source, &mut text), Err(FileProblem::TooLong)));
            assert!(text.content().len() <= crate::memory::files::LONGEST_TEXT + 16);
        }
        let mut text = Text::default();
        let line = format!("{{\"{name}\":[1,[2],3]}}\n");
        assert!(matches!(json_lines(&line, &mut text), Err(FileProblem::TooLong)));
    }
}
