//! What came back from an exchange, read whole.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

/// No vendor's wait is obeyed beyond this: a run has a deadline of its own.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// A reply with its body.
#[derive(Debug)]
pub(in crate::providers) struct Reply {
    pub(in crate::providers) status: StatusCode,
    pub(in crate::providers) headers: HeaderMap,
    pub(in crate::providers) body: Bytes,
}

impl Reply {
    /// A header as text.
    pub(in crate::providers) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, if it is JSON.
    pub(in crate::providers) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// When the vendor answered by its own clock, else by ours.
    fn time(&self) -> Timestamp {
        self.header(DATE.as_str()).and_then(http_date).unwrap_or_else(Timestamp::now)
    }

    /// When the vendor wants to be asked again: `retry-after-ms`, else `retry-after` in seconds
    /// or as an HTTP date.
    pub(in crate::providers) fn retry_after(&self) -> Option<Duration> {
        let milliseconds = self
            .header("retry-after-ms")
            .and_then(|text| text.trim().parse::<f64>().ok())
            .map(|milliseconds| milliseconds / 1000.0);
        let seconds = milliseconds.or_else(|| {
            let text = self.header(RETRY_AFTER.as_str())?.trim();
            text.parse::<f64>().ok().or_else(|| {
                let wait = http_date(text)?.duration_since(self.time()).as_secs_f64();
                Some(wait.max(0.0))
            })
        })?;
        let wait = Duration::try_from_secs_f64(seconds).ok()?;
        Some(wait.min(LONGEST_RETRY_AFTER))
    }

    /// What the body is, in a few words, for a body that is not what the vendor documents: the
    /// page of a proxy is named by its title, other text is quoted from its start.
    pub(in crate::providers) fn excerpt(&self) -> String {
        if self.body.is_empty() {
            return "an empty body".to_owned();
        }
        let kind = self.header(CONTENT_TYPE.as_str()).unwrap_or("no content type").to_owned();
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4096)]);
        let lower = text.to_ascii_lowercase();
        let title = lower.find("<title>").and_then(|start| {
            let start = start + "<title>".len();
            let end = start + lower[start..].find("</title>")?;
            Some(text[start..end].trim().to_owned())
        });
        if let Some(title) = title {
            return format!("a web page titled '{title}'");
        }
        let start: String = text.chars().take(200).collect();
        format!("{} bytes of {kind}: {}", self.body.len(), start.trim())
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(headers: &[(&'static str, &str)], body: &'static str) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Reply { status: StatusCode::OK, headers: map, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn waits_come_in_three_forms() {
        let wait = |headers: &[(&'static str, &str)]| reply(headers, "").retry_after();
        assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(
            wait(&[("retry-after-ms", "1500"), ("retry-after", "9")]),
            Some(Duration::from_millis(1500))
        );
        let date = ("date", "Sun, 22 Nov 2026 11:00:00 GMT");
        assert_eq!(
            wait(&[date, ("retry-after", "Sun, 22 Nov 2026 11:00:30 GMT")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            wait(&[date, ("retry-after", "Sun, 22 Nov 2026 10:00:00 GMT")]),
            Some(Duration::ZERO)
        );
        for nonsense in ["soon", "-5", "NaN", "inf", ""] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(wait(&[("retry-after", "1e9")]), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn a_proxys_page_is_named_by_its_title() {
        let page =
            reply(&[("content-type", "text/html")], "<html><TITLE> 502 Bad Gateway</TITLE>…");
        assert_eq!(page.excerpt(), "a web page titled '502 Bad Gateway'");
        assert_eq!(reply(&[], "").excerpt(), "an empty body");
    }
}
