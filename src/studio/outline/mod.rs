//! The built-in outline writer: a script and a storyboard without a key and without a network.
//!
//! It reads the brief (what it is about, where, in what mood), chooses the grammar of its
//! genre (a recipe is told otherwise than a product launch or a city), lays the arc from hook
//! to payoff over the number of shots, covers each scene from as many angles as needed, and
//! paces the shots. The same brief always gives the same storyboard.

mod arc;
mod camera;
mod genres;
mod pace;
mod reading;
mod seed;
mod words;

use rust_decimal::Decimal;

use self::arc::{Beats, Phase};
use self::genres::{Genre, Look};
use self::reading::Reading;
use self::seed::Seed;
use crate::memory::palette::palette_names;
use crate::memory::taste::Leaning;
use crate::memory::taste::reading::Liking;
use crate::studio::brief::Brief;
use crate::studio::script::{Beat, Script};
use crate::studio::storyboard::{LONGEST_PROMPT, Shot, Storyboard};
use crate::studio::wording::Wording;

/// The longest title of a script, in characters.
const LONGEST_TITLE: usize = 80;
/// The longest words on the screen, in characters; they must be read in a second or two.
const LONGEST_LINE: usize = 60;

/// The most wishes of the brief in one prompt: with more, an image model loses the scene.
const MOST_WISHES: usize = 4;

/// Wishes that do not stand in the brief.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Direction {
    /// A look to keep to, in words, such as a campaign's style. Ends every image prompt.
    pub style: Option<String>,
    /// The colours to keep to, such as a campaign's; empty for the genre's own.
    pub palette: Vec<String>,
    /// Words that the film has to say, and words that stand nowhere in it.
    pub wording: Wording,
    /// What the user likes and dislikes. The brief's own words come before it.
    pub leaning: Leaning,
    /// The clip lengths that the video model sells, in whole seconds. Where given, the pacing
    /// never makes a shot need a dearer clip than an even division of the film would. Empty
    /// for any length.
    pub sold_seconds: Vec<u32>,
    /// No shot is longer than this, in seconds; 0 for any length.
    pub longest_shot_seconds: u32,
}

/// Writes script and storyboard for a brief. The storyboard passes [`Storyboard::check`] for
/// every brief whose length lies between one second for each shot and the longest shot for
/// each; outside of that the shots are of one length.
pub fn write(brief: &Brief, direction: &Direction) -> (Script, Storyboard) {
    let reading = Reading::of(brief.text.as_str());
    let mut seed = Seed::of(brief.text.as_str());
    let film = Film::new(&reading, direction, &mut seed);
    let beats = Beats::lay(film.genre, brief.shots, &film.leaning, &mut seed);
    let durations = pace::pace(brief, direction, &beats, &mut seed);
    let mut lines = Lines::new(&reading, &beats, &film.leaning);
    let mut shots = Vec::with_capacity(beats.shots.len());
    let mut script_beats = Vec::with_capacity(beats.shots.len());
    let mut camera = camera::Camera::new(&film.leaning);
    let narrates = film.leaning.of_trait("words.voice") == Some(Liking::Liked);
    let motion = film.leaning.motion(brief.text.as_str());
    let mut wishes = spread(&reading.details, &beats);
    if let Some(middle) = wishes.get_mut(beats.shots.len() / 2) {
        middle.extend(film.leaning.things());
    }
    for ((number, planned), duration_seconds) in (1..).zip(&beats.shots).zip(durations) {
        let line = lines.next(number, planned, &mut seed);
        let view = camera.view(planned.angle, planned.phase, &mut seed);
        let seen =
            film.fill(if view.is_detail { planned.scene.detail } else { planned.scene.picture });
        let action = film.fill(planned.scene.action);
        shots.push(Shot {
            number,
            image_prompt: film.image_prompt(
                &view,
                &seen,
                planned.phase,
                &wishes[number as usize - 1],
            ),
            motion_prompt: motion_prompt(&view, &action, &motion),
            duration_seconds,
            on_screen_text: line.clone(),
            narration: if narrates { format!("{}.", capitalised(&action)) } else { String::new() },
            references: Vec::new(),
        });
        script_beats.push(Beat {
            action: format!("{}; {action}.", capitalised(&seen)),
            narration: shots.last().map(|shot: &Shot| shot.narration.clone()).unwrap_or_default(),
            on_screen_text: line,
        });
    }
    let title = reading.title.clone();
    let logline = if reading.is_english {
        capitalised(&film.fill(film.genre.logline))
    } else {
        reading.first_sentence.clone()
    };
    let mut script = Script { title: title.clone(), logline, beats: script_beats };
    let mut storyboard = Storyboard { title, shots };
    words::keep_to(&direction.wording, &mut script, &mut storyboard);
    (script, storyboard)
}

