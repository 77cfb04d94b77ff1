//! Every error that the vendors document, and what kind of trouble it is. The first row that fits
//! counts; what no row names goes by the class that the provider's client gave it.
//! Source: the vendors' SDKs and pages as of 2026-11-22.

use serde::Serialize;

use crate::providers::{FailureClass, Provider, ProviderError};

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The content was refused.
    Policy,
    /// What was asked for is not what the provider takes.
    Input,
    /// The provider is busy, broken, or could not make it.
    Capacity,
    /// The key.
    Credentials,
    /// A cap, an account without money, or a yes that is missing.
    Money,
    /// The line between here and there.
    Network,
    /// This machine: disk, ffmpeg, database, an interrupt.
    Local,
    /// aida itself.
    Fault,
}

impl Trouble {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Input => "input",
            Self::Capacity => "capacity",
            Self::Credentials => "credentials",
            Self::Money => "money",
            Self::Network => "network",
            Self::Local => "local",
            Self::Fault => "fault of aida",
        }
    }
}

/// One documented error.
struct Row {
    provider: Provider,
    status: Option<u16>,
    code: Option<&'static str>,
    trouble: Trouble,
    /// What it means, in a sentence without its full stop.
    means: &'static str,
}

const fn row(
    provider: Provider,
    status: Option<u16>,
    code: Option<&'static str>,
    trouble: Trouble,
    means: &'static str,
) -> Row {
    Row { provider, status, code, trouble, means }
}

const fn claude(
    status: u16,
    code: Option<&'static str>,
    trouble: Trouble,
    means: &'static str,
) -> Row {
    row(Provider::Anthropic, Some(status), code, trouble, means)
}

const fn openai(
    status: u16,
    code: Option<&'static str>,
    trouble: Trouble,
    means: &'static str,
) -> Row {
    row(Provider::OpenAi, Some(status), code, trouble, means)
}

const fn kie(code: u16, trouble: Trouble, means: &'static str) -> Row {
    row(Provider::Kie, Some(code), None, trouble, means)
}

/// fal names its errors; the status comes second.
const fn fal(code: &'static str, trouble: Trouble, means: &'static str) -> Row {
    row(Provider::Fal, None, Some(code), trouble, means)
}

const fn fal_status(status: u16, trouble: Trouble, means: &'static str) -> Row {
    row(Provider::Fal, Some(status), None, trouble, means)
}

use Trouble::{Capacity, Credentials, Fault, Input, Local, Money, Network, Policy};

