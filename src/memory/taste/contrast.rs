//! What distinguishes well rated films and shots from badly rated ones.
//!
//! Every rated film or shot is a row: which traits it shows, and how much better than usual it
//! was liked. The trait that explains most is taken, its effect is taken out of what is left to
//! explain, and so on, so that what merely came along with it is not taken for a taste. A trait
//! has to stand out clearly from what chance would do, and needs films with it and without it.

use std::collections::HashMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::decay::WHOLE;
use super::evidence::{Evidence, EvidenceKind, Topic};
use super::reading::Liking;
use super::traits::{TRAITS, in_prompt};
use crate::ids::{FeedbackId, ProjectId, ShotId};
use crate::store::taste::{Film, FilmShot, Material, Said};

/// With fewer rated films and shots than this, nothing is concluded.
const FEWEST_ROWS: usize = 5;
/// The most traits that are found.
const MOST_TRAITS: usize = 8;
/// How clearly a trait must stand out, in standard errors.
const CLEAR: f64 = 2.6;
/// What share of the ratings must agree with it, by weight. There are some sixty traits, and a few
/// of sixty that mean nothing stand out by chance; but not by most ratings.
const AGREED: f64 = 0.75;
/// How much it must matter between having it and not, in stars.
const STARS: f64 = 0.8;
/// The scatter of ratings that means nothing, as a variance in stars.
const SCATTER: f64 = 0.15;
/// The weight of a shot's rating against a film's.
const SHOT: f64 = 0.7;
/// The weight of a take that was bought again, or kept where others were not.
const DEED: f64 = 0.3;
/// From this mean length in seconds on shots are slow, and up to that they are fast.
const LONG_SECONDS: i64 = 7;
const SHORT_SECONDS: i64 = 2;

/// What shots show: 1 for a trait, -1 for the other end of its scale, by the trait's place.
type Shows = Vec<f64>;

struct Row {
    project: ProjectId,
    shot: Option<ShotId>,
    feedback: Option<FeedbackId>,
    kind: EvidenceKind,
    at: Timestamp,
    shows: Shows,
    /// How much better than usual it was liked, in stars.
    liked: f64,
    weight: f64,
}

/// What every shot of some films shows.
#[derive(Debug)]
pub struct Looked(HashMap<ShotId, Shows>);

impl Looked {
    /// Looks at every shot once.
    pub fn at(films: &[Film]) -> Self {
        let shots = films.iter().flat_map(|film| &film.shots);
        Self(shots.map(|shot| (shot.id, shows(shot))).collect())
    }

    fn of(&self, shot: &FilmShot) -> &[f64] {
        self.0.get(&shot.id).map(Vec::as_slice).unwrap_or_default()
    }

    fn trait_of(&self, shot: &FilmShot, place: usize) -> f64 {
        self.of(shot).get(place).copied().unwrap_or(0.0)
    }
}

/// What the ratings, retakes and kept takes of some films say of traits.
pub fn evidence(material: &Material, films: &[&Film], looked: &Looked) -> Vec<Evidence> {
    let rows = rows(material, films, looked);
    let shots: HashMap<ProjectId, &[FilmShot]> =
        films.iter().map(|film| (film.project, film.shots.as_slice())).collect();
    let mut found = Vec::new();
    for (place, effect) in standing_out(&rows) {
        let mean = mean_of(&rows, place);
        for row in &rows {
            let more = row.shows[place] - mean;
            if more.abs() < 0.05 || row.liked.abs() < 0.25 {
                continue;
            }
            let weight =
                (row.liked.abs() / 2.0).min(1.0) * (more.abs() * 1.5).min(1.0) * row.weight;
            let supports = (more * row.liked * effect) > 0.0;
            let taste = if effect > 0.0 { Liking::Liked } else { Liking::Disliked };
            found.push(Evidence {
                topic: Topic::Trait(&TRAITS[place]),
                liking: if supports { taste } else { taste.opposite() },
                kind: row.kind,
                weight: thousandths(weight),
                project: row.project,
                shot: row.shot,
                feedback: row.feedback,
                words: where_seen(
                    row,
                    place,
                    shots.get(&row.project).copied().unwrap_or_default(),
                    looked,
                ),
                at: row.at,
            });
        }
    }
    found
}

fn thousandths(weight: f64) -> u32 {
    (weight * f64::from(WHOLE)).round().to_u32().unwrap_or(0).max(1)
}

