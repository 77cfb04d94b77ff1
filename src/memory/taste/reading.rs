//! Reading what a user wrote: which traits or things it speaks of, and whether it likes them.
//!
//! No model is asked. A note is cut into clauses, and in each the word nearest to the matter
//! decides: "too", "no more", "less" and "hate" are against it, "more", "love", "not enough" and
//! comparatives are for it. What names nothing of the lexicon stays in the user's own words.

mod vocabulary;

use std::ops::Range;

use super::traits::{self, Mention, Trait};
use crate::memory::words::{Word, fold, words};
use vocabulary::{
    CUT_OFF, DISLIKES, ENOUGH, IDLE, JOINTS, LESS, LIKES, MORE, NONE_OF, NOT, OVER, TOO, TURNS,
};

/// The longest clause that is kept in the user's own words, in characters.
const LONGEST_CLAUSE: usize = 200;
/// The most things of which a clause in the user's own words may speak.
const MOST_CONTENT: usize = 12;

/// Whether something is liked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Liking {
    /// It is liked or wanted.
    Liked,
    /// It is disliked or not wanted.
    Disliked,
}

impl Liking {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Liked => Self::Disliked,
            Self::Disliked => Self::Liked,
        }
    }

    /// The same, or the other one.
    const fn turned(self, is_turned: bool) -> Self {
        if is_turned { self.opposite() } else { self }
    }
}

/// What a remark is about.
#[derive(Debug, Clone)]
pub enum Matter {
    /// A trait of the lexicon.
    Trait(&'static Trait),
    /// Something else, in the user's own words.
    Words {
        /// The stems of its words, sorted: what tells it from other matters.
        stems: Vec<String>,
        /// The thing alone: of "more steam please" the steam.
        thing: String,
    },
}

/// One thing that a note says.
#[derive(Debug, Clone)]
pub struct Remark {
    /// What it is about.
    pub matter: Matter,
    /// Whether it is liked.
    pub liking: Liking,
    /// Whether the note says so itself, and not only the rating that came with it.
    pub is_explicit: bool,
    /// The clause that says it, as it was written.
    pub clause: String,
    /// Where the clause stands in the note, in bytes.
    pub range: Range<usize>,
}

/// What a note says. `rating` (1 to 5) decides where the note names a trait and no opinion.
pub fn remarks(note: &str, rating: Option<u8>) -> Vec<Remark> {
    let by_rating = rating.and_then(|rating| match rating {
        4.. => Some(Liking::Liked),
        ..=2 => Some(Liking::Disliked),
        3 => None,
    });
    let mut found = Vec::new();
    let mut carried: Option<(Liking, usize)> = None;
    for clause in clauses(note) {
        let own = read_clause(
            note,
            &clause,
            carried.filter(|(_, end)| clause.may_follow(*end)),
            by_rating,
        );
        if own.says_itself {
            carried = own.last.map(|liking| (liking, clause.range.end));
        } else if carried.is_some_and(|(_, end)| clause.may_follow(end)) {
            carried = carried.map(|(liking, _)| (liking, clause.range.end));
        } else {
            carried = None;
        }
        found.extend(own.remarks);
    }
    found
}

/// The note without the clauses of which `is_meant` holds.
pub fn without(note: &str, rating: Option<u8>, is_meant: impl Fn(&Remark) -> bool) -> String {
    let mut ranges: Vec<Range<usize>> = remarks(note, rating)
        .into_iter()
        .filter(|remark| is_meant(remark))
        .map(|remark| remark.range)
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut rest = String::new();
    let mut at = 0;
    for range in ranges {
        if range.start >= at {
            rest.push_str(&note[at..range.start]);
            at = range.end;
        }
    }
    rest.push_str(&note[at..]);
    let is_joint = |character: char| {
        character.is_whitespace()
            || matches!(character, ',' | ';' | '.' | '!' | '?' | ':' | '-' | '–' | '—')
    };
    let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
    let rest = rest.trim_start_matches(is_joint);
    // "Love the music, but" has lost what it led to.
    let dangling = rest.rsplit(is_joint).next().map(fold).unwrap_or_default();
    let is_dangling = TURNS.contains(&dangling.as_str()) || JOINTS.contains(&dangling.as_str());
    let rest = match rest.rfind(is_joint) {
        Some(at) if is_dangling => rest[..at].trim_end_matches(is_joint),
        _ => rest,
    };
    if rest.chars().any(char::is_alphanumeric) { rest.to_owned() } else { String::new() }
}

/// A piece of a note with one opinion.
struct Clause<'note> {
    words: Vec<Word<'note>>,
    folded: Vec<String>,
    range: Range<usize>,
    /// Whether a comma or an "and" joins it to the clause before.
    is_joined: bool,
}

