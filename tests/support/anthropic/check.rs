//! What the Messages API of version 2026-10-21 refuses (providers.md 1.2 to 1.8).

use std::collections::HashSet;

use serde_json::{Value, json};

use super::models::Model;
use crate::support::schema;

/// Above this many tokens the vendor's own clients refuse to wait for an unstreamed answer.
const MOST_UNSTREAMED: u64 = 21_333;
const FIELDS: [&str; 15] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "output_config",
    "thinking",
    "cache_control",
    "stop_sequences",
    "stream",
    "metadata",
    "service_tier",
    "inference_geo",
    "speed",
];

/// A turn that the service said, as it must come back.
#[derive(Debug, Clone)]
pub struct Said {
    /// The model that said it.
    pub model: String,
    /// The first message of its conversation.
    pub opening: Value,
    /// Its content.
    pub content: Vec<Value>,
    /// Whether it was a pause, after which it may stand last.
    pub is_pause: bool,
}

/// Checks a request body; an error is the message of the 400. `said` is everything that the
/// service ever said.
pub fn request(body: &Value, said: &[Said]) -> Result<Model, String> {
    let members = body.as_object().ok_or("the body is not an object")?;
    for name in ["temperature", "top_p", "top_k"] {
        if members.contains_key(name) {
            return Err(format!("{name}: not supported in version 2026-10-21"));
        }
    }
    if let Some(name) = members.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("{name}: Extra inputs are not permitted"));
    }
    let id = body["model"].as_str().ok_or("model: Field required")?;
    let model = Model::find(id).ok_or_else(|| format!("model: {id}"))?;
    let most = body["max_tokens"].as_u64().ok_or("max_tokens: Field required")?;
    if !(1..=128_000).contains(&most) {
        return Err(format!("max_tokens: {most} is not in 1..=128000"));
    }
    let is_streamed = match members.get("stream") {
        None => false,
        Some(stream) => stream.as_bool().ok_or("stream: a boolean is wanted")?,
    };
    if most > MOST_UNSTREAMED && !is_streamed {
        return Err("max_tokens: an answer this long must be streamed".to_owned());
    }
    thinking(body, model)?;
    tool_choice(body, model)?;
    output_config(body)?;
    let tools = tools(body)?;
    system(body)?;
    messages(body, said, &tools)?;
    Ok(model)
}

fn thinking(body: &Value, model: Model) -> Result<(), String> {
    let Some(thinking) = body.get("thinking") else { return Ok(()) };
    let allowed: &[&str] = match thinking["type"].as_str().unwrap_or_default() {
        "adaptive" => &["type", "display"],
        "enabled" if model.is_newest => {
            return Err(format!("thinking.type: 'enabled' is not supported by {}", model.id));
        }
        "enabled" => &["type", "budget_tokens"],
        "disabled" if !model.thinking_can_be_disabled => {
            return Err(format!("thinking.type: 'disabled' is not supported by {}", model.id));
        }
        "disabled" | "between_tools" => &["type"],
        other => return Err(format!("thinking.type: '{other}' is not known")),
    };
    match thinking
        .as_object()
        .and_then(|thinking| thinking.keys().find(|name| !allowed.contains(&name.as_str())))
    {
        Some(name) => Err(format!("thinking.{name}: Extra inputs are not permitted")),
        None => Ok(()),
    }
}

fn tool_choice(body: &Value, model: Model) -> Result<(), String> {
    let Some(choice) = body.get("tool_choice") else { return Ok(()) };
    match choice["type"].as_str().unwrap_or_default() {
        forced @ ("any" | "tool") if model.is_newest && model.id != "claude-haiku-5-5" => {
            Err(format!("tool_choice.type: '{forced}' is not supported by {}", model.id))
        }
        "auto" | "none" | "any" | "tool" => Ok(()),
        other => Err(format!("tool_choice.type: '{other}' is not known")),
    }
}

fn output_config(body: &Value) -> Result<(), String> {
    let Some(configuration) = body.get("output_config") else { return Ok(()) };
    let members = configuration.as_object().ok_or("output_config: an object is wanted")?;
    for (name, value) in members {
        match name.as_str() {
            "effort"
                if ["low", "medium", "high", "xhigh", "max"]
                    .iter()
                    .any(|effort| value == effort) => {}
            "format" if value["type"] == "json_schema" => {
                if let Some(problem) = schema::strict_problems(&value["schema"]).first() {
                    return Err(format!("output_config.format.{problem}"));
                }
            }
            _ => return Err(format!("output_config.{name}: {value} is not valid")),
        }
    }
    Ok(())
}

