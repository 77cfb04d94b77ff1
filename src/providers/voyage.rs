//! Embeddings from Voyage AI: like OpenAI's interface and not the same. Field names differ, a query
//! and a document are embedded differently, and the usage has one number only.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::embedding::{Item, check_texts, vectors_in_order};
use super::http::{BaseUrl, Caller, HttpClient, Reply, Stakes, retrying};
use super::{Embedder, Embeddings, FailureClass, Probe, Provider, ProviderError, TextRole};
use crate::ledger::Reservation;

/// The models. Each vector carries the name of the one that made it; that the three of the fourth
/// generation share a space is the vendor's promise, and not relied on.
/// Source: the vendor's SDK 0.4 and its announcement of 2026-01-15.
pub const MODELS: [&str; 7] = [
    "voyage-4",
    "voyage-4-lite",
    "voyage-4-large",
    "voyage-3.5",
    "voyage-3.5-lite",
    "voyage-3-large",
    "voyage-code-3",
];

/// Where keys that MongoDB gave out belong. Source: the vendor's SDK, `voyageai/util.py`.
pub const MONGODB_BASE_URL: &str = "https://ai.mongodb.com/v1";
/// How such keys begin.
const MONGODB_KEY: &str = "al-";

/// The most texts in one call (vendor's limit).
const MOST_TEXTS: usize = 1_000;
/// The most tokens in one call, all texts together: the smallest of what the vendor's models take.
const MOST_TOKENS: u64 = 120_000;
/// The width that is asked of every model: the widest that fits into 1536.
pub const ASKED_WIDTH: usize = 1024;
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether a key must go to [`MONGODB_BASE_URL`].
pub fn belongs_to_mongodb(key: &SecretString) -> bool {
    key.expose_secret().starts_with(MONGODB_KEY)
}

/// One of Voyage's models.
#[derive(Debug, Clone)]
pub struct VoyageEmbedder {
    client: HttpClient,
    base: BaseUrl,
    caller: Caller,
    model: &'static str,
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    input: &'a [String],
    model: &'a str,
    input_type: &'static str,
    /// A text that is too long shall be an error, not a vector of its beginning.
    truncation: bool,
    output_dimension: usize,
    output_dtype: &'static str,
}

impl VoyageEmbedder {
    /// The model under `base` (`https://api.voyageai.com/v1`: the version is part of it).
    pub fn new(client: HttpClient, base: BaseUrl, key: SecretString, model: &'static str) -> Self {
        Self { client, base, caller: Caller::new(Provider::Voyage, Some(key)), model }
    }

    async fn post(
        &self,
        stakes: Stakes,
        timeout: Duration,
        body: &impl Serialize,
    ) -> Result<Reply, ProviderError> {
        let post = self.client.shared().post(self.base.join("/embeddings"));
        let post = self.caller.with_key(post, AUTHORIZATION, "Bearer ");
        self.caller.send(stakes, post.timeout(timeout).json(body)).await
    }

    fn failure(&self, stakes: Stakes, reply: &Reply) -> ProviderError {
        let Some(detail) = reply.json().and_then(|body| words(body.get("detail")?)) else {
            return self.caller.gateway_failure(stakes, reply, false);
        };
        let class = match reply.status.as_u16() {
            401 | 403 => FailureClass::Credentials,
            402 => FailureClass::Funds,
            404 => FailureClass::NotOffered,
            429 => FailureClass::RateLimited,
            408 | 409 | 500.. => FailureClass::Unavailable,
            _ => FailureClass::Input,
        };
        self.caller.failure_of(reply, class, stakes.when_refused(), &detail)
    }

    fn parse(reply: &Reply, texts: usize) -> Option<Embeddings> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Item>,
            usage: Usage,
        }
        #[derive(Deserialize)]
        struct Usage {
            total_tokens: u64,
        }

        let page: Page = serde_json::from_slice(&reply.body).ok()?;
        Some(Embeddings {
            vectors: vectors_in_order(page.data, texts, Some(ASKED_WIDTH))?,
            tokens: page.usage.total_tokens,
            request_id: None,
        })
    }
}

/// The words of a `detail`: a text, or the list of problems that a validator makes.
fn words(detail: &Value) -> Option<String> {
    match detail {
        Value::String(text) => Some(text.clone()),
        Value::Array(problems) => {
            let words: Vec<_> =
                problems.iter().filter_map(|problem| problem.get("msg")?.as_str()).collect();
            (!words.is_empty()).then(|| words.join("; "))
        }
        _ => None,
    }
}

#[async_trait]
impl Embedder for VoyageEmbedder {
    fn provider(&self) -> Provider {
        Provider::Voyage
    }

    fn model(&self) -> &str {
        self.model
    }

    fn batch_limits(&self) -> (usize, u64) {
        (MOST_TEXTS, MOST_TOKENS)
    }

    async fn embed(
        &self,
        _reservation: Reservation,
        texts: &[String],
        role: TextRole,
    ) -> Result<Embeddings, ProviderError> {
        check_texts(&self.caller, texts, MOST_TEXTS)?;
        let body = Body {
            input: texts,
            model: self.model,
            input_type: match role {
                TextRole::Query => "query",
                TextRole::Document => "document",
            },
            truncation: false,
            output_dimension: ASKED_WIDTH,
            output_dtype: "float",
        };
        let reply = self.post(Stakes::Paid, CALL_TIMEOUT, &body).await?;
        if !reply.status.is_success() {
            return Err(self.failure(Stakes::Paid, &reply));
        }
        Self::parse(&reply, texts.len()).ok_or_else(|| {
            let expected = "one vector of 1024 numbers for each text, and the usage";
            self.caller.malformed(Stakes::Paid, &reply, expected)
        })
    }

