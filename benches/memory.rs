//! The memory at scale: how fast vectors are loaded beside psql, what their index takes, and how fast
//! and how well they are found beside the bare statement and an exact search.
//!
//! It needs a native server in `AIDA_TEST_DATABASE_URL`, on which it makes a database of its own, and
//! `psql` (`AIDA_BENCH_PSQL`, else the one on the PATH). `AIDA_BENCH_VECTORS` says how many vectors
//! there are, 100,000 unless it is set; `AIDA_BENCH_CHOICES=1` measures other kinds of indexes as well.
//!
//! It fails where aida loads at less than half of psql's speed, where a search takes more than 1.5 times
//! as long as the bare statement, and where less than 0.95 of the ten nearest are found.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a benchmark that cannot go on has failed, and prints what it finds"
)]

#[path = "../tests/support/database.rs"]
mod database;
#[path = "memory/landscape.rs"]
mod landscape;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aida::ids::{CampaignId, ProjectId};
use aida::store::Store;
use aida::store::embeddings::index::Place;
use aida::store::embeddings::{self, LoadedRow, Loading, PassageKind, SEARCH_CANDIDATES, Scope};
use jiff::Timestamp;
use pgvector::Vector;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Runtime;
use uuid::Uuid;

use database::TestDatabase;
use landscape::{Best, Landscape, Numbers, cosine};

const MODEL: &str = "text-embedding-3-small";
/// The most that a search may take of the bare statement's time.
const MOST: f64 = 1.5;
/// The least part of psql's speed.
const LEAST_SPEED: f64 = 0.5;
/// The least part of the ten nearest.
const LEAST_RECALL: f64 = 0.95;
/// Questions that are asked.
const QUESTIONS: u64 = 60;
/// How often each is asked; the first time does not count.
const ROUNDS: usize = 3;
/// Vectors to a project.
const OF_A_PROJECT: u64 = 10;

/// Whose rows and of which campaign: one in a hundred is another user's, one in a hundred projects
/// belongs to the campaign.
fn belongs_to_eve(number: u64) -> bool {
    Numbers::from_seed(number + 77).next().is_multiple_of(100)
}

fn is_in_campaign(number: u64) -> bool {
    let project = number / OF_A_PROJECT;
    Numbers::from_seed(project + 99).next().is_multiple_of(100)
}

struct Bench {
    landscape: Landscape,
    count: u64,
    questions: Vec<Vec<f32>>,
    campaign: CampaignId,
    start: Timestamp,
}

/// A part of the table that is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Everything,
    OneUser,
    OneCampaign,
}

impl Part {
    const ALL: [Self; 3] = [Self::Everything, Self::OneUser, Self::OneCampaign];

    const fn name(self) -> &'static str {
        match self {
            Self::Everything => "no filter (99 %)",
            Self::OneUser => "one user (1 %)",
            Self::OneCampaign => "one campaign (1 %)",
        }
    }

    fn holds(self, number: u64) -> bool {
        match self {
            Self::Everything => !belongs_to_eve(number),
            Self::OneUser => belongs_to_eve(number),
            Self::OneCampaign => !belongs_to_eve(number) && is_in_campaign(number),
        }
    }

    fn condition(self, campaign: CampaignId) -> String {
        match self {
            Self::Everything => "true".to_owned(),
            Self::OneUser => "user_id = 'eve'".to_owned(),
            Self::OneCampaign => format!(
                "user_id = 'ada' AND project_id IN
                 (SELECT project_id FROM project_campaigns WHERE campaign_id = '{campaign}')"
            ),
        }
    }

    fn scope(self, campaign: CampaignId) -> Scope {
        Scope {
            user_id: if self == Self::OneUser { "eve" } else { "ada" }.to_owned(),
            campaign: (self == Self::OneCampaign).then_some(campaign),
            ..Scope::default()
        }
    }
}

fn id_of(number: u64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number))
}

fn project_of(number: u64) -> ProjectId {
    let project = u128::from(number / OF_A_PROJECT);
    ProjectId::from_uuid(Uuid::from_u128(0x0190_0000_0000_7000_9000_0000_0000_0000 | project))
}