impl Clause<'_> {
    /// Whether it may share the opinion of a clause that ends there.
    const fn may_follow(&self, end: usize) -> bool {
        self.is_joined && end <= self.range.start
    }
}

fn clauses(note: &str) -> Vec<Clause<'_>> {
    let mut found: Vec<Clause<'_>> = Vec::new();
    let mut current: Vec<Word<'_>> = Vec::new();
    let mut is_joined = false;
    let mut end = 0;
    for word in words(note) {
        let gap = &note[end..word.start];
        end = word.start + word.written.len();
        let ends_sentence = gap.contains(['.', '!', '?', ';', '\n', ':', '(', ')', '…'])
            || gap.contains(" - ")
            || gap.contains(['–', '—']);
        let folded = fold(word.written);
        let is_turn = TURNS.contains(&folded.as_str());
        let is_joint = JOINTS.contains(&folded.as_str());
        if ends_sentence || gap.contains(',') || is_turn || is_joint {
            found.extend(clause(note, std::mem::take(&mut current), is_joined));
            is_joined = !ends_sentence && !is_turn;
        }
        if !is_turn && !is_joint {
            current.push(word);
        }
    }
    found.extend(clause(note, current, is_joined));
    found
}

fn clause<'note>(
    note: &'note str,
    words: Vec<Word<'note>>,
    is_joined: bool,
) -> Option<Clause<'note>> {
    let (first, last) = (words.first()?, words.last()?);
    let mut end = last.start + last.written.len();
    // The mark that closes the sentence belongs to it.
    if note[end..].starts_with(['.', '!', '?']) {
        end += 1;
    }
    let range = first.start..end;
    let folded = words.iter().map(|word| fold(word.written)).collect();
    Some(Clause { words, folded, range, is_joined })
}

/// What a clause came to.
struct Read {
    remarks: Vec<Remark>,
    /// Whether it has an opinion of its own.
    says_itself: bool,
    /// The last opinion in it.
    last: Option<Liking>,
}

fn read_clause(
    note: &str,
    clause: &Clause<'_>,
    carried: Option<(Liking, usize)>,
    by_rating: Option<Liking>,
) -> Read {
    let mentions = traits::in_note(&clause.words);
    let over = over(&clause.folded);
    let mut read = Read { remarks: Vec::new(), says_itself: false, last: None };
    let text = note[clause.range.clone()].trim();
    let mut push = |matter, liking, is_explicit| {
        read.remarks.push(Remark {
            matter,
            liking,
            is_explicit,
            clause: text.to_owned(),
            range: clause.range.clone(),
        });
    };
    let mut says_itself = false;
    let mut last = None;
    for mention in &mentions {
        let (side, is_second) = match over {
            Some((place, _)) if mention.first < place => (0..place, false),
            Some((_, after)) => (after..clause.folded.len(), true),
            None => (0..clause.folded.len(), false),
        };
        let own = if is_second {
            // What something else is preferred to.
            Some(
                opinion(&clause.folded, 0..over.map_or(0, |(place, _)| place), None)
                    .unwrap_or(Liking::Liked)
                    .opposite(),
            )
        } else {
            let said = opinion(&clause.folded, side, Some(mention));
            said.or_else(|| over.map(|_| Liking::Liked))
        };
        says_itself |= own.is_some();
        let (liking, is_explicit) = match (own, carried, by_rating) {
            (Some(liking), ..) | (None, Some((liking, _)), _) => (liking, true),
            (None, None, Some(liking)) => (liking, false),
            (None, None, None) => continue,
        };
        last = Some(liking);
        push(Matter::Trait(mention.of), liking.turned(mention.is_other), is_explicit);
    }
    if mentions.is_empty() {
        let own = opinion(&clause.folded, 0..clause.folded.len(), None);
        says_itself = own.is_some();
        last = own;
        if let (Some(liking), Some((stems, thing))) =
            (own.or(carried.map(|(liking, _)| liking)), content(note, clause))
            && text.chars().count() <= LONGEST_CLAUSE
        {
            push(Matter::Words { stems, thing }, liking, true);
        }
    }
    read.says_itself = says_itself;
    read.last = last;
    read
}

