//! The same reply as a stream of server-sent events (providers.md 1.9).

use serde_json::{Value, json};

use crate::support::wire::Answer;

/// A reply, cut into events. Text and tool input come in two fragments each.
pub fn answer(reply: &Value) -> Answer {
    let mut events = String::new();
    let mut send = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        events.extend(["event: ", kind, "\ndata: ", &data.to_string(), "\n\n"]);
    };
    let mut start = reply.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    send("message_start", json!({"message": start}));
    send("ping", json!({}));
    for (index, block) in reply["content"].as_array().into_iter().flatten().enumerate() {
        let mut head = block.clone();
        let mut deltas = Vec::new();
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                head["text"] = json!("");
                for part in halves(block["text"].as_str().unwrap_or_default()) {
                    deltas.push(json!({"type": "text_delta", "text": part}));
                }
            }
            "tool_use" => {
                head["input"] = json!({});
                for part in halves(&block["input"].to_string()) {
                    deltas.push(json!({"type": "input_json_delta", "partial_json": part}));
                }
            }
            _ => {
                head["signature"] = json!("");
                deltas.push(json!({"type": "signature_delta", "signature": block["signature"]}));
            }
        }
        send("content_block_start", json!({"index": index, "content_block": head}));
        for delta in deltas {
            send("content_block_delta", json!({"index": index, "delta": delta}));
        }
        send("content_block_stop", json!({"index": index}));
    }
    let delta = json!({"stop_reason": reply["stop_reason"], "stop_sequence": null,
        "stop_details": reply["stop_details"]});
    send("message_delta", json!({"delta": delta, "usage": reply["usage"]}));
    send("message_stop", json!({}));
    Answer::file("text/event-stream; charset=utf-8", events.into())
}

fn halves(text: &str) -> [&str; 2] {
    let middle = (text.len() / 2..=text.len()).find(|&place| text.is_char_boundary(place));
    let (first, second) = text.split_at(middle.unwrap_or(text.len()));
    [first, second]
}
