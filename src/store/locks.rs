//! Named locks: a lease row for each, so that they hold across hosts.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgConnection;

use crate::process::{self, Liveness};
use crate::store::StoreError;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process, as [`crate::process::owner`] names it.
    pub owner: String,
    /// Since when.
    pub taken_at: Timestamp,
}

/// What is known here of the owner of a lease beside the lease: whether that very process lives.
#[derive(Debug, Clone, Copy)]
pub struct Known<'owner> {
    owner: Option<&'owner str>,
    liveness: Liveness,
}

impl<'owner> Known<'owner> {
    /// Looks the owner up, if there is one.
    pub fn of(owner: Option<&'owner str>) -> Self {
        Self { owner, liveness: owner.map_or(Liveness::Dead, process::liveness) }
    }

    /// Whether it lives. Nobody is dead.
    pub const fn liveness(self) -> Liveness {
        self.liveness
    }

    /// The owner whose lease may be taken before it has run out.
    pub(super) fn dead(self) -> Option<&'owner str> {
        self.owner.filter(|_| self.liveness == Liveness::Dead)
    }

    /// The owner whose lease may not even be taken when it has run out: the process was held up, as
    /// by a machine that slept, and goes on.
    pub(super) fn alive(self) -> Option<&'owner str> {
        self.owner.filter(|_| self.liveness == Liveness::Alive)
    }
}

/// Takes the user's lock `name` for `owner` and `lease`, if it is free, belongs to an owner who is known
/// to be dead, or has run out by the server's clock and belongs to none who is known to live. Says
/// whether it was taken.
pub async fn take(
    connection: &mut PgConnection,
    (user_id, name): (&str, &str),
    owner: &str,
    known: Known<'_>,
    lease: Duration,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO locks (user_id, name, owner, owner_until, taken_at)
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $6), clock_timestamp())
         ON CONFLICT (user_id, name) DO UPDATE
             SET owner = excluded.owner, owner_until = excluded.owner_until, taken_at = excluded.taken_at
             WHERE locks.owner = $4
                OR (locks.owner_until < clock_timestamp() AND locks.owner IS DISTINCT FROM $5)",
    )
    .bind(user_id)
    .bind(name)
    .bind(owner)
    .bind(known.dead())
    .bind(known.alive())
    .bind(lease.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Who holds the user's lock `name`.
pub async fn holder(
    connection: &mut PgConnection,
    (user_id, name): (&str, &str),
) -> Result<Option<Holder>, StoreError> {
    let row: Option<(String, jiff_sqlx::Timestamp)> =
        sqlx::query_as("SELECT owner, taken_at FROM locks WHERE user_id = $1 AND name = $2")
            .bind(user_id)
            .bind(name)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(owner, taken_at)| Holder { owner, taken_at: taken_at.to_jiff() }))
}

/// Keeps the lock for another `lease` from now on, by the server's clock. Says whether it still belongs to `owner`.
pub async fn keep(
    connection: &mut PgConnection,
    (user_id, name): (&str, &str),
    owner: &str,
    lease: Duration,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE locks SET owner_until = clock_timestamp() + make_interval(secs => $4)
         WHERE user_id = $1 AND name = $2 AND owner = $3",
    )
    .bind(user_id)
    .bind(name)
    .bind(owner)
    .bind(lease.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives the lock back, if it still belongs to `owner`.
pub async fn give_back(
    connection: &mut PgConnection,
    (user_id, name): (&str, &str),
    owner: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM locks WHERE user_id = $1 AND name = $2 AND owner = $3")
        .bind(user_id)
        .bind(name)
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}