/// Camera, action and ending, begun by how the user likes films to move.
fn motion_prompt(view: &camera::View, action: &str, liked: &[&str]) -> String {
    let mut parts: Vec<String> = liked
        .iter()
        .filter(|liked| !view.movement.contains(**liked))
        .map(|liked| (*liked).to_owned())
        .collect();
    parts.extend([view.movement.to_owned(), capitalised(action), view.ending.to_owned()]);
    shortened(&parts.join(". "), LONGEST_PROMPT)
}

/// Gives the wishes of a longer brief to the shots that develop it, in their order; several to
/// one shot where there are more wishes than shots.
fn spread<'a>(wishes: &'a [String], beats: &Beats) -> Vec<Vec<&'a str>> {
    let mut spread = vec![Vec::new(); beats.shots.len()];
    let mut takers: Vec<usize> =
        (0..beats.shots.len()).filter(|&shot| beats.shots[shot].phase == Phase::Build).collect();
    if takers.is_empty() {
        takers = (0..beats.shots.len()).collect();
    }
    if takers.is_empty() {
        return spread;
    }
    let each = wishes.len().div_ceil(takers.len()).max(1);
    for (taker, wishes) in takers.into_iter().zip(wishes.chunks(each)) {
        spread[taker] = wishes.iter().take(MOST_WISHES).map(String::as_str).collect();
    }
    spread
}

/// What stays the same from the first shot to the last.
struct Film<'a> {
    genre: &'static Genre,
    reading: &'a Reading,
    hero: String,
    /// Whether the brief names something that has to be recognised in every shot.
    is_particular: bool,
    person: &'static str,
    place: String,
    look: &'static Look,
    lights: [&'static str; 3],
    style: Option<&'a str>,
    /// The campaign's colours, by name.
    palette: Vec<String>,
    leaning: Leaning,
    /// What the user likes, in words for every image prompt.
    liked: Vec<String>,
}

impl<'a> Film<'a> {
    fn new(reading: &'a Reading, direction: &'a Direction, seed: &mut Seed) -> Self {
        let genre = genres::of(reading);
        let generic =
            reading.hero.is_empty() || genre.generic.contains(&reading.hero_words.as_str());
        let venue = genres::venue(genre, &reading.hero_words);
        let hero = match venue {
            Some(venue) => venue.to_owned(),
            None if generic => seed.choose(genre.heroes).to_owned(),
            None => reading.hero.clone(),
        };
        let own_place = seed.choose(genre.places);
        // "A small bakery in Lisbon" is where the bread is baked, not what is eaten.
        let setting = reading.setting.clone().filter(|_| !reading.setting_is_time);
        let place = match (venue, setting) {
            (Some(_), Some(setting)) => format!("in {} {setting}", reading.hero),
            (Some(_), None) => format!("in {}", reading.hero),
            (None, Some(setting)) => setting,
            (None, None) => own_place.to_owned(),
        };
        let mut leaning = direction.leaning.clone();
        leaning.avoid(&direction.wording.to_avoid);
        let look = chosen(genre.looks, seed, |look| {
            let lights: i32 = look.lights.iter().map(|light| leaning.suits(light)).sum();
            lights + leaning.suits(look.palette) + leaning.suits(look.finish)
        });
        let lights = match reading.time {
            Some(time) => time.lights,
            None => look.lights.map(|light| {
                // A light that the user dislikes gives way to one that suits the genre as well.
                let all = || genre.looks.iter().flat_map(|look| look.lights);
                if leaning.suits(light) >= 0 {
                    light
                } else {
                    all().find(|other| leaning.suits(other) >= 0).unwrap_or_default()
                }
            }),
        };
        let liked = leaning.picture(&reading.words.join(" "));
        Self {
            palette: palette_names(&direction.palette),
            liked,
            leaning,
            genre,
            reading,
            hero,
            is_particular: !generic,
            person: seed.choose(genre.people),
            place,
            look,
            lights,
            style: direction.style.as_deref().map(str::trim).filter(|style| !style.is_empty()),
        }
    }

