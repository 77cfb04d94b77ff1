//! Embeddings from OpenAI, or from any host that speaks its interface, with or without a key.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use reqwest::header::AUTHORIZATION;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http::{BaseUrl, Caller, HttpClient, Reply, Stakes, retrying};
use super::{Embedder, Embeddings, FailureClass, Probe, Provider, ProviderError};
use crate::ledger::Reservation;

/// The most texts in one call. The vendor takes 2,048; this keeps a reply under 20 MB.
const MOST_TEXTS: usize = 512;
/// The most tokens in one call, all texts together (vendor's limit).
const MOST_TOKENS: u64 = 300_000;
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// The width that is asked of models that can answer several: aida stores 1536.
const ASKED_WIDTH: usize = 1536;

/// An embedding model behind OpenAI's interface.
#[derive(Debug, Clone)]
pub struct OpenAiEmbedder {
    client: HttpClient,
    base: BaseUrl,
    caller: Caller,
    model: String,
}

impl OpenAiEmbedder {
    /// The model under `base` (`https://api.openai.com/v1`: the version is part of it). Hosts on
    /// one's own machine often take no key.
    pub fn new(
        client: HttpClient,
        base: BaseUrl,
        key: Option<SecretString>,
        model: impl Into<String>,
    ) -> Self {
        let caller = Caller::new(Provider::OpenAi, key);
        Self { client, base, caller, model: model.into() }
    }

    /// The width of the vectors, where it is known before the first call.
    pub fn width(&self) -> Option<usize> {
        match self.model.as_str() {
            "text-embedding-3-small" | "text-embedding-3-large" | "text-embedding-ada-002" => {
                Some(ASKED_WIDTH)
            }
            _ => None,
        }
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        self.caller.with_key(request, AUTHORIZATION, "Bearer ")
    }

    fn check(&self, texts: &[String]) -> Result<(), ProviderError> {
        if texts.is_empty() || texts.len() > MOST_TEXTS {
            let message = format!("{} texts in one call; 1 to {MOST_TEXTS} are taken", texts.len());
            return Err(self.caller.not_sent(&message));
        }
        if texts.iter().any(String::is_empty) {
            return Err(self.caller.not_sent("an empty text cannot be embedded"));
        }
        Ok(())
    }

    fn failure(&self, stakes: Stakes, reply: &Reply) -> ProviderError {
        #[derive(Deserialize)]
        struct Wrapped {
            error: Words,
        }
        #[derive(Deserialize)]
        struct Words {
            message: String,
            #[serde(rename = "type")]
            kind: Option<String>,
            code: Option<Value>,
        }

        let mut failure = match serde_json::from_slice(&reply.body) {
            Err(_) => self.caller.gateway_failure(stakes, reply, false),
            Ok(Wrapped { error }) => {
                let code = error.code.as_ref().and_then(Value::as_str).map(str::to_owned);
                // Two meanings of 429 that only these fields tell apart; the code may be null.
                let out_of_money =
                    [error.kind.as_deref(), code.as_deref()].contains(&Some("insufficient_quota"));
                let class = match reply.status.as_u16() {
                    _ if out_of_money => FailureClass::Funds,
                    401 | 403 => FailureClass::Credentials,
                    402 => FailureClass::Funds,
                    404 => FailureClass::NotOffered,
                    429 => FailureClass::RateLimited,
                    408 | 409 | 500.. => FailureClass::Unavailable,
                    _ => FailureClass::Input,
                };
                let failure =
                    self.caller.failure_of(reply, class, stakes.when_refused(), &error.message);
                ProviderError { code: code.or(error.kind), ..failure }
            }
        };
        failure.request_id = request_id_of(reply);
        failure
    }

    fn parse(&self, reply: &Reply, texts: usize) -> Option<Embeddings> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Item>,
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Item {
            index: usize,
            embedding: Vec<f32>,
        }
        #[derive(Deserialize)]
        struct Usage {
            prompt_tokens: Option<u64>,
            total_tokens: Option<u64>,
        }

