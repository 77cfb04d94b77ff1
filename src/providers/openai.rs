//! Embeddings from OpenAI, or from any host that speaks its interface, with or without a key.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use reqwest::header::AUTHORIZATION;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::embedding::{Item, check_texts, vectors_in_order};
use super::http::{BaseUrl, Caller, HttpClient, Reply, Stakes, retrying};
use super::{Embedder, Embeddings, FailureClass, Probe, Provider, ProviderError, TextRole};
use crate::ledger::Reservation;

/// The most texts in one call. The vendor takes 2,048; this keeps a reply under 20 MB.
const MOST_TEXTS: usize = 512;
/// The most tokens in one call, all texts together (vendor's limit).
const MOST_TOKENS: u64 = 300_000;
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// The width of the vendor's own models: asked of those that can answer several, because aida stores
/// 1536.
pub const ASKED_WIDTH: usize = 1536;

/// An embedding model behind OpenAI's interface.
#[derive(Debug, Clone)]
pub struct OpenAiEmbedder {
    client: HttpClient,
    base: BaseUrl,
    provider: Provider,
    caller: Caller,
    model: String,
    space: String,
    dimensions: Option<usize>,
}

impl OpenAiEmbedder {
    /// OpenAI's model under `base` (`https://api.openai.com/v1`: the version is part of it).
    pub fn new(
        client: HttpClient,
        base: BaseUrl,
        key: Option<SecretString>,
        model: impl Into<String>,
    ) -> Self {
        let (provider, model) = (Provider::OpenAi, model.into());
        // The large model is 3072 wide unless it is asked for less.
        let dimensions = (model == "text-embedding-3-large").then_some(ASKED_WIDTH);
        let caller = Caller::new(provider, key);
        Self { client, base, provider, caller, space: model.clone(), model, dimensions }
    }

    /// A model of any host that speaks OpenAI's interface. Hosts on one's own machine often take no
    /// key. `dimensions` is the width that is asked, of models that can answer several.
    ///
    /// Its vectors are not compared with those of a model that another host calls by the same name.
    pub fn compatible(
        client: HttpClient,
        base: BaseUrl,
        key: Option<SecretString>,
        model: impl Into<String>,
        dimensions: Option<usize>,
    ) -> Self {
        let (provider, model) = (Provider::Compatible, model.into());
        let space = format!("{provider}/{model}");
        let caller = Caller::new(provider, key);
        Self { client, base, provider, caller, model, space, dimensions }
    }

    /// The width of the vectors, where it is known before the first call.
    pub fn width(&self) -> Option<usize> {
        self.dimensions.or((self.provider == Provider::OpenAi).then_some(ASKED_WIDTH))
    }

    fn with_key(&self, request: RequestBuilder) -> RequestBuilder {
        self.caller.with_key(request, AUTHORIZATION, "Bearer ")
    }

