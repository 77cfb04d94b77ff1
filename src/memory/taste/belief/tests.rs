use jiff::SignedDuration;
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::ids::{FeedbackId, ProjectId, ShotId};
use crate::store::taste::{FilmShot, Retaken, Said};

fn day(days: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * days)
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A film of one shot for each prompt, made on a day.
fn film(number: i64, prompts: &[&str]) -> Film {
    let shots = (1..).zip(prompts).map(|(place, prompt)| FilmShot {
        id: ShotId::from_uuid(id(u128::try_from(number).unwrap() * 100 + place)),
        number: i32::try_from(place).unwrap(),
        image_prompt: (*prompt).to_owned(),
        motion_prompt: String::new(),
        seconds: Decimal::from(5),
        has_text: false,
        has_voice: false,
    });
    Film {
        project: ProjectId::from_uuid(id(u128::try_from(number).unwrap())),
        campaigns: Vec::new(),
        brief: "a thing".to_owned(),
        is_finished: true,
        created_at: day(number),
        shots: shots.collect(),
    }
}

fn said(film: &Film, rating: Option<u8>, note: &str) -> Said {
    let number = film.project.uuid().as_u128() + 1_000_000;
    Said {
        id: FeedbackId::from_uuid(id(number)),
        project: film.project,
        shot: None,
        rating,
        note: note.to_owned(),
        at: film.created_at,
    }
}

fn sentences(beliefs: &[Belief]) -> Vec<&str> {
    beliefs.iter().map(|belief| belief.statement.as_str()).collect()
}

fn all(material: &Material, days: i64) -> Vec<Belief> {
    beliefs(material, |_| false, day(days))
}

/// Films whose first shot is warm or cold and whose second is from a drone or not, rated by a
/// user who loves the one and hates the other.
fn rated(count: i64) -> Material {
    let mut material = Material::default();
    for number in 1..=count {
        let (is_warm, is_aerial) = (number % 2 == 0, number % 3 == 0);
        let first = if is_warm { "a table in warm light" } else { "a table in cold light" };
        let second = if is_aerial { "a drone shot of a roof" } else { "a roof" };
        let film = film(number, &[first, second, "a spoon"]);
        let rating =
            3 + u8::from(is_warm) - u8::from(!is_warm) - u8::from(is_aerial) + u8::from(!is_aerial);
        material.feedback.push(said(&film, Some(rating.clamp(1, 5)), ""));
        material.films.push(film);
    }
    material
}

#[test]
fn ratings_alone_tell_what_is_liked() {
    let found = all(&rated(12), 13);
    assert_eq!(
        sentences(&found),
        ["Dislikes drone shots and aerial views.", "Prefers warm light to cold light."]
    );
    for belief in &found {
        assert!(belief.strength(day(13)) >= super::super::decay::TOLD, "{belief:?}");
        assert!(belief.support() >= 5);
        assert!(belief.evidence.iter().all(|(evidence, _)| evidence.feedback.is_some()));
    }
    assert_eq!(sentences(&all(&rated(3), 4)), Vec::<&str>::new(), "three films prove nothing");
}

#[test]
fn what_came_along_by_chance_is_not_believed() {
    // Liked by chance: neither prompt has anything to do with the rating.
    let mut material = rated(16);
    for (place, said) in material.feedback.iter_mut().enumerate() {
        said.rating = Some([4, 4, 3, 3][place / 4]);
    }
    let found = all(&material, 17);
    assert!(found.is_empty(), "{:?}", sentences(&found));
}

#[test]
fn a_note_is_believed_at_once_and_fades() {
    let film = film(1, &["a table"]);
    let material = Material {
        feedback: vec![said(&film, None, "Too dark!")],
        films: vec![film],
        ..Material::default()
    };
    let found = all(&material, 1);
    assert_eq!(sentences(&found), ["Prefers bright, airy pictures to dark ones."]);
    assert!(found[0].strength(day(1)) >= super::super::decay::TOLD);
    assert!(found[0].strength(day(200)) < super::super::decay::TOLD, "after a year it is not told");
    assert!(all(&material, 1_000).is_empty(), "and then not believed");
}

#[test]
fn what_is_said_later_outweighs_what_was_said_before() {
    let films = [film(1, &["a"]), film(200, &["b"])];
    let feedback = vec![
        said(&films[0], None, "I love drone shots"),
        said(&films[1], None, "I hate drone shots"),
    ];
    let material = Material { films: films.to_vec(), feedback, ..Material::default() };
    let found = all(&material, 201);
    assert_eq!(sentences(&found), ["Dislikes drone shots and aerial views."]);
    assert_eq!((found[0].support(), found[0].evidence.len()), (1, 2));
}

