//! What a document is read as: pieces of text, each of which knows where it stands.

use std::fmt;
use std::sync::Arc;

use super::LONGEST_TEXT;
use super::error::FileProblem;

/// Where in a document a piece of text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere in particular.
    Nowhere,
    /// On this page, from 1.
    Page(u32),
    /// Under this heading, which many pieces share.
    Heading(Arc<str>),
    /// In this row of a table, from 1, its heading included.
    Row(u32),
    /// In this item of a list, from 1.
    Item(u32),
    /// At this second of a film.
    Second(u32),
}

impl Place {
    /// Whether pieces in places of this kind follow each other like lines and not like paragraphs.
    const fn is_a_line(&self) -> bool {
        matches!(self, Self::Row(_) | Self::Item(_) | Self::Second(_))
    }

    /// What stands between a piece in a place of this kind and the one before it.
    const fn separator(&self) -> &'static str {
        if self.is_a_line() { "\n" } else { "\n\n" }
    }

    /// Whether one passage may go on from here into `next`, however long it is already.
    pub(crate) fn runs_on_into(&self, next: &Self) -> bool {
        self == next || (self.is_a_line() && next.is_a_line())
    }

    /// The words for everything from here to `last`; empty for nowhere.
    pub(crate) fn up_to(&self, last: &Self) -> String {
        match (self, last) {
            (Self::Page(from), Self::Page(to)) if from != to => format!("pages {from}–{to}"),
            (Self::Row(from), Self::Row(to)) if from != to => format!("rows {from}–{to}"),
            (Self::Item(from), Self::Item(to)) if from != to => format!("items {from}–{to}"),
            (Self::Second(from), Self::Second(to)) if from != to => {
                format!("{}–{}", clock(*from), clock(*to))
            }
            (Self::Nowhere, last) => last.to_string(),
            (first, _) => first.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => Ok(()),
            Self::Page(number) => write!(formatter, "page {number}"),
            Self::Heading(heading) => write!(formatter, "“{heading}”"),
            Self::Row(number) => write!(formatter, "row {number}"),
            Self::Item(number) => write!(formatter, "item {number}"),
            Self::Second(second) => formatter.write_str(&clock(*second)),
        }
    }
}

/// A time in a film, such as `1:02:03` or `02:03`.
fn clock(second: u32) -> String {
    let (hours, minutes, seconds) = (second / 3_600, second / 60 % 60, second % 60);
    if hours == 0 {
        format!("{minutes:02}:{seconds:02}")
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}")
    }
}

/// A piece of text in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'text> {
    pub(crate) place: &'text Place,
    pub(crate) text: &'text str,
}

impl Block<'_> {
    /// What stands between this piece and the one before it.
    pub(crate) const fn separator(&self) -> &'static str {
        self.place.separator()
    }
}

/// A piece of a [`Text`]: its place, and where it begins and ends in the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    place: Place,
    start: u32,
    end: u32,
}

/// The text of a document in pieces that know their places. The words are held once, and what is longer
/// than is taken is refused while it is written, so that no file becomes more than that in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    content: String,
    pieces: Vec<Piece>,
    /// Characters of the content up to the last one that is no blank.
    characters: usize,
    /// Characters of the blanks after that.
    blanks: usize,
    open: Option<Open>,
}

/// The piece that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    place: Place,
    /// Where the content ended before it.
    before: usize,
    /// How many characters the content had before it.
    characters_before: usize,
    /// Where it begins.
    start: usize,
}

/// The most blanks in a row, in characters. Fewer are trimmed or kept, whatever stands around them.
const MOST_BLANKS: usize = LONGEST_TEXT;

impl Text {
    /// Begins a piece; what [`Text::add`] is given then belongs to it.
    pub(crate) fn open(&mut self, place: Place) {
        self.close();
        let (before, characters_before) = (self.content.len(), self.characters);
        if !self.pieces.is_empty() {
            let separator = place.separator();
            self.content.push_str(separator);
            self.blanks = separator.len();
        }
        let start = self.content.len();
        self.open = Some(Open { place, before, characters_before, start });
    }

    /// Gives the piece that is being written another place.
    pub(crate) fn is_in(&mut self, place: Place) {
        if let Some(open) = &mut self.open {
            open.place = place;
        }
    }