    /// A scene's words with this film's hero, person and place.
    fn fill(&self, words: &str) -> String {
        words
            .replace("{hero}", &self.hero)
            .replace("{person}", self.person)
            .replace("{place}", &self.place)
    }

    fn image_prompt(
        &self,
        view: &camera::View,
        seen: &str,
        phase: Phase,
        wishes: &[&str],
    ) -> String {
        let light = self.lights[match phase {
            Phase::Hook => 0,
            Phase::Build => 1,
            Phase::Turn | Phase::Payoff => 2,
        }];
        let mut parts = vec![capitalised(view.framing)];
        if !self.palette.is_empty() {
            parts.push(format!("palette of {}", self.palette.join(", ")));
        }
        // The brief's own words come first: the image models weigh them most.
        parts.extend(wishes.iter().map(|wish| (*wish).to_owned()));
        parts.push(seen.to_owned());
        // A detail without the hero could belong to any film.
        if self.is_particular && !seen.contains(&self.hero) {
            parts.push(format!("in a film about {}", self.reading.hero));
        }
        // Where the brief says it happens, every shot says so.
        if let Some(setting) = &self.reading.setting
            && !self.reading.setting_is_time
            && !seen.contains(setting.as_str())
        {
            parts.push(setting.clone());
        }
        parts.extend(Some(light.to_owned()).filter(|light| !light.is_empty()));
        parts.extend(self.liked.iter().cloned());
        let palette = self.reading.time.map_or(self.look.palette, |time| time.palette);
        if self.palette.is_empty() && self.leaning.suits(palette) >= 0 {
            parts.push(format!("palette of {palette}"));
        }
        parts.extend(self.reading.moods.iter().map(|mood| (*mood).to_owned()));
        // A drawn film is not photographed.
        if !self.reading.is_drawn {
            let finish = self.look.finish.split(", ");
            parts.extend(finish.filter(|part| self.leaning.suits(part) >= 0).map(str::to_owned));
        }
        parts.extend(self.style.map(ToOwned::to_owned));
        shortened(&parts.join(", "), LONGEST_PROMPT)
    }
}

/// Hands out the words for the screen: the brief's own first, then the genre's, none twice,
/// and not on every shot of a long film.
struct Lines {
    own: std::collections::VecDeque<String>,
    used: Vec<String>,
    title: String,
    is_english: bool,
    shots: u32,
    leaning: Leaning,
}

impl Lines {
    fn new(reading: &Reading, beats: &Beats, leaning: &Leaning) -> Self {
        Self {
            own: reading.lines.iter().cloned().collect(),
            used: Vec::new(),
            title: reading.title.clone(),
            is_english: reading.is_english,
            shots: u32::try_from(beats.shots.len()).unwrap_or(u32::MAX),
            leaning: leaning.clone(),
        }
    }

    fn next(&mut self, number: u32, planned: &arc::Planned, seed: &mut Seed) -> String {
        let is_last = number == self.shots;
        let taste = self.leaning.of_trait("words.screen");
        if taste == Some(Liking::Disliked) {
            return String::new();
        }
        // The first shot carries the title unless it is short and leaves room for a hook.
        if number == 1 && (!self.is_english || self.shots == 1) {
            let title = self.title.clone();
            return self.take(&title);
        }
        // Words rest while the pictures work: a long film speaks on every third shot.
        let rests = match self.shots {
            0..=7 => planned.phase == Phase::Build && planned.is_second_look,
            8..=14 => !number.is_multiple_of(2),
            _ => !number.is_multiple_of(3),
        };
        if rests && number != 1 && !is_last && taste.is_none() {
            return String::new();
        }
        if planned.phase == Phase::Build
            && let Some(line) = self.own.pop_front()
        {
            return self.take(&line);
        }
        if is_last && !self.is_english {
            return String::new();
        }
        if !self.is_english {
            return String::new();
        }
        let lines = planned.scene.lines;
        let first = seed.below(lines.len().max(1));
        let line = (0..lines.len()).map(|step| lines[(first + step) % lines.len()]).find(|line| {
            !self.used.iter().any(|used| used == line) && self.leaning.suits(line) >= 0
        });
        line.map_or_else(String::new, |line| self.take(line))
    }

