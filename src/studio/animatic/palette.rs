//! The colours of a card: taken from the words of its shot, so that a night looks like a night
//! before anything is drawn, and from the film's title where the words name no colour.

use sha2::{Digest, Sha256};

use super::canvas::Yuv;
use crate::studio::storyboard::Shot;

/// The colours of one card. All are chosen so that white text stands out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Palette {
    /// The ground, in red, green and blue from 0 to 1.
    pub(super) ground: [f32; 3],
    /// The light that falls in from one side.
    pub(super) light: [f32; 3],
    /// The second, weaker light.
    pub(super) shade: [f32; 3],
    /// For rules, marks and labels.
    pub(super) accent: Yuv,
}

/// Words that name a light or a colour, with the hue in degrees (OKLCH), how colourful it is
/// (0 to 1), and how bright the ground may be (0 to 1).
const WORDS: &[(&str, f32, f32, f32)] = &[
    ("neon", 330.0, 1.0, 0.2),
    ("midnight", 275.0, 0.8, 0.1),
    ("night", 270.0, 0.8, 0.15),
    ("blue hour", 262.0, 0.9, 0.35),
    ("moonlight", 255.0, 0.6, 0.2),
    ("golden hour", 68.0, 0.9, 0.7),
    ("golden", 75.0, 0.8, 0.6),
    ("sunset", 45.0, 1.0, 0.55),
    ("sunrise", 55.0, 0.8, 0.65),
    ("dawn", 20.0, 0.5, 0.55),
    ("dusk", 310.0, 0.6, 0.35),
    ("terracotta", 40.0, 0.8, 0.45),
    ("ember", 40.0, 1.0, 0.3),
    ("flame", 45.0, 1.0, 0.3),
    ("copper", 50.0, 0.8, 0.45),
    ("rust", 40.0, 0.8, 0.4),
    ("honey", 72.0, 0.9, 0.5),
    ("saffron", 70.0, 0.9, 0.5),
    ("sodium", 60.0, 1.0, 0.25),
    ("coral", 28.0, 0.8, 0.5),
    ("indigo", 278.0, 0.8, 0.3),
    ("graphite", 250.0, 0.1, 0.3),
    ("charcoal", 60.0, 0.15, 0.25),
    ("moss", 130.0, 0.7, 0.4),
    ("candle", 60.0, 0.8, 0.3),
    ("amber", 70.0, 0.9, 0.5),
    ("firelight", 45.0, 1.0, 0.3),
    ("tungsten", 65.0, 0.7, 0.4),
    ("teal", 195.0, 0.8, 0.4),
    ("ocean", 230.0, 0.8, 0.45),
    ("sea", 225.0, 0.7, 0.45),
    ("forest", 150.0, 0.7, 0.35),
    ("green", 145.0, 0.8, 0.45),
    ("herb", 140.0, 0.7, 0.5),
    ("crimson", 20.0, 1.0, 0.35),
    ("red", 25.0, 0.9, 0.45),
    ("pink", 0.0, 0.7, 0.6),
    ("violet", 300.0, 0.8, 0.35),
    ("purple", 305.0, 0.8, 0.35),
    ("orange", 55.0, 1.0, 0.55),
    ("yellow", 95.0, 0.9, 0.65),
    ("blue", 255.0, 0.8, 0.45),
    ("snow", 240.0, 0.2, 0.8),
    ("fog", 230.0, 0.15, 0.6),
    ("mist", 220.0, 0.2, 0.6),
    ("marble", 80.0, 0.1, 0.75),
    ("linen", 80.0, 0.25, 0.7),
    ("wood", 55.0, 0.5, 0.45),
    ("steel", 245.0, 0.2, 0.45),
    ("concrete", 250.0, 0.1, 0.5),
];

