//! One exchange with a provider, and where the money stands when it breaks.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use reqwest::header::{HeaderName, HeaderValue, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tracing::Instrument;
use url::Url;

use super::Reply;
use super::redaction::{redact, without_query};
use crate::providers::{FailureClass, MoneyState, Provider, ProviderError};
use crate::spans;

/// The largest reply that is read, in bytes: 512 vectors of 1536 numbers are about 17 MB of JSON.
const LARGEST_REPLY_BYTES: usize = 32 * 1024 * 1024;
/// The longest message of an error, in characters.
const LONGEST_MESSAGE: usize = 600;
/// How often a free request is sent at most.
const ATTEMPTS: u32 = 3;
/// The longest wait inside a retried free request; what asks for more is the caller's to wait for.
const LONGEST_INNER_WAIT: Duration = Duration::from_secs(5);

/// What hangs on an exchange: it decides what a broken one means for the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::providers) enum Stakes {
    /// It buys something.
    Paid,
    /// It asks about something already bought, of which a failed question says nothing.
    Poll,
    /// It costs nothing and concerns nothing that was bought.
    Free,
}

impl Stakes {
    /// The money after an exchange that may have arrived.
    pub(in crate::providers) const fn when_lost(self) -> MoneyState {
        match self {
            Self::Paid | Self::Poll => MoneyState::Unknown,
            Self::Free => MoneyState::NotCharged,
        }
    }

    /// The money after an exchange that was not sent, or was refused before any work.
    pub(in crate::providers) const fn when_refused(self) -> MoneyState {
        match self {
            Self::Poll => MoneyState::Unknown,
            Self::Paid | Self::Free => MoneyState::NotCharged,
        }
    }
}

/// Speaks to one provider with one key, which it keeps out of every error.
#[derive(Debug, Clone)]
pub(in crate::providers) struct Caller {
    provider: Provider,
    key: Option<SecretString>,
}

impl Caller {
    /// White space around the key, as a copied key often has, is dropped: a line feed in a
    /// header would make every request fail.
    pub(in crate::providers) fn new(provider: Provider, key: Option<SecretString>) -> Self {
        let key = key.map(|key| SecretString::from(key.expose_secret().trim()));
        Self { provider, key }
    }