impl Bench {
    fn text(number: u64) -> String {
        let words = ["bread", "rain", "neon", "street", "hands", "light", "coffee", "river"];
        let word = |shift: u64| words[(number >> shift & 7) as usize];
        format!("{} {} {} {} {number}", word(0), word(3), word(6), word(9))
    }

    /// Keeps the vectors in a file, because making them up is no part of the load.
    fn keep(&self, file: &Path) {
        let mut file = BufWriter::new(File::create(file).unwrap());
        for number in 0..self.count {
            for number in self.landscape.vector(number) {
                file.write_all(&number.to_le_bytes()).unwrap();
            }
        }
        file.flush().unwrap();
    }

    async fn load(&self, file: &Path, connection: &mut PgConnection) -> u64 {
        let mut file = BufReader::with_capacity(1 << 20, File::open(file).unwrap());
        let mut bytes = vec![0; landscape::WIDTH * 4];
        let mut vector = vec![0.0; landscape::WIDTH];
        let mut loading = Loading::begin(connection).await.unwrap();
        for number in 0..self.count {
            file.read_exact(&mut bytes).unwrap();
            // Written for a build without optimisation.
            let mut place = 0;
            while place < landscape::WIDTH {
                let start = place * 4;
                let bytes = [bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]];
                vector[place] = f32::from_le_bytes(bytes);
                place += 1;
            }
            let text = Self::text(number);
            let row = LoadedRow {
                id: id_of(number),
                user_id: if belongs_to_eve(number) { "eve" } else { "ada" },
                project: Some(project_of(number)),
                kind: PassageKind::Shot,
                subject: id_of(number),
                part: 0,
                content: &text,
                vector: Some((MODEL, &vector)),
                created_at: self.start,
            };
            loading.push(&row).await.unwrap();
        }
        loading.finish().await.unwrap()
    }

    /// The ten nearest of each question in each part, by comparing everything on all processors.
    fn exact(&self) -> Vec<[Vec<u64>; 3]> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
        let mut best =
            vec![[Best::default(), Best::default(), Best::default()]; self.questions.len()];
        std::thread::scope(|scope| {
            let work: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut best = vec![
                            [Best::default(), Best::default(), Best::default()];
                            self.questions.len()
                        ];
                        let mut number = thread;
                        while number < self.count {
                            let vector = self.landscape.vector(number);
                            let parts = Part::ALL.map(|part| part.holds(number));
                            for (question, best) in self.questions.iter().zip(&mut best) {
                                let score = cosine(question, &vector);
                                for (best, is_in) in best.iter_mut().zip(parts) {
                                    if is_in {
                                        best.offer(score, number);
                                    }
                                }
                            }
                            number += threads;
                        }
                        best
                    })
                })
                .collect();
            for part in work {
                for (mine, theirs) in best.iter_mut().zip(part.join().unwrap()) {
                    for (mine, theirs) in mine.iter_mut().zip(&theirs) {
                        mine.merge(theirs);
                    }
                }
            }
        });
        best.into_iter().map(|parts| parts.map(|best| best.numbers().collect())).collect()
    }
}