/// Where "instead of" stands, and the word after it.
fn over(folded: &[String]) -> Option<(usize, usize)> {
    let at = |place: usize, phrase: &[&str]| {
        phrase
            .iter()
            .enumerate()
            .all(|(index, word)| folded.get(place + index).is_some_and(|own| own == word))
    };
    let instead = (0..folded.len()).find_map(|place| {
        OVER.iter().find(|phrase| at(place, phrase)).map(|phrase| (place, place + phrase.len()))
    });
    if instead.is_some() {
        return instead;
    }
    // "I prefer close-ups to wide shots", "over wide shots".
    let prefer = folded
        .iter()
        .position(|word| matches!(word.as_str(), "prefer" | "prefers" | "preferred"))?;
    let to =
        folded[prefer..].iter().position(|word| matches!(word.as_str(), "to" | "over"))? + prefer;
    // "I prefer to see close-ups".
    (to > prefer + 1).then_some((to, to + 1))
}

/// Whether the word at a place is denied: "not", "don't" and the like, within the three words
/// before it.
fn is_denied(folded: &[String], side: &Range<usize>, place: usize) -> bool {
    let from = place.saturating_sub(3).max(side.start);
    folded[from..place].iter().enumerate().any(|(index, word)| {
        NOT.contains(&word.as_str())
            || (word == "t"
                && from + index > 0
                && CUT_OFF.contains(&folded[from + index - 1].as_str()))
    })
}