    pub(in crate::providers) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The request with the key in `header`, after the scheme word that the vendor wants (with
    /// its space). The value is marked as sensitive, so that no log of a lower layer shows it.
    pub(in crate::providers) fn with_key(
        &self,
        request: RequestBuilder,
        header: HeaderName,
        scheme: &str,
    ) -> RequestBuilder {
        let Some(key) = &self.key else { return request };
        let text = format!("{scheme}{}", key.expose_secret());
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request.header(header, value)
            }
            // Makes the request fail before it is sent; `lost` tells why.
            Err(_) => request.header(header, text),
        }
    }

    /// An error in the provider's name; the text is redacted and shortened.
    pub(in crate::providers) fn failure(
        &self,
        class: FailureClass,
        money: MoneyState,
        message: &str,
    ) -> ProviderError {
        let keys: Vec<&SecretString> = self.key.iter().collect();
        ProviderError {
            provider: self.provider,
            class,
            money,
            status: None,
            code: None,
            message: shortened(&redact(message, &keys)),
            request_id: None,
            retry_after: None,
        }
    }

    /// An error about a reply, with its status and the wait that it asks for.
    pub(in crate::providers) fn failure_of(
        &self,
        reply: &Reply,
        class: FailureClass,
        money: MoneyState,
        message: &str,
    ) -> ProviderError {
        ProviderError {
            status: Some(reply.status.as_u16()),
            retry_after: reply.retry_after(),
            ..self.failure(class, money, message)
        }
    }

    /// A request that is wrong by aida's own knowledge and was not sent.
    pub(in crate::providers) fn not_sent(&self, message: &str) -> ProviderError {
        self.failure(FailureClass::Input, MoneyState::NotCharged, message)
    }

    /// A reply that says it succeeded and cannot be understood: what was paid for is lost from
    /// sight, not undone.
    pub(in crate::providers) fn malformed(
        &self,
        stakes: Stakes,
        reply: &Reply,
        expected: &str,
    ) -> ProviderError {
        let message =
            format!("HTTP {} without {expected}: {}", reply.status.as_u16(), reply.excerpt());
        self.failure_of(reply, FailureClass::Malformed, stakes.when_lost(), &message)
    }

    /// A failed status whose body is not the vendor's: it comes from a gateway on the way, so
    /// the request may have been passed on. `refused` says that this status is known to stop
    /// there.
    pub(in crate::providers) fn gateway_failure(
        &self,
        stakes: Stakes,
        reply: &Reply,
        refused: bool,
    ) -> ProviderError {
        let status = reply.status;
        let message = format!("HTTP {} with {}", status.as_u16(), reply.excerpt());
        let class = match status {
            StatusCode::TOO_MANY_REQUESTS => FailureClass::RateLimited,
            StatusCode::UNAUTHORIZED => FailureClass::Credentials,
            StatusCode::REQUEST_TIMEOUT => FailureClass::Unavailable,
            _ if status.is_server_error() => FailureClass::Unavailable,
            _ => FailureClass::Malformed,
        };
        let may_have_arrived =
            !refused && (status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT);
        let money = if may_have_arrived { stakes.when_lost() } else { stakes.when_refused() };
        self.failure_of(reply, class, money, &message)
    }

    /// Sends a request once and reads the reply whole. Every status but a redirect is a reply;
    /// errors are of the connection, and of bodies that are cut off or too large.
    pub(in crate::providers) async fn send(
        &self,
        stakes: Stakes,
        request: RequestBuilder,
    ) -> Result<Reply, ProviderError> {
        let span = spans::exchange(&self.provider.to_string());
        let result = self.exchange(stakes, request).instrument(span.clone()).await;
        match &result {
            Ok(reply) if reply.status.is_client_error() || reply.status.is_server_error() => {
                spans::failed(&span, reply.status.as_str());
            }
            Ok(_) => {}
            Err(failure) => spans::failed(&span, failure.class.as_str()),
        }
        result
    }

    async fn exchange(
        &self,
        stakes: Stakes,
        request: RequestBuilder,
    ) -> Result<Reply, ProviderError> {
        let started = Instant::now();
        let (client, request) = request.build_split();
        let request = request.map_err(|error| self.lost(stakes, error, None))?;
        spans::asks(request.method(), request.url());
        let response =
            client.execute(request).await.map_err(|error| self.lost(stakes, error, None))?;
        spans::answers(response.status());
        let (status, url) = (response.status(), response.url().clone());
        let reply = self.read(stakes, response, &url).await?;
        tracing::debug!(
            provider = %self.provider,
            url = without_query(url.as_str()),
            status = status.as_u16(),
            reply_bytes = reply.body.len(),
            elapsed_ms = started.elapsed().as_millis(),
            "the provider replied"
        );
        if status.is_redirection() {
            return Err(self.redirected(stakes, &url, &reply));
        }
        Ok(reply)
    }

    async fn read(
        &self,
        stakes: Stakes,
        mut response: Response,
        url: &Url,
    ) -> Result<Reply, ProviderError> {
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= LARGEST_REPLY_BYTES => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    let message = format!("the reply is larger than {LARGEST_REPLY_BYTES} bytes");
                    return Err(ProviderError {
                        status: Some(status.as_u16()),
                        ..self.failure(FailureClass::Malformed, stakes.when_lost(), &message)
                    });
                }
                Ok(None) => break,
                // The status of a failure has said the essential; its words are a luxury.
                Err(_) if !status.is_success() => break,
                Err(error) => {
                    return Err(ProviderError {
                        status: Some(status.as_u16()),
                        ..self.lost(stakes, error, Some(url))
                    });
                }
            }
        }
        Ok(Reply { status, headers, body: body.freeze() })
    }

    /// The one place that decides whether a request can have been sent. Errors in a body do not
    /// know their `url`.
    fn lost(&self, stakes: Stakes, error: reqwest::Error, url: Option<&Url>) -> ProviderError {
        let host = url.or(error.url()).and_then(Url::host_str).unwrap_or("the provider").to_owned();
        let (connect, builder, timeout) =
            (error.is_connect(), error.is_builder(), error.is_timeout());
        let cause = innermost_cause(&error.without_url());
        let not_sent = connect || builder;
        if builder && self.key_cannot_be_sent() {
            let message = "the key holds characters that no key has; was more than the key copied?";
            return self.failure(FailureClass::Credentials, stakes.when_refused(), message);
        }
        let class = if builder { FailureClass::Input } else { FailureClass::Network };
        let money = if not_sent { stakes.when_refused() } else { stakes.when_lost() };
        let message = if connect {
            format!("could not connect to {host} ({cause})")
        } else if builder {
            format!("the request to {host} could not be made ({cause})")
        } else if timeout {
            format!("{host} did not answer in time")
        } else {
            format!("the connection to {host} broke before the whole answer was here ({cause})")
        };
        self.failure(class, money, &message)
    }

    fn key_cannot_be_sent(&self) -> bool {
        self.key.as_ref().is_some_and(|key| HeaderValue::from_str(key.expose_secret()).is_err())
    }

    fn redirected(&self, stakes: Stakes, url: &Url, reply: &Reply) -> ProviderError {
        let target = reply.header(LOCATION.as_str()).unwrap_or("nowhere");
        let message = format!(
            "{} redirects to {}; redirects are not followed: set the base URL to the final address",
            without_query(url.as_str()),
            without_query(target)
        );
        // "303 See other" is the one that is answered after the work.
        let money = if reply.status == StatusCode::SEE_OTHER {
            stakes.when_lost()
        } else {
            stakes.when_refused()
        };
        self.failure_of(reply, FailureClass::Malformed, money, &message)
    }
}

