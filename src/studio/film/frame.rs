//! Which size and rate a film has, and what each clip needs to fit in. Pure.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::ClipInFilm;
use super::inspect::ClipFacts;
use crate::studio::brief::Aspect;

/// A clip this much longer or shorter than asked is not worth encoding anew, in thousandths of
/// a second: a little more than one picture at 24 a second.
const UNNOTICED_MILLISECONDS: i64 = 50;
/// The share of a picture that may be cropped away to fill the frame. Beyond it the whole
/// picture is shown, over a blurred copy of itself.
const MOST_CROPPED: f64 = 0.34;
/// How far a shape may be from the asked aspect, as a share, to count as that aspect. Kling
/// returns 1076 × 1924 for a Midjourney picture of 9:16.
const SAME_SHAPE: f64 = 0.01;
/// How the clips become one film.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Method {
    /// They are joined as they are.
    Join,
    /// Each becomes a segment of this kind first.
    Encode(Frame),
}

/// Size and rate of the film.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rate: Rate,
}

/// Pictures per second as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) pictures: u32,
    pub(super) seconds: u32,
}

impl Rate {
    /// The rates that cameras and players know.
    const USUAL: [Self; 8] = [
        Self { pictures: 24_000, seconds: 1001 },
        Self { pictures: 24, seconds: 1 },
        Self { pictures: 25, seconds: 1 },
        Self { pictures: 30_000, seconds: 1001 },
        Self { pictures: 30, seconds: 1 },
        Self { pictures: 50, seconds: 1 },
        Self { pictures: 60_000, seconds: 1001 },
        Self { pictures: 60, seconds: 1 },
    ];

    pub(super) fn per_second(self) -> f64 {
        f64::from(self.pictures) / f64::from(self.seconds)
    }

    /// The usual rate nearest to a measured one.
    fn nearest(per_second: f64) -> Self {
        let distance = |rate: &Self| (rate.per_second() - per_second).abs();
        Self::USUAL
            .into_iter()
            .min_by(|one, other| distance(one).total_cmp(&distance(other)))
            .unwrap_or(Self { pictures: 24, seconds: 1 })
    }

    /// The number of the picture that stands at a time.
    fn picture_at(self, seconds: Decimal) -> u64 {
        let pictures = seconds * Decimal::from(self.pictures) / Decimal::from(self.seconds);
        pictures.round().to_u64().unwrap_or(0)
    }

    /// How long so many pictures stand, in seconds.
    pub(super) fn seconds(self, pictures: u64) -> Decimal {
        Decimal::from(pictures) * Decimal::from(self.seconds) / Decimal::from(self.pictures)
    }
}

/// A clip with what its header says.
pub(super) struct Checked<'a> {
    pub(super) clip: &'a ClipInFilm,
    pub(super) facts: ClipFacts,
}