/// What a side of a clause thinks, of a mention in it or of the whole.
fn opinion(folded: &[String], side: Range<usize>, of: Option<&Mention>) -> Option<Liking> {
    use Liking::{Disliked, Liked};
    let has = |known: &[&str], place: usize| known.contains(&folded[place].as_str());
    let is_of_mention = |place: usize| of.is_some_and(|of| (of.first..of.end).contains(&place));
    let (first, end) = of.map_or((side.end, side.end), |of| (of.first, of.end));
    let find = |known: &[&str]| -> Vec<usize> {
        side.clone().filter(|&place| !is_of_mention(place) && has(known, place)).collect()
    };
    // Where several words decide, the one nearest to the matter does: before it, else behind it.
    let distance =
        |place: usize| if place < first { first - place } else { 2 * (place + 1 - end) + 1 };
    let mut deciding: Option<(usize, Liking)> = None;
    let mut weigh = |place: usize, liking: Liking| {
        let far = distance(place);
        if deciding.is_none_or(|(nearest, _)| far < nearest) {
            deciding = Some((far, liking));
        }
    };
    if let Some(&place) = find(ENOUGH).first() {
        let is_of = folded.get(place + 1).is_some_and(|next| next == "of");
        let is_lacking = is_denied(folded, &side, place) || !is_of;
        return Some(if is_lacking { Liked } else { Disliked });
    }
    let little = |place: usize| {
        folded.get(place + 1).is_some_and(|next| {
            matches!(
                next.as_str(),
                "little" | "few" | "wenig" | "wenige" | "peu" | "poco" | "pocos"
            )
        })
    };
    for place in find(TOO) {
        // "I like it too" says nothing of too much.
        if place + 1 < side.end && folded[place + 1] != "t" {
            weigh(place, if little(place) { Liked } else { Disliked });
        }
    }
    // German "zu" is "too" before a quality, and "to" elsewhere.
    for place in side.clone().filter(|&place| folded[place] == "zu") {
        let next = folded.get(place + 1).map(String::as_str).unwrap_or_default();
        if place + 1 == first || matches!(next, "viel" | "viele" | "wenig" | "wenige") {
            weigh(place, if little(place) { Liked } else { Disliked });
        }
    }
    for place in find(MORE) {
        let before = place.checked_sub(1).map(|before| folded[before].as_str()).unwrap_or_default();
        let is_no_more = matches!(before, "no" | "any" | "nicht" | "nie")
            || is_denied(folded, &side, place)
            || (folded[place] == "mehr"
                && side
                    .clone()
                    .any(|other| matches!(folded[other].as_str(), "kein" | "keine" | "keinen")));
        weigh(place, if is_no_more { Disliked } else { Liked });
    }
    for place in find(LESS) {
        weigh(place, if is_denied(folded, &side, place) { Liked } else { Disliked });
    }
    // "No drone shots", but "there is no need for it": only what stands before the matter.
    for place in find(NONE_OF) {
        let next = folded.get(place + 1).map(String::as_str).unwrap_or_default();
        let is_idle = matches!(
            next,
            "need" | "complaints" | "doubt" | "problem" | "matter" | "idea" | "notes" | "more"
        );
        if place < first && !is_idle {
            weigh(place, Disliked);
        }
    }
    for (known, liking) in [(LIKES, Liked), (DISLIKES, Disliked)] {
        for place in find(known) {
            weigh(place, liking.turned(is_denied(folded, &side, place)));
        }
    }
    let stand =
        side.clone().find(|&place| folded[place] == "stand" && is_denied(folded, &side, place));
    if let Some(place) = stand {
        weigh(place, Disliked);
    }
    let deciding = deciding.map(|(_, liking)| liking);
    let Some(of) = of else { return deciding };
    // "It is not warm" misses the warmth; "love that it is not dark" does not miss the dark.
    let near = of.first.saturating_sub(2).max(side.start)..of.first;
    let has_too = near.clone().any(|place| TOO.contains(&folded[place].as_str()));
    let is_denied_itself = near.clone().any(|place| {
        matches!(folded[place].as_str(), "not" | "nicht" | "pas" | "isnt" | "wasnt")
            || (folded[place] == "t"
                && place > 0
                && matches!(folded[place - 1].as_str(), "isn" | "wasn" | "aren" | "weren"))
    });
    // "I do not like dark pictures": the denial has a verb of its own.
    let verb_between = near.clone().any(|place| {
        LIKES.contains(&folded[place].as_str()) || DISLIKES.contains(&folded[place].as_str())
    });
    if is_denied_itself && !has_too && !verb_between {
        let rest: Vec<usize> = side.clone().filter(|&place| !near.contains(&place)).collect();
        let likes = rest.iter().any(|&place| {
            !is_of_mention(place)
                && LIKES.contains(&folded[place].as_str())
                && !is_denied(folded, &side, place)
        });
        return Some(if likes { Disliked } else { Liked });
    }
    deciding.or_else(|| of.is_compared.then_some(Liked))
}

/// The stems of what a clause is about and the thing itself, if it is about anything.
fn content(note: &str, clause: &Clause<'_>) -> Option<(Vec<String>, String)> {
    let lists = [LIKES, DISLIKES, LESS, NONE_OF, MORE, ENOUGH, TOO, NOT, IDLE, CUT_OFF];
    let told: Vec<&Word<'_>> = clause
        .words
        .iter()
        .zip(&clause.folded)
        .filter(|(word, folded)| {
            !word.common
                && folded.chars().count() >= 3
                && lists.iter().all(|list| !list.contains(&folded.as_str()))
        })
        .map(|(word, _)| word)
        .collect();
    let (first, last) = (told.first()?, told.last()?);
    if told.len() > MOST_CONTENT {
        return None;
    }
    let mut stems: Vec<String> = told.iter().map(|word| word.stem.clone()).collect();
    stems.sort();
    stems.dedup();
    let thing = note[first.start..last.start + last.written.len()].to_owned();
    Some((stems, thing))
}

