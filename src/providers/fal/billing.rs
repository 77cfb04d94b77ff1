//! What fal lists and what it billed: the free questions of its platform API about money.
//! Source: fal's platform API, `GET /models/pricing` and `GET /models/billing-events`.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde_json::Value;

use super::FalAccount;
use crate::ledger::money::Usd;
use crate::providers::ProviderError;
use crate::providers::http::{Stakes, retrying};

/// The most endpoints or requests that one question may name.
const MOST_NAMES: usize = 50;
/// The longest stretch of time that one question may cover.
const LONGEST_STRETCH: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A listing that goes round in a circle ends here.
const MOST_PAGES: usize = 1_000;

/// What fal lists for an endpoint: its base price, without sound, voices or another resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPrice {
    /// The endpoint's id.
    pub endpoint: String,
    /// The price of one unit, in `currency`.
    pub unit_price: Decimal,
    /// What a unit is, in fal's word, such as `seconds`.
    pub unit: String,
    /// Three letters, such as `USD`.
    pub currency: String,
}

impl ListedPrice {
    /// Whether it is what the price book holds for clips: US dollars a second.
    pub fn is_usd_per_second(&self) -> bool {
        self.currency == "USD"
            && ["second", "seconds", "s"].contains(&self.unit.to_lowercase().as_str())
    }
}

/// One line of fal's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingEvent {
    /// The request that it is for.
    pub request_id: String,
    /// Units billed, in the endpoint's unit.
    pub units: Option<Decimal>,
    /// The price of one unit, USD.
    pub unit_price: Option<Decimal>,
    /// What was taken off, USD.
    pub discount: Usd,
    /// What was billed, USD.
    pub total: Usd,
}