/// Checks the tools and answers their names.
fn tools(body: &Value) -> Result<HashSet<String>, String> {
    let allowed = [
        "name",
        "description",
        "input_schema",
        "strict",
        "cache_control",
        "input_examples",
        "defer_loading",
        "eager_input_streaming",
        "type",
    ];
    let mut names = HashSet::new();
    let Some(tools) = body.get("tools") else { return Ok(names) };
    for (place, tool) in tools.as_array().ok_or("tools: an array is wanted")?.iter().enumerate() {
        let members = tool.as_object().ok_or("tools: an object is wanted")?;
        if let Some(extra) = members.keys().find(|member| !allowed.contains(&member.as_str())) {
            return Err(format!("tools.{place}.{extra}: Extra inputs are not permitted"));
        }
        let name = tool["name"].as_str().unwrap_or_default();
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_plain) {
            return Err(format!("tools.{place}.name: '{name}' is not valid"));
        }
        if !names.insert(name.to_owned()) {
            return Err("tools: Tool names must be unique".to_owned());
        }
        if tool["description"].as_str().is_none_or(str::is_empty) {
            return Err(format!("tools.{place}.description: words are wanted"));
        }
        if tool["input_schema"]["type"] != "object" {
            return Err(format!("tools.{place}.input_schema.type: must be 'object'"));
        }
        if tool["strict"] == json!(true)
            && let Some(problem) = schema::strict_problems(&tool["input_schema"]).first()
        {
            return Err(format!("tools.{place} ({name}): {problem}"));
        }
    }
    Ok(names)
}

fn system(body: &Value) -> Result<(), String> {
    match body.get("system") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => parts.iter().try_for_each(|part| text(part, "system")),
        Some(_) => Err("system: text or blocks are wanted".to_owned()),
    }
}

fn text(block: &Value, place: &str) -> Result<(), String> {
    known_members(block, &["type", "text", "cache_control", "citations"], place)?;
    match block["text"].as_str() {
        Some(words) if !words.trim().is_empty() => Ok(()),
        Some(_) => Err(format!("{place}: text content blocks must contain non-whitespace text")),
        None => Err(format!("{place}.text: Field required")),
    }
}

/// The longest side of a picture, in pixels, above which the vendor answers an error.
const LONGEST_SIDE: u32 = 8_000;

fn image(block: &Value, place: &str) -> Result<(), String> {
    use base64::Engine as _;
    known_members(block, &["type", "source", "cache_control"], place)?;
    let source = &block["source"];
    known_members(source, &["type", "media_type", "data"], place)?;
    if source["type"] != "base64" {
        return Err(format!("{place}.source.type: base64 is what this service takes"));
    }
    let data = source["data"].as_str().unwrap_or_default();
    let bytes = base64::prelude::BASE64_STANDARD
        .decode(data)
        .map_err(|error| format!("{place}.source.data: {error}"))?;
    let format = image::guess_format(&bytes).map_err(|error| format!("{place}: {error}"))?;
    if source["media_type"] != format.to_mime_type() {
        return Err(format!("{place}.source.media_type: the picture is {}", format.to_mime_type()));
    }
    let look = crate::support::media::look(&bytes).map_err(|error| format!("{place}: {error}"))?;
    if look.width.max(look.height) > LONGEST_SIDE {
        return Err(format!("{place}: image_dimensions_too_large"));
    }
    Ok(())
}

fn known_members(block: &Value, known: &[&str], place: &str) -> Result<(), String> {
    let members = block.as_object().ok_or_else(|| format!("{place}: an object is wanted"))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{place}.{name}: Extra inputs are not permitted")),
        None => Ok(()),
    }
}

/// The blocks of a message.
pub fn blocks(message: &Value) -> Vec<Value> {
    match &message["content"] {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    }
}

fn messages(body: &Value, said: &[Said], tools: &HashSet<String>) -> Result<(), String> {
    let messages = body["messages"].as_array().ok_or("messages: Field required")?;
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Err("messages: at least one message is required".to_owned());
    };
    if first["role"] != "user" {
        return Err("messages: first message must use the \"user\" role".to_owned());
    }
    let mut before = Vec::new();
    let mut role_before = "";
    for (place, message) in messages.iter().enumerate() {
        let place = format!("messages.{place}");
        known_members(message, &["role", "content"], &place)?;
        let role = message["role"].as_str().unwrap_or_default();
        if !["user", "assistant"].contains(&role) {
            return Err(format!("{place}.role: '{role}' is not expected here"));
        }
        if role == role_before {
            return Err(format!(
                "{place}: roles must alternate between \"user\" and \"assistant\""
            ));
        }
        let blocks = blocks(message);
        if blocks.is_empty() {
            return Err(format!("{place}: content must not be empty"));
        }
        if role == "user" {
            user(&blocks, &before, &place)?;
        } else {
            assistant(&blocks, body, first, said, tools, &place)?;
        }
        before = if role == "assistant" { blocks } else { Vec::new() };
        role_before = role;
    }
    if last["role"] == "assistant" {
        let content = blocks(last);
        if !said.iter().any(|said| said.is_pause && said.content == content) {
            return Err("messages: assistant message prefill is not supported".to_owned());
        }
    }
    Ok(())
}