pub(super) fn choose(clips: &[Checked<'_>], aspect: Aspect, audio: bool) -> Method {
    let Some(first) = clips.first() else { return Method::Join };
    let unnoticed = Decimal::new(UNNOTICED_MILLISECONDS, 3);
    let mut drift = Decimal::ZERO;
    let alike = clips.iter().all(|Checked { clip, facts }| {
        let off = facts.seconds - clip.trim_seconds;
        drift += off;
        facts.joint == first.facts.joint
            && facts.plays_everywhere
            && (facts.has_audio || !audio)
            && off.abs() <= unnoticed
            && drift.abs() <= unnoticed * Decimal::TWO
            // The list of the concat demuxer is made of lines.
            && clip.path.to_str().is_some_and(|path| !path.contains(['\n', '\r']))
    });
    if alike && has_shape(first.facts.width, first.facts.height, aspect) {
        Method::Join
    } else {
        Method::Encode(frame(clips, aspect))
    }
}

fn has_shape(width: u32, height: u32, aspect: Aspect) -> bool {
    let (across, down) = aspect.film_pixels();
    let shape = f64::from(width) / f64::from(height);
    (shape * f64::from(down) / f64::from(across) - 1.0).abs() <= SAME_SHAPE
}

/// The film's frame: the clips' own size where they share one of exactly the asked shape, else
/// the usual size of the shape that is nearest to the largest clip; the rate that most clips
/// have.
fn frame(clips: &[Checked<'_>], aspect: Aspect) -> Frame {
    let (across, down) = aspect.film_pixels();
    let sizes = || clips.iter().map(|checked| (checked.facts.width, checked.facts.height));
    let shared = sizes().next().filter(|&first| sizes().all(|size| size == first)).filter(
        |&(width, height)| {
            width % 2 + height % 2 == 0
                && u64::from(width) * u64::from(down) == u64::from(height) * u64::from(across)
        },
    );
    let (width, height) = shared.unwrap_or_else(|| {
        let short = sizes().map(|(width, height)| width.min(height)).max().unwrap_or(1080);
        // Enlarging by a tenth is not seen; making a small clip huge wastes the disk.
        let short = [540, 720, 1080].into_iter().find(|usual| short * 10 <= usual * 11);
        let short = short.unwrap_or(1080);
        let even = |side: u32| (side * short / 1080).next_multiple_of(2);
        (even(across), even(down))
    });
    let mut rates: Vec<(Rate, usize)> = Vec::new();
    for checked in clips {
        let rate = Rate::nearest(checked.facts.frames_per_second);
        match rates.iter_mut().find(|(known, _)| *known == rate) {
            Some((_, count)) => *count += 1,
            None => rates.push((rate, 1)),
        }
    }
    // The first of the most frequent, so that the choice does not depend on the order of maps.
    let most = rates.iter().map(|(_, count)| *count).max();
    let rate = rates
        .iter()
        .find(|(_, count)| Some(*count) == most)
        .map_or(Rate { pictures: 24, seconds: 1 }, |(rate, _)| *rate);
    Frame { width, height, rate }
}

/// How many pictures each clip gets. Rounding is done on the film's clock, so that errors do
/// not add up over sixty clips.
pub(super) fn pictures_of_each(clips: &[Checked<'_>], rate: Rate) -> Vec<u64> {
    let mut seconds = Decimal::ZERO;
    let mut begin = 0;
    clips
        .iter()
        .map(|checked| {
            seconds += checked.clip.trim_seconds;
            let end = rate.picture_at(seconds).max(begin + 1);
            let pictures = end - begin;
            begin = end;
            pictures
        })
        .collect()
}

/// The filters that bring a picture to the frame.
pub(super) fn fitting(facts: &ClipFacts, frame: Frame) -> String {
    let Frame { width, height, .. } = frame;
    let fill = format!(
        "scale={width}:{height}:force_original_aspect_ratio=increase:flags=lanczos,crop={width}:{height}"
    );
    let shape = f64::from(facts.width) / f64::from(facts.height);
    let asked = f64::from(width) / f64::from(height);
    let cropped = 1.0 - (shape / asked).min(asked / shape);
    if facts.width == width && facts.height == height {
        "null".to_owned()
    } else if cropped <= MOST_CROPPED {
        fill
    } else {
        format!(
            "split[back][front];[back]{fill},boxblur=24:2[blurred];\
             [front]scale={width}:{height}:force_original_aspect_ratio=decrease:flags=lanczos[sharp];\
             [blurred][sharp]overlay=(W-w)/2:(H-h)/2"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn facts(milliseconds: i64, width: u32, height: u32, rate: f64) -> ClipFacts {
        ClipFacts {
            seconds: Decimal::new(milliseconds, 3),
            width,
            height,
            codec: "avc1".to_owned(),
            frames_per_second: rate,
            has_audio: false,
            bytes: 1,
            joint: [7; 32],
            plays_everywhere: true,
        }
    }

    fn clip(milliseconds: i64) -> ClipInFilm {
        ClipInFilm { path: PathBuf::from("clip.mp4"), trim_seconds: Decimal::new(milliseconds, 3) }
    }

    #[test]
    fn clips_alike_are_joined_and_others_encoded() {
        let clip = clip(5000);
        let good = facts(5042, 1076, 1924, 24.0);
        let method = |change: &dyn Fn(&mut ClipFacts), audio| {
            let mut other = good.clone();
            change(&mut other);
            let clips = [
                Checked { clip: &clip, facts: good.clone() },
                Checked { clip: &clip, facts: other },
            ];
            choose(&clips, Aspect::Portrait9x16, audio)
        };
        assert_eq!(method(&|_| (), false), Method::Join);
        let encoded = |method| matches!(method, Method::Encode(_));
        assert!(encoded(method(&|_| (), true)), "sound was asked for and is missing");
        assert!(encoded(method(&|facts| facts.joint = [8; 32], false)));
        assert!(encoded(method(&|facts| facts.plays_everywhere = false, false)));
        assert!(encoded(method(&|facts| facts.seconds = Decimal::TEN, false)));
        let one = [Checked { clip: &clip, facts: good.clone() }];
        assert!(encoded(choose(&one, Aspect::Landscape16x9, false)));
    }

    #[test]
    fn the_frame_has_the_asked_shape() {
        let clip = clip(5000);
        let size = |sizes: &[(u32, u32)], aspect| {
            let clips: Vec<_> = sizes
                .iter()
                .map(|&(width, height)| Checked {
                    clip: &clip,
                    facts: facts(5000, width, height, 24.0),
                })
                .collect();
            let frame = frame(&clips, aspect);
            (frame.width, frame.height)
        };
        assert_eq!(size(&[(720, 1280), (720, 1280)], Aspect::Portrait9x16), (720, 1280));
        assert_eq!(size(&[(2160, 3840)], Aspect::Portrait9x16), (2160, 3840));
        assert_eq!(size(&[(1076, 1924)], Aspect::Portrait9x16), (1080, 1920));
        assert_eq!(size(&[(1280, 720), (640, 360)], Aspect::Landscape16x9), (1280, 720));
        assert_eq!(size(&[(1280, 720)], Aspect::Square), (720, 720));
        assert_eq!(size(&[(300, 301)], Aspect::Portrait2x3), (540, 810));
    }

    #[test]
    fn the_rate_is_the_one_that_most_clips_have() {
        let clip = clip(5000);
        let clips = [30.0, 24.02, 23.999, 24.0]
            .map(|rate| Checked { clip: &clip, facts: facts(5000, 720, 1280, rate) });
        assert_eq!(frame(&clips, Aspect::Portrait9x16).rate, Rate { pictures: 24, seconds: 1 });
    }

    #[test]
    fn a_picture_of_another_shape_is_shown_whole() {
        let frame = Frame { width: 1080, height: 1920, rate: Rate { pictures: 24, seconds: 1 } };
        assert_eq!(fitting(&facts(1, 1080, 1920, 24.0), frame), "null");
        assert!(!fitting(&facts(1, 1080, 1620, 24.0), frame).contains("overlay"));
        assert!(fitting(&facts(1, 1920, 1080, 24.0), frame).contains("overlay"));
    }

    proptest! {
        #[test]
        fn rounding_does_not_add_up(
            trims in proptest::collection::vec(100_i64..15_000, 1..60),
            rate in 0_usize..8,
        ) {
            let rate = Rate::USUAL[rate];
            let clips: Vec<_> = trims.iter().map(|&trim| clip(trim)).collect();
            let checked: Vec<_> = clips
                .iter()
                .map(|clip| Checked { clip, facts: facts(5000, 720, 1280, 24.0) })
                .collect();
            let pictures: u64 = pictures_of_each(&checked, rate).iter().sum();
            let asked: Decimal = clips.iter().map(|clip| clip.trim_seconds).sum();
            let off = (rate.seconds(pictures) - asked).abs();
            prop_assert!(off <= Decimal::new(5, 1) / Decimal::from(23) , "{off}");
        }
    }
}
