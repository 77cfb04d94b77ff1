//! Keeping a finished outline to the words of a campaign.

use super::{LONGEST_LINE, LONGEST_TITLE, capitalised, shortened};
use crate::studio::script::Script;
use crate::studio::storyboard::Storyboard;
use crate::studio::wording::Wording;

/// What stands in place of a title that was nothing but words to avoid.
const UNTITLED: &str = "Untitled";
/// What stands in place of an action that was.
const NOTHING_SAID: &str = "It goes on";

/// Takes the words to avoid out of script and storyboard, and puts those to use that are not said
/// yet on the screen, from the last shot on, which has the most time to be read.
pub(super) fn keep_to(wording: &Wording, script: &mut Script, storyboard: &mut Storyboard) {
    if wording.is_empty() {
        return;
    }
    let clean = |text: &mut String, instead: &str| {
        if wording.avoided_in(text).is_some() {
            let cleaned = capitalised(&wording.cleaned(text));
            *text = if cleaned.chars().any(char::is_alphanumeric) {
                cleaned
            } else {
                instead.to_owned()
            };
        }
    };
    clean(&mut script.title, UNTITLED);
    clean(&mut script.logline, UNTITLED);
    for beat in &mut script.beats {
        clean(&mut beat.action, NOTHING_SAID);
        clean(&mut beat.narration, "");
        clean(&mut beat.on_screen_text, "");
    }
    clean(&mut storyboard.title, UNTITLED);
    for shot in &mut storyboard.shots {
        clean(&mut shot.image_prompt, NOTHING_SAID);
        clean(&mut shot.motion_prompt, NOTHING_SAID);
        clean(&mut shot.on_screen_text, "");
        clean(&mut shot.narration, "");
    }
    say_what_is_wanted(wording, script, storyboard);
}

fn say_what_is_wanted(wording: &Wording, script: &mut Script, storyboard: &mut Storyboard) {
    let mut places = (0..storyboard.shots.len()).rev().collect::<Vec<_>>();
    // Empty screens first, so that no line is lost as long as there is room beside it.
    places.sort_by_key(|&place| !storyboard.shots[place].on_screen_text.is_empty());
    let mut places = places.into_iter();
    loop {
        let mut said: Vec<&str> = vec![&storyboard.title];
        said.extend(
            storyboard
                .shots
                .iter()
                .flat_map(|shot| [shot.on_screen_text.as_str(), &shot.narration]),
        );
        let Some(wanted) = wording.unused(&said).first().map(|wanted| capitalised(wanted)) else {
            break;
        };
        let Some(place) = places.next() else {
            // More words than screens: the title takes the rest.
            let title = shortened(&format!("{}: {wanted}", storyboard.title), LONGEST_TITLE);
            if title == storyboard.title || wording.unused(&[&title]).contains(&wanted.as_str()) {
                break;
            }
            storyboard.title.clone_from(&title);
            script.title = title;
            continue;
        };
        let text = shortened(&wanted, LONGEST_LINE);
        storyboard.shots[place].on_screen_text.clone_from(&text);
        if let Some(beat) = script.beats.get_mut(place) {
            beat.on_screen_text = text;
        }
    }
}
