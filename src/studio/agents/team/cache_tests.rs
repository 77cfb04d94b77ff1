//! What the vendor's prompt cache would make of our conversations: a small model of it, and the
//! hit rate that product.md promises.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::providers::{LanguageReply, LanguageRequest, Message, UserBlock};
use crate::studio::agents::rehearsal::{
    Shelf, ask_director, ask_writer, assignment, calling, good_turns, rehearse, rehearse_with,
    saying,
};
use crate::studio::agents::{Assignment, prompts};

/// Bytes for each token: rough, and the same on both sides of the ratio.
const BYTES_FOR_A_TOKEN: usize = 4;
/// The largest minimum that any model of the vendor has for a cached prefix, in tokens.
const LARGEST_MINIMUM: usize = 4_096;
/// How far the vendor looks back from a breakpoint, in blocks.
const LOOK_BACK: usize = 20;

/// The vendor's cache: the prefixes that were written, byte for byte.
#[derive(Default)]
struct PromptCache {
    written: HashSet<String>,
    read_bytes: usize,
    all_bytes: usize,
}

impl PromptCache {
    /// Takes a request in: reads the longest known prefix within reach of a breakpoint, then
    /// writes a prefix for each breakpoint.
    fn take(&mut self, request: &LanguageRequest) {
        let mut prefixes = vec![shared_prefix(request)];
        let mut breakpoints = vec![0];
        for message in &request.messages {
            let blocks: Vec<(String, bool)> = match message {
                Message::User(blocks) => blocks.iter().map(rendered).collect(),
                Message::Assistant(blocks) => {
                    blocks.iter().map(|block| (format!("assistant {block}"), false)).collect()
                }
            };
            for (bytes, is_breakpoint) in blocks {
                if is_breakpoint {
                    breakpoints.push(prefixes.len());
                }
                prefixes.push(format!("{}{bytes}", prefixes[prefixes.len() - 1]));
            }
        }
        assert!(breakpoints.len() <= 4, "the vendor takes four breakpoints");

        let read = breakpoints
            .iter()
            .flat_map(|&place| place.saturating_sub(LOOK_BACK)..=place)
            .filter(|&place| self.written.contains(&prefixes[place]))
            .max();
        self.read_bytes += read.map_or(0, |place| prefixes[place].len());
        self.all_bytes += prefixes[prefixes.len() - 1].len();
        self.written.extend(breakpoints.into_iter().map(|place| prefixes[place].clone()));
    }

    /// Bytes read for a hundred bytes sent.
    fn hit_percent(&self) -> usize {
        100 * self.read_bytes / self.all_bytes
    }
}

/// Everything in front of the messages, in the order in which the vendor renders it.
fn shared_prefix(request: &LanguageRequest) -> String {
    let tools = serde_json::to_string(&request.tools).unwrap();
    format!("{}{tools}{}", request.model, request.system)
}

/// A block of ours without its cache flag, which is not part of the key, and the flag.
fn rendered(block: &UserBlock) -> (String, bool) {
    let (UserBlock::Text { cache, .. } | UserBlock::ToolResult { cache, .. }) = block else {
        panic!("a picture in a conversation of the team");
    };
    let mut value = serde_json::to_value(block).unwrap();
    value["cache"] = Value::Null;
    (format!("user {value}"), *cache)
}

/// Shots of five seconds, with as many words as a good storyboard has.
fn film(shots: u32) -> (Assignment, Value, Value) {
    let mut known = assignment();
    known.brief.duration_seconds = (5 * shots).into();
    known.brief.shots = shots;
    let words = |count: usize| ["steam"].repeat(count).join(" ");
    let beats: Vec<Value> = (0..shots)
        .map(|_| json!({"action": words(40), "narration": words(10), "on_screen_text": words(3)}))
        .collect();
    let shots: Vec<Value> = (1..=shots)
        .map(|number| {
            json!({
                "number": number,
                "image_prompt": words(80),
                "motion_prompt": words(35),
                "duration_seconds": 5,
                "on_screen_text": words(3),
                "narration": words(10),
                "references": [],
            })
        })
        .collect();
    (
        known,
        json!({"title": "Steam", "logline": words(15), "beats": beats}),
        json!({"title": "Steam", "shots": shots}),
    )
}

