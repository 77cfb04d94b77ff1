//! Hidden tastes, found out over twenty films by ratings alone, by remarks, or both.

use aida::memory::taste::telling;

use crate::viewer::{Viewer, mean, share};

#[tokio::test]
async fn a_taste_that_is_only_rated_is_found_out_and_followed() {
    let viewer = Viewer::new().await;
    let seen = viewer
        .watch(|_, film| {
            let warm = share(film, &["warm", "golden", "honey", "amber"]) > 0.0;
            let shaky = share(film, &["handheld"]) > 0.0;
            let rating: i8 = 3 + if warm { 1 } else { -1 } + if shaky { -1 } else { 1 };
            (u8::try_from(rating).unwrap(), String::new())
        })
        .await;
    let told = viewer.told().await;
    for sentence in ["Prefers warm light to cold light.", "Dislikes a handheld, shaky camera."] {
        assert!(told.iter().any(|told| told == sentence), "{sentence} is not in {told:#?}");
    }
    let late = &seen[14..];
    assert!(mean(late) >= mean(&seen[..6]) + 1.0, "{} {}", mean(&seen[..6]), mean(late));
    for seen in late {
        assert!(share(&seen.storyboard, &["warm", "golden"]) > 0.9, "{:#?}", seen.storyboard);
        assert!(share(&seen.storyboard, &["handheld"]) < 0.1, "{:#?}", seen.storyboard);
    }
}

#[tokio::test]
async fn a_taste_that_is_said_is_followed_from_the_next_film_on() {
    let viewer = Viewer::new().await;
    let seen = viewer
        .watch(|place, film| {
            let fast = share(film, &["fast", "whip", "kinetic", "quick"]) > 0.0;
            let wide = share(film, &["wide shot", "wide-angle"]) > 0.2;
            let written = film.shots.iter().any(|shot| !shot.on_screen_text.is_empty());
            let warm = share(film, &["warm"]) > 0.9;
            let note = match place {
                0 => "Nice, but too fast. And please no text on the screen!",
                2 => "I love warm light",
                4 => "zu viele Totalen, mehr Nahaufnahmen bitte",
                7 => "more violin strings",
                _ => "",
            };
            let bad = [fast, wide, written, !warm].iter().filter(|bad| **bad).count();
            (5 - u8::try_from(bad).unwrap(), note.to_owned())
        })
        .await;
    let told = viewer.told().await;
    for sentence in [
        "Prefers warm light to cold light.",
        "Prefers a slow, calm pace with long shots to fast cutting.",
        "Prefers close-ups to wide shots.",
        "Dislikes words on the screen: as little on-screen text as possible.",
        "More violin strings.",
    ] {
        assert!(told.iter().any(|told| told == sentence), "{sentence} is not in {told:#?}");
    }
    assert!(mean(&seen[8..]) > 4.99, "everything that was said is followed");
    assert!(mean(&seen[..3]) < 4.0);
    assert!(share(&seen[9].storyboard, &["violin strings"]) > 0.0);
}

#[tokio::test]
async fn indifference_teaches_nothing() {
    let viewer = Viewer::new().await;
    viewer.watch(|place, _| ([3, 4, 3, 5, 4][place % 5], "fine".to_owned())).await;
    assert_eq!(viewer.told().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_told_keeps_its_bytes_while_evidence_comes_in() {
    let viewer = Viewer::new().await;
    let mut texts = Vec::new();
    for place in 0..20 {
        let (project, _) = viewer.make(&format!("film number {place}"), None).await;
        viewer.rate(project, Some(2), "too dark, and no drone shots").await;
        texts.push(telling::text(&viewer.memory.told("ada", None).await.unwrap()));
    }
    let mut changes = texts.clone();
    changes.dedup();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!(
        changes[0],
        "- Prefers bright, airy pictures to dark ones.\n- Dislikes drone shots and aerial views."
    );
    assert!(!texts[0].chars().any(|character| character.is_ascii_digit()));

    viewer.clock.pass(180 * 8);
    assert_eq!(viewer.told().await, Vec::<String>::new(), "after years it is told no more");
}

#[tokio::test]
async fn a_later_rating_takes_the_place_of_the_rating_and_not_of_the_words() {
    let viewer = Viewer::new().await;
    let (project, _) = viewer.make("food video", None).await;
    // The first names what is wrong; of the second the rating alone says whether it is liked.
    viewer.rate(project, Some(1), "too dark. Drone shots everywhere").await;
    let topics = async || -> Vec<String> {
        let known = viewer.memory.preferences("ada").await.unwrap();
        known.into_iter().map(|known| known.topic).collect()
    };
    let both = ["trait:light.bright", "trait:camera.aerial"];
    let mut sorted = topics().await;
    sorted.sort_by_key(|topic| both.iter().position(|known| known == topic));
    assert_eq!(sorted, both);
    viewer.clock.pass(1);
    viewer.rate(project, Some(5), "").await;
    assert_eq!(topics().await, ["trait:light.bright"], "the words stay said");
    assert_eq!(viewer.told().await, ["Prefers bright, airy pictures to dark ones."]);

    let mut session = viewer.store.session().await.unwrap();
    let said = aida::store::feedback::of_project(&mut session, "ada", project).await.unwrap();
    assert_eq!(
        said.iter().map(|said| said.superseded_at.is_some()).collect::<Vec<_>>(),
        [true, false]
    );
    let accounts = aida::store::project_texts::accounts(&mut session, &[project]).await.unwrap();
    assert_eq!(accounts[0].notes, ["too dark. Drone shots everywhere"], "and are recalled");
    assert_eq!((accounts[0].ratings, accounts[0].mean_rating), (1, Some(5.into())));
    aida::store::feedback::remove(&mut session, "ada", said[1].id).await.unwrap();
    session.close().await;
    viewer.memory.learn("ada").await.unwrap();
    assert_eq!(topics().await.len(), 2, "the earlier rating counts again");

    // Who says the same once more has said it once.
    let support = async || viewer.memory.preferences("ada").await.unwrap()[0].support;
    let before = support().await;
    viewer.rate(project, Some(2), "too dark. Drone shots everywhere").await;
    assert_eq!(support().await, before);
}

#[tokio::test]
async fn what_is_set_comes_first_and_takes_the_place_of_what_was_learnt() {
    let viewer = Viewer::new().await;
    let (project, _) = viewer.make("food video", None).await;
    viewer.rate(project, None, "too dark, love the hands").await;
    viewer.memory.set_preference("ada", None, "Moody, dark pictures.").await.unwrap();
    viewer.clock.pass(1);
    viewer.memory.set_preference("ada", None, "A red umbrella in every film.").await.unwrap();
    let told = viewer.memory.told("ada", None).await.unwrap();
    assert_eq!(
        telling::text(&told),
        "- Moody, dark pictures. (the user's own words)\n\
         - A red umbrella in every film. (the user's own words)\n\
         - Likes to see hands at work."
    );
}