/// Where in a film a trait was seen, for people.
fn where_seen(row: &Row, place: usize, shots: &[FilmShot], looked: &Looked) -> String {
    let seen: Vec<String> = shots
        .iter()
        .filter(|shot| row.shot.is_none_or(|id| id == shot.id))
        .filter(|shot| looked.trait_of(shot, place) > 0.0)
        .map(|shot| shot.number.to_string())
        .collect();
    let other = shots
        .iter()
        .filter(|shot| row.shot.is_none_or(|id| id == shot.id))
        .any(|shot| looked.trait_of(shot, place) < 0.0);
    match (seen.len(), other) {
        (0, false) => "without it".to_owned(),
        (0, true) => "with the opposite".to_owned(),
        (1, _) => format!("with it in shot {}", seen[0]),
        (_, _) => format!("with it in shots {}", seen.join(", ")),
    }
}

/// Traits that explain the ratings, with their effect in stars, the clearest first.
fn standing_out(rows: &[Row]) -> Vec<(usize, f64)> {
    let mut found = Vec::new();
    if rows.len() < FEWEST_ROWS {
        return found;
    }
    let all: f64 = rows.iter().map(|row| row.weight).sum();
    let mean = rows.iter().map(|row| row.weight * row.liked).sum::<f64>() / all;
    let mut left: Vec<f64> = rows.iter().map(|row| row.liked - mean).collect();
    let columns: Vec<Option<Vec<f64>>> =
        (0..TRAITS.len()).map(|place| column(rows, place)).collect();
    while found.len() < MOST_TRAITS {
        let square: f64 = rows.iter().zip(&left).map(|(row, left)| row.weight * left * left).sum();
        let mut best: Option<(usize, f64, f64)> = None;
        for (place, column) in columns.iter().enumerate() {
            let Some(column) =
                column.as_ref().filter(|_| found.iter().all(|&(known, _)| known != place))
            else {
                continue;
            };
            let sum = |value: &dyn Fn(usize) -> f64| -> f64 {
                rows.iter().enumerate().map(|(index, row)| row.weight * value(index)).sum()
            };
            let spread = sum(&|index| column[index] * column[index]);
            let shared = sum(&|index| column[index] * left[index]);
            // A little shrunk, because few films prove little.
            let effect = shared / (spread + 0.5);
            let unexplained =
                ((square - effect * shared) / (all - 2.0).max(1.0)).max(0.0) + SCATTER;
            let clear = shared / (spread * unexplained).sqrt();
            let range = column.iter().copied().fold(f64::MIN, f64::max)
                - column.iter().copied().fold(f64::MAX, f64::min);
            let is_clear = clear.abs() >= CLEAR
                && effect.abs() * range >= STARS
                && agreement(rows, column, effect) >= AGREED;
            if is_clear && best.is_none_or(|(_, _, clearest)| clear.abs() > clearest + 1e-9) {
                best = Some((place, effect, clear.abs()));
            }
        }
        let Some((place, effect, _)) = best else { break };
        if let Some(column) = &columns[place] {
            for (left, value) in left.iter_mut().zip(column) {
                *left -= effect * value;
            }
        }
        found.push((place, effect));
    }
    found
}

/// The share of the ratings, by how decided they are, that speak for an effect.
fn agreement(rows: &[Row], column: &[f64], effect: f64) -> f64 {
    let (mut agreed, mut all) = (0.0, 0.0);
    for (row, more) in rows.iter().zip(column) {
        let said = row.weight * row.liked * more;
        all += said.abs();
        if said * effect > 0.0 {
            agreed += said.abs();
        }
    }
    agreed / all.max(f64::MIN_POSITIVE)
}

fn mean_of(rows: &[Row], place: usize) -> f64 {
    let all: f64 = rows.iter().map(|row| row.weight).sum();
    rows.iter().map(|row| row.weight * row.shows[place]).sum::<f64>() / all.max(f64::MIN_POSITIVE)
}

/// How much more than usual each row shows a trait; none where there are too few with it or
/// without it to compare.
fn column(rows: &[Row], place: usize) -> Option<Vec<f64>> {
    let mean = mean_of(rows, place);
    let column: Vec<f64> = rows.iter().map(|row| row.shows[place] - mean).collect();
    let with = column.iter().filter(|more| **more > 0.05).count();
    let without = column.iter().filter(|more| **more < -0.05).count();
    (with >= 2 && without >= 2).then_some(column)
}

