//! A taste as the built-in outline writer can follow it: what it prefers among its own choices,
//! and what it adds to prompts.

use std::collections::HashSet;

use super::reading::Liking;
use super::telling::Told;
use super::traits::{Mention, Trait, in_prompt};
use crate::memory::words::words;

/// The most things in the user's own words that one film is given.
const MOST_THINGS: usize = 2;

/// What a user leans to.
#[derive(Debug, Clone, Default)]
pub struct Leaning {
    traits: Vec<(&'static Trait, Liking)>,
    wanted: Vec<String>,
    unwanted: Vec<Vec<String>>,
}

impl PartialEq for Leaning {
    fn eq(&self, other: &Self) -> bool {
        let names = |leaning: &Self| -> Vec<(&str, Liking)> {
            leaning.traits.iter().map(|(of, liking)| (of.name, *liking)).collect()
        };
        names(self) == names(other)
            && self.wanted == other.wanted
            && self.unwanted == other.unwanted
    }
}

impl Eq for Leaning {}

impl Leaning {
    /// The leaning of what is told of a user, the most important first.
    pub fn of(told: &[Told]) -> Self {
        let mut leaning = Self::default();
        for told in told {
            for (of, liking) in told.traits() {
                // What was told before counts more.
                if leaning.of_trait(of.name).is_none() {
                    leaning.traits.push((of, liking));
                }
            }
            for (thing, liking) in told.things() {
                match liking {
                    Liking::Liked => leaning.wanted.push(thing),
                    Liking::Disliked => leaning.unwanted.push(stems(&thing)),
                }
            }
        }
        leaning
    }

    /// Adds words that must not be used.
    pub fn avoid(&mut self, words: &[String]) {
        self.unwanted.extend(words.iter().map(|words| stems(words)));
    }

    /// Whether a trait is liked or disliked.
    pub fn of_trait(&self, name: &str) -> Option<Liking> {
        self.traits.iter().find(|(of, _)| of.name == name).map(|(_, liking)| *liking)
    }

    /// How well some words of a prompt suit it: what is liked counts once, what is disliked
    /// twice against.
    pub fn suits(&self, text: &str) -> i32 {
        let mut score = 0;
        for mention in in_prompt(text) {
            match self.likes(&mention) {
                Some(true) => score += 1,
                Some(false) => score -= 2,
                None => {}
            }
        }
        let has: HashSet<String> = words(text).into_iter().map(|word| word.stem).collect();
        for unwanted in &self.unwanted {
            if !unwanted.is_empty() && unwanted.iter().all(|stem| has.contains(stem)) {
                score -= 4;
            }
        }
        score
    }

    fn likes(&self, mention: &Mention) -> Option<bool> {
        let liking = self.of_trait(mention.of.name)?;
        Some((liking == Liking::Liked) != mention.is_other)
    }

    /// Words to add to every image prompt, unless `asked`, the user's own brief, is of another
    /// mind about the same trait.
    pub fn picture(&self, asked: &str) -> Vec<String> {
        let told = in_prompt(asked);
        self.traits
            .iter()
            .filter(|(of, _)| told.iter().all(|mention| mention.of.name != of.name))
            .map(|(of, liking)| match liking {
                Liking::Liked => of.picture,
                Liking::Disliked => of.picture_other,
            })
            .filter(|words| !words.is_empty() && self.suits(words) >= 0)
            .map(str::to_owned)
            .collect()
    }

    /// Things that the user likes to see, in the user's own words. One shot of a film is enough
    /// for them: they were liked in a film about something else.
    pub fn things(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().take(MOST_THINGS).map(String::as_str)
    }

    /// Words to add to every motion prompt, likewise.
    pub fn motion(&self, asked: &str) -> Vec<&'static str> {
        let told = in_prompt(asked);
        self.traits
            .iter()
            .filter(|(of, _)| told.iter().all(|mention| mention.of.name != of.name))
            .map(|(of, liking)| match liking {
                Liking::Liked => of.motion,
                Liking::Disliked => of.motion_other,
            })
            .filter(|words| !words.is_empty() && self.suits(words) >= 0)
            .take(2)
            .collect()
    }
}

fn stems(text: &str) -> Vec<String> {
    words(text).into_iter().filter(|word| !word.common).map(|word| word.stem).collect()
}