static ROWS: [Row; 74] = [
    claude(
        429,
        Some("enforced_spend_limit_reached"),
        Money,
        "the account's own spend limit is reached",
    ),
    claude(
        429,
        Some("contract_spend_limit_reached"),
        Money,
        "the contract's spend limit is reached",
    ),
    claude(
        429,
        Some("ramp_limit_exceeded"),
        Capacity,
        "the account's use grows faster than it may",
    ),
    claude(
        400,
        None,
        Input,
        "the request is not one that the model takes, or a spend limit set in the console is reached",
    ),
    claude(401, None, Credentials, "the key is not accepted"),
    claude(402, None, Money, "the account cannot pay"),
    claude(403, None, Credentials, "the key may not use this"),
    claude(404, None, Input, "there is no such model"),
    claude(408, None, Capacity, "the request took too long"),
    claude(409, None, Capacity, "the request met another one"),
    claude(413, None, Input, "the request is too large"),
    claude(429, None, Capacity, "too many requests or tokens in a minute"),
    claude(500, None, Capacity, "Anthropic has trouble of its own"),
    claude(503, None, Capacity, "Anthropic is not available"),
    claude(504, None, Capacity, "the model did not finish in the vendor's time"),
    claude(529, None, Capacity, "Anthropic is overloaded"),
    openai(429, Some("insufficient_quota"), Money, "the quota of the account is used up"),
    openai(429, Some("rate_limit_exceeded"), Capacity, "too many requests in a minute"),
    openai(400, None, Input, "the text is not one that the model takes"),
    openai(401, None, Credentials, "the key is not accepted"),
    openai(403, None, Credentials, "the key may not use this"),
    openai(404, None, Input, "there is no such model"),
    openai(429, None, Capacity, "too many requests in a minute"),
    openai(500, None, Capacity, "OpenAI has trouble of its own"),
    openai(503, None, Capacity, "OpenAI is overloaded"),
    kie(400, Input, "KIE does not take the request"),
    kie(401, Credentials, "the key is not accepted"),
    kie(402, Money, "the account has no credits left"),
    kie(403, Credentials, "the key may not use this"),
    kie(404, Input, "KIE does not know the model or the job"),
    kie(408, Capacity, "the maker of the picture said nothing for ten minutes"),
    kie(422, Input, "KIE does not take the request, or does not know the job"),
    kie(429, Capacity, "more than 20 submits in 10 seconds"),
    kie(433, Money, "the limit of this sub-key is used up"),
    kie(455, Capacity, "KIE is being maintained"),
    kie(500, Capacity, "KIE has trouble of its own"),
    kie(501, Capacity, "the picture could not be made"),
    kie(505, Capacity, "KIE has switched this model off"),
    fal("content_policy_violation", Policy, "the content was refused"),
    fal("no_media_generated", Capacity, "the model worked and made nothing"),
    fal("image_too_small", Input, "the keyframe is too small"),
    fal("image_too_large", Input, "the keyframe is too large"),
    fal("image_load_error", Input, "the keyframe cannot be read there"),
    fal("file_download_error", Network, "fal could not fetch the keyframe"),
    fal("file_too_large", Input, "the keyframe has too many bytes"),
    fal("face_detection_error", Input, "no face was found where the model wants one"),
    fal("feature_not_supported", Input, "the endpoint does not have this"),
    fal("missing", Fault, "aida left out a field that the endpoint wants"),
    fal("extra_forbidden", Fault, "aida sent a field that the endpoint does not have"),
    fal("validation_error", Fault, "aida asked in a way that fal does not take"),
    fal("greater_than", Fault, "aida sent a number out of range"),
    fal("greater_than_equal", Fault, "aida sent a number out of range"),
    fal("less_than", Fault, "aida sent a number out of range"),
    fal("less_than_equal", Fault, "aida sent a number out of range"),
    fal("internal_server_error", Capacity, "the model broke down"),
    fal("generation_timeout", Capacity, "the model did not finish in time"),
    fal("downstream_service_error", Capacity, "Kling failed behind fal"),
    fal("downstream_service_unavailable", Capacity, "Kling is not available behind fal"),
    fal("request_timeout", Capacity, "no machine began in time"),
    fal("startup_timeout", Capacity, "the machine did not start in time"),
    fal("runner_scheduling_failure", Capacity, "fal found no machine"),
    fal("runner_connection_timeout", Capacity, "fal lost its machine"),
    fal("runner_disconnected", Capacity, "fal lost its machine"),
    fal("runner_connection_refused", Capacity, "fal lost its machine"),
    fal("runner_connection_error", Capacity, "fal lost its machine"),
    fal("runner_incomplete_response", Capacity, "fal's machine answered half"),
    fal("runner_server_error", Capacity, "fal's machine broke down"),
    fal("client_disconnected", Network, "the line to fal broke"),
    fal("client_cancelled", Local, "it was cancelled"),
    fal("auth_error", Credentials, "the key is not accepted"),
    fal_status(401, Credentials, "the key is not accepted"),
    fal_status(403, Credentials, "the key may not use this"),
    fal_status(404, Input, "there is no such endpoint or request"),
    fal_status(429, Capacity, "too many requests"),
];

/// What kind of trouble a provider's error is, and what it means.
pub fn classify(error: &ProviderError) -> (Trouble, &'static str) {
    // What the words decided, where one status stands for several things.
    match error.class {
        FailureClass::Policy => return (Policy, "the content was refused"),
        FailureClass::Funds if error.status != Some(402) => {
            let named = find(error).filter(|row| row.trouble == Money);
            return (Money, named.map_or("the account cannot pay for this", |row| row.means));
        }
        FailureClass::Network => return (Network, "the connection failed or broke"),
        FailureClass::Malformed => {
            return (Network, "the answer is not the vendor's; a proxy may have given it");
        }
        _ => {}
    }
    if let Some(row) = find(error) {
        return (row.trouble, row.means);
    }
    match error.class {
        FailureClass::RateLimited => (Capacity, "too many requests"),
        FailureClass::Unavailable => (Capacity, "the provider is busy or broken"),
        FailureClass::Credentials => (Credentials, "the key is not accepted"),
        FailureClass::Funds => (Money, "the account cannot pay for this"),
        FailureClass::Input => (Input, "the request is not one that the model takes"),
        FailureClass::NotOffered => (Capacity, "the model is not offered at present"),
        FailureClass::Generation => (Capacity, "the provider tried and could not make it"),
        FailureClass::Policy | FailureClass::Network | FailureClass::Malformed => {
            (Network, "the connection failed or broke")
        }
    }
}

fn find(error: &ProviderError) -> Option<&'static Row> {
    ROWS.iter().find(|row| {
        row.provider == error.provider
            && row.status.is_none_or(|status| Some(status) == error.status)
            && row.code.is_none_or(|code| Some(code) == error.code.as_deref())
    })
}

/// Why a model ended a turn that was of no use, by the vendor's word; none for the ends that are
/// as they should be.
pub fn of_stop_reason(reason: &str) -> Option<(Trouble, &'static str)> {
    Some(match reason {
        "refusal" => (Policy, "the model declined to work on this brief"),
        "max_tokens" => (Input, "the answer was cut off at its limit"),
        "model_context_window_exceeded" | "context_window_exceeded" => {
            (Input, "the conversation outgrew the model")
        }
        "end_turn" | "tool_use" | "stop_sequence" | "pause_turn" => return None,
        _ => (Capacity, "the model stopped for a reason that this aida does not know"),
    })
}

