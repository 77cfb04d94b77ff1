//! A model that always knows what to do: it plays the Orchestrator, the Writer and the Director
//! by looking at the tools that are offered and at what was said before. Everything it says
//! follows from the conversation alone, so that a run can be repeated.

use serde_json::{Value, json};

use super::check::blocks;
use crate::support::schema;

/// After this many failed attempts at one tool it gives up.
const MOST_ATTEMPTS: usize = 3;

/// A tool that it wants to call.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The tool's name.
    pub tool: String,
    /// Its input, fitting the offered schema.
    pub input: Value,
}

/// What it does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Call these tools, all at once.
    Call(Vec<Wish>),
    /// Say this, and nothing more.
    Say(String),
}

/// Which part a conversation plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Leads the team.
    Orchestrator,
    /// Writes the script.
    Writer,
    /// Makes the storyboard.
    Director,
}

/// The task as the first message tells it.
#[derive(Debug, Clone, PartialEq)]
struct Task {
    role: Role,
    brief: String,
    shots: u32,
    tenths: u32,
    opening: String,
}

/// The role that a request is for.
pub fn role_of(body: &Value) -> Role {
    task(body).role
}

fn opening(body: &Value) -> String {
    let texts: Vec<String> = blocks(&body["messages"][0])
        .iter()
        .filter_map(|block| Some(block["text"].as_str()?.to_owned()))
        .collect();
    texts.join("\n")
}

/// The rest of the first line that begins with `name:`, whatever its case.
fn line<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    text.lines().find_map(|line| {
        let (head, rest) = line.split_once(':')?;
        let head = head.trim().trim_start_matches(['-', '*', '#', ' ']).trim_end_matches('*');
        head.eq_ignore_ascii_case(name).then(|| rest.trim())
    })
}

fn task(body: &Value) -> Task {
    let opening = opening(body);
    let told = without_documents(&opening);
    let role = match line(&told, "Role").map(str::to_lowercase) {
        Some(role) if role.starts_with("writer") => Role::Writer,
        Some(role) if role.starts_with("director") => Role::Director,
        _ => Role::Orchestrator,
    };
    let shots = line(&told, "Shots").and_then(first_number).unwrap_or("6");
    let shots = shots.parse().unwrap_or(6).max(1);
    let length = line(&told, "Length").and_then(first_number);
    let tenths = length.and_then(tenths).unwrap_or(shots * 50);
    let brief = line(&told, "Brief").filter(|brief| !brief.is_empty());
    let brief = brief.map_or_else(|| between(&opening, "<brief>", "</brief>"), str::to_owned);
    let brief = shortened(&brief);
    Task { role, brief, shots, tenths, opening }
}

/// A text without what stands between tags: a user's own words may look like a line of the task.
fn without_documents(text: &str) -> String {
    let mut told = text.to_owned();
    for tag in ["brief", "recalled", "campaign", "preferences", "script", "storyboard", "request"] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        while let Some(start) = told.find(&open)
            && let Some(length) = told[start..].find(&close)
        {
            told.replace_range(start..start + length + close.len(), "");
        }
    }
    told
}

/// A brief as it is repeated in prompts: one line of at most 200 characters.
fn shortened(brief: &str) -> String {
    let line = brief.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

fn between(text: &str, start: &str, end: &str) -> String {
    let inner = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    inner.map_or_else(|| "the brief".to_owned(), |(inner, _)| inner.trim().to_owned())
}

/// The first number in a text, such as `30` or `7.5`.
fn first_number(text: &str) -> Option<&str> {
    let start = text.find(|character: char| character.is_ascii_digit())?;
    let rest = &text[start..];
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
    Some(rest[..end.unwrap_or(rest.len())].trim_end_matches('.'))
}

fn tenths(number: &str) -> Option<u32> {
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    Some(whole.parse::<u32>().ok()? * 10 + part.get(..1)?.parse::<u32>().ok()?)
}

/// What happened to the calls of one tool so far.
#[derive(Debug, Default)]
struct History {
    /// Results of calls that went well, in order.
    results: Vec<String>,
    failures: usize,
}

fn history(body: &Value, tool: &str) -> History {
    let mut history = History::default();
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all: Vec<Value> = messages.iter().flat_map(blocks).collect();
    for call in all.iter().filter(|block| block["type"] == "tool_use" && block["name"] == tool) {
        let result = all
            .iter()
            .find(|block| block["type"] == "tool_result" && block["tool_use_id"] == call["id"]);
        let Some(result) = result else { continue };
        if result["is_error"] == json!(true) {
            history.failures += 1;
            continue;
        }
        history.results.push(match &result["content"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        });
    }
    history
}

/// Decides what to do next.
pub fn next(body: &Value) -> Move {
    let task = task(body);
    match task.role {
        Role::Orchestrator => orchestrate(body, &task),
        Role::Writer => hand_in(body, "submit_script", &script(&task)),
        Role::Director => hand_in(body, "submit_storyboard", &storyboard(body, &task)),
    }
}

fn offered<'body>(body: &'body Value, name: &str) -> Option<&'body Value> {
    body["tools"].as_array()?.iter().find(|tool| tool["name"] == name)
}