/// The requests of a film's planning, in their order.
async fn requests(known: &Assignment, replies: Vec<LanguageReply>) -> Vec<LanguageRequest> {
    let replies = replies.into_iter().map(Ok).collect();
    let rehearsed = rehearse_with(known, replies, Shelf::default()).await;
    rehearsed.outcome.unwrap();
    rehearsed.asked.into_iter().map(|(_, request)| request).collect()
}

fn hit_percent(requests: &[LanguageRequest]) -> usize {
    let mut cache = PromptCache::default();
    for request in requests {
        cache.take(request);
    }
    cache.hit_percent()
}

/// The shortest conversation that there is: nothing is looked up and nothing asked twice, so
/// that each role's first turn weighs most.
fn shortest(script: &Value, storyboard: &Value) -> Vec<LanguageReply> {
    vec![
        ask_writer(),
        calling(&[("submit_script", script.clone())]),
        ask_director(),
        calling(&[("submit_storyboard", storyboard.clone())]),
        calling(&[("submit_storyboard", storyboard.clone())]),
    ]
}

#[tokio::test]
async fn a_cold_run_reads_more_than_sixty_percent_from_the_cache() {
    for shots in [1, 6, 12] {
        let (known, script, storyboard) = film(shots);
        let rate = hit_percent(&requests(&known, shortest(&script, &storyboard)).await);
        assert!(rate > 60, "{shots} shots: {rate} %");
    }

    let (mut known, script, storyboard) = film(6);
    let mut with_look_ups = shortest(&script, &storyboard);
    with_look_ups.insert(0, good_turns().remove(0));
    let rate = hit_percent(&requests(&known, with_look_ups).await);
    assert!(rate > 60, "with look-ups: {rate} %");

    // What was recalled is new to this run, but only once.
    known.recall = "An earlier film about soup. ".repeat(800);
    let rate = hit_percent(&requests(&known, shortest(&script, &storyboard)).await);
    assert!(rate > 60, "much recalled: {rate} %");

    // A prefix with something volatile in it must show, or this test proves nothing.
    let mut volatile = requests(&known, shortest(&script, &storyboard)).await;
    for (place, request) in volatile.iter_mut().enumerate() {
        request.system.insert_str(0, &place.to_string());
    }
    assert_eq!(hit_percent(&volatile), 0);
}

#[tokio::test]
async fn many_parallel_calls_do_not_lose_the_cache() {
    let many: Vec<(&str, Value)> =
        (0..14).map(|_| ("search_files", json!({"query": "menu"}))).collect();
    let mut replies = good_turns();
    replies[0] = calling(&many);
    let requests = requests(&assignment(), replies).await;
    let mut cache = PromptCache::default();
    cache.take(&requests[0]);
    let first = cache.all_bytes;
    cache.take(&requests[1]);
    assert_eq!(cache.read_bytes, first, "the second turn reads all of the first");
}

#[tokio::test]
async fn the_prefix_is_the_same_for_all_roles_films_and_users() {
    let (other, script, storyboard) = film(6);
    let other = Assignment {
        recall: "Another memory.".to_owned(),
        preferences: String::new(),
        campaign: None,
        image_model: "nano-banana-2".to_owned(),
        audio: true,
        ..other
    };
    let replies = vec![
        ask_writer(),
        calling(&[("submit_script", script)]),
        ask_director(),
        saying("Let me think."),
        calling(&[("submit_storyboard", storyboard.clone())]),
        calling(&[("submit_storyboard", storyboard)]),
    ];
    let mut all = requests(&assignment(), good_turns()).await;
    all.extend(requests(&other, replies).await);
    let prefixes: HashSet<String> = all.iter().map(shared_prefix).collect();
    assert_eq!(prefixes.len(), 1);
    let prefix = prefixes.into_iter().next().unwrap();
    assert!(prefix.len() / BYTES_FOR_A_TOKEN >= LARGEST_MINIMUM, "{} bytes", prefix.len());
}

#[tokio::test]
async fn the_roles_of_a_film_share_what_they_are_told_of_it() {
    let rehearsed = rehearse(good_turns()).await;
    let briefing = prompts::assignment(&assignment());
    for (_, request) in &rehearsed.asked {
        assert!(matches!(
            &request.messages[0],
            Message::User(blocks)
                if blocks[1] == UserBlock::Text { text: briefing.clone(), cache: true }
        ));
    }
}
