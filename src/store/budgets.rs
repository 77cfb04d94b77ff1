//! Caps, and what of them is taken.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::StoreError;
use crate::clock::Zone;
use crate::ids::{BudgetId, ProjectId, RunId};
use crate::ledger::budget::{Budget, Period, Scope, Taken};
use crate::ledger::money::Usd;

/// What a call falls under.
#[derive(Debug, Clone, Copy)]
pub struct Payer<'a> {
    /// Who pays.
    pub user_id: &'a str,
    /// Who is paid.
    pub provider: &'a str,
    /// The video, if it is for one.
    pub project: Option<ProjectId>,
    /// The run, if it is part of one.
    pub run: Option<RunId>,
    /// Whether it is language work.
    pub is_language: bool,
}

const COLUMNS: &str = "budgets.id, budgets.scope, budgets.subject, budgets.period, budgets.time_zone, budgets.cap_usd,
     CASE budgets.scope WHEN 'campaign' THEN (SELECT name FROM campaigns WHERE campaigns.id::text = budgets.subject)
                        WHEN 'run' THEN right(replace(budgets.subject, '-', ''), 8)
                        WHEN 'run_language' THEN right(replace(budgets.subject, '-', ''), 8)
                        WHEN 'batch' THEN right(replace(budgets.subject, '-', ''), 8)
                        ELSE budgets.subject END AS name";

fn budget(row: &sqlx::postgres::PgRow) -> Result<Budget, sqlx::Error> {
    let decode = |message: String| sqlx::Error::Decode(message.into());
    let subject: String = row.try_get("subject")?;
    let zone: &str = row.try_get("time_zone")?;
    Ok(Budget {
        id: row.try_get("id")?,
        scope: row.try_get::<&str, _>("scope")?.parse().map_err(decode)?,
        name: row.try_get::<Option<String>, _>("name")?.unwrap_or_else(|| subject.clone()),
        subject,
        period: row.try_get::<&str, _>("period")?.parse().map_err(decode)?,
        zone: Zone::named(zone)
            .ok_or_else(|| decode(format!("'{zone}' is not a time zone known here")))?,
        cap: row.try_get("cap_usd")?,
    })
}

/// Whether caps are only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// They are only looked at.
    Nothing,
    /// They are locked until the transaction ends, so that processes take their turns.
    UntilTheEnd,
}

/// The caps that a call falls under. They are locked in one order, so that two processes never wait
/// for each other crosswise.
pub async fn applying(
    connection: &mut PgConnection,
    payer: Payer<'_>,
    lock: Lock,
) -> Result<Vec<Budget>, StoreError> {
    let lock = if lock == Lock::UntilTheEnd { "FOR UPDATE" } else { "" };
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM budgets
         WHERE (scope = 'everything')
            OR (scope = 'user' AND subject = $1)
            OR (scope = 'provider' AND subject = $2)
            OR (scope = 'run' AND subject = $3)
            OR (scope = 'run_language' AND subject = $3 AND $4)
            OR (scope = 'batch' AND subject = (SELECT batch_id::text FROM runs WHERE id = $3::uuid))
            OR (scope = 'campaign' AND subject IN (SELECT campaign_id::text FROM project_campaigns
                                                   WHERE project_id = $5))
         ORDER BY id {lock}"
    )))
    .bind(payer.user_id)
    .bind(payer.provider)
    .bind(payer.run.map(|run| run.to_string()))
    .bind(payer.is_language)
    .bind(payer.project)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| budget(row).map_err(StoreError::from)).collect()
}

