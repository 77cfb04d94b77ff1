//! A kept take that is used again: a line in the books that costs nothing and tells what was saved.
//!
//! Nothing is sent, so its operation goes from planned to kept, takes no reservation, counts against
//! no limit of a provider, and does not stand between two readings of a provider's balance.

use serde_json::Value;
use sqlx::Connection;

use super::{Purpose, Till, TillError};
use crate::ids::TakeId;
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::{OperationKind, OperationState};
use crate::ledger::prices::CacheEffect;
use crate::providers::Provider;
use crate::store::operations::{self, Change, NewOperation};
use crate::store::reuse;
use crate::store::runs::{self, Kept};
use crate::store::settlements::NewCharge;
use crate::store::takes::{self, Take};

/// What would have been bought: the seller's provider, model and endpoint, and how much of it.
pub type Instead<'a> = ((Provider, &'a str, &'a str), Quantity);

/// A kept take that serves a shot of another project.
#[derive(Debug, Clone)]
pub struct UsedAgain {
    /// The take in its new place; its file lies there already.
    pub take: Take,
    /// The take that it is the same file as.
    pub origin: TakeId,
    /// What is kept with the operation: where it comes from and how it was found.
    pub request: Value,
}

impl Till {
    /// Has the film use a take of its own shot again, and books what buying it anew would have cost.
    pub async fn reuse(
        &self,
        purpose: &Purpose,
        kind: OperationKind,
        seller: (Provider, &str, &str),
        quantity: Quantity,
    ) -> Result<Usd, TillError> {
        let purpose = Purpose { shot: None, ..purpose.clone() };
        let saved = self.price(seller.0, seller.1)?.amount(&quantity)?;
        self.book(&purpose, kind, (seller, quantity), saved, None).await?;
        Ok(saved)
    }

    /// Has a shot use a take of another project: the take, the shot's choice and the line in the books
    /// in one transaction. `spares` is what need not be bought beside it. Says what was saved; nothing
    /// where the shot has a take already, so that doing this twice books once.
    pub async fn use_again(
        &self,
        purpose: &Purpose,
        kind: OperationKind,
        instead: Instead<'_>,
        spares: Option<Instead<'_>>,
        used: &UsedAgain,
    ) -> Result<Option<Usd>, TillError> {
        let mut saved = Usd::ZERO;
        for ((provider, model, _), quantity) in std::iter::once(instead).chain(spares) {
            saved += self.price(provider, model)?.amount(&quantity)?;
        }
        let booked = self.book(purpose, kind, instead, saved, Some(used)).await?;
        Ok(booked.then_some(saved))
    }

    /// Writes operation, charge and take, if the shot has no take and the run is still this process's.
    async fn book(
        &self,
        purpose: &Purpose,
        kind: OperationKind,
        (seller, quantity): Instead<'_>,
        saved: Usd,
        used: Option<&UsedAgain>,
    ) -> Result<bool, TillError> {
        let new = NewOperation {
            estimated_usd: Usd::ZERO,
            ..self.plan(purpose, kind, seller, quantity)?
        };
        let charge = NewCharge {
            quantity: Quantity::Uploads(0),
            settled_usd: Some(Usd::ZERO),
            cache: CacheEffect::default(),
            reuse_saved_usd: saved,
            billed_units: None,
            bill: None,
            wasted: false,
            request_id: None,
            latency_ms: None,
        };
        let now = self.clock.now();
        let mut session = self.store.session().await?;
        let mut transaction = session.begin().await?;
        if let (Some(run), Some(owner)) = (purpose.run, purpose.owner.as_deref())
            && runs::keep_claim(&mut transaction, run, owner).await? == Kept::Lost
        {
            return Err(TillError::TakenOver);
        }
        if let Some(shot) = purpose.shot {
            if reuse::has_take(&mut transaction, shot, kind).await? {
                transaction.rollback().await?;
                session.close().await;
                return Ok(false);
            }
            reuse::give_up_plans(&mut transaction, shot, kind, now).await?;
        }
        operations::plan(&mut transaction, &new, now).await?;
        let change = Change { request: used.map(|used| used.request.clone()), ..Change::default() };
        let (planned, kept) = (OperationState::Planned, OperationState::Kept);
        operations::transition(&mut transaction, new.id, planned, kept, change, now).await?;
        self.write_charge(&mut transaction, new.id, &charge, now).await?;
        if let Some(used) = used {
            takes::keep(&mut transaction, new.id, std::slice::from_ref(&used.take), now).await?;
            reuse::keep_origin(&mut transaction, used.take.id, used.origin).await?;
        }
        transaction.commit().await?;
        self.store.journal(&mut session, new.id).await?;
        session.close().await;
        Ok(true)
    }
}
