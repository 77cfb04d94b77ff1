//! What will be drawn and moved, shot by shot: the Director's work, and the plan of the film.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::studio::brief::Brief;

/// The shortest shot, in seconds.
pub const SHORTEST_SHOT_SECONDS: Decimal = Decimal::ONE;
/// The longest image or motion prompt, in characters. Midjourney takes 2,000 and Kling 2.6
/// through fal works best under 2,500.
pub const LONGEST_PROMPT: usize = 1_800;
/// The longest on-screen text, in characters.
pub const LONGEST_SCREEN_TEXT: usize = 120;

/// Some shots in words: `1 shot`, `6 shots`.
pub fn counted_shots(number: usize) -> String {
    format!("{number} shot{}", if number == 1 { "" } else { "s" })
}

/// The plan of a film, shot by shot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storyboard {
    /// The film's title.
    pub title: String,
    /// The shots, in order; the first is number 1.
    pub shots: Vec<Shot>,
}

/// One shot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// Its place in the film, from 1.
    pub number: u32,
    /// What the keyframe shows.
    pub image_prompt: String,
    /// How the picture moves.
    pub motion_prompt: String,
    /// How long it stands in the film, in seconds.
    pub duration_seconds: Decimal,
    /// Words for the screen; empty for none.
    pub on_screen_text: String,
    /// What a voice would say over it; empty for none.
    pub narration: String,
    /// Names of earlier shots or files that it should look like.
    #[serde(default)]
    pub references: Vec<String>,
}

/// What a shot names as something to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The picture of another shot, by its number.
    Shot(u32),
    /// A picture of the user's, by its name.
    Picture(String),
}

impl Reference {
    /// Reads what an author wrote: `shot 1`, `Shot #1` or a file's name.
    pub fn read(name: &str) -> Self {
        let name = name.trim().trim_matches(['"', '\'', '`', '“', '”']).trim();
        let lower = name.to_lowercase();
        let number = lower
            .strip_prefix("shot")
            .and_then(|rest| rest.trim_start_matches([' ', '#', '-', '_']).parse::<u32>().ok());
        number.map_or_else(|| Self::Picture(name.to_owned()), Self::Shot)
    }
}

/// What the shots of a storyboard may name as references.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReferenceRules {
    /// The names of the user's pictures that may be named.
    pub pictures: Vec<String>,
    /// The names of those that every keyframe is shown anyhow.
    pub for_all: Vec<String>,
    /// The most that the image model is shown for one picture; 0 where it is shown none, and then
    /// what is named is only left out.
    pub most: usize,
}

/// Why a storyboard was not taken, in words that its author (often a model) can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoryboardError(pub String);

impl Storyboard {
    /// Length of the film in seconds.
    pub fn duration_seconds(&self) -> Decimal {
        self.shots.iter().map(|shot| shot.duration_seconds).sum()
    }

    /// The storyboard with its shots numbered in their order and their lengths stretched or shrunk in
    /// proportion, in tenths of a second, until they fill the film exactly. Authors, models above
    /// all, are good at order and proportion and bad at sums; a sum is nothing to pay twice for.
    #[must_use]
    pub fn fitted(mut self, brief: &Brief, longest_shot_seconds: u32) -> Self {
        for (shot, number) in self.shots.iter_mut().zip(1..) {
            shot.number = number;
        }
        let (length, asked) = (self.duration_seconds(), brief.duration_seconds);
        let longest = Decimal::from(longest_shot_seconds);
        let bounds = SHORTEST_SHOT_SECONDS..=longest.max(SHORTEST_SHOT_SECONDS);
        let is_within = self.shots.iter().all(|shot| bounds.contains(&shot.duration_seconds));
        if (length == asked && is_within) || length <= Decimal::ZERO {
            return self;
        }
        for shot in &mut self.shots {
            let share = (shot.duration_seconds * asked / length).round_dp(1);
            shot.duration_seconds = share.clamp(*bounds.start(), *bounds.end());
        }
        // What rounding and the bounds left over goes to the shots that have room, last to first.
        let mut rest = asked - self.duration_seconds();
        for shot in self.shots.iter_mut().rev() {
            let old = shot.duration_seconds;
            shot.duration_seconds =
                (old + rest).clamp(SHORTEST_SHOT_SECONDS.min(old), longest.max(old));
            rest -= shot.duration_seconds - old;
        }
        self
    }