impl Palette {
    /// The palette of a shot in the film of that title.
    pub(super) fn of(title: &str, shot: &Shot) -> Self {
        let film = Sha256::digest(title.as_bytes());
        let own_hue = f32::from(film[0]) / 256.0 * 360.0;
        let prompt = shot.image_prompt.to_lowercase();
        // The earliest words of a prompt weigh most with the image models too.
        let mut named: Vec<_> = WORDS
            .iter()
            .filter_map(|word| whole_word(&prompt, word.0).map(|position| (position, word)))
            .collect();
        named.sort_by_key(|(position, _)| *position);
        // Without a word for it, neighbouring shots differ by a step around the colour wheel.
        let step = f32::from(u16::try_from(shot.number % 360).unwrap_or(0)) * 23.0;
        let (hue, colour, bright) =
            named.first().map_or((own_hue + step, 0.6, 0.4), |(_, (_, hue, colour, bright))| {
                (*hue, *colour, *bright)
            });
        let second_hue = named
            .iter()
            .map(|(_, word)| word.1)
            .find(|second| turn_between(*second, hue) > 30.0)
            .unwrap_or(hue + 42.0);
        // Text is white: even the brightest ground stays below a third of the way to white.
        let ground_lightness = 0.15 + 0.10 * bright;
        Self {
            ground: rgb(ground_lightness, 0.03 + 0.03 * colour, hue),
            light: rgb(ground_lightness + 0.24, 0.05 + 0.10 * colour, hue),
            shade: rgb(ground_lightness + 0.12, 0.04 + 0.09 * colour, second_hue),
            accent: Yuv::from_rgb(rgb(0.84, 0.07 + 0.07 * colour, second_hue)),
        }
    }
}

/// Where `word` stands in `text` on its own, in bytes.
fn whole_word(text: &str, word: &str) -> Option<usize> {
    text.match_indices(word).map(|(position, _)| position).find(|&position| {
        let before = text[..position].chars().next_back();
        let after = text[position + word.len()..].chars().next();
        ![before, after].iter().flatten().any(|neighbour| neighbour.is_alphanumeric())
    })
}

/// The angle between two hues, 0 to 180 degrees.
fn turn_between(one: f32, other: f32) -> f32 {
    let turn = (one - other).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

/// Gamma-coded sRGB, each 0 to 1, of a colour in OKLCH (Björn Ottosson's formulas): equal
/// steps of lightness look equal in every hue.
fn rgb(lightness: f32, chroma: f32, hue_degrees: f32) -> [f32; 3] {
    let (sine, cosine) = hue_degrees.to_radians().sin_cos();
    let (a, b) = (chroma * cosine, chroma * sine);
    let long = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let medium = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let short = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * long - 3.307_711_6 * medium + 0.230_969_94 * short,
        -1.268_438 * long + 2.609_757_4 * medium - 0.341_319_38 * short,
        -0.004_196_086_3 * long - 0.703_418_6 * medium + 1.707_614_7 * short,
    ]
    .map(|linear| {
        let linear = linear.clamp(0.0, 1.0);
        if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
    })
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn shot(number: u32, image_prompt: &str) -> Shot {
        Shot {
            number,
            image_prompt: image_prompt.to_owned(),
            motion_prompt: String::new(),
            duration_seconds: Decimal::ONE,
            on_screen_text: String::new(),
            narration: String::new(),
            references: Vec::new(),
        }
    }

    #[test]
    fn white_text_stands_out_from_every_ground() {
        let luminance = |rgb: [f32; 3]| {
            let [red, green, blue] = rgb.map(|part| ((part + 0.055) / 1.055).powf(2.4));
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        let mut prompts: Vec<_> = WORDS.iter().map(|word| format!("a {} thing", word.0)).collect();
        prompts.push("nothing of the kind".to_owned());
        for prompt in prompts {
            for number in 1..20 {
                let palette = Palette::of("Some film", &shot(number, &prompt));
                for ground in [palette.ground, palette.light, palette.shade] {
                    // WCAG's contrast of white; 4.5 is its mark for small text.
                    let contrast = 1.05 / (luminance(ground) + 0.05);
                    assert!(contrast > 4.5, "{prompt} {number}: {contrast}");
                }
            }
        }
    }

    #[test]
    fn words_decide_the_colour_only_as_whole_words() {
        let palette = |prompt| Palette::of("Some film", &shot(1, prompt));
        assert_ne!(palette("a red door"), palette("a green door"));
        assert_eq!(palette("a tired door"), palette("a plain door"));
    }
}
