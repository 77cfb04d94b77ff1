//! fal's list of the requests that an endpoint was given: the way to a job whose answer was lost.
//! Source: fal's platform API, `GET /models/requests/by-endpoint`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::FalAccount;
use super::failure::{Words, class_of_job};
use crate::providers::http::{Stakes, retrying, returned_url};
use crate::providers::{Job, JobResult, JobState, MoneyState, ProviderError};

/// The most requests that fal puts on a page.
const PAGE: &str = "100";
/// More pages than any account fills in a day; a listing that goes round in a circle ends here.
const MOST_PAGES: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    next_cursor: Option<String>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Item {
    request_id: String,
    ended_at: Option<String>,
    status_code: Option<u16>,
    #[serde(default)]
    json_input: Value,
    #[serde(default)]
    json_output: Value,
}

/// How far back a job is looked for by its id, in hours: fal keeps payloads for 30 days.
const KEPT_HOURS: i64 = 30 * 24;

impl FalAccount {
    /// The job among those of an endpoint since a time that was given exactly this input.
    pub(super) async fn find(
        &self,
        endpoint: &str,
        payload: &Value,
        since: Timestamp,
    ) -> Result<Option<Job>, ProviderError> {
        let found =
            self.search(endpoint, since, None, |item| holds(&item.json_input, payload)).await?;
        Ok(found.map(|item| Job {
            request_id: item.request_id,
            status_url: None,
            response_url: None,
            cancel_url: None,
        }))
    }

    /// Where a job stands by the list (or the verdict on it), for a job whose own URLs are not known;
    /// none if the list does not tell.
    pub(super) async fn listed_state(
        &self,
        endpoint: &str,
        job: &Job,
    ) -> Result<Option<Result<JobState, ProviderError>>, ProviderError> {
        let since = Timestamp::now()
            .checked_sub(jiff::SignedDuration::from_hours(KEPT_HOURS))
            .unwrap_or(Timestamp::MIN);
        let id = job.request_id.as_str();
        let found = self.search(endpoint, since, Some(id), |item| item.request_id == id).await?;
        let Some(item) = found else { return Ok(None) };
        let has_ended = item.ended_at.is_some() || item.status_code.is_some();
        let url = item.json_output["video"]["url"].as_str();
        Ok(match (url.filter(|url| returned_url(url).is_some()), item.status_code) {
            (_, Some(status)) if status >= 400 => Some(Err(self.ended_badly(status, &item))),
            (Some(url), _) => {
                let result = JobResult { urls: vec![url.to_owned()], billed_units: None };
                Some(Ok(JobState::Done(result)))
            }
            // The list does not show what came of it: its own address may.
            (None, _) if has_ended => None,
            (None, _) => Some(Ok(JobState::Running { percent: None })),
        })
    }

    /// The verdict on a job that the list shows to have failed. What it was billed is told by the bill
    /// alone; until then the rule stands that failures are not.
    fn ended_badly(&self, status: u16, item: &Item) -> ProviderError {
        let words = Words::of_body(&item.json_output)
            .unwrap_or_else(|| Words::new(None, format!("the job ended with HTTP {status}")));
        let class = class_of_job(status, &words);
        ProviderError {
            status: Some(status),
            request_id: Some(item.request_id.clone()),
            ..self.caller.failure(class, MoneyState::NotCharged, &words.message)
        }
    }

    /// The first listed request that is the wanted one. Every page is read.
    async fn search(
        &self,
        endpoint: &str,
        since: Timestamp,
        id: Option<&str>,
        is_wanted: impl Fn(&Item) -> bool,
    ) -> Result<Option<Item>, ProviderError> {
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = self.page(endpoint, since, id, cursor.as_deref()).await?;
            let found = page.items.into_iter().find(&is_wanted);
            if found.is_some() {
                return Ok(found);
            }
            cursor = page.next_cursor.filter(|next| page.has_more && cursor.as_ref() != Some(next));
            if cursor.is_none() {
                return Ok(None);
            }
        }
        Ok(None)
    }

    async fn page(
        &self,
        endpoint: &str,
        since: Timestamp,
        id: Option<&str>,
        cursor: Option<&str>,
    ) -> Result<Page, ProviderError> {
        let mut url = self.platform.join("/models/requests/by-endpoint");
        url.query_pairs_mut()
            .append_pair("endpoint_id", endpoint)
            .append_pair("start", &since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .append_pair("expand", "payloads")
            .append_pair("limit", PAGE);
        if let Some(id) = id {
            url.query_pairs_mut().append_pair("request_id", id);
        }
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let reply =
            retrying(|| async { self.ask(Stakes::Free, self.get(url.clone())).await }).await?;
        serde_json::from_slice(&reply.body)
            .map_err(|_| self.caller.malformed(Stakes::Free, &reply, "a page of requests"))
    }
}

/// Whether an input that fal lists is the one that was sent. fal may have filled in defaults, and
/// may list the input as a string of JSON. What is null was forgotten and fits everything; the
/// keyframe's address, which is another one for each clip, never is.
fn holds(listed: &Value, sent: &Value) -> bool {
    match (listed, sent) {
        (Value::String(text), Value::Object(_)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|listed| holds(&listed, sent))
        }
        (Value::Object(listed), Value::Object(sent)) => {
            let mut known = sent.iter().filter(|(_, value)| !value.is_null()).peekable();
            known.peek().is_some() && known.all(|(name, value)| listed.get(name) == Some(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_input_is_recognised_with_the_defaults_that_fal_adds() {
        let sent = json!({"prompt": "steam", "start_image_url": "https://f.example/1.png", "duration": "5"});
        let mut listed = sent.clone();
        listed["negative_prompt"] = json!("blur");
        assert!(holds(&listed, &sent));
        assert!(holds(&json!(listed.to_string()), &sent));
        listed["start_image_url"] = json!("https://f.example/2.png");
        assert!(!holds(&listed, &sent));
        // Of what the user has had forgotten, the keyframe still tells which clip it is.
        let forgotten =
            json!({"prompt": null, "start_image_url": "https://f.example/2.png", "duration": "5"});
        assert!(holds(&listed, &forgotten));
        listed["start_image_url"] = json!("https://f.example/1.png");
        assert!(!holds(&listed, &forgotten));
        assert!(!holds(&listed, &json!({"prompt": null})));
        assert!(!holds(&Value::Null, &sent));
        assert!(!holds(&json!({}), &json!({})));
    }
}