    /// Checks what the shots name as references: earlier shots and pictures that there are, and no
    /// more of them than the image model is shown.
    pub fn check_references(&self, rules: &ReferenceRules) -> Result<(), StoryboardError> {
        let wrong = |message: String| Err(StoryboardError(message));
        let is_same = |known: &String, name: &str| known.to_lowercase() == name.to_lowercase();
        for (shot, number) in self.shots.iter().zip(1_u32..) {
            let mut others: Vec<String> = Vec::new();
            for name in &shot.references {
                let key = match Reference::read(name) {
                    Reference::Shot(named) if (1..number).contains(&named) => {
                        format!("shot {named}")
                    }
                    Reference::Shot(_) => {
                        return wrong(format!(
                            "shot {number} names '{name}' as a reference; only shots before it can be named"
                        ));
                    }
                    Reference::Picture(picture) => {
                        if rules.for_all.iter().any(|known| is_same(known, &picture)) {
                            continue;
                        }
                        if !rules.pictures.iter().any(|known| is_same(known, &picture)) {
                            let known = if rules.pictures.is_empty() {
                                "there are no pictures that can be named".to_owned()
                            } else {
                                format!("pictures that can be named: {}", rules.pictures.join(", "))
                            };
                            return wrong(format!(
                                "shot {number} names '{name}' as a reference, which is no earlier shot and no picture; {known}"
                            ));
                        }
                        picture.to_lowercase()
                    }
                };
                if !others.contains(&key) {
                    others.push(key);
                }
            }
            let room = rules.most.saturating_sub(rules.for_all.len());
            if rules.most > 0 && others.len() > room {
                return wrong(format!(
                    "shot {number} names {} references; the image model can be shown {room}",
                    others.len()
                ));
            }
        }
        Ok(())
    }

