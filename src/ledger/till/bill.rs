//! What a provider billed for something that it had said to have failed.

use rust_decimal::Decimal;
use sqlx::Connection;

use super::jobs::quantity_of;
use super::{Till, TillError};
use crate::ids::OperationId;
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationState;
use crate::ledger::prices::CacheEffect;
use crate::store::bills::{self, Bill};
use crate::store::operations::{self, Change};
use crate::store::settlements::NewCharge;

impl Till {
    /// An operation that was taken to be free stands on the bill: it becomes a charge of what was
    /// billed, for something that is not there.
    pub async fn bill_after_all(
        &self,
        operation: OperationId,
        billed: Usd,
        units: Option<Decimal>,
        note: &str,
    ) -> Result<(), TillError> {
        let now = self.clock.now();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        let row = operations::load(&mut transaction, operation).await?;
        let mut failure = row.failure.clone();
        if let Some(failure) = failure.as_mut().and_then(serde_json::Value::as_object_mut) {
            failure.insert("money".to_owned(), "charged".into());
            failure.insert("decision".to_owned(), note.into());
        }
        let change = Change { failure, ..Change::default() };
        let (from, to) = (OperationState::FailedNotCharged, OperationState::FailedCharged);
        operations::transition(&mut transaction, operation, from, to, change, now).await?;
        self.keep_price_of(&mut transaction, &row, now).await?;
        let charge = NewCharge {
            quantity: quantity_of(&row),
            settled_usd: Some(billed),
            cache: CacheEffect::default(),
            reuse_saved_usd: Usd::ZERO,
            billed_units: units,
            bill: Some(Bill { usd: Some(billed), units, note: note.to_owned() }),
            wasted: true,
            request_id: row.request_id.clone(),
            latency_ms: None,
        };
        bills::charge_after_all(&mut transaction, operation, &charge, now).await?;
        transaction.commit().await?;
        self.store.journal(&mut session, operation).await?;
        session.close().await;
        Ok(())
    }
}
