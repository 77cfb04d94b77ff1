//! Who a request is from.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::House;
use super::api::Problem;

/// The most characters of a user's name.
const LONGEST_USER: usize = 200;

/// Who a request is from, as its token or, on this machine, it itself says.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The user that the token names.
    of_token: Option<String>,
    /// The user that the request's address or header names.
    named: Option<String>,
}

impl Caller {
    /// The user, where `in_body` is who the body says it is. Somebody else than the token's is
    /// refused.
    pub(super) fn user(&self, in_body: Option<&str>) -> Result<String, Problem> {
        let named = in_body.or(self.named.as_deref()).map(str::trim);
        let user = match (&self.of_token, named) {
            (Some(own), Some(named)) if own != named => {
                return Err(Problem::forbidden("the token is another user's"));
            }
            (Some(own), _) => own.clone(),
            (None, Some(named)) => named.to_owned(),
            (None, None) => {
                return Err(Problem::unauthorized(
                    "say who you are: userId in the body, ?userId=, or the header X-Aida-User",
                ));
            }
        };
        if is_a_name(&user) { Ok(user) } else { Err(Problem::invalid("that is no user's name")) }
    }

    /// Whether it may see what belongs to everybody.
    pub(super) fn acts_for_all(&self) -> Result<(), Problem> {
        if self.of_token.is_some() {
            return Err(Problem::forbidden("the token is one user's; this is everybody's"));
        }
        Ok(())
    }

    /// [`Caller::user`] of a request whose body says whose it is. The request is counted under that user, unless
    /// it was already when it came.
    pub(super) fn user_of_body(
        &self,
        in_body: Option<&str>,
        house: &House,
    ) -> Result<String, Problem> {
        let user = self.user(in_body)?;
        if self.key() != Some(user.as_str()) {
            house.users.check_key(&user).map_err(|_| Problem::too_fast())?;
        }
        Ok(user)
    }

    /// What its requests are counted under when they come.
    fn key(&self) -> Option<&str> {
        let name = self.of_token.as_deref().or(self.named.as_deref()).map(str::trim);
        name.filter(|name| is_a_name(name))
    }
}

/// Whether a text can be a user's name.
fn is_a_name(text: &str) -> bool {
    !text.trim().is_empty()
        && text.chars().count() <= LONGEST_USER
        && !text.chars().any(char::is_control)
}

/// The address that a request comes from.
fn address(parts: &Parts) -> String {
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    address.map_or_else(String::new, |ConnectInfo(address)| address.ip().to_string())
}

/// What a request without, or with a wrong token is told.
const WHO: &str = "a token is needed: Authorization: Bearer TOKEN";

/// Finds out who a request is from, without a look at its body.
pub(super) fn of(parts: &Parts, house: &House) -> Result<Caller, Problem> {
    let tokens = &house.settings().tokens;
    let named = named(parts);
    let shown = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    if tokens.is_empty() {
        return Ok(Caller { of_token: None, named });
    }
    let shown = shown.ok_or_else(|| Problem::unauthorized(WHO))?;
    // All are compared, whichever fits.
    let mut found = None;
    for token in tokens {
        if token.is(shown) {
            found = Some(token);
        }
    }
    let token = found.ok_or_else(|| Problem::unauthorized("there is no such token"))?;
    Ok(Caller { of_token: token.user.clone(), named })
}

/// Whether a request shows a token that fits, or needs none.
pub(super) fn is_let_in(parts: &Parts, house: &House) -> bool {
    !house.settings().tokens.is_empty() && of(parts, house).is_ok()
}

/// Who the address or the header says that it is.
fn named(parts: &Parts) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    let in_query = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "userId")
        .map(|(_, value)| value.into_owned());
    let in_header = || parts.headers.get("x-aida-user")?.to_str().ok().map(str::to_owned);
    in_query.or_else(in_header)
}

impl FromRequestParts<Arc<House>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        house: &Arc<House>,
    ) -> Result<Self, Self::Rejection> {
        // An address stands for several users, and for whoever guesses tokens.
        house.addresses.check_key(&address(parts)).map_err(|_| Problem::too_fast())?;
        let caller = of(parts, house)?;
        if let Some(key) = caller.key() {
            house.users.check_key(&key.to_owned()).map_err(|_| Problem::too_fast())?;
        }
        Ok(caller)
    }
}
