//! The words that a campaign wants in its films, and those that it does not: checked in whatever
//! is handed in, whoever wrote it.
//!
//! A word is a word whatever its case, accents and endings: who avoids "cheap" gets neither
//! `Cheap` nor "cheaper" nor "cheaply", and "cheapskate" passes, because that is another word.
//! Scripts that put no spaces between words have no such endings: their words are found wherever
//! their characters stand.

mod forms;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::letters::{begins_word, ends_word, is_hangul, is_of_word, is_unspaced};
use crate::memory::words::{Word, fold, words};
use crate::studio::script::Script;
use crate::studio::storyboard::Storyboard;
use forms::are_forms;

/// Words to use and to avoid. Each may be several words in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wording {
    /// Each stands at least once in the film's title, its narration or its on-screen texts.
    pub to_use: Vec<String>,
    /// None stands anywhere: in title, logline, narration, on-screen texts or prompts.
    pub to_avoid: Vec<String>,
}

impl Wording {
    /// Whether there is nothing to check.
    pub const fn is_empty(&self) -> bool {
        self.to_use.is_empty() && self.to_avoid.is_empty()
    }

    /// Words that are both to be used and to be avoided, if there are any.
    pub fn contradiction(&self) -> Option<&str> {
        self.to_use.iter().find(|wanted| self.avoided_in(wanted).is_some()).map(String::as_str)
    }

    /// Checks a script; the error says what is wrong, where, for its author.
    pub fn check_script(&self, script: &Script) -> Result<(), String> {
        self.check("the title", &script.title)?;
        self.check("the logline", &script.logline)?;
        for (number, beat) in (1..).zip(&script.beats) {
            for (name, text) in [
                ("action", &beat.action),
                ("narration", &beat.narration),
                ("on_screen_text", &beat.on_screen_text),
            ] {
                self.check(&format!("the {name} of beat {number}"), text)?;
            }
        }
        let spoken = script.beats.iter().flat_map(|beat| [&beat.narration, &beat.on_screen_text]);
        self.check_used(std::iter::once(&script.title).chain(spoken))
    }

    /// Checks a storyboard; the error says what is wrong, where, for its author.
    pub fn check_storyboard(&self, storyboard: &Storyboard) -> Result<(), String> {
        self.check("the title", &storyboard.title)?;
        for shot in &storyboard.shots {
            for (name, text) in [
                ("image_prompt", &shot.image_prompt),
                ("motion_prompt", &shot.motion_prompt),
                ("on_screen_text", &shot.on_screen_text),
                ("narration", &shot.narration),
            ] {
                self.check(&format!("the {name} of shot {}", shot.number), text)?;
            }
        }
        let spoken =
            storyboard.shots.iter().flat_map(|shot| [&shot.narration, &shot.on_screen_text]);
        self.check_used(std::iter::once(&storyboard.title).chain(spoken))
    }

    fn check(&self, place: &str, text: &str) -> Result<(), String> {
        match self.avoided_in(text) {
            None => Ok(()),
            Some((avoided, written)) => Err(format!(
                "{place} says \"{written}\"; the campaign avoids \"{avoided}\" in every form: say it in other words"
            )),
        }
    }

