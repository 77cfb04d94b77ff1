//! The cache model: what is read, what is written, what is neither.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::anthropic::cache::{Asked, Block, Counts, Lifetime, PromptCache, render};
use crate::support::anthropic::models::Model;

const READING: Duration = Duration::from_secs(1);

/// A block of `tokens` tokens whose text depends on `mark`.
fn block(mark: char, tokens: usize) -> Block {
    Block {
        bytes: vec![u8::try_from(mark).unwrap(); tokens * 4],
        salt: Vec::new(),
        breakpoint: None,
    }
}

fn marked(mark: char, tokens: usize, lifetime: Lifetime) -> Block {
    Block { breakpoint: Some(lifetime), ..block(mark, tokens) }
}

/// Who asks at a second of the service's life.
fn at(now: Duration) -> Asked<'static> {
    Asked { workspace: "one", least_tokens: 512, now, readable: now + READING }
}

/// Counts a prompt at a second of the service's life.
fn count(cache: &mut PromptCache, blocks: &[Block], second: u64) -> Counts {
    cache.count(blocks, at(Duration::from_secs(second)))
}

#[test]
fn the_second_call_reads_what_the_first_one_wrote() {
    let mut cache = PromptCache::default();
    let prompt = [marked('s', 1_000, Lifetime::FiveMinutes), block('u', 50)];
    let first = count(&mut cache, &prompt, 0);
    assert_eq!(first, Counts { uncached: 50, written_for_5_minutes: 1_000, ..Counts::default() });
    let second = count(&mut cache, &prompt, 2);
    assert_eq!(second, Counts { uncached: 50, read: 1_000, ..Counts::default() });
}

#[test]
fn an_entry_cannot_be_read_before_the_first_answer_begins() {
    let mut cache = PromptCache::default();
    let prompt = [marked('s', 1_000, Lifetime::FiveMinutes)];
    count(&mut cache, &prompt, 0);
    let now = Duration::from_millis(500);
    let beside = cache.count(&prompt, at(now));
    assert_eq!(beside.written_for_5_minutes, 1_000, "both calls pay for the write");
    assert_eq!(count(&mut cache, &prompt, 1).read, 1_000, "the first answer has begun");
}

#[test]
fn entries_die_and_reading_keeps_them_alive() {
    let mut cache = PromptCache::default();
    let short = [marked('s', 1_000, Lifetime::FiveMinutes)];
    let long = [marked('l', 1_000, Lifetime::OneHour)];
    count(&mut cache, &short, 0);
    count(&mut cache, &long, 0);
    assert_eq!(count(&mut cache, &short, 299).read, 1_000);
    assert_eq!(count(&mut cache, &short, 598).read, 1_000, "it was read 299 s before");
    assert_eq!(count(&mut cache, &short, 898).read, 0, "it was last read 300 s before");
    assert_eq!(count(&mut cache, &long, 3_599).read, 1_000);
}

#[test]
fn a_short_prefix_is_not_cached() {
    let mut cache = PromptCache::default();
    let prompt = [marked('s', 511, Lifetime::FiveMinutes)];
    for second in [0, 10] {
        assert_eq!(count(&mut cache, &prompt, second).uncached, 511);
    }
}

#[test]
fn each_model_has_a_shortest_prefix_of_its_own() {
    for (model, least) in [
        ("claude-sonnet-5-5", 512),
        ("claude-haiku-5-5", 512),
        ("claude-opus-5", 512),
        ("claude-sonnet-5", 1_024),
        ("claude-sonnet-4-6", 2_048),
        ("claude-haiku-4-5", 4_096),
    ] {
        let least_tokens = Model::find(model).unwrap().least_cached_tokens;
        assert_eq!(least_tokens, least, "{model}");
        let asked = Asked { least_tokens, ..at(Duration::from_secs(1)) };
        for (tokens, written) in [(least - 1, 0), (least, least)] {
            let prompt = [marked('s', usize::try_from(tokens).unwrap(), Lifetime::FiveMinutes)];
            let counts = PromptCache::default().count(&prompt, asked);
            assert_eq!(counts.written_for_5_minutes, written, "{model}: {tokens}");
            assert_eq!(counts.total(), tokens);
        }
    }
}

