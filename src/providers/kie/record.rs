//! What KIE says about a job, in both of its dialects, and how far it is believed.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;

use super::envelope::{decimal, failed_job};
use crate::providers::http::Caller;
use crate::providers::{FailureClass, JobResult, JobState, MoneyState, ProviderError};

/// How long a job that "succeeded" without a picture is asked again before it counts as failed:
/// the pictures of such jobs often appear some seconds later.
const EMPTY_SUCCESS_PATIENCE: Duration = Duration::from_mins(1);

/// Whether KIE calls the job a success and shows no picture.
pub(super) fn is_empty_success(data: &Value) -> bool {
    let (is_success, result) = match data["state"].as_str() {
        Some(state) => (state == "success", &data["resultJson"]),
        None => (success_flag(data) == Some(1), &data["resultInfoJson"]),
    };
    is_success && urls(result).is_empty()
}

/// The state of a task of the unified interface: `state` and, as JSON inside a string, `resultJson`.
/// `empty_for` is how long the job has been an empty success.
pub(super) fn task_state(
    caller: &Caller,
    data: &Value,
    empty_for: Duration,
) -> Result<JobState, ProviderError> {
    let percent = decimal(&data["progress"])
        .and_then(|progress| u8::try_from(progress.trunc()).ok())
        .map(|percent| percent.min(100));
    match data["state"].as_str() {
        Some("waiting" | "queuing") => Ok(JobState::Queued { position: None }),
        Some("success") => finished(caller, data, &data["resultJson"], empty_for),
        Some("fail") => Err(failed_job(caller, &data["failCode"], &data["failMsg"], credits(data))),
        // `generating`, and what KIE may think of next: only "success" and "fail" end a job.
        _ => Ok(JobState::Running { percent }),
    }
}

/// The state of a Midjourney task: `successFlag` and `resultInfoJson`, which is an object.
pub(super) fn midjourney_state(
    caller: &Caller,
    data: &Value,
    empty_for: Duration,
) -> Result<JobState, ProviderError> {
    match success_flag(data) {
        Some(1) => finished(caller, data, &data["resultInfoJson"], empty_for),
        Some(2 | 3) => {
            Err(failed_job(caller, &data["errorCode"], &data["errorMessage"], credits(data)))
        }
        _ => Ok(JobState::Running { percent: None }),
    }
}

fn success_flag(data: &Value) -> Option<u8> {
    decimal(&data["successFlag"]).and_then(|flag| u8::try_from(flag).ok())
}

/// A job that says it succeeded is believed when it shows a picture; for
/// [`EMPTY_SUCCESS_PATIENCE`] it counts as running all the same.
fn finished(
    caller: &Caller,
    data: &Value,
    result: &Value,
    empty_for: Duration,
) -> Result<JobState, ProviderError> {
    let urls = urls(result);
    if !urls.is_empty() {
        return Ok(JobState::Done(JobResult { urls, billed_units: credits(data) }));
    }
    if empty_for < EMPTY_SUCCESS_PATIENCE {
        return Ok(JobState::Running { percent: None });
    }
    // It is no failure in KIE's own books, so it is charged unless KIE counts no credits.
    let money = match credits(data) {
        Some(credits) if credits.is_zero() => MoneyState::NotCharged,
        _ => MoneyState::Charged,
    };
    let message = "KIE reports success, but shows no picture";
    Err(caller.failure(FailureClass::Generation, money, message))
}

fn credits(data: &Value) -> Option<Decimal> {
    decimal(&data["creditsConsumed"])
}