/// The user's own words as a sentence.
pub fn sentence(clause: &str) -> String {
    let text = clause.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut characters = text.trim_end_matches(['.', ',', ';']).chars();
    let text: String = match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => return String::new(),
    };
    if text.ends_with(['!', '?', '…']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traits with `+` or `-`, own words in quotation marks; `?` where only the rating decides.
    fn read(note: &str, rating: Option<u8>) -> Vec<String> {
        remarks(note, rating)
            .into_iter()
            .map(|remark| {
                let sign = if remark.liking == Liking::Liked { '+' } else { '-' };
                let sure = if remark.is_explicit { "" } else { "?" };
                match remark.matter {
                    Matter::Trait(of) => format!("{sign}{}{sure}", of.name),
                    Matter::Words { stems, .. } => format!("{sign}'{}'{sure}", stems.join(" ")),
                }
            })
            .collect()
    }

    #[test]
    fn opinions_are_read() {
        for (note, expected) in [
            ("too dark", &["+light.bright"][..]),
            ("Love the slow pace!", &["+pace.slow"]),
            ("no more text", &["-words.screen"]),
            ("more close-ups", &["+size.close"]),
            ("zu schnell", &["+pace.slow"]),
            ("viel zu hektisch", &["+pace.slow"]),
            ("mehr Nahaufnahmen bitte", &["+size.close"]),
            ("kein Text mehr", &["-words.screen"]),
            ("I hate drone shots", &["-camera.aerial"]),
            ("Please no drone shots, and no text on screen.", &["-camera.aerial", "-words.screen"]),
            ("I don't like the drone shot", &["-camera.aerial"]),
            ("not enough close-ups", &["+size.close"]),
            ("not warm enough", &["+light.warm"]),
            ("slower please", &["+pace.slow"]),
            ("could be warmer and brighter", &["+light.warm", "+light.bright"]),
            ("less text", &["-words.screen"]),
            ("The pace is too slow", &["-pace.slow"]),
            ("the light is not warm", &["+light.warm"]),
            ("not too dark please", &["+light.bright"]),
            ("love that it's not dark", &["+light.bright"]),
            ("Warm light instead of cold light", &["+light.warm", "+light.warm"]),
            ("I prefer close-ups to drone shots", &["+size.close", "-camera.aerial"]),
            ("Love the warm light but too many fast cuts", &["+light.warm", "+pace.slow"]),
            ("the voice-over is awful", &["-words.voice"]),
            (
                "hate aerial views, fast cuts and captions",
                &["-camera.aerial", "+pace.slow", "-words.screen"],
            ),
            ("can't stand the shaky camera", &["-camera.handheld"]),
            ("never show faces", &["-shows.faces"]),
            ("J'aime la lumière chaude", &["+light.warm"]),
            ("trop sombre", &["+light.bright"]),
            ("me encanta el ritmo lento", &["+pace.slow"]),
            ("odio los drones", &["-camera.aerial"]),
        ] {
            assert_eq!(read(note, None), expected, "{note}");
        }
    }

    #[test]
    fn a_rating_decides_where_the_note_does_not() {
        assert_eq!(read("warm light, slow moves", Some(5)), ["+light.warm?", "+pace.slow?"]);
        assert_eq!(read("drone shots everywhere", Some(1)), ["-camera.aerial?"]);
        assert_eq!(read("drone shots everywhere", Some(3)), Vec::<String>::new());
        assert_eq!(read("too dark", Some(5)), ["+light.bright"]);
    }

    #[test]
    fn what_the_lexicon_lacks_stays_in_the_users_words() {
        assert_eq!(read("Love the ginger tea", None), ["+'ginger tea'"]);
        assert_eq!(read("more violin music please", None), ["+'music violin'"]);
        assert_eq!(read("the waiter is annoying", None), ["-'waiter'"]);
        for empty in
            ["love it", "great film!", "meh", "", "…", "good job, thanks", "I really like this one"]
        {
            assert_eq!(read(empty, None), Vec::<String>::new(), "{empty}");
        }
        let remark = remarks("Well: more violin music, please!", None).remove(0);
        assert_eq!(sentence(&remark.clause), "More violin music.");
        assert!(matches!(remark.matter, Matter::Words { thing, .. } if thing == "violin music"));
    }

    #[test]
    fn a_clause_can_be_taken_out_of_a_note() {
        let is_bright = |remark: &Remark| matches!(remark.matter, Matter::Trait(of) if of.name == "light.bright");
        assert_eq!(without("Too dark. Love the music.", None, is_bright), "Love the music.");
        assert_eq!(without("Love the music, but far too dark!", None, is_bright), "Love the music");
        assert_eq!(without("too dark", None, is_bright), "");
        assert_eq!(without("fine", None, is_bright), "fine");
    }
}