#[test]
fn one_workspace_reads_nothing_of_another() {
    let mut cache = PromptCache::default();
    let prompt = [marked('s', 1_000, Lifetime::OneHour)];
    count(&mut cache, &prompt, 0);
    let other = Asked { workspace: "two", ..at(Duration::from_secs(10)) };
    assert_eq!(cache.count(&prompt, other).written_for_1_hour, 1_000);
    assert_eq!(count(&mut cache, &prompt, 20).read, 1_000);
}

#[test]
fn a_reading_keeps_the_lifetime_with_which_it_was_written() {
    let mut cache = PromptCache::default();
    count(&mut cache, &[marked('s', 1_000, Lifetime::FiveMinutes)], 0);
    let longer = [marked('s', 1_000, Lifetime::OneHour)];
    assert_eq!(count(&mut cache, &longer, 200).read, 1_000);
    assert_eq!(count(&mut cache, &longer, 501).written_for_1_hour, 1_000, "five minutes later");
    assert_eq!(count(&mut cache, &longer, 4_000).read, 1_000);
}

proptest! {
    /// Whatever is asked, the four classes are disjoint and make up the whole prompt, and what is
    /// asked again at once is read as far as it was written.
    #[test]
    fn the_classes_add_up(
        prompts in prop::collection::vec(
            (prop::collection::vec((0_u8..3, 1_usize..900, 0_u8..4), 1..26), 0_u64..400),
            1..8,
        ),
    ) {
        let mut cache = PromptCache::default();
        let mut second = 0;
        for (blocks, wait) in prompts {
            second += wait;
            let mut marks = 0;
            let mut prompt: Vec<Block> = blocks
                .iter()
                .map(|&(mark, tokens, marking)| {
                    let is_marked = marking == 0 && marks < 4;
                    marks += u8::from(is_marked);
                    let breakpoint = is_marked.then_some(Lifetime::FiveMinutes);
                    Block { breakpoint, ..block(char::from(b'a' + mark), tokens) }
                })
                .collect();
            // An hour may stand in front of five minutes.
            if let Some(first) = prompt.iter_mut().find(|block| block.breakpoint.is_some()) {
                first.breakpoint = Some(Lifetime::OneHour);
            }
            let total: usize = blocks.iter().map(|&(_, tokens, _)| tokens).sum();
            let once = count(&mut cache, &prompt, second);
            prop_assert_eq!(once.total(), u64::try_from(total).unwrap());
            second += 1;
            let again = count(&mut cache, &prompt, second);
            prop_assert_eq!(again.total(), once.total());
            prop_assert_eq!(again.read, once.read + once.written_for_5_minutes + once.written_for_1_hour);
            prop_assert_eq!(again.uncached, once.uncached);
        }
    }
}

#[test]
fn one_changed_byte_loses_everything_after_it() {
    let mut cache = PromptCache::default();
    let five = Lifetime::FiveMinutes;
    count(&mut cache, &[marked('t', 600, five), marked('s', 600, five)], 0);
    let other_end = count(&mut cache, &[marked('t', 600, five), marked('x', 600, five)], 10);
    assert_eq!((other_end.read, other_end.written_for_5_minutes), (600, 600));
    let other_start = count(&mut cache, &[marked('y', 600, five), marked('s', 600, five)], 20);
    assert_eq!((other_start.read, other_start.written_for_5_minutes), (0, 1_200));
}

#[test]
fn a_breakpoint_looks_back_twenty_blocks_and_no_further() {
    let five = Lifetime::FiveMinutes;
    for (added, read) in [(19, 600), (20, 0)] {
        let mut cache = PromptCache::default();
        count(&mut cache, &[marked('s', 600, five)], 0);
        let mut prompt = vec![block('s', 600)];
        prompt.extend((1..added).map(|_| block('m', 10)));
        prompt.push(marked('e', 10, five));
        let counts = count(&mut cache, &prompt, 10);
        assert_eq!(counts.read, read, "{added} blocks were added");
        assert_eq!(counts.total(), 600 + 10 * added);
    }
}

