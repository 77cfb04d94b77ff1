//! How a shot is seen: framing, lens, camera move.

use std::collections::HashMap;

use super::arc::Phase;
use super::seed::Seed;
use crate::memory::taste::Leaning;
use crate::memory::taste::reading::Liking;

/// A way of seeing one shot.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Size, angle and lens.
    pub(super) framing: &'static str,
    /// Whether the scene's detail is seen rather than its whole.
    pub(super) is_detail: bool,
    /// What the camera does.
    pub(super) movement: &'static str,
    /// How the move ends.
    pub(super) ending: &'static str,
}

/// The looks at a scene, in the order of classic coverage; each has its own framings, so that
/// no two looks at one scene are alike.
const LOOKS: [(bool, &[&str]); 9] = [
    (
        false,
        &[
            "wide shot at eye level, 28mm lens",
            "medium-wide shot, 35mm lens, layered foreground",
            "low-angle wide shot, 24mm lens",
        ],
    ),
    (
        true,
        &[
            "extreme close-up, 100mm macro lens",
            "tight close-up, 85mm lens at f/1.4",
            "insert shot, 90mm macro, razor-thin focus",
        ],
    ),
    (
        false,
        &[
            "over-the-shoulder shot, 50mm lens",
            "three-quarter view from behind, 50mm lens",
            "view through a doorway, 40mm lens",
        ],
    ),
    (
        true,
        &[
            "top-down detail, perfectly perpendicular, 60mm lens",
            "detail in profile against a dark background, 85mm lens",
        ],
    ),
    (
        false,
        &[
            "bird's-eye view, graphic symmetrical composition",
            "high-angle shot from above, strong diagonals",
        ],
    ),
    (
        true,
        &[
            "detail seen through soft foreground blur, 135mm lens",
            "backlit detail with blooming highlights, 105mm lens",
        ],
    ),
    (
        false,
        &[
            "reflection in glass, doubled image, 50mm lens",
            "silhouette against the brightest part of the scene, 70mm lens",
        ],
    ),
    (
        true,
        &[
            "abstract texture study, 100mm macro, raking light",
            "rack-focus detail, foreground sharp and background dissolving, 75mm lens",
        ],
    ),
    (
        false,
        &[
            "long-lens compression, 200mm, stacked planes",
            "dutch-angle shot, 30mm lens, kinetic energy",
        ],
    ),
];

/// Camera moves for whole scenes.
const WIDE_MOVES: [&str; 9] = [
    "Slow dolly-in at eye level",
    "Smooth lateral tracking shot from left to right",
    "Gentle crane up that opens the space",
    "Slow arc around the subject, a quarter of a circle",
    "Steady handheld follow with natural sway",
    "Slow pull-back that reveals the surroundings",
    "Gimbal glide forward, low over the ground",
    "Slow tilt from the ground up",
    "Lateral slide with a passing foreground",
];
/// Camera moves for details.
const DETAIL_MOVES: [&str; 7] = [
    "Imperceptibly slow push-in",
    "Micro slide along the surface, from right to left",
    "Locked-off frame, all motion inside the picture",
    "Rack focus from the foreground to the subject",
    "Slow overhead rotation of a few degrees",
    "Gentle drift upward in slow motion",
    "Probe-lens glide past the nearest edge",
];
/// Moves that catch the eye.
const HOOK_MOVES: [&str; 4] = [
    "Fast push-in that lands in a sudden calm",
    "Whip of motion that settles on the subject",
    "Slow-motion push-in from near darkness",
    "Quick rise from the ground to the subject",
];
/// Moves that close.
const PAYOFF_MOVES: [&str; 4] = [
    "Slow majestic pull-back",
    "Slow arc that ends on the frontal hero view",
    "Gentle rise into a still, final frame",
    "Slow push-in that holds on the last second",
];
const ENDINGS: [&str; 5] = [
    "Natural physics, one continuous take without cuts",
    "Motion eases out gently at the end",
    "Shapes and faces stay stable, no morphing",
    "Fine secondary motion in the background",
    "The frame holds steady in the last second",
];

/// Remembers what was used in this film and prefers what was used least, of what the user likes
/// and does not dislike.
#[derive(Debug)]
pub(super) struct Camera<'a> {
    used: HashMap<&'static str, usize>,
    leaning: &'a Leaning,
}

impl<'a> Camera<'a> {
    pub(super) fn new(leaning: &'a Leaning) -> Self {
        Self { used: HashMap::new(), leaning }
    }

    /// The view for one look at a scene.
    pub(super) fn view(&mut self, angle: usize, phase: Phase, seed: &mut Seed) -> View {
        let (is_detail, framings) = self.look(angle);
        let moves: &[&'static str] = match (phase, is_detail) {
            (_, true) => &DETAIL_MOVES,
            (Phase::Hook, false) if angle == 0 => &HOOK_MOVES,
            (Phase::Payoff, false) if angle == 0 => &PAYOFF_MOVES,
            _ => &WIDE_MOVES,
        };
        View {
            framing: self.freshest(framings, seed),
            is_detail,
            movement: self.freshest(moves, seed),
            ending: self.freshest(&ENDINGS, seed),
        }
    }

    /// The look of an angle, or the next one that the user likes better.
    fn look(&self, angle: usize) -> (bool, &'static [&'static str]) {
        let looks = (0..LOOKS.len()).map(|step| LOOKS[(angle + step) % LOOKS.len()]);
        let wanted = match self.leaning.of_trait("size.close") {
            Some(Liking::Liked) => Some(true),
            Some(Liking::Disliked) => Some(false),
            None => None,
        };
        let suits = |(is_detail, framings): &(bool, &'static [&'static str])| {
            wanted.is_none_or(|wanted| wanted == *is_detail)
                && framings.iter().any(|framing| self.leaning.suits(framing) >= 0)
        };
        looks.clone().find(suits).unwrap_or(LOOKS[angle % LOOKS.len()])
    }

    fn freshest(&mut self, choices: &[&'static str], seed: &mut Seed) -> &'static str {
        let first = seed.below(choices.len());
        let order = (0..choices.len()).map(|step| choices[(first + step) % choices.len()]);
        let chosen = order.min_by_key(|choice| {
            let suits = self.leaning.suits(choice).clamp(-2, 1);
            (-suits, self.used.get(choice).copied().unwrap_or(0))
        });
        let chosen = chosen.unwrap_or_default();
        *self.used.entry(chosen).or_default() += 1;
        chosen
    }
}
