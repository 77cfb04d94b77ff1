//! The queue: who gets which run, and that nobody writes for a run that is another's.

use aida::ids::{BatchId, ProjectId, RunId};
use aida::store::queue::{self, Which};
use aida::store::runs::{self, Afterwards, Kept, NewRun, QueuePlace};
use aida::store::{Session, StoreError, projects};
use jiff::Timestamp;
use rust_decimal_macros::dec;
use std::time::Duration;

use crate::support::TestDatabase;

/// Queues a run of a user.
async fn queued(session: &mut Session, user: &str, batch: Option<BatchId>, place: i32) -> RunId {
    let (project, run, now) = (ProjectId::new(), RunId::new(), Timestamp::now());
    let row = projects::Project {
        id: project,
        user_id: user.to_owned(),
        brief: "food video".to_owned(),
        title: String::new(),
        slug: "food-video".to_owned(),
        script: None,
        script_author: None,
        aspect: "9:16".to_owned(),
        duration_seconds: dec!(30),
        shot_count: 6,
        source_project: None,
        created_at: now,
    };
    projects::insert(session, &row).await.unwrap();
    let new = NewRun {
        id: run,
        project_id: project,
        user_id: user.to_owned(),
        kind: "film",
        state: "writing",
        options: serde_json::json!({}),
        quote: None,
        estimate_usd: None,
        plan_usd: None,
        accepted_usd: None,
        queue: Some(QueuePlace { batch: batch.map(|batch| (batch, 2)), place }),
    };
    runs::insert(session, &new, now).await.unwrap();
    run
}

async fn next(session: &mut Session, owner: &str, which: Which) -> Option<RunId> {
    queue::next(session, owner, which).await.unwrap().map(|leased| leased.id)
}

/// Lets the lease of a run run out.
async fn let_run_out(session: &mut Session, run: RunId) {
    sqlx::query(
        "UPDATE runs SET owner_until = clock_timestamp() - interval '1 second' WHERE id = $1",
    )
    .bind(run)
    .execute(&mut **session)
    .await
    .unwrap();
}

#[tokio::test]
async fn users_take_turns_and_places_are_kept() {
    let database = TestDatabase::fresh().await;
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let ada: Vec<RunId> = [
        queued(&mut session, "ada", None, 1).await,
        queued(&mut session, "ada", None, 0).await,
        queued(&mut session, "ada", None, 0).await,
    ]
    .into();
    let bob = queued(&mut session, "bob", None, 0).await;
    let mut order = Vec::new();
    while let Some(run) = next(&mut session, &format!("owner {}", order.len()), Which::All).await {
        order.push(run);
    }
    // Queued at different moments, so the places of ada's runs do not count; bob's comes second.
    assert_eq!(order, [ada[0], bob, ada[1], ada[2]]);
    let depth = queue::depth(&mut session, Which::All).await.unwrap();
    assert_eq!((depth.waiting, depth.driven), (0, 4));
    session.close().await;
}

#[tokio::test]
async fn whoever_lost_its_lease_writes_nothing() {
    let database = TestDatabase::fresh().await;
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let run = queued(&mut session, "ada", None, 0).await;
    assert_eq!(next(&mut session, "one", Which::All).await, Some(run));
    assert_eq!(next(&mut session, "other", Which::All).await, None, "it is driven");
    let held = runs::held(&mut session, "ada").await.unwrap();
    assert_eq!(held, [(run, "one".to_owned())]);
    let_run_out(&mut session, run).await;
    assert!(runs::held(&mut session, "ada").await.unwrap().is_empty());
    assert_eq!(next(&mut session, "other", Which::All).await, Some(run));
    assert_eq!(runs::keep_claim(&mut session, run, "one").await.unwrap(), Kept::Lost);
    let now = Timestamp::now();
    let late = [
        runs::enter(&mut session, (run, "one"), "cutting", now).await,
        runs::set_options(&mut session, (run, "one"), &serde_json::json!({ "late": 1 })).await,
        runs::set_plan(&mut session, (run, "one"), aida::ledger::money::Usd::ZERO).await,
        runs::accept(&mut session, (run, "one"), aida::ledger::money::Usd::ZERO).await,
        runs::set_video(&mut session, (run, "one"), "/late.mp4", dec!(1)).await,
    ];
    assert!(late.iter().all(|late| matches!(late, Err(StoreError::TakenOver))), "{late:?}");
    runs::release(&mut session, run, "one", Some(("late", "late")), Afterwards::Leaves, now)
        .await
        .unwrap();
    let row = runs::load(&mut session, run).await.unwrap();
    assert_eq!(
        (row.state.as_str(), row.stopped_by, row.owner.as_deref()),
        ("writing", None, Some("other"))
    );
    assert!(row.queued_at.is_some());
    session.close().await;
}

#[tokio::test]
async fn a_run_stays_leaves_or_comes_back() {
    let database = TestDatabase::fresh().await;
    let store = database.open().await;
    let mut session = store.session().await.unwrap();
    let batch = BatchId::new();
    let run = queued(&mut session, "ada", Some(batch), 0).await;
    let now = Timestamp::now();
    assert_eq!(next(&mut session, "one", Which::Batch(BatchId::new())).await, None);
    for (afterwards, comes) in [
        (Afterwards::Unchanged, true),
        (Afterwards::Again(Duration::ZERO), true),
        (Afterwards::Again(Duration::from_mins(5)), false),
    ] {
        assert_eq!(next(&mut session, "one", Which::Batch(batch)).await, Some(run));
        runs::release(&mut session, run, "one", Some(("network", "away")), afterwards, now)
            .await
            .unwrap();
        let leased = queue::next(&mut session, "two", Which::All).await.unwrap();
        assert_eq!(leased.map(|leased| leased.id), comes.then_some(run), "{afterwards:?}");
        if let Some(leased) = leased {
            assert!(leased.resumed);
            runs::give_back(&mut session, run, "two").await.unwrap();
        }
    }
    // Somebody asks for it: at once.
    assert!(queue::put(&mut session, run).await.unwrap());
    let leased = queue::next(&mut session, "one", Which::All).await.unwrap().unwrap();
    assert_eq!((leased.id, leased.tries), (run, 0));
    queue::stop(&mut session, run).await.unwrap();
    assert_eq!(runs::keep_claim(&mut session, run, "one").await.unwrap(), Kept::StopAsked);
    runs::release(&mut session, run, "one", None, Afterwards::Unchanged, now).await.unwrap();
    assert_eq!(next(&mut session, "one", Which::All).await, None, "it was taken out");
    session.close().await;
}