    /// Writes on, without what a database or a terminal could not bear.
    pub(crate) fn add(&mut self, words: &str) -> Result<(), FileProblem> {
        let start = self.open.as_ref().map_or(0, |open| open.start);
        for character in words.chars() {
            if character.is_control() && !matches!(character, '\n' | '\t') {
                continue;
            }
            if character.is_whitespace() {
                if self.content.len() > start {
                    self.content.push(character);
                    self.blanks += 1;
                }
            } else {
                self.content.push(character);
                self.characters += self.blanks + 1;
                self.blanks = 0;
            }
            if self.characters > LONGEST_TEXT || self.blanks > MOST_BLANKS {
                return Err(FileProblem::TooLong);
            }
        }
        Ok(())
    }

    /// Ends the piece that is being written. One without words is none.
    pub(crate) fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.blanks = 0;
        self.content.truncate(self.content.trim_end().len().max(open.start));
        if self.content.len() == open.start {
            self.content.truncate(open.before);
            self.characters = open.characters_before;
            return;
        }
        // The bound in characters keeps every place in it far below four thousand million.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (start, end) = (place(open.start), place(self.content.len()));
        self.pieces.push(Piece { place: open.place, start, end });
    }

    /// Adds a whole piece.
    pub(crate) fn push(&mut self, place: Place, words: &str) -> Result<(), FileProblem> {
        self.open(place);
        self.add(words)?;
        self.close();
        Ok(())
    }

    /// Adds the paragraphs of a plain text, all in one place.
    pub(crate) fn push_paragraphs(&mut self, place: &Place, text: &str) -> Result<(), FileProblem> {
        text.split("\n\n").try_for_each(|paragraph| self.push(place.clone(), paragraph))
    }

    /// Gives back the room that writing took and the text does not need.
    pub(crate) fn shrink(&mut self) {
        self.content.shrink_to_fit();
        self.pieces.shrink_to_fit();
    }

    /// How much memory it takes, in bytes, headings left aside.
    pub(crate) fn size(&self) -> usize {
        self.content.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }

    /// All its words.
    pub(crate) fn content(&self) -> &str {
        &self.content
    }

    /// Its pieces, in their order.
    pub(crate) fn blocks(&self) -> impl DoubleEndedIterator<Item = Block<'_>> {
        self.pieces.iter().map(|Piece { place, start, end }| Block {
            place,
            text: self.content.get(*start as usize..*end as usize).unwrap_or_default(),
        })
    }
}

/// The text with plain line ends and without other control characters.
pub(crate) fn without_controls(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_first_to_last() {
        assert_eq!(Place::Page(3).up_to(&Place::Page(3)), "page 3");
        assert_eq!(Place::Page(3).up_to(&Place::Page(5)), "pages 3–5");
        assert_eq!(Place::Row(2).up_to(&Place::Row(40)), "rows 2–40");
        assert_eq!(Place::Second(62).up_to(&Place::Second(3_723)), "01:02–1:02:03");
        let heading = Place::Heading("Materials".into());
        assert_eq!(Place::Nowhere.up_to(&heading), "“Materials”");
        assert_eq!(Place::Nowhere.up_to(&Place::Nowhere), "");
    }
    #[test]
    fn pieces_are_trimmed_joined_and_bounded() {
        let mut text = Text::default();
        text.push(Place::Page(1), " \u{7}one \u{1b}two\n ").unwrap();
        text.push(Place::Page(2), " \t\n").unwrap();
        text.push(Place::Row(3), "three").unwrap();
        text.push(Place::Nowhere, "four").unwrap();
        assert_eq!(text.content(), "one two\nthree\n\nfour");
        let seen: Vec<_> = text.blocks().map(|block| (block.place.clone(), block.text)).collect();
        assert_eq!(
            seen,
            [(Place::Page(1), "one two"), (Place::Row(3), "three"), (Place::Nowhere, "four")]
        );

        // As much as is taken, blanks at the end left aside, and not a character more.
        let mut text = Text::default();
        let most = "é".repeat(LONGEST_TEXT);
        text.push(Place::Nowhere, &format!("{most}{}", " ".repeat(9))).unwrap();
        assert!(matches!(text.push(Place::Nowhere, "x"), Err(FileProblem::TooLong)));
        let mut text = Text::default();
        text.push(Place::Nowhere, "a").unwrap();
        text.push(Place::Nowhere, &most[..most.len() - 6]).unwrap();
        assert_eq!(text.content().chars().count(), LONGEST_TEXT);
        assert!(text.push(Place::Row(1), "").is_ok());
        assert!(text.push(Place::Row(1), "x").is_err());
    }
}
