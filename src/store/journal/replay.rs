//! Taking in what the journal has more than the database.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::super::StoreError;

/// What became of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TakenIn {
    /// Operations that the database lacked, or knew an earlier state of.
    pub(super) operations: usize,
    /// Lines that could not be read, or that the database would not take.
    pub(super) refused: usize,
}

/// The last that the journal knows of one operation.
struct Line<'a> {
    /// The line as it stands in the journal. Amounts of money are only ever read out of it by the
    /// database, which has decimals: JSON numbers in Rust are floats.
    text: &'a str,
    /// The same, for looking at keys and ids.
    value: Value,
    operation: Uuid,
    revision: i64,
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let operation = value.get("operation")?;
        let id = operation.get("id")?.as_str()?.parse().ok()?;
        let revision = operation.get("revision")?.as_i64()?;
        Some(Self { text, value, operation: id, revision })
    }

    fn charge_state(&self) -> Option<&str> {
        self.value.pointer("/charge/state")?.as_str()
    }

    fn takes(&self) -> usize {
        self.value.get("takes").and_then(Value::as_array).map_or(0, Vec::len)
    }
}

/// What the database knows of one operation.
#[derive(sqlx::FromRow)]
struct Known {
    id: Uuid,
    revision: i32,
    charge_state: Option<String>,
    takes: i64,
}

impl Known {
    fn is_behind(&self, line: &Line<'_>) -> bool {
        let charge = match (self.charge_state.as_deref(), line.charge_state()) {
            (None, Some(_)) | (Some("unknown"), Some("settled")) => true,
            (None | Some(_), _) => false,
        };
        i64::from(self.revision) < line.revision
            || charge
            || usize::try_from(self.takes).is_ok_and(|takes| takes < line.takes())
    }
}

/// Takes in the lines that the database lacks, each in a transaction of its own.
pub(super) async fn replay(
    connection: &mut PgConnection,
    text: &str,
) -> Result<TakenIn, StoreError> {
    let mut taken_in = TakenIn::default();
    let lines = latest(text, &mut taken_in.refused);
    if lines.is_empty() {
        return Ok(taken_in);
    }
    let ids: Vec<Uuid> = lines.iter().map(|line| line.operation).collect();
    let known: Vec<Known> = sqlx::query_as(
        "SELECT operations.id, operations.revision, charges.state AS charge_state,
                (SELECT count(*) FROM takes WHERE takes.operation_id = operations.id) AS takes
         FROM operations LEFT JOIN charges ON charges.operation_id = operations.id
         WHERE operations.id = ANY($1)",
    )
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?;
    let known: HashMap<Uuid, Known> = known.into_iter().map(|known| (known.id, known)).collect();
    let missing: Vec<Line<'_>> = lines
        .into_iter()
        .filter(|line| known.get(&line.operation).is_none_or(|known| known.is_behind(line)))
        .collect();
    if missing.is_empty() {
        return Ok(taken_in);
    }
    let columns = columns(connection).await?;
    for line in missing {
        match take_in(connection, &columns, &line).await {
            Ok(()) => taken_in.operations += 1,
            Err(error @ (StoreError::Lost(_) | StoreError::DiskFull { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!(operation = %line.operation, %error, "a journal line was refused");
                taken_in.refused += 1;
            }
        }
    }
    Ok(taken_in)
}

/// The last line of each operation, in the order of the journal. Each line holds the whole of what
/// was known, so the earlier ones add nothing.
fn latest<'a>(text: &'a str, refused: &mut usize) -> Vec<Line<'a>> {
    let mut lines: Vec<Option<Line<'a>>> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for text in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some(line) = Line::read(text) else {
            *refused += 1;
            continue;
        };
        let earlier = places.get(&line.operation).copied();
        if let Some(place) = earlier {
            let is_later = lines[place].as_ref().is_none_or(|old| old.revision <= line.revision);
            if !is_later {
                continue;
            }
            lines[place] = None;
        }
        places.insert(line.operation, lines.len());
        lines.push(Some(line));
    }
    lines.into_iter().flatten().collect()
}

/// The columns of the tables of the journal: name, and name as SQL wants it written.
type Columns = HashMap<String, Vec<(String, String)>>;

async fn columns(connection: &mut PgConnection) -> Result<Columns, StoreError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT name, attname::text, quote_ident(attname)
         FROM unnest($1::text[]) AS name
         JOIN pg_attribute ON attrelid = to_regclass(name)
         WHERE attnum > 0 AND NOT attisdropped AND attgenerated = ''
         ORDER BY name, attnum",
    )
    .bind([
        "projects",
        "runs",
        "shots",
        "budgets",
        "batches",
        "prices",
        "operations",
        "charges",
        "takes",
    ])
    .fetch_all(connection)
    .await?;
    let mut columns = Columns::new();
    for (table, name, quoted) in rows {
        columns.entry(table).or_default().push((name, quoted));
    }
    Ok(columns)
}

/// What happens to a row that the database has already.
#[derive(Clone, Copy)]
enum Conflict {
    /// It stays as it is.
    Keep,
    /// It is replaced: the key that tells it is the same row, and when.
    Replace { key: &'static str, when: &'static str },
}