    fn check_used<'text>(&self, texts: impl Iterator<Item = &'text String>) -> Result<(), String> {
        let texts: Vec<&String> = texts.collect();
        let missing: Vec<String> = self
            .to_use
            .iter()
            .filter(|wanted| !texts.iter().any(|text| place_of(text, wanted).is_some()))
            .map(|wanted| format!("\"{wanted}\""))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the campaign wants {} said: put each once into the title, a narration or an on_screen_text",
            missing.join(", ")
        ))
    }

    /// The words to use that some texts lack.
    pub fn unused<'a>(&'a self, texts: &[&str]) -> Vec<&'a str> {
        let is_used = |wanted: &&String| texts.iter().any(|text| place_of(text, wanted).is_some());
        self.to_use.iter().filter(|wanted| !is_used(wanted)).map(String::as_str).collect()
    }

    /// The first words to avoid that a text uses, and how it writes them.
    pub fn avoided_in<'a>(&'a self, text: &str) -> Option<(&'a str, String)> {
        self.to_avoid.iter().find_map(|avoided| {
            let (start, end) = place_of(text, avoided)?;
            Some((avoided.as_str(), text[start..end].to_owned()))
        })
    }

    /// The text without the words to avoid.
    pub fn cleaned(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // What stood around one may be another.
        while let Some((start, end)) =
            self.to_avoid.iter().find_map(|avoided| place_of(&text, avoided))
        {
            text.replace_range(start..end, "");
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.replace(" ,", ",").replace(",,", ",").trim_matches([' ', ',', ':', '-']).to_owned()
    }
}

/// Where a text says some words, in bytes.
fn place_of(text: &str, wanted: &str) -> Option<(usize, usize)> {
    if wanted.chars().any(|character| is_unspaced(character) || is_hangul(character)) {
        return place_of_characters(text, wanted);
    }
    let wanted: Vec<(String, String)> =
        words(wanted).into_iter().map(|word| (fold(word.written), word.stem)).collect();
    if wanted.is_empty() {
        return None;
    }
    let said = words_of_one_script(text);
    said.windows(wanted.len())
        .find(|window| window.iter().zip(&wanted).all(|(word, wanted)| is_form_of(word, wanted)))
        .map(|window| {
            let (first, last) = (&window[0], &window[window.len() - 1]);
            (first.start, last.start + last.written.len())
        })
}

fn is_form_of(word: &Word<'_>, (folded, stem): &(String, String)) -> bool {
    // Russian has stems of its own.
    are_forms(folded, &fold(word.written)) || !stem.is_ascii() && word.stem == *stem
}

/// How a script joins its characters to words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joining {
    Spaced,
    Unspaced,
    Hangul,
}

impl Joining {
    const fn of(character: char) -> Self {
        if is_unspaced(character) {
            Self::Unspaced
        } else if is_hangul(character) {
            Self::Hangul
        } else {
            Self::Spaced
        }
    }
}

/// The words of a text, those cut in two where Latin letters stand among Japanese ones.
fn words_of_one_script(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    for word in words(text) {
        let mut start = 0;
        let mut last: Option<Joining> = None;
        for (place, character) in word.written.char_indices() {
            if is_combining_mark(character) {
                continue;
            }
            let joining = Joining::of(character);
            if last.is_some_and(|last| last != joining) {
                found.extend(piece(&word, start, place));
                start = place;
            }
            last = Some(joining);
        }
        if start == 0 {
            found.push(word);
        } else {
            found.extend(piece(&word, start, word.written.len()));
        }
    }
    found
}

fn piece<'text>(word: &Word<'text>, start: usize, end: usize) -> Option<Word<'text>> {
    let piece = words(&word.written[start..end]).into_iter().next()?;
    Some(Word { start: word.start + start + piece.start, ..piece })
}

/// A character as it is compared, and where what it stands for is written.
#[derive(Clone, Copy)]
struct Character {
    folded: char,
    start: usize,
    end: usize,
    /// Whether a space or a dot between words stands in front of it.
    is_apart: bool,
}

/// The characters of a text in lower case and in one form, each with its marks.
fn characters(text: &str) -> Vec<Character> {
    let is_mark = |character: char| {
        is_combining_mark(character) || matches!(character, '\u{ff9e}' | '\u{ff9f}')
    };
    let mut found: Vec<Character> = Vec::new();
    let mut is_apart = false;
    let mut rest = text.char_indices().peekable();
    while let Some((start, character)) = rest.next() {
        if character.is_whitespace() || matches!(character, '・' | '･' | '-' | '‐' | '·') {
            is_apart = true;
            continue;
        }
        let mut end = start + character.len_utf8();
        while let Some((place, mark)) = rest.next_if(|(_, next)| is_mark(*next)) {
            end = place + mark.len_utf8();
        }
        for folded in text[start..end].nfkc().flat_map(char::to_lowercase) {
            found.push(Character { folded, start, end, is_apart });
            is_apart = false;
        }
    }
    found
}