        let mut page: Page = serde_json::from_slice(&reply.body).ok()?;
        page.data.sort_by_key(|item| item.index);
        let in_order = page.data.iter().map(|item| item.index).eq(0..texts);
        let width = self.width().or_else(|| Some(page.data.first()?.embedding.len()))?;
        let even = page.data.iter().all(|item| {
            item.embedding.len() == width && item.embedding.iter().all(|number| number.is_finite())
        });
        let tokens = page.usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens));
        // Who takes a key bills by tokens, and must say how many.
        let tokens = if self.caller.has_key() { tokens } else { tokens.or(Some(0)) };
        (in_order && even && width > 0).then_some(Embeddings {
            vectors: page.data.into_iter().map(|item| item.embedding).collect(),
            tokens: tokens?,
            request_id: request_id_of(reply),
        })
    }
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[async_trait]
impl Embedder for OpenAiEmbedder {
    fn provider(&self) -> Provider {
        Provider::OpenAi
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn batch_limits(&self) -> (usize, u64) {
        (MOST_TEXTS, MOST_TOKENS)
    }

    async fn embed(
        &self,
        _reservation: Reservation,
        texts: &[String],
    ) -> Result<Embeddings, ProviderError> {
        self.check(texts)?;
        let body = Body {
            model: &self.model,
            input: texts,
            encoding_format: "float",
            // The large model is 3072 wide unless it is asked for less.
            dimensions: (self.model == "text-embedding-3-large").then_some(ASKED_WIDTH),
        };
        let post = self.client.shared().post(self.base.join("/embeddings"));
        let post = self.with_key(post).timeout(CALL_TIMEOUT).json(&body);
        let reply = self.caller.send(Stakes::Paid, post).await?;
        if !reply.status.is_success() {
            return Err(self.failure(Stakes::Paid, &reply));
        }
        self.parse(&reply, texts.len()).ok_or_else(|| {
            let expected = "one vector of the right width for each text, and the usage";
            let failure = self.caller.malformed(Stakes::Paid, &reply, expected);
            ProviderError { request_id: request_id_of(&reply), ..failure }
        })
    }

    async fn probe(&self) -> Result<Probe, ProviderError> {
        let reply = retrying(|| async {
            let get = self.client.shared().get(self.base.join("/models")).timeout(PROBE_TIMEOUT);
            let reply = self.caller.send(Stakes::Free, self.with_key(get)).await?;
            if reply.status.is_success() {
                Ok(reply)
            } else {
                Err(self.failure(Stakes::Free, &reply))
            }
        })
        .await?;
        if reply.json().is_none_or(|page| page.get("data").is_none()) {
            return Err(self.caller.malformed(Stakes::Free, &reply, "a list of models"));
        }
        let note = if self.caller.has_key() {
            "the key is accepted"
        } else {
            "the host answers, no key is set"
        };
        Ok(Probe { note: note.to_owned(), balance: None })
    }
}

fn request_id_of(reply: &Reply) -> Option<String> {
    reply.header("x-request-id").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::providers::MoneyState;

    async fn serving(response: ResponseTemplate) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/v1/embeddings"))
            .respond_with(response)
            .mount(&server)
            .await;
        server
    }

    fn embedder(server: &MockServer, key: Option<&str>, model: &str) -> OpenAiEmbedder {
        let base = format!("{}/v1", server.uri()).parse().unwrap();
        let client = HttpClient::new().unwrap();
        OpenAiEmbedder::new(client, base, key.map(SecretString::from), model)
    }

