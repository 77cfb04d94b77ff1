//! Where a provider is reached.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// The root of a provider's interface. It may carry a path of its own, as gateways do, and is
/// plain `http` on loopback only, so that a key never crosses a network unencrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(Url);

/// Why a text is not a base URL. A matter of settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Not a URL at all.
    #[error("it is not a URL ({0})")]
    NotAUrl(url::ParseError),
    /// Neither `https` nor, on loopback, `http`.
    #[error("it must begin with https:// (plain http:// is taken on this machine only)")]
    Insecure,
    /// It carries a user name or a password.
    #[error("it carries a user name or password; keys belong in their own settings")]
    Credentials,
    /// It carries a query or a fragment, onto which no path can be joined.
    #[error("it carries a query or a fragment; only a path can follow the host")]
    Query,
}

impl BaseUrl {
    /// The URL of `path` (which begins with a slash) under this root.
    ///
    /// `https://gateway.example/kie` and `/api/v1/mj/generate` make
    /// `https://gateway.example/kie/api/v1/mj/generate`.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        let joined =
            format!("{}/{}", self.0.path().trim_end_matches('/'), path.trim_start_matches('/'));
        url.set_path(&joined);
        url
    }

    /// The root itself, without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(BaseUrlError::NotAUrl)?;
        if !is_safe(&url) {
            return Err(BaseUrlError::Insecure);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::Query);
        }
        Ok(Self(url))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = BaseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BaseUrl> for String {
    fn from(base: BaseUrl) -> Self {
        base.as_str().to_owned()
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A URL that a provider answered, if it is one to which aida may send a key or a picture:
/// `https`, or `http` on loopback. The host may be any: vendors move theirs.
pub(in crate::providers) fn returned_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(is_safe)
}

fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Result<BaseUrl, BaseUrlError> {
        text.parse()
    }

    #[test]
    fn paths_are_joined_onto_the_bases_own_path() {
        for (root, path, joined) in [
            ("https://api.kie.ai", "/api/v1/mj/generate", "https://api.kie.ai/api/v1/mj/generate"),
            ("https://api.kie.ai/", "/a", "https://api.kie.ai/a"),
            ("https://g.example/openai/v1/", "/models", "https://g.example/openai/v1/models"),
            (
                "https://queue.fal.run",
                "fal-ai/kling-video/v2.6/pro/image-to-video",
                "https://queue.fal.run/fal-ai/kling-video/v2.6/pro/image-to-video",
            ),
        ] {
            assert_eq!(base(root).unwrap().join(path).as_str(), joined);
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in ["http://127.0.0.1:9", "http://localhost:9/x", "http://[::1]:9"] {
            assert!(base(good).is_ok(), "{good}");
        }
        for bad in
            ["http://api.kie.ai", "http://127.0.0.1.evil.example", "ftp://localhost", "file:///x"]
        {
            assert_eq!(base(bad), Err(BaseUrlError::Insecure), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_joined_is_refused() {
        assert_eq!(base("https://user:word@host"), Err(BaseUrlError::Credentials));
        assert_eq!(base("https://host/?key=1"), Err(BaseUrlError::Query));
        assert!(matches!(base("api.kie.ai"), Err(BaseUrlError::NotAUrl(_))));
    }
}