/// Repeats a free request while its error is transient, at most [`ATTEMPTS`] times, waiting as
/// the provider asks, else 0.25 s and twice that.
pub(in crate::providers) async fn retrying<T, Asked>(
    call: impl Fn() -> Asked,
) -> Result<T, ProviderError>
where
    Asked: Future<Output = Result<T, ProviderError>>,
{
    let mut attempt = 1;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wait = error.retry_after.unwrap_or(Duration::from_millis(125) * 2_u32.pow(attempt));
        if attempt == ATTEMPTS || !error.class.is_transient() || wait > LONGEST_INNER_WAIT {
            return Err(error);
        }
        tracing::debug!(%error, attempt, wait_ms = wait.as_millis(), "asking again");
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// The innermost reason of a client error, such as "Connection refused (os error 111)"; its outer
/// layers only repeat "error sending request".
fn innermost_cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST_MESSAGE - 1) {
        Some((end, _)) if text[end..].chars().nth(1).is_some() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

    use super::*;
    use crate::providers::http::HttpClient;

    /// Where a server answers one connection with `answer`, after reading a request, and closes it.
    async fn closes_after(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(socket.read(&mut request).await.unwrap() > 0);
            socket.write_all(answer).await.unwrap();
        });
        format!("http://{address}/x?key=hidden-query")
    }

    async fn post(stakes: Stakes, url: &str) -> Result<Reply, ProviderError> {
        let key = SecretString::from("hidden-key");
        let client = HttpClient::new().unwrap();
        Caller::new(Provider::Kie, Some(key))
            .send(stakes, client.submits().post(url).timeout(Duration::from_secs(5)).body("{}"))
            .await
    }

    #[tokio::test]
    async fn what_could_not_be_sent_is_not_charged() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = format!("http://{}/x?key=hidden-query", listener.local_addr().unwrap());
        drop(listener);
        for (stakes, money) in [
            (Stakes::Paid, MoneyState::NotCharged),
            (Stakes::Free, MoneyState::NotCharged),
            (Stakes::Poll, MoneyState::Unknown),
        ] {
            let error = post(stakes, &closed).await.unwrap_err();
            assert_eq!((error.class, error.money), (FailureClass::Network, money), "{error}");
            assert!(!error.to_string().contains("hidden"), "{error}");
            assert!(error.message.contains("could not connect to 127.0.0.1"), "{error}");
        }
        let error = post(Stakes::Paid, "https://no-such-host.invalid/").await.unwrap_err();
        assert_eq!(error.money, MoneyState::NotCharged, "{error}");
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_sent_is_named_and_not_shown() {
        let key = SecretString::from("hidden-key\nOPENAI_API_KEY=hidden-too");
        let caller = Caller::new(Provider::Kie, Some(key));
        let client = HttpClient::new().unwrap();
        let post = client.submits().post("http://127.0.0.1:1/");
        let post = caller.with_key(post, reqwest::header::AUTHORIZATION, "Bearer ");
        let error = caller.send(Stakes::Paid, post).await.unwrap_err();
        assert_eq!(
            (error.class, error.money),
            (FailureClass::Credentials, MoneyState::NotCharged),
            "{error}"
        );
        assert!(!error.to_string().contains("hidden"), "{error}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_after_the_request_leaves_the_money_unknown() {
        for answer in [
            b"".as_slice(),
            b"HTTP/1.1 200 OK\r\ncontent-le",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"code\":",
        ] {
            let error = post(Stakes::Paid, &closes_after(answer).await).await.unwrap_err();
            assert_eq!(
                (error.class, error.money),
                (FailureClass::Network, MoneyState::Unknown),
                "{error}"
            );
            assert!(!error.may_be_sent_again());
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failed_status_stands_even_when_its_body_is_cut_off() {
        let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 99\r\n\r\n{\"cut\":";
        let reply = post(Stakes::Paid, &closes_after(answer).await).await.unwrap();
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let server = MockServer::start().await;
        for (status, money) in [
            (302, MoneyState::NotCharged),
            (308, MoneyState::NotCharged),
            (303, MoneyState::Unknown),
        ] {
            server.reset().await;
            let response = ResponseTemplate::new(status)
                .insert_header("location", "https://login.example/?token=hidden-token");
            Mock::given(matchers::any()).respond_with(response).expect(1).mount(&server).await;
            let error = post(Stakes::Paid, &server.uri()).await.unwrap_err();
            assert_eq!((error.class, error.money), (FailureClass::Malformed, money), "{error}");
            assert!(error.message.contains("https://login.example/"), "{error}");
            assert!(!error.message.contains("hidden"), "{error}");
        }
    }

    #[tokio::test]
    async fn free_requests_are_repeated_a_little_and_only_when_it_helps() {
        let caller = Caller::new(Provider::Fal, None);
        let counted = async |class: FailureClass, retry_after: u64| {
            let calls = AtomicU32::new(0);
            let outcome: Result<(), _> = retrying(|| async {
                calls.fetch_add(1, Ordering::Relaxed);
                Err(ProviderError {
                    retry_after: Some(Duration::from_secs(retry_after)),
                    ..caller.failure(class, MoneyState::Unknown, "no")
                })
            })
            .await;
            assert!(outcome.is_err());
            calls.into_inner()
        };
        assert_eq!(counted(FailureClass::Network, 0).await, ATTEMPTS);
        assert_eq!(counted(FailureClass::Credentials, 0).await, 1);
        assert_eq!(counted(FailureClass::RateLimited, 60).await, 1);
    }

    #[test]
    fn messages_are_short_and_clean() {
        let caller = Caller::new(Provider::Kie, Some(SecretString::from("hidden-key")));
        let long = format!("hidden-key {}", "ü".repeat(2000));
        let error = caller.failure(FailureClass::Input, MoneyState::NotCharged, &long);
        assert_eq!(error.message.chars().count(), LONGEST_MESSAGE);
        assert!(error.message.starts_with("[redacted] ü"));
        let exact = "x".repeat(LONGEST_MESSAGE);
        assert_eq!(shortened(&exact), exact);
    }
}