#[test]
fn each_stretch_is_written_for_its_own_lifetime() {
    let mut cache = PromptCache::default();
    let prompt = [
        marked('t', 600, Lifetime::OneHour),
        marked('s', 700, Lifetime::FiveMinutes),
        block('u', 30),
    ];
    assert_eq!(
        count(&mut cache, &prompt, 0),
        Counts { uncached: 30, written_for_5_minutes: 700, written_for_1_hour: 600, read: 0 }
    );
}

/// A request whose breakpoint stands at the end of the system text.
fn request() -> Value {
    json!({"model": "claude-sonnet-5-5",
        "tools": [{"name": "search", "description": "d".repeat(3_000), "input_schema": {"type": "object"}}],
        "system": [{"type": "text", "text": "s".repeat(3_000), "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "u".repeat(3_000), "cache_control": {"type": "ephemeral"}}]}]})
}

#[test]
fn what_breaks_the_key_and_what_does_not() {
    type Change = (&'static str, fn(&mut Value), bool, bool);
    let changes: [Change; 7] = [
        ("nothing", |_| {}, true, true),
        ("the model", |body| body["model"] = json!("claude-opus-5-5"), false, false),
        ("the effort", |body| body["output_config"] = json!({"effort": "low"}), false, false),
        ("a tool", |body| body["tools"][0]["name"] = json!("find"), false, false),
        ("the thinking", |body| body["thinking"] = json!({"type": "between_tools"}), true, false),
        ("the tool choice", |body| body["tool_choice"] = json!({"type": "none"}), true, false),
        (
            "a picture",
            |body| {
                let picture = json!({"type": "image", "source": {"type": "url", "url": "u"}});
                body["messages"][0]["content"].as_array_mut().unwrap().push(picture);
            },
            true,
            false,
        ),
    ];
    for (what, change, keeps_system, keeps_messages) in changes {
        let mut cache = PromptCache::default();
        count(&mut cache, &render(&request()).unwrap(), 0);
        let mut body = request();
        change(&mut body);
        let mut blocks = render(&body).unwrap();
        // Whether there is a picture is part of the key; the picture itself comes after the text.
        blocks.truncate(3);
        let read = count(&mut cache, &blocks, 10).read;
        let system = u64::try_from(blocks[0].bytes.len() + blocks[1].bytes.len()).unwrap() / 4;
        assert_eq!(read > 0, keeps_system, "{what} changed and {read} tokens were read");
        assert_eq!(
            read > system + 10,
            keeps_messages,
            "{what} changed and {read} tokens were read"
        );
    }
}

#[test]
fn breakpoints_may_move_without_changing_the_key() {
    let mut cache = PromptCache::default();
    count(&mut cache, &render(&request()).unwrap(), 0);
    let mut body = request();
    body["messages"][0]["content"][0].as_object_mut().unwrap().shift_remove("cache_control");
    body["messages"].as_array_mut().unwrap().push(json!({"role": "assistant", "content": [
        {"type": "text", "text": "Yes.", "cache_control": {"type": "ephemeral"}}]}));
    let counts = count(&mut cache, &render(&body).unwrap(), 10);
    assert!(counts.read > 2_200 && counts.written_for_5_minutes < 40, "{counts:?}");
}

#[test]
fn bad_breakpoints_are_refused() {
    let with = |controls: &[Value]| {
        let parts: Vec<Value> = controls
            .iter()
            .map(|control| json!({"type": "text", "text": "x", "cache_control": control}))
            .collect();
        render(&json!({"model": "m", "system": parts, "messages": []}))
    };
    let five = json!({"type": "ephemeral"});
    let hour = json!({"type": "ephemeral", "ttl": "1h"});
    assert!(with(&[hour.clone(), five.clone(), five.clone(), five.clone()]).is_ok());
    assert!(with(&[five.clone(), five.clone(), five.clone(), five.clone(), five.clone()]).is_err());
    assert!(with(&[five, hour]).is_err(), "an hour after five minutes");
    assert!(with(&[json!({"type": "ephemeral", "ttl": "10m"})]).is_err());
}
