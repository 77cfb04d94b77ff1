//! How often a taste is found that ratings hold, and how often one that they do not.

use aida::ids::{FeedbackId, ProjectId, ShotId};
use aida::memory::taste::belief::beliefs;
use aida::memory::taste::decay::TOLD;
use aida::store::taste::{Film, FilmShot, Material, Said};
use aida::studio::brief::{Aspect, Brief};
use aida::studio::outline::{self, Direction};
use aida::studio::storyboard::Storyboard;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::viewer::{BRIEFS, share};

fn films() -> Vec<(Film, Storyboard)> {
    let at = |place: i64| -> Timestamp {
        "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap()
            + SignedDuration::from_hours(24 * place)
    };
    (0..)
        .zip(BRIEFS)
        .map(|(place, text)| {
            let brief = Brief {
                text: text.parse().unwrap(),
                duration_seconds: Decimal::from(30),
                shots: 6,
                aspect: Aspect::default(),
                files: Vec::new(),
            };
            let (_, storyboard) = outline::write(&brief, &Direction::default());
            let shots = storyboard.shots.iter().map(|shot| FilmShot {
                id: ShotId::new(),
                number: i32::try_from(shot.number).unwrap(),
                image_prompt: shot.image_prompt.clone(),
                motion_prompt: shot.motion_prompt.clone(),
                seconds: shot.duration_seconds,
                has_text: !shot.on_screen_text.is_empty(),
                has_voice: false,
            });
            let film = Film {
                project: ProjectId::new(),
                campaigns: Vec::new(),
                brief: String::new(),
                is_finished: false,
                created_at: at(place),
                shots: shots.collect(),
            };
            (film, storyboard)
        })
        .collect()
}

/// What is told after the films were rated.
fn told(films: &[(Film, Storyboard)], rating: impl Fn(usize, &Storyboard) -> u8) -> Vec<String> {
    let feedback = films
        .iter()
        .enumerate()
        .map(|(place, (film, storyboard))| Said {
            id: FeedbackId::new(),
            project: film.project,
            shot: None,
            rating: Some(rating(place, storyboard)),
            note: String::new(),
            at: film.created_at,
        })
        .collect();
    let material = Material {
        films: films.iter().map(|(film, _)| film.clone()).collect(),
        feedback,
        retakes: Vec::new(),
    };
    let now = films[films.len() - 1].0.created_at;
    beliefs(&material, |_| false, now)
        .into_iter()
        .filter(|belief| belief.strength(now) >= TOLD)
        .map(|belief| belief.topic)
        .collect()
}

#[test]
fn chance_is_seldom_taken_for_taste_and_taste_is_mostly_found() {
    let films = films();
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut by_chance = 0;
    for _ in 0..200 {
        let ratings: Vec<u8> =
            (0..films.len()).map(|_| u8::try_from(next() % 5 + 1).unwrap()).collect();
        by_chance += told(&films, |place, _| ratings[place]).len();
    }
    let mut found = 0;
    let mut others = 0;
    let mut all = 0;
    for (topic, words, sign) in [
        ("trait:light.warm", &["warm", "golden", "honey", "amber"][..], 1),
        ("trait:light.bright", &["bright", "daylight", "sunlight"], 1),
        ("trait:light.bright", &["dark", "near-black", "low-key"], -1),
        ("trait:camera.overhead", &["overhead", "top-down", "from above"], -1),
        ("trait:finish.grain", &["grain", "16mm", "35mm film"], 1),
        ("trait:air.haze", &["steam", "mist", "haze", "smoke"], 1),
        ("trait:shows.hands", &["hand", "fingers"], 1),
        ("trait:light.silhouette", &["silhouette"], -1),
        ("trait:shows.faces", &["face", "smile", "eyes"], -1),
        ("trait:camera.handheld", &["handheld"], -1),
        ("trait:colour.blue", &["blue"], 1),
    ] {
        for noise in [0, 1] {
            let has = |film: &Storyboard| share(film, words) > 0.0;
            let with = films.iter().filter(|(_, film)| has(film)).count();
            if with < 3 || with > films.len() - 3 {
                continue;
            }
            let ratings: Vec<u8> = films
                .iter()
                .map(|(_, film)| {
                    let noise = if noise == 1 { i64::try_from(next() % 3).unwrap() - 1 } else { 0 };
                    let rating = 3 + if has(film) { sign } else { -sign } + noise;
                    u8::try_from(rating.clamp(1, 5)).unwrap()
                })
                .collect();
            let told = told(&films, |place, _| ratings[place]);
            all += 1;
            found += usize::from(told.iter().any(|told| told == topic));
            others += told.iter().filter(|told| *told != topic).count();
        }
    }
    // Whoever rates by throwing dice is believed to have half a taste.
    assert!(by_chance <= 100, "{by_chance}");
    assert!(found * 10 >= all * 8, "{found} of {all}");
    assert!(others * 2 <= all, "{others}");
}
