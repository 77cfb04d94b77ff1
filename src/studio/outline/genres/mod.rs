//! The grammars of the genres: what is seen in which order, in which light, with which words.
//!
//! In all texts `{hero}` is what the brief is about, `{person}` the person of this film (the
//! same in every shot) and `{place}` where it happens, with its preposition.

mod everyday;
mod people;
mod things;
mod world;

use super::reading::Reading;

/// One genre.
#[derive(Debug)]
pub(super) struct Genre {
    /// Words that speak for this genre; a trailing `*` stands for any ending.
    words: &'static [&'static str],
    /// Subjects that are so general that one of the heroes stands in for them.
    pub(super) generic: &'static [&'static str],
    /// Kinds of places, and what is made there.
    venues: &'static [(&'static str, &'static str)],
    pub(super) heroes: &'static [&'static str],
    pub(super) places: &'static [&'static str],
    pub(super) people: &'static [&'static str],
    pub(super) logline: &'static str,
    pub(super) looks: &'static [Look],
    pub(super) hook: &'static [Scene],
    pub(super) build: &'static [Scene],
    pub(super) turn: &'static [Scene],
    pub(super) payoff: &'static [Scene],
}

/// The look of a whole film.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) palette: &'static str,
    /// The light at the beginning, in the middle and at the end.
    pub(super) lights: [&'static str; 3],
    /// Medium and manner, which ends the prompt.
    pub(super) finish: &'static str,
}

/// One scene.
#[derive(Debug)]
pub(super) struct Scene {
    /// What is seen of the whole.
    pub(super) picture: &'static str,
    /// What is seen from near.
    pub(super) detail: &'static str,
    /// What moves.
    pub(super) action: &'static str,
    /// Words for the screen, in English.
    pub(super) lines: &'static [&'static str],
}

const fn scene(
    picture: &'static str,
    detail: &'static str,
    action: &'static str,
    lines: &'static [&'static str],
) -> Scene {
    Scene { picture, detail, action, lines }
}

/// Every genre; the first of those that fit equally well is taken.
const GENRES: &[&Genre] = &[
    &everyday::FOOD,
    &things::PRODUCT,
    &things::FASHION,
    &things::TECHNOLOGY,
    &world::CITY,
    &world::NATURE,
    &world::PROPERTY,
    &people::SPORT,
    &people::MUSIC,
    &people::EVENT,
    &everyday::PETS,
    &everyday::TUTORIAL,
    &people::STORY,
];

/// The genre that most words of the brief speak for; words of the subject count double, and
/// what is told last in a subject ("dog food") is what it is.
pub(super) fn of(reading: &Reading) -> &'static Genre {
    if reading.is_how_to {
        return &everyday::TUTORIAL;
    }
    let subject: Vec<&str> = reading.subject_words.split_whitespace().collect();
    let score = |genre: &Genre| {
        let speaks = |word: &str| genre.words.iter().any(|known| fits(known, word));
        let all = reading.words.iter().filter(|word| speaks(word)).count();
        let own = subject.iter().filter(|word| speaks(word)).count();
        let last = subject.last().is_some_and(|word| speaks(word));
        all * 2 + own * 2 + usize::from(last)
    };
    let best = GENRES.iter().map(|genre| score(genre)).max().unwrap_or(0);
    GENRES.iter().find(|genre| best > 0 && score(genre) == best).copied().unwrap_or(&world::OPEN)
}

/// What is made in a place of that kind, where the genre knows such places: in a bakery, bread.
pub(super) fn venue(genre: &Genre, subject_words: &str) -> Option<&'static str> {
    let kind = subject_words.split_whitespace().last()?;
    genre.venues.iter().find(|(known, _)| *known == kind).map(|(_, made)| *made)
}

fn fits(known: &str, word: &str) -> bool {
    match known.strip_suffix('*') {
        Some(stem) => word.starts_with(stem),
        None => word == known,
    }
}