    fn failure(&self, stakes: Stakes, reply: &Reply) -> ProviderError {
        #[derive(Deserialize)]
        struct Wrapped {
            error: Either,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            /// As OpenAI says it.
            Words(Words),
            /// As Ollama says it.
            Text(String),
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
                let error = match error {
                    Either::Words(words) => words,
                    Either::Text(message) => Words { message, kind: None, code: None },
                };
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
        struct Usage {
            prompt_tokens: Option<u64>,
            total_tokens: Option<u64>,
        }

        let page: Page = serde_json::from_slice(&reply.body).ok()?;
        let tokens = page.usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens));
        // Who takes a key bills by tokens, and must say how many.
        let tokens = if self.caller.has_key() { tokens } else { tokens.or(Some(0)) };
        Some(Embeddings {
            vectors: vectors_in_order(page.data, texts, self.width())?,
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
        self.provider
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn space(&self) -> &str {
        &self.space
    }

    fn most_at_once(&self) -> usize {
        // A host of one's own works at one thing at a time.
        if self.provider == Provider::OpenAi { 4 } else { 2 }
    }

    fn batch_limits(&self) -> (usize, u64) {
        (MOST_TEXTS, MOST_TOKENS)
    }

    async fn embed(
        &self,
        _reservation: Reservation,
        texts: &[String],
        _role: TextRole,
    ) -> Result<Embeddings, ProviderError> {
        check_texts(&self.caller, texts, MOST_TEXTS)?;
        let body = Body {
            model: &self.model,
            input: texts,
            encoding_format: "float",
            dimensions: self.dimensions,
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
        let page = reply.json();
        // Ollama says null where it has no models yet.
        let Some(models) = page.as_ref().and_then(|page| page.get("data")) else {
            return Err(self.caller.malformed(Stakes::Free, &reply, "a list of models"));
        };
        let is_ours = |id: &str| {
            id == self.model || id.strip_suffix(":latest").is_some_and(|name| name == self.model)
        };
        let is_listed = models
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["id"].as_str().is_some_and(is_ours)));
        let mut note = if self.caller.has_key() {
            "the key is accepted".to_owned()
        } else {
            "the host answers, no key is set".to_owned()
        };
        if self.provider == Provider::Compatible && !is_listed {
            note = format!("{note}; it does not list the model {}", self.model);
        }
        Ok(Probe { note, balance: None })
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
        embedder.embed(Reservation::for_tests(), &texts, TextRole::Document).await
    }

    fn compatible(
        server: &MockServer,
        key: Option<&str>,
        dimensions: Option<usize>,
    ) -> OpenAiEmbedder {
        let base = format!("{}/v1", server.uri()).parse().unwrap();
        let client = HttpClient::new().unwrap();
        let key = key.map(SecretString::from);
        OpenAiEmbedder::compatible(client, base, key, "nomic-embed-text", dimensions)
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
        let embeddings = embed(&compatible(&server, None, None), &["a"]).await.unwrap();
        assert_eq!((embeddings.vectors[0].len(), embeddings.tokens), (768, 0));
        let sent = &server.received_requests().await.unwrap()[0];
        assert!(!sent.headers.contains_key("authorization"));
        assert_eq!(
            serde_json::from_slice::<Value>(&sent.body).unwrap(),
            json!({"model": "nomic-embed-text", "input": ["a"], "encoding_format": "float"})
        );

        let keyed = compatible(&server, Some("sk-hidden"), None);
        assert_eq!(embed(&keyed, &["a"]).await.unwrap_err().class, FailureClass::Malformed);
        assert_eq!(keyed.space(), "compatible/nomic-embed-text");
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
    async fn ollamas_errors_and_widths_are_understood() {
        for (status, class) in [
            (404, FailureClass::NotOffered),
            (400, FailureClass::Input),
            (500, FailureClass::Unavailable),
        ] {
            let body =
                json!({"error": "model \"nomic-embed-text\" not found, try pulling it first"});
            let server = serving(ResponseTemplate::new(status).set_body_json(body)).await;
            let error = embed(&compatible(&server, None, None), &["a"]).await.unwrap_err();
            assert_eq!((error.class, error.money), (class, MoneyState::NotCharged));
            assert!(error.message.contains("try pulling"), "{error}");
        }
        let server =
            serving(ResponseTemplate::new(200).set_body_json(page(&[(0, 1.0, 512)]))).await;
        let narrow = compatible(&server, None, Some(512));
        assert_eq!(embed(&narrow, &["a"]).await.unwrap().vectors[0].len(), 512);
        let sent = &server.received_requests().await.unwrap()[0];
        assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap()["dimensions"], 512);
        // A host that does not heed what it was asked is not believed.
        let error = embed(&compatible(&server, None, Some(768)), &["a"]).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Malformed);
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
        let note = compatible(&server, None, None).probe().await.unwrap().note;
        assert!(note.contains("does not list the model nomic-embed-text"), "{note}");
    }
}
