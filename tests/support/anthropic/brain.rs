//! A model that always knows what to do: it plays the Orchestrator, the Writer and the Director
//! by looking at the tools that are offered and at what was said before. Everything it says
//! follows from the conversation alone, so that a run can be repeated.

use serde_json::{Value, json};

use super::check::blocks;
use crate::support::{media, schema};

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
    wishes: Wishes,
}

/// What the documents of the task say that it follows: the user's taste and the campaign's style.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wishes {
    /// What every keyframe is given.
    liked: Vec<String>,
    /// Words of what is disliked: looks that hold one are not used.
    disliked: Vec<String>,
    /// Whether words on the screen are disliked.
    without_text: bool,
    palette: Option<String>,
    to_use: Vec<String>,
}

fn wishes(opening: &str) -> Wishes {
    let mut wishes = Wishes::default();
    let inside = |tag: &str| {
        let found = opening.split_once(&format!("<{tag}>")).map(|(_, rest)| rest);
        found.and_then(|rest| rest.split_once(&format!("</{tag}>"))).map_or("", |(text, _)| text)
    };
    for line in inside("preferences").lines().filter_map(|line| line.trim().strip_prefix("- ")) {
        let line = line.trim_end_matches(" (the user's own words)").trim_end_matches('.');
        if let Some(disliked) = line.strip_prefix("Dislikes ") {
            wishes.without_text |= disliked.contains("words on the screen");
            let long = disliked.split([' ', ',', ':']).filter(|word| word.len() > 4);
            wishes.disliked.extend(long.map(str::to_lowercase));
            continue;
        }
        let liked = line.strip_prefix("Prefers ").or_else(|| line.strip_prefix("Likes "));
        let liked = liked.unwrap_or(line);
        let liked = liked.split_once(" to ").map_or(liked, |(liked, _)| liked);
        wishes.liked.push(liked.to_owned());
    }
    let campaign = inside("campaign");
    wishes.palette = line(campaign, "Palette").map(str::to_owned);
    let quoted = line(campaign, "Words to use").unwrap_or_default();
    wishes.to_use = quoted.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    wishes
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
    let wishes = wishes(&opening);
    Task { role, brief, shots, tenths, opening, wishes }
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

/// What a brief says that a shot is to look like, as in `(shot 2 like shot 1; logo.png)`.
fn references(brief: &str, number: u32) -> Vec<String> {
    let start = format!("(shot {number} like ");
    let named = brief.split_once(&start).and_then(|(_, rest)| rest.split_once(')'));
    let names = named.map(|(names, _)| names.split(';').map(|name| name.trim().to_owned()));
    names.into_iter().flatten().collect()
}

/// What it sees in a picture.
fn sight(picture: &Value) -> Option<String> {
    use base64::Engine as _;
    let data = picture["source"]["data"].as_str()?;
    let look = media::look(&base64::prelude::BASE64_STANDARD.decode(data).ok()?).ok()?;
    let [red, green, blue] = look.colour;
    Some(format!("A zebra crossing in rgb({red}, {green}, {blue}), as a stand-in sees it."))
}

/// Decides what to do next.
pub fn next(body: &Value) -> Move {
    if let Some(seen) = blocks(&body["messages"][0]).iter().find_map(sight) {
        return Move::Say(seen);
    }
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

/// How many words each text of a script or storyboard has where the model writes as much as a good
/// one does, and in a film of more than 24 shots, for which it is told to be brief.
const WORDS: [(&str, [usize; 2]); 5] = [
    ("image_prompt", [80, 40]),
    ("motion_prompt", [35, 15]),
    ("action", [40, 40]),
    ("narration", [10, 10]),
    ("logline", [15, 15]),
];

/// Brings every text in a tool's input to its usual length.
pub fn lengthen(input: &mut Value) {
    let is_long = input["shots"].as_array().is_some_and(|shots| shots.len() > 24);
    lengthen_to(input, usize::from(is_long));
}

fn lengthen_to(input: &mut Value, kind: usize) {
    match input {
        Value::Array(items) => items.iter_mut().for_each(|item| lengthen_to(item, kind)),
        Value::Object(members) => {
            for (name, value) in members {
                match (value, WORDS.iter().find(|(known, _)| known == name)) {
                    (Value::String(text), Some(&(_, words))) => {
                        let lacking = words[kind].saturating_sub(text.split_whitespace().count());
                        let more = ["soft", "light", "windows", "falls"].into_iter().cycle();
                        text.extend(more.take(lacking).flat_map(|word| [" ", word]));
                    }
                    (other, _) => lengthen_to(other, kind),
                }
            }
        }
        _ => {}
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

/// The look of a shot: one that holds nothing of what is disliked.
fn angle(task: &Task, place: usize) -> &'static str {
    let suits =
        |angle: &&str| !task.wishes.disliked.iter().any(|word| angle.contains(word.as_str()));
    let angles: Vec<&str> = ANGLES.into_iter().filter(suits).collect();
    angles.get(place % angles.len().max(1)).copied().unwrap_or(ANGLES[0])
}

fn title(task: &Task) -> String {
    let words: String = task.brief.chars().take(50).collect();
    format!("A film about {}", words.trim())
}

fn script(task: &Task) -> Value {
    let beats: Vec<Value> = (1..=task.shots)
        .map(|number| {
            let angle = angle(task, usize::try_from(number - 1).unwrap());
            let mut narration = format!("Line {number}.");
            if number == task.shots && !task.wishes.to_use.is_empty() {
                narration = format!("{}.", task.wishes.to_use.join(", "));
            }
            let text =
                if task.wishes.without_text { String::new() } else { format!("Part {number}") };
            json!({"action": format!("Beat {number} of {}: {angle}.", task.brief),
                "narration": narration, "on_screen_text": text})
        })
        .collect();
    json!({"title": title(task), "logline": format!("Everything about {}.", task.brief), "beats": beats})
}

fn keyframe(task: &Task, number: u32, place: usize) -> String {
    let mut parts =
        vec![format!("Shot {number} of {}, {}: {}", task.shots, task.brief, angle(task, place))];
    parts.extend(task.wishes.liked.iter().cloned());
    parts.extend(task.wishes.palette.iter().map(|palette| format!("palette of {palette}")));
    parts.join(", ")
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
                "image_prompt": keyframe(task, number, place),
                "motion_prompt": format!("Slow push in, shot {number}, a soft breeze."),
                "duration_seconds": if wants_whole_seconds { json!(share) } else { json!(duration) },
                "on_screen_text": beat["on_screen_text"].as_str().unwrap_or_default(),
                "narration": beat["narration"].as_str().unwrap_or_default(),
                "references": references(&task.brief, number)})
        })
        .collect();
    json!({"title": title(task), "shots": shots})
}