fn main() {
    if std::env::var_os("AIDA_TEST_DATABASE_URL").is_none_or(|url| url.is_empty()) {
        eprintln!(
            "SKIPPED: the benchmark of the memory needs a native server in AIDA_TEST_DATABASE_URL"
        );
        return;
    }
    let count: u64 =
        std::env::var("AIDA_BENCH_VECTORS").map_or(100_000, |number| number.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    let failures = runtime.block_on(measure(count));
    assert!(failures.is_empty(), "missed:\n{}", failures.join("\n"));
}

async fn measure(count: u64) -> Vec<String> {
    let landscape = Landscape::for_vectors(count as usize);
    let questions = (0..QUESTIONS).map(|number| landscape.vector(1 << 40 | number)).collect();
    let campaign = CampaignId::new();
    let bench = Bench { landscape, count, questions, campaign, start: Timestamp::now() };
    let database = TestDatabase::native().await.unwrap();
    let store = database.open().await;
    let mut connection = PgConnection::connect(&database.url().unwrap()).await.unwrap();
    println!("{count} vectors of {} numbers", landscape::WIDTH);
    projects(&bench, &mut connection).await;

    // An index while it is loaded would only be measured twice: it is built afterwards.
    embeddings::index::remove(&mut connection, MODEL, Place::Server).await.unwrap();
    let mut failures = loads(&bench, &database, &mut connection).await;
    connection.execute("VACUUM ANALYZE project_embeddings").await.unwrap();

    let started = Instant::now();
    let exact = bench.exact();
    println!("the ten nearest of {QUESTIONS} questions, exactly: {:.1?}", started.elapsed());

    if std::env::var("AIDA_BENCH_CHOICES").is_ok_and(|value| value == "1") {
        choices(&bench, &exact, &mut connection).await;
    }
    let started = Instant::now();
    embeddings::index::ensure(&mut connection, MODEL, Place::Server).await.unwrap();
    let name = embeddings::index::name_of(MODEL);
    println!(
        "index as aida makes it: {:.1?}, {}",
        started.elapsed(),
        size(&mut connection, &name).await
    );
    failures.extend(searches(&bench, &exact, &store, &mut connection).await);
    connection.close().await.unwrap();
    failures
}

/// Projects, and the campaign that one in a hundred belongs to.
async fn projects(bench: &Bench, connection: &mut PgConnection) {
    let numbers: Vec<u64> = (0..bench.count.div_ceil(OF_A_PROJECT)).collect();
    sqlx::query("INSERT INTO campaigns (id, user_id, name, created_at, updated_at) VALUES ($1, 'ada', 'c', now(), now())")
        .bind(bench.campaign)
        .execute(&mut *connection)
        .await
        .unwrap();
    for numbers in numbers.chunks(10_000) {
        let ids: Vec<ProjectId> =
            numbers.iter().map(|number| project_of(number * OF_A_PROJECT)).collect();
        let members: Vec<ProjectId> = numbers
            .iter()
            .filter(|number| is_in_campaign(**number * OF_A_PROJECT))
            .map(|number| project_of(number * OF_A_PROJECT))
            .collect();
        sqlx::query(
            "INSERT INTO projects (id, user_id, brief, slug, aspect, duration_seconds, shot_count, created_at, updated_at)
             SELECT id, 'ada', 'b', 'b', '9:16', 30, 6, now(), now() FROM unnest($1::uuid[]) AS id",
        )
        .bind(&ids)
        .execute(&mut *connection)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO project_campaigns (project_id, campaign_id, added_at)
             SELECT id, $2, now() FROM unnest($1::uuid[]) AS id",
        )
        .bind(&members)
        .bind(bench.campaign)
        .execute(&mut *connection)
        .await
        .unwrap();
    }
    connection.execute("VACUUM ANALYZE projects").await.unwrap();
    connection.execute("VACUUM ANALYZE project_campaigns").await.unwrap();
}

