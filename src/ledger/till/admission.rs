//! Whether a call may be made now: who drives its run, the caps that it falls under, and what its
//! provider takes at a time.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Till, TillError, pause};
use crate::ledger::budget::Room;
use crate::ledger::money::Usd;
use crate::ledger::operation::OperationKind;
use crate::providers::Provider;
use crate::store::budgets::{self, Lock, Payer};
use crate::store::operations;
use crate::store::runs::{self, Kept, LEASE};

/// KIE takes 20 new generation requests in 10 seconds and does not queue the rest.
const KIE_SENDS_PER_WINDOW: i64 = 20;
const KIE_WINDOW: Duration = Duration::from_secs(10);
/// A job that fal holds longer than this is not reckoned to be running any more.
const LONGEST_FAL_JOB: Duration = Duration::from_hours(1);
/// How long to wait before asking again whether fal has room.
const FAL_PATIENCE: Duration = Duration::from_millis(500);
/// How long a call waits for others under the same cap to cost less than they may.
pub(super) const CAP_PATIENCE: Duration = Duration::from_mins(2);
/// How long to wait before looking at such a cap again.
const CAP_GLANCE: Duration = Duration::from_millis(250);

/// What the caps and limits said to a call.
pub(super) enum Admission {
    Taken,
    /// The provider has no room just now.
    Wait(Duration),
}

/// When the database last said whose a run is.
///
/// A process that is stopped for longer than a lease between that word and its send (a suspended machine, a
/// paused container) must not send any more: another may drive the run by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmed {
    asked: Instant,
    /// A suspended machine stops the other clock.
    asked_on_the_wall: SystemTime,
}

impl Confirmed {
    /// Renews the lease of a run that [`Till::admit`] has confirmed in the same transaction, which still holds its row:
    /// however long the locks were waited for, a whole lease is left to send in. None for a call outside of runs.
    pub(super) async fn renewed(
        transaction: &mut sqlx::PgConnection,
        payer: Payer<'_>,
        owner: Option<&str>,
    ) -> Result<Option<Self>, TillError> {
        let (Some(run), Some(owner)) = (payer.run, owner) else { return Ok(None) };
        let confirmed = Self::now();
        match runs::keep_claim(transaction, run, owner).await? {
            Kept::Lost => Err(TillError::TakenOver),
            Kept::Held | Kept::StopAsked => Ok(Some(confirmed)),
        }
    }

    /// From now on, before the database is asked.
    fn now() -> Self {
        Self { asked: Instant::now(), asked_on_the_wall: SystemTime::now() }
    }

    /// Whether the lease cannot have run out since.
    pub(super) fn stands(self) -> bool {
        let on_the_wall = self.asked_on_the_wall.elapsed().unwrap_or_default();
        self.asked.elapsed().max(on_the_wall) < LEASE.saturating_sub(LEASE_MARGIN)
    }
}

/// How long before a lease runs out nothing is sent under it any more.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

impl Till {
    /// Checks who drives the run, and every cap and limit that a call falls under. Caps stay
    /// locked until the transaction ends, so that processes take their turns.
    pub(super) async fn admit(
        &self,
        transaction: &mut sqlx::PgConnection,
        kind: OperationKind,
        payer: Payer<'_>,
        owner: Option<&str>,
        ceiling: Usd,
    ) -> Result<Admission, TillError> {
        if let (Some(run), Some(owner)) = (payer.run, owner) {
            match runs::keep_claim(transaction, run, owner).await? {
                Kept::Held => {}
                Kept::Lost => return Err(TillError::TakenOver),
                // Nothing is bought between the wish to stop and the heartbeat that hears it.
                Kept::StopAsked => return Err(TillError::Cancelled),
            }
        }
        let now = self.clock.now();
        let mut later = None;
        for budget in budgets::applying(transaction, payer, Lock::UntilTheEnd).await? {
            let taken = budgets::taken(transaction, &budget, now).await?;
            let room = taken.room(budget.cap, ceiling);
            let refusal = || TillError::OverBudget {
                what: budget.what(),
                cap: budget.cap,
                taken: taken.all(),
                asked: ceiling,
                raise: budget.command(),
                may_fit_later: room == Room::Perhaps,
            };
            match room {
                Room::Enough => {}
                Room::Perhaps => later = later.or_else(|| Some(refusal())),
                Room::TooLittle => return Err(refusal()),
            }
        }
        if let Some(refusal) = later {
            return Err(refusal);
        }
        if !kind.is_job() {
            return Ok(Admission::Taken);
        }
        let provider = payer.provider;
        operations::lock_provider(transaction, provider).await?;
        if provider == Provider::Kie.as_str() {
            let since = now.checked_sub(KIE_WINDOW).unwrap_or(Timestamp::MIN);
            let (sends, oldest) =
                operations::sends_since(transaction, provider, since, now).await?;
            if sends >= KIE_SENDS_PER_WINDOW {
                let age = oldest
                    .map_or(Duration::ZERO, |oldest| now.duration_since(oldest).unsigned_abs());
                return Ok(Admission::Wait(
                    KIE_WINDOW.saturating_sub(age) + Duration::from_millis(50),
                ));
            }
        }
        if provider == Provider::Fal.as_str() {
            let since = now.checked_sub(LONGEST_FAL_JOB).unwrap_or(Timestamp::MIN);
            let held = operations::jobs_under_way(transaction, provider, since).await?;
            if held >= i64::from(self.most_fal_jobs) {
                return Ok(Admission::Wait(FAL_PATIENCE));
            }
        }
        Ok(Admission::Taken)
    }

    /// Waits until the caps look as if a call may fit, or will not fit any more. Nothing is locked: who
    /// only looks keeps nobody waiting.
    pub(super) async fn wait_for_room(
        &self,
        payer: Payer<'_>,
        ceiling: Usd,
        asked: Instant,
        cancel: &CancellationToken,
    ) -> Result<(), TillError> {
        while asked.elapsed() < CAP_PATIENCE {
            pause(CAP_GLANCE, cancel).await?;
            let now = self.clock.now();
            let mut session = self.store.session().await?;
            let mut has_to_wait = false;
            for budget in budgets::applying(&mut session, payer, Lock::Nothing).await? {
                let taken = budgets::taken(&mut session, &budget, now).await?;
                has_to_wait |= taken.room(budget.cap, ceiling) == Room::Perhaps;
            }
            session.close().await;
            if !has_to_wait {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_on_a_word_that_is_as_old_as_a_lease() {
        let ago = |seconds, on_the_wall| {
            let now = Confirmed::now();
            Confirmed {
                asked: now.asked.checked_sub(Duration::from_secs(seconds)).unwrap(),
                asked_on_the_wall: now.asked_on_the_wall - Duration::from_secs(on_the_wall),
            }
        };
        assert!(ago(0, 0).stands());
        assert!(ago(12, 12).stands());
        assert!(!ago(14, 14).stands(), "the process was stopped");
        assert!(!ago(0, 14).stands(), "the machine was asleep");
    }
}
