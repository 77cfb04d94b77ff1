//! One HTTP client for all providers: timeouts, where the money stands after a failed exchange,
//! waiting times, redaction and downloads. Everything that decides "was it sent?" is in here,
//! once; what a status means is the business of each vendor's own file.

mod base_url;
mod caller;
mod download;
mod redaction;
mod reply;

use std::time::Duration;

pub(in crate::providers) use base_url::returned_url;
pub use base_url::{BaseUrl, BaseUrlError};
pub(in crate::providers) use caller::{Caller, Stakes, retrying};
pub use download::{DownloadError, DownloadProgress, Downloaded, download};
pub use redaction::{redact, without_query};
pub(in crate::providers) use reply::Reply;

/// The longest wait for a connection to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept. Short, because a request on a connection that the other
/// side has just closed is lost without anybody knowing whether it arrived.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The client that every provider shares; cheap to clone.
///
/// Redirects are never followed (a redirected POST could pay twice; downloads follow theirs by
/// hand), and no request is ever repeated below aida. The system's proxy settings are honoured.
#[derive(Debug, Clone)]
pub struct HttpClient {
    shared: reqwest::Client,
    submits: reqwest::Client,
}

impl HttpClient {
    /// Builds the client. Fails when the system's certificates or proxy settings cannot be read.
    pub fn new() -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("aida/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .tcp_keepalive(Duration::from_secs(30))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
        };
        Ok(Self {
            shared: builder().build()?,
            submits: builder().pool_max_idle_per_host(0).build()?,
        })
    }

    /// For everything that may be asked again: connections are reused.
    pub(in crate::providers) const fn shared(&self) -> &reqwest::Client {
        &self.shared
    }

    /// For the submits of paid jobs. Each opens a connection of its own, so that "could not
    /// connect" (nothing was sent, nothing is charged) is never mistaken for a stale connection
    /// that broke under the request (which nobody can tell from a lost answer).
    pub(in crate::providers) const fn submits(&self) -> &reqwest::Client {
        &self.submits
    }
}