/// The result's URLs, which come as strings or as objects, in an object or in a string of JSON.
fn urls(result: &Value) -> Vec<String> {
    let parsed;
    let result = match result {
        Value::String(text) => {
            parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            &parsed
        }
        other => other,
    };
    let Some(list) = result["resultUrls"].as_array() else { return Vec::new() };
    list.iter()
        .filter_map(|item| item.as_str().or_else(|| item["resultUrl"].as_str()))
        .filter(|url| url.starts_with("https://") || url.starts_with("http://"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;
    use serde_json::json;

    use super::*;
    use crate::providers::Provider;

    const NOT_YET: Duration = Duration::from_secs(59);

    fn task(data: &Value) -> Result<JobState, ProviderError> {
        task_state(&Caller::new(Provider::Kie, None), data, NOT_YET)
    }

    fn midjourney(data: &Value) -> Result<JobState, ProviderError> {
        midjourney_state(&Caller::new(Provider::Kie, None), data, NOT_YET)
    }

    fn done(state: Result<JobState, ProviderError>) -> JobResult {
        match state {
            Ok(JobState::Done(result)) => result,
            other => panic!("not done: {other:?}"),
        }
    }

    #[test]
    fn a_task_goes_through_its_states() {
        for state in ["waiting", "queuing"] {
            assert!(matches!(
                task(&json!({"state": state})),
                Ok(JobState::Queued { position: None })
            ));
        }
        let generating = task(&json!({"state": "generating", "progress": 41.6}));
        assert!(matches!(generating, Ok(JobState::Running { percent: Some(41) })));
        for unknown in [json!({"state": "dreaming"}), json!({}), Value::Null] {
            assert!(matches!(task(&unknown), Ok(JobState::Running { percent: None })), "{unknown}");
        }
        let result = done(task(&json!({
            "state": "success", "creditsConsumed": 8.5,
            "resultJson": "{\"resultUrls\":[\"https://t.example/a.jpg\"]}",
        })));
        assert_eq!(result.urls, ["https://t.example/a.jpg"]);
        assert_eq!(result.billed_units, Some(dec!(8.5)));
    }

    #[test]
    fn midjourney_shows_four_pictures_in_a_shape_of_its_own() {
        assert!(matches!(midjourney(&json!({"successFlag": 0})), Ok(JobState::Running { .. })));
        let four: Vec<_> = (0..4).map(|n| format!("https://t.example/{n}.png")).collect();
        let objects: Vec<_> = four.iter().map(|url| json!({"resultUrl": url})).collect();
        let result = json!({"successFlag": 1, "resultInfoJson": {"resultUrls": objects}});
        assert_eq!(done(midjourney(&result)).urls, four);
        let strings = json!({"resultUrls": four}).to_string();
        assert_eq!(
            done(midjourney(&json!({"successFlag": "1", "resultInfoJson": strings}))).urls,
            four
        );
    }

    #[test]
    fn a_success_without_a_picture_is_asked_again_for_a_minute() {
        let caller = Caller::new(Provider::Kie, None);
        for empty in ["", "{}", "{\"resultUrls\":[]}", "{\"resultUrls\":[\"\"]}", "{\"cut"] {
            let data = json!({"state": "success", "resultJson": empty});
            assert!(is_empty_success(&data), "{empty}");
            assert!(matches!(task(&data), Ok(JobState::Running { .. })), "{empty}");
            let error = task_state(&caller, &data, EMPTY_SUCCESS_PATIENCE).unwrap_err();
            assert_eq!((error.class, error.money), (FailureClass::Generation, MoneyState::Charged));
        }
        let unpaid = json!({"state": "success", "creditsConsumed": 0});
        let error = task_state(&caller, &unpaid, EMPTY_SUCCESS_PATIENCE).unwrap_err();
        assert_eq!(error.money, MoneyState::NotCharged);
        let empty = json!({"successFlag": 1, "resultInfoJson": null});
        assert!(is_empty_success(&empty));
        let error = midjourney_state(&caller, &empty, EMPTY_SUCCESS_PATIENCE).unwrap_err();
        assert_eq!(error.class, FailureClass::Generation);
    }

    #[test]
    fn only_a_success_can_be_empty() {
        for data in [
            json!({"state": "generating", "resultJson": ""}),
            json!({"state": "fail"}),
            json!({"successFlag": 0, "resultInfoJson": null}),
            json!({"state": "success", "resultJson": "{\"resultUrls\":[\"https://t.example/a\"]}"}),
        ] {
            assert!(!is_empty_success(&data), "{data}");
        }
    }

    #[test]
    fn a_failed_job_says_why_is_not_charged_and_is_never_transient() {
        for (data, class) in [
            (
                json!({"state": "fail", "failCode": "501", "failMsg": "generation failed"}),
                FailureClass::Generation,
            ),
            (json!({"state": "fail", "failCode": 500, "failMsg": null}), FailureClass::Generation),
            (
                json!({"state": "fail", "failCode": "429", "failMsg": "busy"}),
                FailureClass::Generation,
            ),
            (
                json!({"state": "fail", "failCode": "422", "failMsg": "bad size"}),
                FailureClass::Input,
            ),
            (
                json!({"state": "fail", "failCode": "400", "failMsg": "Content violates our policies"}),
                FailureClass::Policy,
            ),
        ] {
            let error = task(&data).unwrap_err();
            assert_eq!((error.class, error.money), (class, MoneyState::NotCharged), "{data}");
            assert!(!error.class.is_transient());
        }
        for flag in [2, 3] {
            let data =
                json!({"successFlag": flag, "errorCode": 400, "errorMessage": "Banned prompt"});
            assert_eq!(midjourney(&data).unwrap_err().class, FailureClass::Policy);
        }
        let charged = json!({"state": "fail", "failMsg": "x", "creditsConsumed": 4});
        assert_eq!(task(&charged).unwrap_err().money, MoneyState::Charged);
    }
}