    /// The vendor has no free endpoint. A request without texts is refused before any work is done:
    /// with another status for a wrong key.
    async fn probe(&self) -> Result<Probe, ProviderError> {
        let nothing = json!({"input": [], "model": self.model});
        let reply = retrying(|| async {
            let reply = self.post(Stakes::Free, PROBE_TIMEOUT, &nothing).await?;
            match reply.status.as_u16() {
                200 | 400 | 422 => Ok(reply),
                _ => Err(self.failure(Stakes::Free, &reply)),
            }
        })
        .await?;
        if reply.json().is_none_or(|body| body.get("detail").or(body.get("data")).is_none()) {
            return Err(self.caller.malformed(
                Stakes::Free,
                &reply,
                "a refusal of an empty request",
            ));
        }
        Ok(Probe { note: "the key is accepted".to_owned(), balance: None })
    }
}

#[cfg(test)]
mod tests {
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

    fn embedder(server: &MockServer) -> VoyageEmbedder {
        let base = format!("{}/v1", server.uri()).parse().unwrap();
        VoyageEmbedder::new(HttpClient::new().unwrap(), base, "pa-hidden".into(), "voyage-4-lite")
    }

    async fn embed(server: &MockServer, texts: usize) -> Result<Embeddings, ProviderError> {
        let texts = vec!["a".to_owned(); texts];
        embedder(server).embed(Reservation::for_tests(), &texts, TextRole::Query).await
    }

    fn page(vectors: &[(usize, usize)]) -> Value {
        let data: Vec<_> = vectors
            .iter()
            .map(|(index, width)| json!({"object": "embedding", "index": index, "embedding": vec![0.5; *width]}))
            .collect();
        json!({"object": "list", "data": data, "model": "voyage-4-lite", "usage": {"total_tokens": 9}})
    }

    #[tokio::test]
    async fn a_query_is_asked_in_the_vendors_own_words() {
        let server =
            serving(ResponseTemplate::new(200).set_body_json(page(&[(1, 1024), (0, 1024)]))).await;
        let embeddings = embed(&server, 2).await.unwrap();
        assert_eq!((embeddings.vectors.len(), embeddings.tokens), (2, 9));
        let sent = &server.received_requests().await.unwrap()[0];
        assert_eq!(sent.headers["authorization"], "Bearer pa-hidden");
        assert_eq!(
            serde_json::from_slice::<Value>(&sent.body).unwrap(),
            json!({"input": ["a", "a"], "model": "voyage-4-lite", "input_type": "query", "truncation": false,
                   "output_dimension": 1024, "output_dtype": "float"})
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_the_texts_is_refused_and_was_paid_for() {
        for page in
            [page(&[(0, 1024)]), page(&[(0, 1024), (0, 1024)]), page(&[(0, 1024), (1, 512)])]
        {
            let server = serving(ResponseTemplate::new(200).set_body_json(page)).await;
            let error = embed(&server, 2).await.unwrap_err();
            assert_eq!((error.class, error.money), (FailureClass::Malformed, MoneyState::Unknown));
        }
    }

    #[tokio::test]
    async fn errors_have_their_class_whatever_their_words() {
        use FailureClass::{Credentials, Input, NotOffered, RateLimited, Unavailable};
        for (status, class) in [
            (400, Input),
            (401, Credentials),
            (404, NotOffered),
            (422, Input),
            (429, RateLimited),
            (503, Unavailable),
        ] {
            let body = json!({"detail": "Provided API key pa-hidden is invalid."});
            let server = serving(ResponseTemplate::new(status).set_body_json(body)).await;
            let error = embed(&server, 1).await.unwrap_err();
            assert_eq!((error.class, error.money), (class, MoneyState::NotCharged), "{status}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let validator = json!({"detail": [{"loc": ["input"], "msg": "too many texts"}]});
        let server = serving(ResponseTemplate::new(422).set_body_json(validator)).await;
        assert!(embed(&server, 1).await.unwrap_err().message.contains("too many texts"));
    }

    #[tokio::test]
    async fn the_probe_pays_nothing_and_knows_a_wrong_key() {
        let refused = ResponseTemplate::new(400).set_body_json(json!({"detail": "input is empty"}));
        let server = serving(refused).await;
        assert!(embedder(&server).probe().await.is_ok());
        let sent = &server.received_requests().await.unwrap()[0];
        assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap()["input"], json!([]));
        let wrong = ResponseTemplate::new(401).set_body_json(json!({"detail": "wrong key"}));
        let error = embedder(&serving(wrong).await).probe().await.unwrap_err();
        assert_eq!(error.class, FailureClass::Credentials);
    }

    #[test]
    fn keys_of_mongodb_are_told_by_their_beginning() {
        assert!(belongs_to_mongodb(&"al-x".into()));
        assert!(!belongs_to_mongodb(&"pa-x".into()));
    }
}
