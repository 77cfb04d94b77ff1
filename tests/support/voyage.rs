//! Voyage AI's embeddings: `/v1/embeddings`, with fields of its own.

use std::sync::Arc;

use async_trait::async_trait;
use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

use super::bench::{Bench, Service};
use super::bill::Item;
use super::faults::Fault;
use super::openai::embedding;
use super::wire::{Answer, Call, StandIn};

/// The most texts of one request, the most tokens of one text and of one request.
const MOST_TEXTS: usize = 1_000;
const MOST_TOKENS_OF_A_TEXT: usize = 32_000;
const MOST_TOKENS: usize = 120_000;

/// The stand-in.
#[derive(Debug)]
pub struct Voyage {
    bench: Arc<Bench>,
    key: String,
}

impl Voyage {
    /// A service that knows one key.
    pub fn new(bench: Arc<Bench>, key: &str) -> Self {
        Self { bench, key: key.to_owned() }
    }

    fn embed(&self, call: &Call) -> Result<Answer, String> {
        let body = call.json()?;
        let members = body.as_object().ok_or("the body is not an object")?;
        let known = [
            "input",
            "model",
            "input_type",
            "truncation",
            "output_dimension",
            "output_dtype",
            "encoding_format",
        ];
        if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("Argument '{name}' is not supported by our API"));
        }
        let model = body["model"].as_str().ok_or("Argument 'model' is missing")?;
        let price = match model {
            "voyage-4" => dec!(0.06),
            "voyage-4-lite" => dec!(0.02),
            _ => return Err(format!("Model {model} is not supported.")),
        };
        if !matches!(members.get("input_type").and_then(Value::as_str), Some("query" | "document"))
        {
            return Err("this stand-in wants to know what the texts are for".to_owned());
        }
        let width = match members.get("output_dimension").map(Value::as_u64) {
            None => 1024,
            Some(Some(width @ (256 | 512 | 1024 | 2048))) => usize::try_from(width).unwrap(),
            Some(_) => {
                return Err("output_dimension must be one of 256, 512, 1024, 2048".to_owned());
            }
        };
        if members.get("output_dtype").is_some_and(|kind| kind != "float") {
            return Err("this stand-in answers floats only".to_owned());
        }
        let texts: Vec<&str> = match &body["input"] {
            Value::Array(texts) if texts.iter().all(Value::is_string) => {
                texts.iter().filter_map(Value::as_str).collect()
            }
            _ => return Err("input must be a list of strings".to_owned()),
        };
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err("Input cannot contain empty strings or empty lists".to_owned());
        }
        let tokens: Vec<usize> = texts.iter().map(|text| text.len().div_ceil(5)).collect();
        if texts.len() > MOST_TEXTS {
            return Err(format!("The batch size limit is {MOST_TEXTS}."));
        }
        if tokens.iter().any(|&tokens| tokens > MOST_TOKENS_OF_A_TEXT)
            || tokens.iter().sum::<usize>() > MOST_TOKENS
        {
            return Err("The max allowed tokens per submitted batch is exceeded.".to_owned());
        }
        let total: usize = tokens.iter().sum();
        self.bench.bill.charge(Item {
            service: Service::Voyage,
            what: model.to_owned(),
            request_id: format!("voyage-{}", uuid::Uuid::now_v7().simple()),
            quantity: format!("{total} tokens"),
            usd: Decimal::from(total) * price / dec!(1_000_000),
        });
        let data: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(index, text)| {
                json!({"object": "embedding", "embedding": embedding(text, width), "index": index})
            })
            .collect();
        let body = json!({"object": "list", "data": data, "model": model, "usage": {"total_tokens": total}});
        Ok(Answer::json(200, &body))
    }
}

#[async_trait]
impl StandIn for Voyage {
    async fn answer(&self, call: &Call, _fault: Option<&Fault>) -> Answer {
        let refuse = |status: u16, detail: &str| Answer::json(status, &json!({"detail": detail}));
        let key = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if key != Some(self.key.as_str()) {
            return refuse(401, "Provided API key is invalid.");
        }
        if (call.method.as_str(), call.path.as_str()) != ("POST", "/v1/embeddings") {
            self.bench.violation(call, "there is no such endpoint");
            return refuse(404, "Not Found");
        }
        // How a client asks, free of charge, whether its key is good.
        if call.json().is_ok_and(|body| body["input"] == json!([])) {
            return refuse(400, "Input cannot be empty.");
        }
        self.bench.pace.pass(std::time::Duration::from_millis(250)).await;
        self.embed(call).unwrap_or_else(|problem| {
            self.bench.violation(call, problem.clone());
            refuse(400, &problem)
        })
    }
}