fn wish(body: &Value, tool: &str, input: &Value) -> Option<Wish> {
    let schema = &offered(body, tool)?["input_schema"];
    Some(Wish { tool: tool.to_owned(), input: schema::conform(input, schema) })
}

/// Calls a tool until it is content, and then stops.
fn hand_in(body: &Value, tool: &str, input: &Value) -> Move {
    let history = history(body, tool);
    if !history.results.is_empty() {
        return Move::Say("It is handed in.".to_owned());
    }
    match wish(body, tool, input) {
        Some(wish) if history.failures < MOST_ATTEMPTS => Move::Call(vec![wish]),
        _ => Move::Say(format!("I could not hand in my work with {tool}.")),
    }
}

fn orchestrate(body: &Value, task: &Task) -> Move {
    let recall: Vec<Wish> = [
        ("search_projects", json!({"query": task.brief})),
        ("search_files", json!({"query": task.brief})),
        ("read_campaign", json!({})),
        ("read_preferences", json!({})),
    ]
    .iter()
    .filter(|(tool, _)| {
        let history = history(body, tool);
        history.results.is_empty() && history.failures == 0
    })
    .filter_map(|(tool, input)| wish(body, tool, input))
    .collect();
    if !recall.is_empty() {
        return Move::Call(recall);
    }
    let asked = history(body, "ask_writer");
    let Some(script) = asked.results.last() else {
        let instructions = format!(
            "Write a script of {} beats for a film about {}. Open close, end wide.",
            task.shots, task.brief
        );
        return attempt(body, "ask_writer", &json!({"instructions": instructions}), &asked);
    };
    let asked = history(body, "ask_director");
    let Some(answer) = asked.results.last() else {
        let instructions =
            format!("Make {} shots of this script. Warm light, slow moves.", task.shots);
        let input = json!({"instructions": instructions, "script": script});
        return attempt(body, "ask_director", &input, &asked);
    };
    let storyboard = object_with(answer, "shots").unwrap_or_else(|| storyboard(body, task));
    hand_in(body, "submit_storyboard", &storyboard)
}

fn attempt(body: &Value, tool: &str, input: &Value, history: &History) -> Move {
    match wish(body, tool, input) {
        Some(wish) if history.failures < MOST_ATTEMPTS => Move::Call(vec![wish]),
        _ => Move::Say(format!("Nothing came of {tool}; I stop here.")),
    }
}

/// The first JSON object in a text that has a member with this name, wherever it is nested.
fn object_with(text: &str, name: &str) -> Option<Value> {
    text.char_indices().filter(|&(_, character)| character == '{').find_map(|(start, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        let value = values.next()?.ok()?;
        nested_with(&value, name)
    })
}

fn nested_with(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(name) => Some(value.clone()),
        Value::Object(members) => members.values().find_map(|inner| nested_with(inner, name)),
        Value::String(text) if text.contains('{') => object_with(text, name),
        _ => None,
    }
}

const ANGLES: [&str; 6] = [
    "an extreme close-up, steam and light",
    "hands at work, seen from above",
    "a wide view of the whole scene",
    "a face in a moment of quiet joy",
    "a detail in the foreground, the rest out of focus",
    "the last light, seen from far away",
];

fn title(task: &Task) -> String {
    let words: String = task.brief.chars().take(50).collect();
    format!("A film about {}", words.trim())
}

fn script(task: &Task) -> Value {
    let beats: Vec<Value> = (1..=task.shots)
        .map(|number| {
            let angle = ANGLES[usize::try_from(number - 1).unwrap() % ANGLES.len()];
            json!({"action": format!("Beat {number} of {}: {angle}.", task.brief),
                "narration": format!("Line {number}."), "on_screen_text": format!("Part {number}")})
        })
        .collect();
    json!({"title": title(task), "logline": format!("Everything about {}.", task.brief), "beats": beats})
}

fn storyboard(body: &Value, task: &Task) -> Value {
    let script = object_with(&task.opening, "beats").unwrap_or_else(|| script(task));
    let wants_whole_seconds = offered(body, "submit_storyboard").is_some_and(|tool| {
        let shot = &tool["input_schema"];
        shot.to_string().contains(r#""duration_seconds":{"type":"integer""#)
            || shot["properties"]["shots"]["items"]["properties"]["duration_seconds"]["type"]
                == "integer"
    });
    let step = if wants_whole_seconds { 10 } else { 1 };
    let parts = task.tenths / step;
    let shots: Vec<Value> = (0..task.shots)
        .map(|index| {
            let place = usize::try_from(index).unwrap();
            // The first shots take what does not divide evenly, so that the sum is exact.
            let share = parts / task.shots + u32::from(index < parts % task.shots);
            let duration = f64::from(share * step) / 10.0;
            let number = index + 1;
            let beat = &script["beats"][place];
            json!({"number": number,
                "image_prompt": format!("Shot {number} of {}, {}: {}", task.shots, task.brief,
                    ANGLES[place % ANGLES.len()]),
                "motion_prompt": format!("Slow push in, shot {number}, a soft breeze."),
                "duration_seconds": if wants_whole_seconds { json!(share) } else { json!(duration) },
                "on_screen_text": beat["on_screen_text"].as_str().unwrap_or_default(),
                "narration": beat["narration"].as_str().unwrap_or_default(),
                "references": []})
        })
        .collect();
    json!({"title": title(task), "shots": shots})
}