/// Checks a user message against the assistant message before it: every tool call is answered,
/// once, before anything else is said.
fn user(blocks: &[Value], before: &[Value], place: &str) -> Result<(), String> {
    let mut asked: Vec<&str> = before
        .iter()
        .filter(|block| block["type"] == "tool_use")
        .filter_map(|block| block["id"].as_str())
        .collect();
    let mut has_spoken = false;
    for (index, block) in blocks.iter().enumerate() {
        let place = format!("{place}.content.{index}");
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                text(block, &place)?;
                if block["citations"].as_array().is_some_and(|citations| !citations.is_empty()) {
                    return Err(format!("{place}.citations: not supported in user messages"));
                }
                has_spoken = true;
            }
            "image" => {
                image(block, &place)?;
                has_spoken = true;
            }
            "tool_result" => {
                let known = ["type", "tool_use_id", "content", "is_error", "cache_control"];
                known_members(block, &known, &place)?;
                if has_spoken {
                    return Err(format!("{place}: tool_result blocks must come first"));
                }
                let id = block["tool_use_id"].as_str().unwrap_or_default();
                let Some(found) = asked.iter().position(|asked| *asked == id) else {
                    return Err(format!("{place}: unexpected tool_use_id '{id}'"));
                };
                asked.remove(found);
                match &block["content"] {
                    Value::String(_) | Value::Null => {}
                    Value::Array(parts) => {
                        parts.iter().try_for_each(|part| text(part, &place))?;
                    }
                    _ => return Err(format!("{place}.content: text or blocks are wanted")),
                }
                if !matches!(block["is_error"], Value::Null | Value::Bool(_)) {
                    return Err(format!("{place}.is_error: a boolean is wanted"));
                }
            }
            other => return Err(format!("{place}.type: '{other}' is not allowed here")),
        }
    }
    match asked.first() {
        Some(id) => Err(format!("{place}: tool_use '{id}' has no tool_result in the next message")),
        None => Ok(()),
    }
}

/// Checks an assistant message: thinking comes back untouched, in its own conversation, and
/// nothing of it is left out.
fn assistant(
    blocks: &[Value],
    body: &Value,
    opening: &Value,
    said: &[Said],
    tools: &HashSet<String>,
    place: &str,
) -> Result<(), String> {
    for (index, block) in blocks.iter().enumerate() {
        let place = format!("{place}.content.{index}");
        match block["type"].as_str().unwrap_or_default() {
            "text" => text(block, &place)?,
            "thinking" | "redacted_thinking" if block.get("cache_control").is_some() => {
                return Err(format!("{place}: thinking takes no cache_control"));
            }
            "thinking" | "redacted_thinking" => {}
            "tool_use" => {
                let name = block["name"].as_str().unwrap_or_default();
                if !tools.contains(name) {
                    return Err(format!("{place}: the tool '{name}' is not offered"));
                }
                if !block["input"].is_object() {
                    return Err(format!("{place}.input: an object is wanted"));
                }
            }
            other => return Err(format!("{place}.type: '{other}' is not allowed here")),
        }
    }
    let stripped: Vec<Value> = blocks.iter().map(without_breakpoint).collect();
    let opening = without_breakpoints(opening);
    let marks = |blocks: &[Value]| -> Vec<String> {
        let mark =
            |block: &Value| Some(block["id"].as_str().or(block["signature"].as_str())?.to_owned());
        blocks.iter().filter_map(mark).collect()
    };
    let given = marks(&stripped);
    let Some(turn) =
        said.iter().find(|said| marks(&said.content).iter().any(|mark| given.contains(mark)))
    else {
        return if given.is_empty() {
            Ok(())
        } else {
            Err(format!("{place}: invalid `signature` or tool_use id: this was never said"))
        };
    };
    let thinking = |blocks: &[Value]| -> Vec<Value> {
        blocks.iter().filter(|block| block["type"] == "thinking").cloned().collect()
    };
    if thinking(&turn.content) != thinking(&stripped) {
        return Err(format!(
            "{place}: `thinking` blocks cannot be modified; they must be as they were in the original response"
        ));
    }
    if turn.content != stripped {
        return Err(format!("{place}: the turn differs from what was said"));
    }
    if body["model"] != json!(turn.model) || opening != turn.opening {
        return Err(format!("{place}: the turn belongs to another conversation or model"));
    }
    Ok(())
}

fn without_breakpoint(block: &Value) -> Value {
    let mut block = block.clone();
    if let Some(members) = block.as_object_mut() {
        members.shift_remove("cache_control");
    }
    block
}

/// A message without its breakpoints, which may move from call to call.
pub fn without_breakpoints(message: &Value) -> Value {
    let content: Vec<Value> = blocks(message).iter().map(without_breakpoint).collect();
    json!({"role": message["role"], "content": content})
}