impl FalAccount {
    /// The base prices of some endpoints. One that fal does not list is left out.
    pub async fn listed_prices(
        &self,
        endpoints: &[&str],
    ) -> Result<Vec<ListedPrice>, ProviderError> {
        let mut prices = Vec::new();
        for some in endpoints.chunks(MOST_NAMES) {
            match self.pricing(some).await {
                Ok(listed) => prices.extend(listed),
                // One name that is not known spoils the whole answer.
                Err(error) if error.status == Some(404) && some.len() > 1 => {
                    for one in some {
                        match self.pricing(&[one]).await {
                            Ok(listed) => prices.extend(listed),
                            Err(error) if error.status == Some(404) => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) if error.status == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(prices)
    }

    async fn pricing(&self, endpoints: &[&str]) -> Result<Vec<ListedPrice>, ProviderError> {
        let query = [("endpoint_id".to_owned(), endpoints.join(","))];
        let read = |item: &Value| {
            Some(ListedPrice {
                endpoint: item["endpoint_id"].as_str()?.to_owned(),
                unit_price: decimal(&item["unit_price"])?,
                unit: item["unit"].as_str()?.to_owned(),
                currency: item["currency"].as_str()?.to_owned(),
            })
        };
        self.pages("/models/pricing", "prices", &query, read).await
    }

    /// What was billed for some requests that were made since a time. A request may have several
    /// lines, or none (yet). Only a key with administrator rights may ask.
    pub async fn billing_events(
        &self,
        request_ids: &[&str],
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<BillingEvent>, ProviderError> {
        let mut events = Vec::new();
        for some in request_ids.chunks(MOST_NAMES) {
            let mut start = since;
            while start < now {
                let end = start.checked_add(LONGEST_STRETCH).unwrap_or(now);
                let mut query = vec![
                    ("request_id".to_owned(), some.join(",")),
                    ("start".to_owned(), start.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                ];
                // The last stretch is open, because fal's clock may be ahead.
                if end < now {
                    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                    query.push(("end".to_owned(), end));
                }
                let path = "/models/billing-events";
                events.extend(self.pages(path, "billing_events", &query, event).await?);
                start = end;
            }
        }
        Ok(events)
    }

    /// Every page of a list.
    async fn pages<T>(
        &self,
        path: &str,
        list: &str,
        query: &[(String, String)],
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, ProviderError> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut url = self.platform.join(path);
            url.query_pairs_mut().extend_pairs(query);
            if let Some(cursor) = &cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let reply =
                retrying(|| async { self.ask(Stakes::Free, self.get(url.clone())).await }).await?;
            let page = reply.json().unwrap_or(Value::Null);
            let items = page[list]
                .as_array()
                .and_then(|items| items.iter().map(&read).collect::<Option<Vec<T>>>());
            let Some(items) = items else {
                return Err(self.caller.malformed(Stakes::Free, &reply, &format!("the {list}")));
            };
            found.extend(items);
            let next = page["next_cursor"].as_str().map(str::to_owned);
            let has_more = page["has_more"].as_bool().unwrap_or(false);
            cursor = next.filter(|next| has_more && cursor.as_ref() != Some(next));
            if cursor.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

fn event(item: &Value) -> Option<BillingEvent> {
    Some(BillingEvent {
        request_id: item["request_id"].as_str()?.to_owned(),
        units: decimal(&item["output_units"]),
        unit_price: decimal(&item["unit_price"]),
        discount: Usd::new(decimal(&item["cost_discount"]).unwrap_or_default()),
        total: Usd::new(decimal(&item["cost_total"])?),
    })
}

/// The decimal that a JSON number was written as: its shortest text is the vendor's own up to
/// fifteen digits, which no price has.
pub(super) fn decimal(value: &Value) -> Option<Decimal> {
    let text = value.as_number()?.to_string();
    Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text)).ok()
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;
    use secrecy::SecretString;
    use serde_json::json;
    use wiremock::matchers::{method, path, query_param, query_param_is_missing};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::providers::http::HttpClient;

    fn account(server: &MockServer) -> FalAccount {
        let host = |path: &str| format!("{}{path}", server.uri()).parse().unwrap();
        FalAccount::new(
            HttpClient::new().unwrap(),
            host("/queue"),
            host("/api/v1"),
            host("/storage"),
            SecretString::from("id:hidden"),
        )
    }

    fn line(id: &str, total: f64) -> Value {
        json!({"request_id": id, "endpoint_id": "e", "timestamp": "2026-11-22T10:00:00Z", "output_units": 5,
            "unit_price": 0.07, "percent_discount": null, "cost_subtotal": total, "cost_discount": 0,
            "cost_total": total, "cost_estimate_nano_usd": 1})
    }

    #[test]
    fn amounts_keep_their_digits() {
        for (text, exact) in [
            ("0.07", dec!(0.07)),
            ("1e-7", dec!(0.0000001)),
            ("0.235", dec!(0.235)),
            ("5", dec!(5)),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(decimal(&value), Some(exact), "{text}");
        }
        assert_eq!(decimal(&Value::Null), None);
    }

    #[tokio::test]
    async fn all_pages_are_read_and_long_times_are_split() {
        let server = MockServer::start().await;
        let page = |events: Vec<Value>, next: Value| {
            let has_more = !next.is_null();
            ResponseTemplate::new(200).set_body_json(
                json!({"billing_events": events, "next_cursor": next, "has_more": has_more}),
            )
        };
        let asked = || Mock::given(method("GET")).and(path("/api/v1/models/billing-events"));
        asked()
            .and(query_param("start", "2026-06-01T00:00:00Z"))
            .and(query_param("end", "2026-08-30T00:00:00Z"))
            .and(query_param_is_missing("cursor"))
            .respond_with(page(vec![line("a", 0.35)], json!("Mg==")))
            .expect(1)
            .mount(&server)
            .await;
        asked()
            .and(query_param("cursor", "Mg=="))
            .respond_with(page(vec![line("b", 0.7)], Value::Null))
            .expect(1)
            .mount(&server)
            .await;
        asked()
            .and(query_param("start", "2026-08-30T00:00:00Z"))
            .and(query_param_is_missing("end"))
            .respond_with(page(Vec::new(), Value::Null))
            .expect(1)
            .mount(&server)
            .await;
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let events = account(&server)
            .billing_events(&["a", "b"], time("2026-06-01T00:00:00Z"), time("2026-11-22T00:00:00Z"))
            .await
            .unwrap();
        let totals: Vec<_> = events.iter().map(|event| event.total.dollars()).collect();
        assert_eq!(totals, [dec!(0.35), dec!(0.7)]);
    }

    #[tokio::test]
    async fn an_endpoint_that_is_not_listed_does_not_hide_the_others() {
        let server = MockServer::start().await;
        let missing = json!({"error": {"type": "not_found", "message": "no such endpoint"}});
        let price = json!({"prices": [{"endpoint_id": "b", "unit_price": 0.07, "unit": "seconds", "currency": "USD"}],
            "next_cursor": null, "has_more": false});
        for (names, status, body) in
            [("a,b", 404, &missing), ("a", 404, &missing), ("b", 200, &price)]
        {
            Mock::given(method("GET"))
                .and(query_param("endpoint_id", names))
                .respond_with(ResponseTemplate::new(status).set_body_json(body))
                .mount(&server)
                .await;
        }
        let prices = account(&server).listed_prices(&["a", "b"]).await.unwrap();
        assert_eq!(prices.len(), 1);
        assert_eq!(prices[0].unit_price, dec!(0.07));
        assert!(prices[0].is_usd_per_second());
    }
}