    async fn embed(embedder: &OpenAiEmbedder, texts: &[&str]) -> Result<Embeddings, ProviderError> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        embedder.embed(Reservation::for_tests(), &texts).await
    }

    fn page(vectors: &[(usize, f32, usize)]) -> Value {
        let data: Vec<_> = vectors
            .iter()
            .map(|(index, value, width)| json!({"object": "embedding", "index": index, "embedding": vec![value; *width]}))
            .collect();
        json!({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 9, "total_tokens": 9}})
    }

    #[tokio::test]
    async fn vectors_come_back_in_the_order_of_the_texts() {
        let page = page(&[(1, 0.5, 1536), (0, 0.25, 1536)]);
        let response =
            ResponseTemplate::new(200).insert_header("x-request-id", "r1").set_body_json(page);
        let server = serving(response).await;
        let large = embedder(&server, Some("sk-hidden"), "text-embedding-3-large");
        let embeddings = embed(&large, &["a", "b"]).await.unwrap();
        assert_eq!(embeddings.vectors, [vec![0.25; 1536], vec![0.5; 1536]]);
        assert_eq!((embeddings.tokens, embeddings.request_id.as_deref()), (9, Some("r1")));

        let sent = &server.received_requests().await.unwrap()[0];
        assert_eq!(sent.headers["authorization"], "Bearer sk-hidden");
        assert_eq!(
            serde_json::from_slice::<Value>(&sent.body).unwrap(),
            json!({"model": "text-embedding-3-large", "input": ["a", "b"], "encoding_format": "float", "dimensions": 1536})
        );
    }

    #[tokio::test]
    async fn a_host_without_keys_works_and_costs_no_tokens_that_it_does_not_count() {
        let mut page = page(&[(0, 1.0, 768)]);
        page.as_object_mut().unwrap().remove("usage");
        let server = serving(ResponseTemplate::new(200).set_body_json(&page)).await;
        let embeddings = embed(&embedder(&server, None, "nomic-embed-text"), &["a"]).await.unwrap();
        assert_eq!((embeddings.vectors[0].len(), embeddings.tokens), (768, 0));
        let sent = &server.received_requests().await.unwrap()[0];
        assert!(!sent.headers.contains_key("authorization"));
        assert_eq!(
            serde_json::from_slice::<Value>(&sent.body).unwrap(),
            json!({"model": "nomic-embed-text", "input": ["a"], "encoding_format": "float"})
        );

        let keyed = embedder(&server, Some("sk-hidden"), "nomic-embed-text");
        assert_eq!(embed(&keyed, &["a"]).await.unwrap_err().class, FailureClass::Malformed);
    }

    #[tokio::test]
    async fn vectors_that_do_not_fit_the_texts_are_refused_and_were_paid_for() {
        for page in [
            page(&[(0, 1.0, 1536)]),
            page(&[(0, 1.0, 1536), (0, 1.0, 1536)]),
            page(&[(0, 1.0, 1536), (2, 1.0, 1536)]),
            page(&[(0, 1.0, 1536), (1, 1.0, 8)]),
            page(&[(0, 1.0, 8), (1, 1.0, 8)]),
            json!({"data": "x"}),
        ] {
            let server = serving(ResponseTemplate::new(200).set_body_json(&page)).await;
            let small = embedder(&server, Some("sk-hidden"), "text-embedding-3-small");
            let error = embed(&small, &["a", "b"]).await.unwrap_err();
            assert_eq!(
                (error.class, error.money),
                (FailureClass::Malformed, MoneyState::Unknown),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn every_documented_error_has_its_class() {
        use FailureClass::{Credentials, Funds, Input, NotOffered, RateLimited, Unavailable};
        for (status, kind, code, class) in [
            (400, "invalid_request_error", json!(null), Input),
            (401, "invalid_request_error", json!("invalid_api_key"), Credentials),
            (404, "invalid_request_error", json!("model_not_found"), NotOffered),
            (429, "requests", json!("rate_limit_exceeded"), RateLimited),
            (429, "insufficient_quota", json!(null), Funds),
            (429, "insufficient_quota", json!("insufficient_quota"), Funds),
            (500, "server_error", json!(null), Unavailable),
        ] {
            let words = "Incorrect API key provided: sk-hidden.";
            let body =
                json!({"error": {"message": words, "type": kind, "param": null, "code": code}});
            let server = serving(ResponseTemplate::new(status).set_body_json(body)).await;
            let keyed = embedder(&server, Some("sk-hidden"), "text-embedding-3-small");
            let error = embed(&keyed, &["a"]).await.unwrap_err();
            assert_eq!(
                (error.class, error.money),
                (class, MoneyState::NotCharged),
                "{status} {kind}"
            );
            assert!(!error.to_string().contains("hidden"), "{error}");
            assert_eq!(server.received_requests().await.unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn what_would_be_refused_for_certain_is_not_sent() {
        let server = serving(ResponseTemplate::new(500)).await;
        let small = embedder(&server, Some("sk-hidden"), "text-embedding-3-small");
        for texts in [vec![], vec![""], vec!["a"; MOST_TEXTS + 1]] {
            assert_eq!(embed(&small, &texts).await.unwrap_err().class, FailureClass::Input);
        }
        assert_eq!(server.received_requests().await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn the_probe_lists_models() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path("/v1/models"))
            .respond_with(
                ResponseTemplate::new(200).set_body_json(json!({"object": "list", "data": []})),
            )
            .mount(&server)
            .await;
        assert!(embedder(&server, Some("sk-hidden"), "m").probe().await.is_ok());
        assert!(embedder(&server, None, "m").probe().await.unwrap().note.contains("no key"));
    }
}