/// One statement for each scope, so that what moves from promised to settled meanwhile is
/// neither missed nor counted twice. `$1` is the subject, `$2` when the period began.
fn statement(scope: Scope) -> String {
    // The sums answer for a month at once, and know neither runs nor videos.
    let (sums, which) = match scope {
        Scope::Everything => (true, "$1::text IS NOT NULL"),
        Scope::User => (true, "user_id = $1"),
        Scope::Provider => (true, "provider = $1"),
        Scope::Campaign => (
            false,
            "project_id IN (SELECT project_id FROM project_campaigns WHERE campaign_id = $1::uuid)",
        ),
        Scope::Batch => (false, "run_id IN (SELECT id FROM runs WHERE batch_id = $1::uuid)"),
        Scope::Run => (false, "run_id = $1::uuid"),
        Scope::RunLanguage => {
            (false, "run_id = $1::uuid AND component IN ('conversation', 'writer', 'director')")
        }
    };
    let (table, moment, unknown) = if sums {
        ("charge_sums", "quarter_hour", "unknown_usd")
    } else {
        ("charges", "created_at", "reserved_usd) FILTER (WHERE state = 'unknown'")
    };
    // An operation that was adopted has a charge already.
    format!(
        "SELECT booked.settled, booked.unknown, promised.words, promised.media
         FROM (SELECT coalesce(sum(settled_usd), 0) AS settled, coalesce(sum({unknown}), 0) AS unknown
               FROM {table} WHERE ($2::timestamptz IS NULL OR {moment} >= $2) AND {which}) AS booked,
              (SELECT coalesce(sum(reserved_usd) FILTER (WHERE kind IN ('language', 'embedding')), 0) AS words,
                      coalesce(sum(reserved_usd) FILTER (WHERE kind NOT IN ('language', 'embedding')), 0) AS media
               FROM operations
               WHERE state IN ('submitting', 'submitted', 'ready') AND {which}
                 AND NOT EXISTS (SELECT 1 FROM charges WHERE charges.operation_id = operations.id)) AS promised"
    )
}

/// What of a cap is taken in the period that `now` lies in.
pub async fn taken(
    connection: &mut PgConnection,
    budget: &Budget,
    now: Timestamp,
) -> Result<Taken, StoreError> {
    let (settled, unknown, promised_words, promised_media) =
        sqlx::query_as(AssertSqlSafe(statement(budget.scope)))
            .bind(&budget.subject)
            .bind(budget.began(now).map(ToSqlx::to_sqlx))
            .fetch_one(connection)
            .await?;
    Ok(Taken { settled, unknown, promised_words, promised_media })
}

/// Sets a cap: a new one, or another amount and zone for one that is there.
pub async fn set(
    connection: &mut PgConnection,
    (scope, subject): (Scope, &str),
    period: Period,
    zone: &Zone,
    cap: Usd,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO budgets (id, scope, subject, period, time_zone, cap_usd, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
         ON CONFLICT (scope, subject, period) DO UPDATE
         SET cap_usd = excluded.cap_usd, time_zone = excluded.time_zone, updated_at = excluded.updated_at",
    )
    .bind(BudgetId::new())
    .bind(scope.as_str())
    .bind(subject)
    .bind(period.as_str())
    .bind(zone.name())
    .bind(cap)
    .bind(now.to_sqlx())
    .execute(connection)
    .await?;
    Ok(())
}

/// One cap.
pub async fn find(
    connection: &mut PgConnection,
    (scope, subject): (Scope, &str),
    period: Period,
) -> Result<Option<Budget>, StoreError> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM budgets WHERE scope = $1 AND subject = $2 AND period = $3"
    )))
    .bind(scope.as_str())
    .bind(subject)
    .bind(period.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(budget).transpose()?)
}

/// Removes a cap; says whether there was one.
pub async fn remove(
    connection: &mut PgConnection,
    (scope, subject): (Scope, &str),
    period: Period,
) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM budgets WHERE scope = $1 AND subject = $2 AND period = $3")
        .bind(scope.as_str())
        .bind(subject)
        .bind(period.as_str())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The caps that concern a user: those of everything, of providers, of the user, of the user's
/// campaigns, and of the user's runs that are not finished.
pub async fn list(connection: &mut PgConnection, user_id: &str) -> Result<Vec<Budget>, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM budgets
         WHERE scope IN ('everything', 'provider')
            OR (scope = 'user' AND subject = $1)
            OR (scope = 'campaign' AND subject IN (SELECT id::text FROM campaigns WHERE user_id = $1))
            OR (scope IN ('run', 'run_language') AND subject IN (
                    SELECT id::text FROM runs
                    WHERE user_id = $1 AND state NOT IN ('done', 'failed') AND kind = 'film'))
            OR (scope = 'batch' AND subject IN (
                    SELECT batch_id::text FROM runs
                    WHERE user_id = $1 AND state NOT IN ('done', 'failed') AND batch_id IS NOT NULL))
         ORDER BY array_position(ARRAY['everything', 'user', 'provider', 'campaign', 'batch', 'run', 'run_language'], scope),
                  subject, array_position(ARRAY['day', 'month', 'total'], period)"
    )))
    .bind(user_id)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| budget(row).map_err(StoreError::from)).collect()
}
