//! The price that an operation is planned with stays its own, whatever becomes of the book.

use jiff::Timestamp;

use super::{Till, TillError};
use crate::store::operations::Operation;
use crate::store::settlements;

impl Till {
    /// Keeps the price that an operation was planned with beside it. The book may have changed since;
    /// then the price stands there from the day on which it was planned.
    pub(super) async fn keep_price_of(
        &self,
        transaction: &mut sqlx::PgConnection,
        operation: &Operation,
        now: Timestamp,
    ) -> Result<(), TillError> {
        if let Some(price) = self.prices.by_id(&operation.price_id) {
            settlements::keep_price(transaction, price, now).await?;
        } else if !settlements::has_price(transaction, &operation.price_id).await? {
            return Err(TillError::NoPrice {
                provider: operation.provider.clone(),
                model: operation.model.clone(),
            });
        }
        Ok(())
    }

    /// Whether a planned operation would still be planned with the same price today. If not, it is
    /// planned anew before it is sent.
    pub fn is_priced_as_today(&self, operation: &Operation) -> bool {
        let today = self.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        self.prices
            .find(&operation.provider, &operation.model, today)
            .is_some_and(|price| price.id() == operation.price_id)
    }
}
