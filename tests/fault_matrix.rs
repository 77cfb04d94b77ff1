//! Every documented error of every endpoint at every step: what became of the film, of the money, and
//! of the books. The rooms are put together by hand and work against stand-ins, a world for each
//! case; the golden file has one line for each.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
mod support;

#[path = "fault_matrix/cases.rs"]
mod cases;
#[path = "fault_matrix/stage.rs"]
mod stage;

use std::fmt::Write as _;
use std::time::Instant;

use aida::providers::http::HttpClient;
use futures_util::StreamExt as _;

use cases::{Case, Step};
use database::say;
use stage::{Stage, ffmpeg};

/// Cases that run side by side: they wait most of their time.
const AT_ONCE: usize = 36;
/// Cases that share a database: the till sends KIE 20 jobs in 10 s, over all processes.
const ON_A_DATABASE: usize = 6;

async fn matrix(name: &str, cases: Vec<Case>) {
    let Some(ffmpeg) = ffmpeg().await else { return };
    let started = Instant::now();
    // Reading the certificates of this machine takes longer than most cases.
    let client = HttpClient::new().unwrap();
    let groups = cases.chunks(ON_A_DATABASE).map(|some| {
        let (ffmpeg, client) = (ffmpeg.clone(), client.clone());
        async move {
            let Some(stage) = Stage::build(ffmpeg, client).await else { return Vec::new() };
            let run = some.iter().map(|case| stage.play(case));
            futures_util::future::join_all(run).await
        }
    });
    let mut lines: Vec<String> =
        futures_util::stream::iter(groups).buffer_unordered(AT_ONCE / ON_A_DATABASE).concat().await;
    if lines.is_empty() {
        return;
    }
    lines.sort();
    say(&format!("{name}: {} cases in {:.1} s", lines.len(), started.elapsed().as_secs_f32()));
    let table = lines.iter().fold(String::new(), |mut table, line| {
        let _ = writeln!(table, "{line}");
        table
    });
    insta::assert_snapshot!(name, table);
}

#[tokio::test(flavor = "multi_thread")]
async fn writing() {
    matrix("writing", cases::of(Step::Writing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedding() {
    matrix("embedding", cases::of(Step::Embedding)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drawing() {
    matrix("drawing", cases::of(Step::Drawing)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filming() {
    matrix("filming", cases::of(Step::Filming)).await;
}
