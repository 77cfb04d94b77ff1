//! What the services would charge, item by item, by the prices that the vendors publish. It is
//! kept apart from aida's books, which tests compare with it.

use std::fmt;
use std::sync::Mutex;

use rust_decimal::Decimal;

use super::bench::Service;

/// One thing that was bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Who charges.
    pub service: Service,
    /// The model or the endpoint.
    pub what: String,
    /// The service's own id of the purchase.
    pub request_id: String,
    /// How much of it, in words.
    pub quantity: String,
    /// US dollars, exact.
    pub usd: Decimal,
}

/// What all services would charge.
#[derive(Debug, Default)]
pub struct Bill(Mutex<Vec<Item>>);

impl Bill {
    /// Charges for something. A reply that gets lost on its way back is charged like any other.
    pub fn charge(&self, item: Item) {
        self.0.lock().unwrap().push(item);
    }

    /// Takes a charge back: the service does not charge for work that failed.
    pub fn void(&self, request_id: &str) {
        self.0.lock().unwrap().retain(|item| item.request_id != request_id);
    }

    /// Every item, in the order of purchase.
    pub fn items(&self) -> Vec<Item> {
        self.0.lock().unwrap().clone()
    }

    /// The items of one service.
    pub fn items_of(&self, service: Service) -> Vec<Item> {
        self.items().into_iter().filter(|item| item.service == service).collect()
    }

    /// US dollars in all.
    pub fn total(&self) -> Decimal {
        self.items().iter().map(|item| item.usd).sum()
    }

    /// US dollars of one service.
    pub fn total_of(&self, service: Service) -> Decimal {
        self.items_of(service).iter().map(|item| item.usd).sum()
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in self.items() {
            let Item { service, what, request_id, quantity, usd } = item;
            writeln!(formatter, "{service:<9}  {what:<42}  {quantity:<44}  ${usd}  {request_id}")?;
        }
        write!(formatter, "total ${}", self.total().normalize())
    }
}
