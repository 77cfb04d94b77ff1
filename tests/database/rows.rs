//! Rows to test with.

#![cfg_attr(
    not(all(feature = "embedded", unix)),
    allow(dead_code, reason = "the tests of the embedded database use more of it")
)]

use aida::ids::{ChargeId, OperationId, ProjectId, RunId, ShotId, TakeId};
use sqlx::{Connection as _, PgConnection};

/// One video on its way: a project, its run with a budget, one shot, and one clip operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) project: ProjectId,
    pub(crate) run: RunId,
    pub(crate) shot: ShotId,
    pub(crate) operation: OperationId,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self {
            project: ProjectId::new(),
            run: RunId::new(),
            shot: ShotId::new(),
            operation: OperationId::new(),
        }
    }

    /// Writes it with the operation in the state `submitting`, as before a paid send.
    pub(crate) async fn submit(self, connection: &mut PgConnection) {
        let mut transaction = connection.begin().await.unwrap();
        price(&mut transaction).await;
        project(&mut transaction, self.project).await;
        sqlx::query(
            "INSERT INTO runs (id, project_id, user_id, kind, state, options, created_at, updated_at)
             VALUES ($1, $2, 'anna', 'film', 'shooting', '{}', now(), now())",
        )
        .bind(self.run)
        .bind(self.project)
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO budgets (id, scope, subject, cap_usd, created_at, updated_at)
             VALUES (gen_random_uuid(), 'run', $1, 5.000000000001, now(), now())",
        )
        .bind(self.run.to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO shots (id, project_id, number, image_prompt, motion_prompt, duration_seconds)
             VALUES ($1, $2, 1, 'a bowl of soup, \"steaming\"\nçà et là', 'slow push in', 5)",
        )
        .bind(self.shot)
        .bind(self.project)
        .execute(&mut *transaction)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO operations (id, user_id, project_id, run_id, shot_id, kind, component, provider,
                                     model, endpoint, state, revision, price_id, quantity,
                                     estimated_usd, reserved_usd, created_at)
             VALUES ($1, 'anna', $2, $3, $4, 'clip', 'video', 'fal', 'kling', 'kling/v2.6', 'submitting',
                     1, 'test-price', '{\"video_seconds\":{\"seconds\":5,\"audio\":false}}',
                     0.350000000001, 0.350000000001, now())",
        )
        .bind(self.operation)
        .bind(self.project)
        .bind(self.run)
        .bind(self.shot)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
    }

    /// Stores the request id.
    pub(crate) async fn submitted(self, connection: &mut PgConnection, request_id: &str) {
        sqlx::query(
            "UPDATE operations SET state = 'submitted', revision = revision + 1, request_id = $2
             WHERE id = $1",
        )
        .bind(self.operation)
        .bind(request_id)
        .execute(connection)
        .await
        .unwrap();
    }

    /// Keeps the result: the operation, its take and its charge.
    pub(crate) async fn kept(self, connection: &mut PgConnection) {
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("UPDATE operations SET state = 'kept', revision = revision + 1 WHERE id = $1")
            .bind(self.operation)
            .execute(&mut *transaction)
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO takes (id, project_id, shot_id, operation_id, kind, chosen, path, sha256, bytes,
                                created_at)
             VALUES ($1, $2, $3, $4, 'clip', true, 'takes/1.mp4', 'abc', 10, now())",
        )
        .bind(TakeId::new())
        .bind(self.project)
        .bind(self.shot)
        .bind(self.operation)
        .execute(&mut *transaction)
        .await
        .unwrap();
        self.charged(&mut transaction, "settled").await;
        transaction.commit().await.unwrap();
    }

    /// Books the operation as `settled` or `unknown`.
    pub(crate) async fn charged(self, connection: &mut PgConnection, state: &str) {
        sqlx::query(
            "INSERT INTO charges (id, operation_id, user_id, project_id, run_id, component, provider,
                                  model, state, price_id, video_seconds, estimated_usd, reserved_usd,
                                  settled_usd, created_at)
             VALUES ($1, $2, 'anna', $3, $4, 'video', 'fal', 'kling', $5, 'test-price', 5,
                     0.350000000001, 0.350000000001,
                     CASE WHEN $5 = 'settled' THEN 0.350000000001 END, now())",
        )
        .bind(ChargeId::new())
        .bind(self.operation)
        .bind(self.project)
        .bind(self.run)
        .bind(state)
        .execute(connection)
        .await
        .unwrap();
    }
}

/// The price that the charges are made with.
pub(crate) async fn price(connection: &mut PgConnection) {
    sqlx::query(
        "INSERT INTO prices (id, provider, model, effective_from, rates, source, created_at)
         VALUES ('test-price', 'fal', 'kling', '2026-11-01', '{}', 'test', now())
         ON CONFLICT DO NOTHING",
    )
    .execute(connection)
    .await
    .unwrap();
}

/// A project.
pub(crate) async fn project(connection: &mut PgConnection, id: ProjectId) {
    sqlx::query(
        "INSERT INTO projects (id, user_id, brief, slug, aspect, duration_seconds, shot_count,
                               created_at, updated_at)
         VALUES ($1, 'anna', 'food video', 'food-video', '9:16', 30, 6, now(), now())",
    )
    .bind(id)
    .execute(connection)
    .await
    .unwrap();
}
