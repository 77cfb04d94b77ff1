//! A host of one's own that speaks OpenAI's interface, as Ollama does: no key, no bill, models that
//! must have been pulled, and errors that are one string.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::bench::Bench;
use super::faults::Fault;
use super::openai::embedding;
use super::wire::{Answer, Call, StandIn};

/// What was pulled, with the width of each model's vectors.
const MODELS: [(&str, usize); 2] = [("nomic-embed-text", 768), ("qwen3-embedding", 4096)];

/// The stand-in.
#[derive(Debug)]
pub struct Ollama {
    bench: Arc<Bench>,
}

impl Ollama {
    /// A host that nobody pays.
    pub fn new(bench: Arc<Bench>) -> Self {
        Self { bench }
    }

    fn embed(call: &Call) -> Result<Answer, (u16, String)> {
        let invalid = |problem: &str| (400, problem.to_owned());
        let body = call.json().map_err(|problem| (400, problem))?;
        let model = body["model"].as_str().ok_or_else(|| invalid("model is required"))?;
        let Some((_, own_width)) = MODELS.into_iter().find(|(known, _)| *known == model) else {
            return Err((404, format!("model \"{model}\" not found, try pulling it first")));
        };
        let width = match &body["dimensions"] {
            Value::Null => own_width,
            width => width
                .as_u64()
                .and_then(|width| usize::try_from(width).ok())
                .filter(|width| (1..=own_width).contains(width))
                .ok_or_else(|| invalid("invalid dimensions"))?,
        };
        let texts: Vec<&str> = match &body["input"] {
            Value::String(text) => vec![text],
            Value::Array(texts) if !texts.is_empty() && texts.iter().all(Value::is_string) => {
                texts.iter().filter_map(Value::as_str).collect()
            }
            _ => return Err(invalid("invalid input")),
        };
        let data: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                json!({"object": "embedding", "embedding": embedding(text, width), "index": index})
            })
            .collect();
        let tokens = texts.iter().map(|text| text.len().div_ceil(4)).sum::<usize>();
        Ok(Answer::json(
            200,
            &json!({"object": "list", "data": data, "model": model,
                    "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}),
        ))
    }
}

#[async_trait]
impl StandIn for Ollama {
    async fn answer(&self, call: &Call, _fault: Option<&Fault>) -> Answer {
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/v1/embeddings") => {
                self.bench.pace.pass(std::time::Duration::from_millis(100)).await;
                Self::embed(call).unwrap_or_else(|(status, problem)| {
                    if status == 400 {
                        self.bench.violation(call, problem.clone());
                    }
                    Answer::json(status, &json!({"error": problem}))
                })
            }
            ("GET", "/v1/models") => {
                let models: Vec<Value> = MODELS
                    .into_iter()
                    .map(|(model, _)| json!({"id": format!("{model}:latest"), "object": "model", "owned_by": "library"}))
                    .collect();
                Answer::json(200, &json!({"object": "list", "data": models}))
            }
            _ => {
                self.bench.violation(call, "there is no such endpoint");
                Answer::json(404, &json!({"error": "404 page not found"}))
            }
        }
    }
}