    /// Checks the storyboard against the brief: shots numbered from 1 without gaps, as many as
    /// asked, prompts present and short enough, durations at least
    /// [`SHORTEST_SHOT_SECONDS`] and no longer than `longest_shot_seconds`.
    pub fn check(&self, brief: &Brief, longest_shot_seconds: u32) -> Result<(), StoryboardError> {
        let wrong = |message: String| Err(StoryboardError(message));
        if self.title.trim().is_empty() {
            return wrong("the title is empty".to_owned());
        }
        if self.shots.len() != brief.shots as usize {
            return wrong(format!(
                "the storyboard has {}; {} were asked for",
                counted_shots(self.shots.len()),
                brief.shots
            ));
        }
        for (index, shot) in self.shots.iter().enumerate() {
            let number = index + 1;
            if shot.number as usize != number {
                return wrong(format!("shot {number} carries the number {}", shot.number));
            }
            for (name, prompt) in
                [("image_prompt", &shot.image_prompt), ("motion_prompt", &shot.motion_prompt)]
            {
                let length = prompt.chars().count();
                if prompt.trim().is_empty() {
                    return wrong(format!("the {name} of shot {number} is empty"));
                }
                if length > LONGEST_PROMPT {
                    return wrong(format!(
                        "the {name} of shot {number} has {length} characters; at most {LONGEST_PROMPT} are taken"
                    ));
                }
            }
            if shot.on_screen_text.chars().count() > LONGEST_SCREEN_TEXT {
                return wrong(format!(
                    "the on_screen_text of shot {number} is longer than {LONGEST_SCREEN_TEXT} characters"
                ));
            }
            if shot.duration_seconds < SHORTEST_SHOT_SECONDS
                || shot.duration_seconds > Decimal::from(longest_shot_seconds)
            {
                return wrong(format!(
                    "shot {number} lasts {} s; it must last {SHORTEST_SHOT_SECONDS} to {longest_shot_seconds} s",
                    shot.duration_seconds
                ));
            }
        }
        let (length, asked) = (self.duration_seconds(), brief.duration_seconds);
        if (length - asked).abs() > Decimal::new(5, 1) {
            return wrong(format!(
                "the shots last {length} s together; the film must last {asked} s"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studio::brief::Aspect;
    use proptest::prelude::*;
    use rust_decimal_macros::dec;

    fn brief(duration_seconds: Decimal, shots: u32) -> Brief {
        Brief {
            text: "food video".parse().unwrap(),
            duration_seconds,
            shots,
            aspect: Aspect::Portrait9x16,
            files: Vec::new(),
        }
    }

    fn storyboard(lengths: &[Decimal]) -> Storyboard {
        let shot = |&duration_seconds: &Decimal| Shot {
            number: 7,
            image_prompt: "a bowl of soup".to_owned(),
            motion_prompt: "steam rises".to_owned(),
            duration_seconds,
            on_screen_text: String::new(),
            narration: String::new(),
            references: Vec::new(),
        };
        Storyboard { title: "Soup".to_owned(), shots: lengths.iter().map(shot).collect() }
    }

    #[test]
    fn a_storyboard_that_fits_keeps_its_lengths() {
        let fitted = storyboard(&[dec!(3.25), dec!(6.75)]).fitted(&brief(dec!(10), 2), 10);
        let lengths: Vec<_> = fitted.shots.iter().map(|shot| shot.duration_seconds).collect();
        assert_eq!(lengths, [dec!(3.25), dec!(6.75)]);
        assert_eq!(fitted.shots[1].number, 2);
    }

    #[test]
    fn too_few_seconds_for_the_longest_shot_stay_too_few() {
        let brief = brief(dec!(30), 2);
        let fitted = storyboard(&[dec!(5), dec!(5)]).fitted(&brief, 10);
        assert!(fitted.check(&brief, 10).is_err());
    }

    #[test]
    fn references_are_earlier_shots_and_pictures_that_there_are() {
        let rules = ReferenceRules {
            pictures: vec!["Logo.png".to_owned(), "cup.jpg".to_owned()],
            for_all: vec!["Logo.png".to_owned()],
            most: 2,
        };
        let check = |references: &[&str]| {
            let mut storyboard = storyboard(&[dec!(5), dec!(5)]);
            storyboard.shots[1].references =
                references.iter().map(|name| (*name).to_owned()).collect();
            storyboard.check_references(&rules).map_err(|error| error.0)
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["Shot 1", "shot #1", "logo.PNG"]), Ok(()));
        assert_eq!(check(&["`cup.jpg`"]), Ok(()));
        for forward in ["shot 2", "shot 3", "shot 0"] {
            assert!(check(&[forward]).unwrap_err().contains("only shots before it"), "{forward}");
        }
        assert!(check(&["notes.md"]).unwrap_err().contains("can be named: Logo.png, cup.jpg"));
        assert!(check(&["shot 1", "cup.jpg"]).unwrap_err().contains("names 2 references"));
    }

    #[test]
    fn a_right_sum_does_not_excuse_a_shot_that_is_too_long() {
        let brief = brief(dec!(32.5), 5);
        let lengths = [dec!(10.1), dec!(5.4), dec!(6.6), dec!(2.1), dec!(8.3)];
        let fitted = storyboard(&lengths).fitted(&brief, 10);
        assert_eq!(fitted.check(&brief, 10), Ok(()));
    }

    proptest! {
        #[test]
        fn any_proportion_fills_the_film_exactly(
            lengths in prop::collection::vec(1_i64..300, 1..20),
            each in 10_i64..100,
        ) {
            let lengths: Vec<_> = lengths.into_iter().map(|tenths| Decimal::new(tenths, 1)).collect();
            let shots = u32::try_from(lengths.len()).unwrap();
            let brief = brief(Decimal::new(each, 1) * Decimal::from(shots), shots);
            let fitted = storyboard(&lengths).fitted(&brief, 10);
            prop_assert_eq!(fitted.check(&brief, 10), Ok(()));
            prop_assert_eq!(fitted.duration_seconds(), brief.duration_seconds);
        }
    }
}