/// What stopped a run, by the word in its row; none for a word that says nothing by itself, because
/// a provider's error tells more.
pub fn of_stop(word: &str) -> Option<(Trouble, &'static str)> {
    Some(match word {
        "budget" => (Money, "a cap would have been passed; nothing was sent for it"),
        "needs_yes" => (Money, "the price needs a yes that nobody gave"),
        "unpriced" => (Input, "what has no price is not bought"),
        "interrupted" => (Local, "it was asked to stop"),
        "unknown_money" => (Network, "a paid call was cut off between sending and hearing back"),
        "database" => (Local, "the database could not be used"),
        "taken_over" => (Local, "another process drives it"),
        "local" => (Local, "something on this machine failed; nothing is bought again for it"),
        "memory" => (Local, "earlier work could not be read"),
        "team" => (Capacity, "the team did not come to a storyboard"),
        "download" => (Network, "what is made and paid for could not be fetched yet"),
        "bad_result" => (Capacity, "what was made and fetched cannot be used"),
        "too_slow" => (Capacity, "the provider takes longer than a run waits"),
        "damaged" => (Fault, "aida's own row cannot be read"),
        _ => return None,
    })
}

/// What a provider's failure was that stopped a run without ending any call: a question about a job
/// that was not answered.
pub fn of_provider_stop(word: &str) -> (Trouble, &'static str) {
    match word {
        "credentials" => (Credentials, "the key is not accepted"),
        "funds" => (Money, "the account cannot pay for this"),
        "network" => (Network, "the connection failed or broke"),
        _ => (Capacity, "a provider failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::MoneyState;

    fn error(provider: Provider, class: FailureClass, status: u16, code: &str) -> ProviderError {
        ProviderError {
            provider,
            class,
            money: MoneyState::NotCharged,
            status: Some(status).filter(|status| *status > 0),
            code: Some(code.to_owned()).filter(|code| !code.is_empty()),
            message: String::new(),
            request_id: None,
            retry_after: None,
        }
    }

    #[test]
    fn every_row_can_be_reached() {
        for row in &ROWS {
            let (status, code) = (row.status.unwrap_or(0), row.code.unwrap_or_default());
            // No client gives these a class that decides before the table.
            let class =
                if row.trouble == Money { FailureClass::Funds } else { FailureClass::Input };
            let (trouble, means) = classify(&error(row.provider, class, status, code));
            assert_eq!(
                (trouble, means),
                (row.trouble, row.means),
                "{} {status} {code}",
                row.provider
            );
        }
    }

    #[test]
    fn words_decide_where_one_status_stands_for_several_things() {
        use FailureClass as C;
        for (provider, class, status, code, trouble) in [
            (Provider::Kie, C::Policy, 400, "400", Trouble::Policy),
            (Provider::Kie, C::Input, 400, "400", Trouble::Input),
            (Provider::Fal, C::Funds, 403, "", Trouble::Money),
            (Provider::Fal, C::Credentials, 403, "", Trouble::Credentials),
            (Provider::Anthropic, C::Funds, 429, "rate_limit_error", Trouble::Money),
            (Provider::Anthropic, C::RateLimited, 429, "rate_limit_error", Trouble::Capacity),
            (Provider::OpenAi, C::Funds, 429, "insufficient_quota", Trouble::Money),
            (Provider::Fal, C::Unavailable, 503, "something_new", Trouble::Capacity),
            (Provider::Fal, C::Generation, 500, "internal_error", Trouble::Capacity),
            (Provider::Fal, C::Input, 422, "value_error", Trouble::Input),
            (Provider::Kie, C::Network, 0, "", Trouble::Network),
            (Provider::Kie, C::Malformed, 502, "", Trouble::Network),
            (Provider::Kie, C::NotOffered, 505, "505", Trouble::Capacity),
        ] {
            let error = error(provider, class, status, code);
            assert_eq!(classify(&error).0, trouble, "{provider} {class:?} {status} {code}");
        }
    }

    #[test]
    fn every_end_of_a_turn_is_known() {
        for (reason, trouble) in [
            ("refusal", Some(Trouble::Policy)),
            ("max_tokens", Some(Trouble::Input)),
            ("model_context_window_exceeded", Some(Trouble::Input)),
            ("end_turn", None),
            ("tool_use", None),
            ("stop_sequence", None),
            ("pause_turn", None),
            ("something_new", Some(Trouble::Capacity)),
        ] {
            assert_eq!(of_stop_reason(reason).map(|(trouble, _)| trouble), trouble, "{reason}");
        }
    }
}