/// aida's load, then psql's of the same rows from a file in the same format, into the same table.
async fn loads(
    bench: &Bench,
    database: &TestDatabase,
    connection: &mut PgConnection,
) -> Vec<String> {
    let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    let file = folder.path().join("vectors");
    bench.keep(&file);
    let started = Instant::now();
    assert_eq!(bench.load(&file, connection).await, bench.count);
    let aida = started.elapsed();
    std::fs::remove_file(&file).unwrap();
    let rate = |time: Duration| bench.count as f64 / time.as_secs_f64();
    println!("aida loads in         {:>8.1?}, {:>7.0} rows/s", aida, rate(aida));

    let Some(psql) = psql() else {
        return vec!["psql was not found; name it with AIDA_BENCH_PSQL".to_owned()];
    };
    let file = folder.path().join("rows");
    let columns =
        "id, user_id, project_id, kind, subject_id, part, content, model, embedding, created_at";
    let url = database.url().unwrap();
    let run = |command: String| {
        let started = Instant::now();
        let status = Command::new(&psql)
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &command])
            .arg(&url)
            .status();
        assert!(status.unwrap().success(), "{command}");
        started.elapsed()
    };
    run(format!("\\copy project_embeddings ({columns}) TO '{}' (FORMAT binary)", file.display()));
    connection.execute("TRUNCATE project_embeddings").await.unwrap();
    let hand = run(format!(
        "\\copy project_embeddings ({columns}) FROM '{}' (FORMAT binary)",
        file.display()
    ));
    println!("psql \\copy loads in   {:>8.1?}, {:>7.0} rows/s", hand, rate(hand));
    let speed = hand.as_secs_f64() / aida.as_secs_f64();
    println!("speed beside psql     {speed:>8.2}");
    if speed < LEAST_SPEED {
        vec![format!("aida loads at {speed:.2} of psql's speed, less than {LEAST_SPEED}")]
    } else {
        Vec::new()
    }
}

fn psql() -> Option<PathBuf> {
    let named = std::env::var_os("AIDA_BENCH_PSQL").map(PathBuf::from);
    let psql = named.unwrap_or_else(|| Path::new("psql").to_owned());
    Command::new(&psql).arg("--version").output().ok().map(|_| psql)
}

async fn size(connection: &mut PgConnection, relation: &str) -> String {
    sqlx::query_scalar("SELECT pg_size_pretty(pg_relation_size($1::text::regclass))")
        .bind(relation)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// Kinds of indexes beside each other: time and size of the build, then time and recall by `ef_search`.
async fn choices(bench: &Bench, exact: &[[Vec<u64>; 3]], connection: &mut PgConnection) {
    println!("choices, LIMIT 10 without a filter:");
    connection.execute("SET enable_sort = off").await.unwrap();
    for (kind, links, candidates) in
        [("vector", 16, 64), ("halfvec", 16, 64), ("halfvec", 16, 128), ("halfvec", 24, 128)]
    {
        let expression = if kind == "vector" { "embedding" } else { "(embedding::halfvec(1536))" };
        let create = format!(
            "CREATE INDEX choice ON project_embeddings USING hnsw ({expression} {kind}_cosine_ops)
             WITH (m = {links}, ef_construction = {candidates}) WHERE model = '{MODEL}'"
        );
        let started = Instant::now();
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        let took = started.elapsed();
        println!(
            "  {kind} m={links} ef_construction={candidates}: {took:.1?}, {}",
            size(connection, "choice").await
        );
        for ef_search in [40, 100, 200] {
            connection
                .execute(AssertSqlSafe(format!("SET hnsw.ef_search = {ef_search}")))
                .await
                .unwrap();
            let ordering = if kind == "vector" {
                "embedding <=> $1"
            } else {
                "embedding::halfvec(1536) <=> $1::halfvec(1536)"
            };
            let statement = format!(
                "SELECT id FROM project_embeddings WHERE model = '{MODEL}' ORDER BY {ordering} LIMIT 10"
            );
            let mut tally = Tally::default();
            for round in 0..ROUNDS {
                for (question, exact) in bench.questions.iter().zip(exact) {
                    let vector = Vector::from(question.clone());
                    let (time, ids) = by_hand(&statement, &vector, connection).await;
                    if round > 0 {
                        tally.add(time, &ids, &exact[0]);
                    }
                }
            }
            println!("    ef_search={ef_search:<3} {tally}");
        }
        connection.execute("DROP INDEX choice").await.unwrap();
    }
    connection.execute("RESET hnsw.ef_search").await.unwrap();
}

/// aida's search beside the bare statement with the same settings, and both beside the exact answer.
async fn searches(
    bench: &Bench,
    exact: &[[Vec<u64>; 3]],
    store: &Store,
    connection: &mut PgConnection,
) -> Vec<String> {
    let mut failures = Vec::new();
    println!("{:<20} {:<34} {:>9} {:>9} {:>7}", "", "", "p50", "p95", "recall");
    for (place, part) in Part::ALL.into_iter().enumerate() {
        let condition = part.condition(bench.campaign);
        let statement = format!(
            "SELECT id FROM project_embeddings WHERE model = '{MODEL}' AND {condition}
             ORDER BY embedding::halfvec(1536) <=> $1::halfvec(1536) LIMIT 10"
        );
        let set = format!(
            "SET hnsw.ef_search = {SEARCH_CANDIDATES}; SET hnsw.iterative_scan = strict_order; SET enable_sort = off"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(set))).await.unwrap();
        // In turns, so that whatever else the machine does slows both alike.
        let scope = part.scope(bench.campaign);
        let (mut hand, mut ten, mut eighty) =
            (Tally::default(), Tally::default(), Tally::default());
        for round in 0..ROUNDS {
            for (question, exact) in bench.questions.iter().zip(exact) {
                let vector = Vector::from(question.clone());
                let asked = [
                    (&mut hand, by_hand(&statement, &vector, connection).await),
                    (&mut ten, by_aida(store, &scope, &vector, 10).await),
                    (&mut eighty, by_aida(store, &scope, &vector, 80).await),
                ];
                // The first round only warms up.
                for (tally, (time, ids)) in asked.into_iter().filter(|_| round > 0) {
                    tally.add(time, &ids, &exact[place]);
                }
            }
        }
        println!("{:<20} {:<34} {hand}", part.name(), "bare statement, LIMIT 10");
        let ratio = ten.p50().as_secs_f64() / hand.p50().as_secs_f64();
        println!("{:<20} {:<34} {ten}  ratio {ratio:.2}", "", "aida, the best 10");
        println!("{:<20} {:<34} {eighty}", "", "aida, the best 80");
        if ratio > MOST {
            failures.push(format!(
                "{}: a search takes {ratio:.2} times as long as the bare statement",
                part.name()
            ));
        }
        for recall in [ten.recall(), eighty.recall()] {
            if recall < LEAST_RECALL {
                failures.push(format!(
                    "{}: recall@10 is {recall:.3}, less than {LEAST_RECALL}",
                    part.name()
                ));
            }
        }
    }
    failures
}

