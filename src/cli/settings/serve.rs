//! What `aida serve` is told: where it listens, who may come in, and how much.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};

use crate::ledger::money::Usd;

/// The HTTP face.
#[derive(Debug, Clone)]
pub struct Serve {
    /// What one film may cost, USD; without it nothing is served.
    pub run_budget: Option<Usd>,
    /// The port.
    pub port: u16,
    /// The addresses.
    pub listen: Vec<IpAddr>,
    /// Who may come in.
    pub tokens: Vec<Token>,
    /// The web pages that may call it.
    pub origins: Origins,
    /// Films that it makes at once; 0 leaves them to `aida work`.
    pub jobs: u32,
    /// Films that may wait.
    pub queue: u32,
    /// Requests of one caller in a minute.
    pub requests_per_minute: u32,
}

/// Somebody who may come in.
#[derive(Debug, Clone)]
pub struct Token {
    /// The user that it stands for; none if it may act for anybody.
    pub user: Option<String>,
    /// What is shown at the door.
    pub secret: SecretString,
}

impl Token {
    /// Whether `shown` is this token. Takes the same time wherever it differs.
    pub fn is(&self, shown: &str) -> bool {
        let (own, shown) = (self.secret.expose_secret().as_bytes(), shown.as_bytes());
        let differs = own.iter().zip(shown).fold(0, |sum, (own, shown)| sum | (own ^ shown));
        own.len() == shown.len() && differs == 0
    }
}

/// Web pages of other hosts that may call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, as `https://host`.
    These(Vec<String>),
}

/// The fewest characters of a token.
const SHORTEST_TOKEN: usize = 16;

/// Reads addresses with commas between.
pub(super) fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    let addresses: Result<Vec<IpAddr>, _> = list(text).map(str::parse).collect();
    match addresses {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        _ => Err("is not a list of addresses such as 127.0.0.1, ::1".to_owned()),
    }
}

/// Reads `user:token` pairs with commas between.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    for pair in list(text) {
        let Some((user, secret)) = pair.split_once(':').filter(|(user, _)| !user.is_empty()) else {
            return Err("is not a list of user:token with commas between".to_owned());
        };
        if secret.len() < SHORTEST_TOKEN {
            return Err(format!("has a token of fewer than {SHORTEST_TOKEN} characters"));
        }
        if tokens.iter().any(|known| known.is(secret)) {
            return Err("has one token twice".to_owned());
        }
        let user = Some(user.to_owned()).filter(|user| user != "*");
        tokens.push(Token { user, secret: secret.into() });
    }
    Ok(tokens)
}

/// Reads origins with commas between.
pub(super) fn origins(text: &str) -> Result<Origins, String> {
    if text.trim() == "*" {
        return Ok(Origins::Any);
    }
    let mut origins = Vec::new();
    for origin in list(text) {
        let url =
            url::Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(|url| url.path() == "/" && url.query().is_none()) else {
            return Err("is not a list of origins such as https://example.com".to_owned());
        };
        origins.push(url.origin().ascii_serialization());
    }
    Ok(Origins::These(origins))
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_users() {
        let tokens = tokens("ada:0123456789abcdef,*:fedcba9876543210").unwrap();
        assert_eq!(tokens[0].user.as_deref(), Some("ada"));
        assert_eq!(tokens[1].user, None);
        assert!(tokens[0].is("0123456789abcdef"));
        for wrong in ["0123456789abcdeX", "0123456789abcde", "0123456789abcdef0", ""] {
            assert!(!tokens[0].is(wrong), "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains("0123456789"));
    }

    #[test]
    fn weak_or_shared_tokens_are_refused() {
        for wrong in ["ada:short", "0123456789abcdef", ":0123456789abcdef"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
        assert!(tokens("ada:0123456789abcdef,bob:0123456789abcdef").is_err());
    }

    #[test]
    fn origins_are_hosts() {
        let one = Origins::These(vec!["https://aida.example".to_owned()]);
        assert_eq!(origins("https://aida.example/").unwrap(), one);
        assert_eq!(origins("*").unwrap(), Origins::Any);
        assert_eq!(origins("").unwrap(), Origins::These(Vec::new()));
        for wrong in ["aida.example", "https://aida.example/page", "ftp://aida.example"] {
            assert!(origins(wrong).is_err(), "{wrong}");
        }
    }
}