    fn take(&mut self, line: &str) -> String {
        let line = shortened(line, LONGEST_LINE);
        if self.used.contains(&line) {
            return String::new();
        }
        self.used.push(line.clone());
        line
    }
}

/// One of the choices by the seed, of those that suit best.
fn chosen<'a, T>(choices: &'a [T], seed: &mut Seed, suits: impl Fn(&T) -> i32) -> &'a T {
    let first = seed.below(choices.len());
    let best = choices.iter().map(&suits).max().unwrap_or(0);
    (0..choices.len())
        .map(|step| &choices[(first + step) % choices.len()])
        .find(|choice| suits(choice) == best)
        .unwrap_or(&choices[first])
}

/// The first letter made large.
fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// At most `most` characters, cut between words where there is a space to cut at.
fn shortened(text: &str, most: usize) -> String {
    let text = text.trim();
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most.saturating_sub(1)).collect();
    let words = match cut.rfind(char::is_whitespace) {
        Some(space) if space * 2 > cut.len() => &cut[..space],
        _ => cut.as_str(),
    };
    format!("{}…", words.trim_end_matches(|last: char| !last.is_alphanumeric()))
}

/// Tenths of a second as seconds.
fn tenths(tenths: i64) -> Decimal {
    Decimal::new(tenths, 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::studio::brief::{Aspect, MOST_SHOTS};

    fn brief(text: &str, shots: u32, duration_tenths: i64) -> Brief {
        Brief {
            text: text.parse().unwrap(),
            duration_seconds: tenths(duration_tenths),
            shots,
            aspect: Aspect::Portrait9x16,
            files: Vec::new(),
        }
    }

    fn storyboard(text: &str, shots: u32) -> Storyboard {
        write(&brief(text, shots, i64::from(shots) * 50), &Direction::default()).1
    }

    fn words(storyboard: &Storyboard) -> HashSet<String> {
        storyboard
            .shots
            .iter()
            .flat_map(|shot| shot.image_prompt.split_whitespace())
            .filter(|word| word.len() > 4)
            .map(str::to_lowercase)
            .collect()
    }

    #[test]
    fn different_briefs_get_different_films() {
        let briefs = [
            "food video",
            "running shoes launch",
            "a city at night",
            "how to repot a fern",
            "my dog Bruno at the beach",
            "our wedding in Tuscany",
            "an app for tired nurses",
            "jazz concert",
            "hiking in Iceland",
            "quantum loneliness",
        ];
        let films: Vec<_> = briefs.map(|text| words(&storyboard(text, 6))).into();
        for (one, first) in films.iter().enumerate() {
            for (other, second) in films.iter().enumerate().skip(one + 1) {
                let shared = first.intersection(second).count();
                let share = shared * 100 / first.len().min(second.len());
                assert!(share < 40, "{} and {}: {share} %", briefs[one], briefs[other]);
            }
        }
    }

    #[test]
    fn the_same_brief_gets_the_same_film() {
        assert_eq!(storyboard("Food  video", 12), storyboard("food video", 12));
        assert_ne!(storyboard("food video", 12), storyboard("food videos", 12));
    }

    #[test]
    fn genres_are_recognised() {
        let genre_of = |text: &str| genres::of(&Reading::of(text));
        let is = |text: &str, expected: &'static Genre| {
            assert!(std::ptr::eq(genre_of(text), expected), "{text}");
        };
        is("ramen in Tokyo", genre_of("food video"));
        is("running shoes launch", genre_of("product launch"));
        is("a city at night", genre_of("Prague street life"));
        is("Ночной город", genre_of("a city at night"));
        is("Ночной рынок", genre_of("a city at night"));
        is("my dog Bruno at the beach", genre_of("cats"));
        is("how to fix a bike", genre_of("tutorial"));
        is("the loneliness of zero", genre_of("qwertz"));
        assert!(!std::ptr::eq(genre_of("food video"), genre_of("a city at night")));
    }

    #[test]
    fn the_briefs_own_words_are_kept() {
        let film = storyboard(
            "A cosy video about a small bakery in Lisbon. Grandmother's almond cake, the first tram of the day",
            6,
        );
        assert_eq!(film.title, "A small bakery in Lisbon");
        let prompts: String = film.shots.iter().map(|shot| shot.image_prompt.as_str()).collect();
        for words in ["small bakery", "in Lisbon", "almond cake", "cosy"] {
            assert!(prompts.contains(words), "{words}");
        }
        assert!(film.shots.iter().any(|shot| shot.on_screen_text == "Grandmother's almond cake"));
        let wedding = storyboard("our wedding in Tuscany", 9);
        assert!(wedding.shots.iter().all(|shot| shot.image_prompt.contains("in Tuscany")));
        let foreign = storyboard("Die neue Bäckerei in München", 5);
        let shown: Vec<_> = foreign
            .shots
            .iter()
            .map(|shot| &shot.on_screen_text)
            .filter(|text| !text.is_empty())
            .collect();
        assert_eq!(shown, ["Die neue Bäckerei in München"]);
    }

    #[test]
    fn pacing_never_needs_a_dearer_clip() {
        let direction = Direction { sold_seconds: vec![5, 10], ..Direction::default() };
        let lengths = |shots, tenths| -> Vec<Decimal> {
            let film = write(&brief("food video", shots, tenths), &direction).1;
            film.shots.iter().map(|shot| shot.duration_seconds).collect()
        };
        assert!(lengths(6, 300).iter().all(|&length| length == Decimal::from(5)));
        assert!(lengths(7, 300).iter().all(|&length| length <= Decimal::from(5)));
        let free = lengths(5, 300);
        assert!(free.iter().all(|&length| length <= Decimal::from(10)));
        assert!(free.first() < free.last(), "{free:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(160))]
        #[test]
        fn every_brief_gets_a_valid_storyboard(
            text in "\\PC{1,80}|[a-z ,.]{1,300}|(food|city|shoes|dog|music|how to|für|про)( [a-zа-я]{1,12}){0,20}",
            shots in 1..=MOST_SHOTS,
            length in 10_i64..=100,
            hundredths in 0_i64..10,
        ) {
            let Ok(parsed) = text.parse() else { return Ok(()) };
            let duration_seconds = tenths(i64::from(shots) * length) + Decimal::new(hundredths, 2)
                - if length == 100 { Decimal::new(hundredths, 2) } else { Decimal::ZERO };
            let brief = Brief {
                text: parsed,
                duration_seconds,
                shots,
                aspect: Aspect::Square,
                files: Vec::new(),
            };
            let direction = Direction { longest_shot_seconds: 10, ..Direction::default() };
            let (script, film) = write(&brief, &direction);
            prop_assert_eq!(film.check(&brief, 10), Ok(()));
            prop_assert_eq!(film.duration_seconds(), duration_seconds);
            prop_assert_eq!(script.beats.len(), film.shots.len());
            prop_assert!(script.title.chars().count() <= LONGEST_TITLE);
            let mut pictures = HashSet::new();
            let mut lines = HashSet::new();
            for shot in &film.shots {
                prop_assert!(pictures.insert(&shot.image_prompt), "twice: {}", shot.image_prompt);
                prop_assert!(shot.on_screen_text.is_empty() || lines.insert(&shot.on_screen_text));
                prop_assert!(shot.on_screen_text.chars().count() <= LONGEST_LINE);
                let unfilled = ["{hero}", "{person}", "{place}"];
                for prompt in [&shot.image_prompt, &shot.motion_prompt] {
                    let is_filled = unfilled.iter().all(|part| !prompt.contains(part));
                    prop_assert!(is_filled || text.contains('{'), "{}", prompt);
                }
            }
        }
    }
}
