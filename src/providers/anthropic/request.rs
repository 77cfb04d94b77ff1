//! The body of `POST /v1/messages`, version 2026-10-21.
//!
//! The bytes up to the first message are part of the prompt cache's key: they depend on the
//! model, the tools and the system text alone, and are the same for every role.

use serde::Serialize;
use serde_json::{Value, json};

use crate::providers::{CacheLifetime, CachePlan, LanguageRequest, Message, Tool, UserBlock};

/// The most cache breakpoints in one request.
pub(super) const MOST_BREAKPOINTS: usize = 4;

/// The request body, its fields in the order in which they are sent.
///
/// No sampling parameters, no `tool_choice` and no `output_config.format`: the first are
/// refused by this version of the interface, the others are refused by the newest models or
/// change the cache's key.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<StrictTool<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Value>,
    messages: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct StrictTool<'a> {
    #[serde(flatten)]
    tool: &'a Tool,
    strict: bool,
}

impl<'a> Body<'a> {
    pub(super) fn new(request: &'a LanguageRequest, plan: &CachePlan) -> Self {
        let adapts = thinks_adaptively(&request.model);
        let mut system = Vec::new();
        let (mut breakpoints, mut place) = (MOST_BREAKPOINTS, 0);
        if !request.system.is_empty() {
            let mut block = json!({"type": "text", "text": request.system});
            if let Some(lifetime) = plan.lifetime(place) {
                breakpoints -= 1;
                block["cache_control"] = control(lifetime);
            }
            place += 1;
            system.push(block);
        }
        Self {
            model: &request.model,
            max_tokens: request.max_output_tokens,
            thinking: adapts.then(thinking),
            output_config: adapts.then(output_config),
            tools: request.tools.iter().map(|tool| StrictTool { tool, strict: true }).collect(),
            system,
            messages: messages(&request.messages, breakpoints, place, plan),
        }
    }
}

/// A breakpoint. Five minutes are the vendor's default and are not named.
fn control(lifetime: CacheLifetime) -> Value {
    match lifetime {
        CacheLifetime::FiveMinutes => json!({"type": "ephemeral"}),
        CacheLifetime::OneHour => json!({"type": "ephemeral", "ttl": "1h"}),
    }
}

fn thinking() -> Value {
    json!({"type": "adaptive"})
}

fn output_config() -> Value {
    json!({"effort": "medium"})
}

/// What is sent to a model beside its texts that the key of its cache depends on.
pub(super) fn settings(model: &str) -> Value {
    if thinks_adaptively(model) {
        json!({"thinking": thinking(), "output_config": output_config()})
    } else {
        Value::Null
    }
}

/// Whether a model takes `thinking: adaptive` and `output_config.effort`: Claude 4.6 and newer
/// do; the 4.5 generation and models that are not known by their name get neither.
/// A matter of the model alone, so that all roles share one cache key.
fn thinks_adaptively(model: &str) -> bool {
    let mut parts = model.split('-');
    if parts.next() != Some("claude") || parts.next().is_none() {
        return false;
    }
    let Some(major) = parts.next().and_then(|part| part.parse::<u32>().ok()) else { return false };
    // A date suffix such as 20251001 is no minor version.
    let minor = parts.next().and_then(|part| part.parse().ok()).filter(|&minor: &u32| minor < 100);
    (major, minor.unwrap_or(0)) >= (4, 6)
}

/// The messages. Of the marked blocks, the first of which is `first_place` of the plan, those that
/// the plan wants become cache breakpoints; where that is more than `breakpoints`, the latest do.
fn messages(
    messages: &[Message],
    breakpoints: usize,
    first_place: usize,
    plan: &CachePlan,
) -> Vec<Value> {
    let marked = messages
        .iter()
        .filter_map(|message| match message {
            Message::User(blocks) => Some(blocks.iter().filter(|block| wants_breakpoint(block))),
            Message::Assistant(_) => None,
        })
        .flatten()
        .count();
    let places = first_place..first_place + marked;
    let planned = places.filter(|&place| plan.lifetime(place).is_some()).count();
    let mut too_many = planned.saturating_sub(breakpoints);
    let mut place = first_place;
    messages
        .iter()
        .map(|message| match message {
            Message::Assistant(blocks) => json!({"role": "assistant", "content": blocks}),
            Message::User(blocks) => {
                // The vendor wants the answers to its tool calls before any other block.
                let (results, others): (Vec<_>, Vec<_>) =
                    blocks.iter().partition(|block| matches!(block, UserBlock::ToolResult { .. }));
                let content: Vec<Value> = results
                    .into_iter()
                    .chain(others)
                    .map(|block| {
                        let mut value = user_block(block);
                        if wants_breakpoint(block) {
                            if let Some(lifetime) = plan.lifetime(place) {
                                if too_many == 0 {
                                    value["cache_control"] = control(lifetime);
                                } else {
                                    too_many -= 1;
                                }
                            }
                            place += 1;
                        }
                        value
                    })
                    .collect();
                json!({"role": "user", "content": content})
            }
        })
        .collect()
}

/// A breakpoint on a blank block is refused by the vendor.
fn wants_breakpoint(block: &UserBlock) -> bool {
    match block {
        UserBlock::Text { text, cache } => *cache && !text.trim().is_empty(),
        UserBlock::ToolResult { cache, .. } => *cache,
        UserBlock::Image { .. } => false,
    }
}

fn user_block(block: &UserBlock) -> Value {
    match block {
        UserBlock::Text { text, .. } => json!({"type": "text", "text": text}),
        UserBlock::Image { media_type, data, .. } => json!({
            "type": "image",
            "source": {"type": "base64", "media_type": media_type, "data": data},
        }),
        UserBlock::ToolResult { tool_use_id, content, is_error, .. } => json!({
            "type": "tool_result",
            "tool_use_id": tool_use_id,
            "content": content,
            "is_error": is_error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinking_follows_the_models_generation() {
        for (model, adapts) in [
            ("claude-sonnet-5-5", true),
            ("claude-opus-5", true),
            ("claude-haiku-5-5", true),
            ("claude-sonnet-4-6", true),
            ("claude-haiku-4-5-20251001", false),
            ("claude-opus-4-20250514", false),
            ("claude-3-haiku", false),
            ("some-gateway-model", false),
        ] {
            assert_eq!(thinks_adaptively(model), adapts, "{model}");
        }
    }
}