async fn by_hand(
    statement: &str,
    vector: &Vector,
    connection: &mut PgConnection,
) -> (Duration, Vec<Uuid>) {
    let started = Instant::now();
    let ids = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()))
        .bind(vector)
        .fetch_all(connection)
        .await
        .unwrap();
    (started.elapsed(), ids)
}

/// The whole way of a search by meaning: a session, a transaction, and what is asked in it.
async fn by_aida(
    store: &Store,
    scope: &Scope,
    vector: &Vector,
    most: i64,
) -> (Duration, Vec<Uuid>) {
    let started = Instant::now();
    let mut session = store.session().await.unwrap();
    let mut transaction = session.begin().await.unwrap();
    let near = embeddings::by_vector(&mut transaction, scope, MODEL, vector, most).await.unwrap();
    transaction.rollback().await.unwrap();
    session.close().await;
    (started.elapsed(), near.iter().map(|found| found.id).collect())
}

/// Times, and how much was found of what there was to find.
#[derive(Default)]
struct Tally {
    times: Vec<Duration>,
    found: usize,
    all: usize,
}

impl Tally {
    fn add(&mut self, time: Duration, ids: &[Uuid], exact: &[u64]) {
        let exact: HashSet<Uuid> = exact.iter().map(|number| id_of(*number)).collect();
        self.times.push(time);
        self.found += ids.iter().take(Best::MOST).filter(|id| exact.contains(id)).count();
        self.all += exact.len();
    }

    fn part(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times[(times.len() - 1) * percent / 100]
    }

    fn p50(&self) -> Duration {
        self.part(50)
    }

    fn recall(&self) -> f64 {
        self.found as f64 / self.all as f64
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let (p50, p95) = (milliseconds(self.p50()), milliseconds(self.part(95)));
        write!(formatter, "{p50:>9} {p95:>9} {:>7.3}", self.recall())
    }
}
