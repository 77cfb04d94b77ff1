//! What holds in a campaign, and what its videos follow.

use aida::ids::CampaignId;
use aida::memory::taste::Leaning;
use aida::store::campaign_styles::{self, CampaignStyle};
use aida::store::campaigns;
use aida::studio::brief::{Aspect, Brief};
use aida::studio::outline::{self, Direction};
use aida::studio::wording::Wording;
use rust_decimal::Decimal;

use aida::clock::Clock as _;

use crate::viewer::{BRIEFS, Viewer};

async fn campaign(viewer: &Viewer, name: &str) -> CampaignId {
    let mut session = viewer.store.session().await.unwrap();
    let (name, now) = (name.parse().unwrap(), viewer.clock.now());
    let made = campaigns::create(&mut session, "ada", &name, "", now).await.unwrap().unwrap();
    session.close().await;
    made.id
}

#[tokio::test]
async fn the_taste_of_a_campaign_is_told_for_its_videos_alone() {
    let viewer = Viewer::new().await;
    let spring = campaign(&viewer, "Spring").await;
    let autumn = campaign(&viewer, "Autumn").await;
    let (project, _) = viewer.make("food video", Some(spring)).await;
    viewer.rate(project, None, "no drone shots").await;
    let told = async |campaign| viewer.memory.told("ada", campaign).await.unwrap().len();
    assert_eq!((told(Some(spring)).await, told(Some(autumn)).await, told(None).await), (1, 0, 0));
    let (project, _) = viewer.make("food video", Some(autumn)).await;
    viewer.rate(project, None, "no drone shots").await;
    assert_eq!((told(Some(spring)).await, told(Some(autumn)).await, told(None).await), (1, 1, 1));
}

#[tokio::test]
async fn the_team_is_told_the_style() {
    let viewer = Viewer::new().await;
    let spring = campaign(&viewer, "Spring").await;
    let style = CampaignStyle {
        palette: vec!["#C8553D".to_owned(), "cream".to_owned()],
        words_to_use: vec!["fresh".to_owned()],
        words_to_avoid: vec!["cheap".to_owned(), "limited offer".to_owned()],
        look: "quiet, hand-made".to_owned(),
        aspect: Some(Aspect::Square),
        default_budget_usd: Some("2.50".parse().unwrap()),
        logo: None,
    };
    let mut session = viewer.store.session().await.unwrap();
    campaign_styles::set(&mut session, spring, &style, viewer.clock.now()).await.unwrap();
    assert_eq!(campaign_styles::of(&mut session, spring).await.unwrap(), style);
    session.close().await;
    insta::assert_snapshot!(viewer.memory.campaign_text("ada", Some(spring)).await.unwrap(), @r#"
    ### Spring
    Palette: terracotta (#C8553D), cream
    Look: quiet, hand-made
    Words to use: "fresh" (each at least once in the title, a narration or an on-screen text)
    Words to avoid: "cheap", "limited offer" (nowhere and in no form, or the work is sent back)
    It has no videos yet.
    "#);
}

#[test]
fn outlines_keep_to_the_words_and_colours_of_a_campaign() {
    let wording = Wording {
        to_use: vec!["fresh".to_owned(), "by hand".to_owned()],
        to_avoid: vec![
            "steam".to_owned(),
            "food".to_owned(),
            "light".to_owned(),
            "slow".to_owned(),
        ],
    };
    for text in BRIEFS {
        for shots in [1, 2, 6, 20] {
            let brief = Brief {
                text: text.parse().unwrap(),
                duration_seconds: Decimal::from(shots * 5),
                shots,
                aspect: Aspect::default(),
                files: Vec::new(),
            };
            let direction = Direction {
                wording: wording.clone(),
                palette: vec!["#C8553D".to_owned(), "cream".to_owned()],
                leaning: Leaning::default(),
                ..Direction::default()
            };
            let (script, storyboard) = outline::write(&brief, &direction);
            assert_eq!(storyboard.check(&brief, 60), Ok(()), "{text}");
            assert_eq!(wording.check_script(&script), Ok(()), "{text}, {shots} shots");
            assert_eq!(wording.check_storyboard(&storyboard), Ok(()), "{text}, {shots} shots");
            for shot in &storyboard.shots {
                assert!(shot.image_prompt.contains("palette of terracotta, cream"), "{shot:#?}");
            }
        }
    }
}
