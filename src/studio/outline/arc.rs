//! The arc: which scenes, in which order, and how often each is looked at.

use super::genres::{Genre, Scene};
use super::seed::Seed;
use crate::memory::taste::Leaning;

/// Where in the film a shot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Catches the eye.
    Hook,
    /// Develops the matter, in the order of things.
    Build,
    /// Changes the pace, or the point of view.
    Turn,
    /// Keeps the promise of the hook.
    Payoff,
}

/// One shot before it is put into words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) phase: Phase,
    pub(super) scene: &'static Scene,
    /// Which look at its scene this is: 0 is the scene as written, others are its coverage.
    pub(super) angle: usize,
    /// Whether the scene was seen in an earlier shot.
    pub(super) is_second_look: bool,
}

/// The shots of a film.
#[derive(Debug, Clone)]
pub(super) struct Beats {
    pub(super) shots: Vec<Planned>,
}

impl Beats {
    /// Lays the arc of a genre over so many shots.
    pub(super) fn lay(
        genre: &'static Genre,
        shots: u32,
        leaning: &Leaning,
        seed: &mut Seed,
    ) -> Self {
        let counts = phase_counts(shots as usize);
        let scenes = [genre.hook, genre.build, genre.turn, genre.payoff];
        let phases = [Phase::Hook, Phase::Build, Phase::Turn, Phase::Payoff];
        let mut planned = Vec::with_capacity(shots as usize);
        for ((phase, scenes), count) in phases.into_iter().zip(scenes).zip(counts) {
            cover(phase, scenes, count, leaning, seed, &mut planned);
        }
        Self { shots: planned }
    }
}

/// How many shots hook, build, turn and payoff get.
fn phase_counts(shots: usize) -> [usize; 4] {
    match shots {
        0 => [0, 0, 0, 0],
        1 => [0, 0, 0, 1],
        2 => [1, 0, 0, 1],
        3 => [1, 1, 0, 1],
        4 => [1, 2, 0, 1],
        _ => {
            let hook = (shots / 8).max(1);
            let turn = (shots / 10).max(1);
            let payoff = (shots / 6).max(1);
            [hook, shots - hook - turn - payoff, turn, payoff]
        }
    }
}

/// Spreads `count` shots over the scenes: an ordered selection where there are more scenes
/// than shots, otherwise every scene, covered from several sides in a row.
fn cover(
    phase: Phase,
    scenes: &'static [Scene],
    count: usize,
    leaning: &Leaning,
    seed: &mut Seed,
    planned: &mut Vec<Planned>,
) {
    let take = count.min(scenes.len());
    let mut chosen: Vec<usize> = (0..scenes.len()).collect();
    let suits = |index: usize| {
        let scene: &Scene = &scenes[index];
        leaning.suits(scene.picture) + leaning.suits(scene.detail) + leaning.suits(scene.action)
    };
    while chosen.len() > take {
        // What the user dislikes goes first, and what is liked stays longest.
        let worst = chosen.iter().map(|&index| suits(index)).min().unwrap_or(0);
        let first = seed.below(chosen.len());
        let gone = (0..chosen.len())
            .map(|step| (first + step) % chosen.len())
            .find(|&place| suits(chosen[place]) == worst);
        chosen.remove(gone.unwrap_or(first));
    }
    for (place, index) in chosen.into_iter().enumerate() {
        // Wholes and details alternate, and the turn is seen from an unexpected side.
        let first_angle = match phase {
            Phase::Payoff => 0,
            Phase::Hook => seed.below(2),
            Phase::Build => [0, 1, 2, 3, 4, 5][place % 6],
            Phase::Turn => [4, 5, 6][seed.below(3)],
        };
        // The earlier scenes get the shots that do not divide evenly.
        let looks = count / take + usize::from(place < count % take);
        for look in 0..looks {
            planned.push(Planned {
                phase,
                scene: &scenes[index],
                angle: first_angle + look,
                is_second_look: look > 0,
            });
        }
    }
}
