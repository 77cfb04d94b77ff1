//! OpenAI's embeddings: `/v1/embeddings` and `/v1/models`.

use std::sync::Arc;

use async_trait::async_trait;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::bench::{Bench, Service};
use super::bill::Item;
use super::faults::Fault;
use super::wire::{Answer, Call, StandIn};

/// The most tokens of one text, of one request, and the most texts of one request.
const MOST_TOKENS_OF_A_TEXT: usize = 8_192;
const MOST_TOKENS: usize = 300_000;
const MOST_TEXTS: usize = 2_048;

/// The stand-in.
#[derive(Debug)]
pub struct OpenAi {
    bench: Arc<Bench>,
    key: String,
}

impl OpenAi {
    /// A service that knows one key.
    pub fn new(bench: Arc<Bench>, key: &str) -> Self {
        Self { bench, key: key.to_owned() }
    }

    fn embed(&self, call: &Call) -> Result<Answer, String> {
        let body = call.json()?;
        let members = body.as_object().ok_or("the body is not an object")?;
        for name in members.keys() {
            if !["model", "input", "dimensions", "encoding_format", "user"].contains(&name.as_str())
            {
                return Err(format!("Unrecognized request argument supplied: {name}"));
            }
        }
        let model = body["model"].as_str().ok_or("you must provide a model parameter")?;
        let (own_width, price) = match model {
            "text-embedding-3-small" => (1536, dec!(0.02)),
            "text-embedding-3-large" => (3072, dec!(0.13)),
            "text-embedding-ada-002" => (1536, dec!(0.10)),
            _ => return Err(format!("the model `{model}` does not exist")),
        };
        let width = match members.get("dimensions") {
            None => own_width,
            Some(_) if model == "text-embedding-ada-002" => {
                return Err("this model does not support specifying dimensions".to_owned());
            }
            Some(width) => usize::try_from(width.as_u64().unwrap_or(0)).unwrap(),
        };
        if width == 0 || width > own_width {
            return Err(format!("dimensions must be between 1 and {own_width}"));
        }
        if members.get("encoding_format").is_some_and(|format| format != "float") {
            return Err("this stand-in answers floats only".to_owned());
        }
        let texts: Vec<&str> = match &body["input"] {
            Value::String(text) => vec![text],
            Value::Array(texts) if texts.iter().all(Value::is_string) => {
                texts.iter().filter_map(Value::as_str).collect()
            }
            _ => return Err("'$.input' is invalid".to_owned()),
        };
        let tokens: Vec<usize> = texts.iter().map(|text| text.len().div_ceil(4)).collect();
        if texts.is_empty() || texts.iter().any(|text| text.is_empty()) {
            return Err("input cannot be an empty string".to_owned());
        }
        if texts.len() > MOST_TEXTS
            || tokens.iter().any(|&tokens| tokens > MOST_TOKENS_OF_A_TEXT)
            || tokens.iter().sum::<usize>() > MOST_TOKENS
        {
            return Err("the input is too long".to_owned());
        }
        let total: usize = tokens.iter().sum();
        let request_id = format!("req_{}", uuid::Uuid::now_v7().simple());
        self.bench.bill.charge(Item {
            service: Service::OpenAi,
            what: model.to_owned(),
            request_id: request_id.clone(),
            quantity: format!("{total} tokens"),
            usd: Decimal::from(total) * price / dec!(1_000_000),
        });
        let data: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                json!({"object": "embedding", "index": index, "embedding": embedding(text, width)})
            })
            // The documents promise an index, not an order.
            .rev()
            .collect();
        let body = json!({"object": "list", "data": data, "model": model,
            "usage": {"prompt_tokens": total, "total_tokens": total}});
        Ok(Answer::json(200, &body).with("x-request-id", request_id))
    }
}

#[async_trait]
impl StandIn for OpenAi {
    async fn answer(&self, call: &Call, _fault: Option<&Fault>) -> Answer {
        let refuse = |status: u16, kind: &str, code: Option<&str>, message: &str| {
            let error =
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
            Answer::json(status, &error).with("x-request-id", "req_refused")
        };
        let Some(key) =
            call.header("authorization").and_then(|value| value.strip_prefix("Bearer "))
        else {
            self.bench.violation(call, "no 'Authorization: Bearer' header");
            return refuse(401, "invalid_request_error", None, "You didn't provide an API key.");
        };
        if key != self.key {
            return refuse(
                401,
                "invalid_request_error",
                Some("invalid_api_key"),
                "Incorrect API key provided.",
            );
        }
        match (call.method.as_str(), call.path.as_str()) {
            ("POST", "/v1/embeddings") => {
                self.bench.pace.pass(std::time::Duration::from_millis(250)).await;
                self.embed(call).unwrap_or_else(|problem| {
                    self.bench.violation(call, problem.clone());
                    refuse(400, "invalid_request_error", None, &problem)
                })
            }
            ("GET", "/v1/models") => Answer::json(
                200,
                &json!({"object": "list", "data": [
                    {"id": "text-embedding-3-small", "object": "model", "owned_by": "system", "shutdown_date": null},
                    {"id": "text-embedding-3-large", "object": "model", "owned_by": "system", "shutdown_date": null},
                ]}),
            ),
            _ => {
                self.bench.violation(call, "there is no such endpoint");
                refuse(404, "invalid_request_error", Some("unknown_url"), "Unknown request URL")
            }
        }
    }
}

/// A vector of length one in which every word of the text adds to two places, so that texts
/// with common words lie near each other.
pub fn embedding(text: &str, width: usize) -> Vec<f64> {
    let mut vector = vec![0.0_f64; width];
    for word in text.split(|character: char| !character.is_alphanumeric()) {
        if word.is_empty() {
            continue;
        }
        let hash = Sha256::digest(word.to_lowercase().as_bytes());
        for (place, weight) in [(&hash[0..4], 1.0), (&hash[4..8], 0.5)] {
            let place = u32::from_le_bytes(place.try_into().unwrap());
            vector[usize::try_from(place).unwrap() % width] += weight;
        }
    }
    let length = vector.iter().map(|part| part * part).sum::<f64>().sqrt();
    if length > 0.0 {
        for part in &mut vector {
            *part /= length;
        }
    } else {
        vector[0] = 1.0;
    }
    vector
}