fn rows(material: &Material, films: &[&Film], looked: &Looked) -> Vec<Row> {
    let known: HashMap<ProjectId, &Film> = films.iter().map(|film| (film.project, *film)).collect();
    let mut rows = Vec::new();
    let rated: Vec<(&Said, u8)> = material
        .feedback
        .iter()
        .filter(|said| known.contains_key(&said.project))
        .filter_map(|said| Some((said, said.rating?)))
        .collect();
    let count = u32::try_from(rated.len()).unwrap_or(u32::MAX);
    let sum: u32 = rated.iter().map(|(_, rating)| u32::from(*rating)).sum();
    // What is usual for this user; a few ratings are not taken for the whole of it.
    let usual = f64::from(sum + 6) / f64::from(count + 2);
    for (said, rating) in &rated {
        let Some(film) = known.get(&said.project) else { continue };
        let shows = match said.shot {
            Some(id) => {
                film.shots.iter().find(|shot| shot.id == id).map(|shot| looked.of(shot).to_vec())
            }
            None => Some(film_shows(&film.shots, looked)),
        };
        let Some(shows) = shows else { continue };
        rows.push(Row {
            project: said.project,
            shot: said.shot,
            feedback: Some(said.id),
            kind: EvidenceKind::Rating,
            at: said.at,
            shows,
            liked: f64::from(*rating) - usual,
            weight: if said.shot.is_some() { SHOT } else { 1.0 },
        });
    }
    for film in films {
        deeds(material, film, looked, &mut rows);
    }
    rows.sort_by_key(|row| (row.at, row.project, row.shot, row.feedback));
    rows
}

/// Shots that were taken again, and those that were kept beside them. Who went back to an
/// earlier take has not disliked it.
fn deeds(material: &Material, film: &Film, looked: &Looked, rows: &mut Vec<Row>) {
    let last = |number: i32| {
        let of_shot = |retaken: &&crate::store::taste::Retaken| {
            retaken.project == film.project && retaken.shot == number
        };
        material.retakes.iter().rfind(of_shot)
    };
    if !film.shots.iter().any(|shot| last(shot.number).is_some_and(|last| last.was_bought)) {
        return;
    }
    for shot in &film.shots {
        let (kind, liked, at) = match last(shot.number) {
            Some(last) if last.was_bought => (EvidenceKind::Retake, -1.0, last.at),
            None if film.is_finished => (EvidenceKind::Kept, 0.5, film.created_at),
            Some(_) | None => continue,
        };
        rows.push(Row {
            project: film.project,
            shot: Some(shot.id),
            feedback: None,
            kind,
            at,
            shows: looked.of(shot).to_vec(),
            liked,
            weight: DEED,
        });
    }
}

/// What one shot shows.
fn shows(shot: &FilmShot) -> Shows {
    let mut shows = vec![0.0; TRAITS.len()];
    for text in [&shot.image_prompt, &shot.motion_prompt] {
        for mention in in_prompt(text) {
            let sign: f64 = if mention.is_other { -1.0 } else { 1.0 };
            let own: &mut f64 = &mut shows[mention.of.place()];
            // What shows both ends shows neither.
            *own = if *own * sign < 0.0 { 0.0 } else { sign };
        }
    }
    for (place, known) in TRAITS.iter().enumerate() {
        match known.name {
            "words.screen" => shows[place] = f64::from(u8::from(shot.has_text)),
            "words.voice" => shows[place] = f64::from(u8::from(shot.has_voice)),
            "pace.slow" if shot.seconds >= Decimal::from(LONG_SECONDS) => shows[place] = 1.0,
            "pace.slow" if shot.seconds <= Decimal::from(SHORT_SECONDS) => shows[place] = -1.0,
            _ => {}
        }
    }
    shows
}

/// What a film shows: the share of its shots. Its root is taken, because one drone shot in six is
/// noticed more than a sixth.
fn film_shows(shots: &[FilmShot], looked: &Looked) -> Shows {
    let mut sums = vec![0.0; TRAITS.len()];
    for shot in shots {
        for (sum, value) in sums.iter_mut().zip(looked.of(shot)) {
            *sum += value;
        }
    }
    let count = shots.len().max(1).to_f64().unwrap_or(1.0);
    for sum in &mut sums {
        let share: f64 = *sum / count;
        *sum = share.signum() * share.abs().sqrt();
    }
    sums
}