async fn take_in(
    connection: &mut PgConnection,
    columns: &Columns,
    line: &Line<'_>,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    let part = Part { columns, line };
    let newer = Conflict::Replace { key: "id", when: "old.updated_at < EXCLUDED.updated_at" };
    let is_newer = part.take_in(&mut transaction, "project", "projects", newer).await? > 0;
    part.take_in(&mut transaction, "run", "runs", newer).await?;
    let shots = if is_newer {
        replace_shots(&mut transaction, line).await?;
        Conflict::Replace { key: "id", when: "true" }
    } else {
        Conflict::Keep
    };
    part.take_in(&mut transaction, "shots", "shots", shots).await?;
    let newer_cap = Conflict::Replace {
        key: "scope, subject, period",
        when: "old.updated_at < EXCLUDED.updated_at",
    };
    part.take_in(&mut transaction, "budgets", "budgets", newer_cap).await?;
    part.take_in(&mut transaction, "batch", "batches", Conflict::Keep).await?;
    part.take_in(&mut transaction, "price", "prices", Conflict::Keep).await?;
    let later = Conflict::Replace { key: "id", when: "old.revision < EXCLUDED.revision" };
    part.take_in(&mut transaction, "operation", "operations", later).await?;
    let settled = Conflict::Replace {
        key: "operation_id",
        when: "old.state = 'unknown' AND EXCLUDED.state = 'settled'",
    };
    part.take_in(&mut transaction, "charge", "charges", settled).await?;
    part.take_in(&mut transaction, "takes", "takes", Conflict::Keep).await?;
    transaction.commit().await?;
    Ok(())
}

/// Makes room for the shots of a later storyboard: those of an earlier one for which nothing was
/// bought go away.
async fn replace_shots(connection: &mut PgConnection, line: &Line<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM shots
         WHERE project_id = ($1::text::jsonb #>> '{project,id}')::uuid
           AND id NOT IN (SELECT (shot ->> 'id')::uuid
                          FROM jsonb_array_elements($1::text::jsonb -> 'shots') AS shot)
           AND NOT EXISTS (SELECT 1 FROM operations WHERE operations.shot_id = shots.id)
           AND NOT EXISTS (SELECT 1 FROM takes WHERE takes.shot_id = shots.id)",
    )
    .bind(line.text)
    .execute(connection)
    .await?;
    Ok(())
}

struct Part<'a> {
    columns: &'a Columns,
    line: &'a Line<'a>,
}

impl Part<'_> {
    /// Takes one part of a line into its table, and says how many rows were written. Columns that
    /// only one side knows are left out: the journal may be older or newer than the schema.
    async fn take_in(
        &self,
        connection: &mut PgConnection,
        part: &str,
        table: &str,
        conflict: Conflict,
    ) -> Result<u64, StoreError> {
        let sample = match self.line.value.get(part) {
            Some(Value::Array(rows)) => rows.first(),
            row => row,
        };
        let (Some(Value::Object(sample)), Some(columns)) = (sample, self.columns.get(table)) else {
            return Ok(0);
        };
        let shared: Vec<&(String, String)> =
            columns.iter().filter(|(name, _)| sample.contains_key(name)).collect();
        let list = |written: &dyn Fn(&str) -> String| -> String {
            shared.iter().map(|(_, quoted)| written(quoted)).collect::<Vec<_>>().join(", ")
        };
        let names = list(&str::to_owned);
        let values = list(&|name| match (table, name) {
            // The project that this one was made from may have cost nothing, and so not be here.
            ("projects", "source_project") => {
                "(SELECT id FROM projects WHERE id = entry.source_project)".to_owned()
            }
            _ => format!("entry.{name}"),
        });
        let on_conflict = match conflict {
            Conflict::Keep => "DO NOTHING".to_owned(),
            Conflict::Replace { key, when } => {
                let sets = list(&|name| match name {
                    "id" => "id = old.id".to_owned(),
                    _ => format!("{name} = EXCLUDED.{name}"),
                });
                format!("({key}) DO UPDATE SET {sets} WHERE {when}")
            }
        };
        let sql = format!(
            "INSERT INTO {table} AS old ({names})
             SELECT {values} FROM (
                 SELECT CASE jsonb_typeof(part) WHEN 'array' THEN part
                             ELSE jsonb_build_array(part) END AS rows
                 FROM (SELECT $1::text::jsonb -> '{part}' AS part) AS parts
             ) AS arrays, jsonb_populate_recordset(NULL::{table}, rows) AS entry
             ON CONFLICT {on_conflict}"
        );
        // Put together from names that the database knows and from constants.
        let written =
            sqlx::query(AssertSqlSafe(sql)).bind(self.line.text).execute(connection).await?;
        Ok(written.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_an_operation_counts() {
        let line = |id: u8, revision: u32, note: &str| {
            format!(
                r#"{{"v":1,"operation":{{"id":"019aab12-3456-7890-abcd-ef01234567{id:02}","revision":{revision}}},"note":"{note}"}}"#
            )
        };
        let text = [
            line(1, 1, "a"),
            line(2, 1, "b"),
            "not json".to_owned(),
            line(1, 2, "c"),
            line(2, 1, "d"),
            line(1, 1, "stale"),
            r#"{"v":9,"operation":{"id":7}}"#.to_owned(),
        ]
        .join("\n");
        let mut refused = 0;
        let notes: Vec<String> = latest(&text, &mut refused)
            .iter()
            .map(|line| line.value["note"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(notes, ["c", "d"]);
        assert_eq!(refused, 2);
    }
}