#[test]
fn near_duplicates_in_the_users_words_are_one_belief() {
    let films: Vec<Film> = (1..4).map(|number| film(number, &["a"])).collect();
    let feedback = vec![
        said(&films[0], None, "Love the ginger tea"),
        said(&films[1], None, "ginger tea is lovely"),
        said(&films[2], None, "More violin music"),
    ];
    let material = Material { films, feedback, ..Material::default() };
    let found = all(&material, 5);
    assert_eq!(sentences(&found), ["Love the ginger tea.", "More violin music."]);
    assert_eq!(found[0].support(), 2);
}

#[test]
fn a_campaigns_taste_is_its_own_until_another_shares_it() {
    let (spring, autumn) = (CampaignId::new(), CampaignId::new());
    let mut films: Vec<Film> = (1..3).map(|number| film(number, &["a"])).collect();
    films[0].campaigns = vec![spring];
    films[1].campaigns = vec![autumn];
    let mut material = Material {
        feedback: vec![said(&films[0], None, "too dark")],
        films: films.clone(),
        ..Material::default()
    };
    let found = all(&material, 5);
    assert_eq!(found.iter().map(|belief| belief.campaign).collect::<Vec<_>>(), [Some(spring)]);
    material.feedback.push(said(&films[1], None, "brighter please"));
    let found = all(&material, 5);
    assert_eq!(found.iter().map(|belief| belief.campaign).collect::<Vec<_>>(), [None]);
}

#[test]
fn retakes_count_as_dislike_unless_the_user_went_back() {
    let mut material = Material::default();
    for number in 1..=8 {
        let film = film(number, &["a drone shot", "a table", "a drone shot of a sea", "a spoon"]);
        for shot in [1, 3] {
            material.retakes.push(Retaken {
                project: film.project,
                shot,
                was_bought: true,
                at: day(number),
            });
        }
        material.films.push(film);
    }
    let found = all(&material, 9);
    assert_eq!(sentences(&found), ["Dislikes drone shots and aerial views."]);
    let kinds: BTreeSet<_> = found[0].evidence.iter().map(|(evidence, _)| evidence.kind).collect();
    assert!(kinds.contains(&EvidenceKind::Retake) && kinds.contains(&EvidenceKind::Kept));
    let back: Vec<Retaken> = material
        .retakes
        .iter()
        .map(|retaken| Retaken { was_bought: false, at: day(20), ..*retaken })
        .collect();
    material.retakes.extend(back);
    assert!(all(&material, 21).is_empty());
}

#[test]
fn what_is_forgotten_is_not_believed_again() {
    let material = rated(12);
    let found = beliefs(&material, |topic| topic == "trait:light.warm", day(13));
    assert_eq!(sentences(&found), ["Dislikes drone shots and aerial views."]);
}

proptest! {
    #[test]
    fn the_order_in_which_things_came_does_not_matter(
        order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let material = rated(12);
        let mut other = Material::default();
        for place in order {
            other.films.push(material.films[place].clone());
            other.feedback.push(material.feedback[place].clone());
        }
        let told = |material: &Material| -> Vec<(String, usize, usize)> {
            all(material, 13)
                .iter()
                .map(|belief| (belief.statement.clone(), belief.support(), belief.evidence.len()))
                .collect()
        };
        prop_assert_eq!(told(&material), told(&other));
    }

    /// Liking one end of a scale is disliking the other, in the same measure.
    #[test]
    fn support_is_symmetric(ratings in prop::collection::vec(1_u8..=5, 12)) {
        let mut material = rated(12);
        for (said, rating) in material.feedback.iter_mut().zip(&ratings) {
            said.rating = Some(*rating);
        }
        let mut turned = material.clone();
        for film in &mut turned.films {
            for shot in &mut film.shots {
                let prompt = &shot.image_prompt;
                shot.image_prompt = if prompt.contains("warm") {
                    prompt.replace("warm", "cold")
                } else {
                    prompt.replace("cold", "warm")
                };
            }
        }
        let warmth = |material: &Material| {
            all(material, 13)
                .into_iter()
                .find(|belief| belief.topic == "trait:light.warm")
                .map(|belief| (belief.liking, belief.support(), (belief.strength(day(13)) * 1e3).round()))
        };
        let (one, other) = (warmth(&material), warmth(&turned));
        prop_assert_eq!(
            one.map(|(liking, support, strength)| (liking.opposite(), support, strength.to_bits())),
            other.map(|(liking, support, strength)| (liking, support, strength.to_bits()))
        );
    }
}