/// Where a text has the characters of words that need no spaces around them, whatever spaces stand
/// between them.
fn place_of_characters(text: &str, wanted: &str) -> Option<(usize, usize)> {
    let is_of_word = |character: &Character| is_of_word(character.folded);
    let wanted: Vec<Character> = characters(wanted).into_iter().filter(is_of_word).collect();
    if wanted.is_empty() {
        return None;
    }
    let said = characters(text);
    let is_spaced = |character: &Character| Joining::of(character.folded) == Joining::Spaced;
    let is_like = |window: &[Character]| {
        window.iter().zip(&wanted).enumerate().all(|(place, (said, asked))| {
            let is_between_spaced = place > 0 && is_spaced(said) && is_spaced(&window[place - 1]);
            said.folded == asked.folded && (!is_between_spaced || said.is_apart == asked.is_apart)
        })
    };
    (0..said.len()).find_map(|at| {
        let window = said.get(at..at + wanted.len()).filter(|window| is_like(window))?;
        let (first, last) = (window[0], window[window.len() - 1]);
        let (before, after) = (at.checked_sub(1).map(|at| said[at]), said.get(at + wanted.len()));
        // A character may be several when it is compared; a piece of one is not it.
        let is_whole = before.is_none_or(|before| before.start != first.start)
            && after.is_none_or(|after| after.start != last.start);
        let begins = before.is_none_or(|before| {
            first.is_apart
                || Joining::of(before.folded) != Joining::of(first.folded)
                || begins_word(Some(before.folded), first.folded)
        });
        let ends = after.is_none_or(|after| {
            after.is_apart
                || Joining::of(after.folded) != Joining::of(last.folded)
                || ends_word(last.folded, Some(after.folded))
        });
        (is_whole && begins && ends).then_some((first.start, last.end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn avoiding(words: &[&str]) -> Wording {
        Wording {
            to_avoid: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Wording::default()
        }
    }

    #[test]
    fn whole_words_are_found_in_every_form() {
        let wording = avoiding(&["cheap", "Café", "limited offer", "ad", "billig"]);
        for text in [
            "A CHEAP lunch",
            "cheaper than that",
            "cheaply made",
            "the cheapest",
            "a cafe",
            "two cafés",
            "limited offers!",
            "no ads",
            "billige Ware",
            "am billigsten",
        ] {
            assert!(wording.avoided_in(text).is_some(), "{text}");
        }
        for text in
            ["a cheapskate", "cafeteria", "limited time offer", "added", "an add", "billion", ""]
        {
            assert_eq!(wording.avoided_in(text), None, "{text}");
        }
    }

    #[test]
    fn other_words_are_no_forms() {
        for (word, other) in [
            ("corn", "around the corner"),
            ("flow", "a flower"),
            ("plan", "a plane"),
            ("show", "a shower"),
            ("past", "tomato paste"),
            ("numb", "a number"),
            ("mast", "the master"),
        ] {
            assert_eq!(avoiding(&[word]).avoided_in(other), None, "{word} in {other}");
            let missing = Wording { to_use: vec![word.to_owned()], ..Wording::default() };
            assert_eq!(missing.unused(&[other]), [word]);
        }
    }

    #[test]
    fn words_of_scripts_without_spaces_are_found_where_they_stand() {
        for (wanted, text, found) in [
            ("新鮮なパン", "毎朝焼きたての新鮮なパンをどうぞ", Some("新鮮なパン")),
            ("パン", "毎朝、パンを焼く。", Some("パン")),
            ("かき", "がき大将", None),
            ("ガキ", "ｶﾞｷのころ", Some("ｶﾞｷ")),
            ("iPhone ケース", "新しいiPhoneケースです", Some("iPhoneケース")),
            ("iPhone", "新しいiPhoneを", Some("iPhone")),
            ("Phone", "新しいiPhoneを", None),
            ("新鲜", "我们的面包很新鲜。", Some("新鲜")),
            ("咖啡 豆", "上好咖啡豆", Some("咖啡豆")),
            ("กาแฟ", "ดื่มกาแฟสดทุกเช้า", Some("กาแฟ")),
            ("กา", "ก่า", None),
            ("มืด", "ภาพมืดเกินไป", Some("มืด")),
            ("កាហ្វេ", "ខ្ញុំចូលចិត្តកាហ្វេក្តៅ", Some("កាហ្វេ")),
            ("커피", "따뜻한 커피를 드세요", Some("커피")),
            ("물", "동물 이야기", None),
            ("Nova 커피", "오늘도 nova 커피와", Some("nova 커피")),
            ("свежий", "свежего хлеба", Some("свежего")),
        ] {
            let wording = avoiding(&[wanted]);
            let said = wording.avoided_in(text).map(|(_, said)| said);
            assert_eq!(said.as_deref(), found, "{wanted} in {text}");
            let wording = Wording { to_use: vec![wanted.to_owned()], ..Wording::default() };
            assert_eq!(wording.unused(&[text]).is_empty(), found.is_some(), "{wanted} in {text}");
        }
        assert_eq!(avoiding(&["安い"]).cleaned("とても安い安い店"), "とても店");
        assert_eq!(avoiding(&["limited offer", "time"]).cleaned("a limited time offer"), "a");
    }

    #[test]
    fn words_can_be_taken_out() {
        let wording = avoiding(&["cheap"]);
        assert_eq!(wording.cleaned("Cheap eats, cheaply done"), "eats, done");
        assert_eq!(wording.cleaned("Slow bread"), "Slow bread");
    }

    #[test]
    fn nothing_can_be_wanted_and_avoided() {
        let mut wording = avoiding(&["fresh"]);
        wording.to_use = vec!["bread".to_owned(), "Freshly baked".to_owned()];
        assert_eq!(wording.contradiction(), Some("Freshly baked"));
    }

    proptest! {
        #[test]
        fn what_was_cleaned_uses_no_avoided_word(text in "[a-z ,]{0,60}", word in "[a-z]{1,6}") {
            let wording = avoiding(&[&word]);
            prop_assert_eq!(wording.avoided_in(&wording.cleaned(&text)), None);
        }

        #[test]
        fn whatever_is_written_can_be_searched(text in "\\PC{0,30}", wanted in "\\PC{1,3}") {
            for wanted in [wanted.as_str(), "パ", "물", "ก"] {
                if let Some((avoided, said)) = avoiding(&[wanted]).avoided_in(&text) {
                    prop_assert!(text.contains(&said) && avoided == wanted);
                }
                avoiding(&[wanted]).cleaned(&text);
            }
        }

        #[test]
        fn a_required_word_is_satisfied_where_it_is_written(
            word in "[a-zäöüß]{2,9}|[ぁ-ん]{1,4}|[一-龠]{1,3}|[ก-ฮ]{1,4}|[가-힣]{1,3}|[а-я]{2,8}",
            text in "[a-z ]{0,10}",
        ) {
            let wording = Wording { to_use: vec![word.clone()], ..Wording::default() };
            let written = format!("{text} {word} {text}");
            prop_assert!(wording.unused(&[written.as_str()]).is_empty());
            if word.chars().all(is_unspaced) {
                let written = format!("焼{word}を");
                prop_assert!(wording.unused(&[written.as_str()]).is_empty());
            }
        }
    }
}
