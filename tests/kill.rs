//! The kill harness: the real binary is killed at every transition of its operations and at random
//! instants, resumed, and judged by the stand-ins' own bill.
//!
//! `AIDA_TEST_KILLS` sets the number of random instants (220), `AIDA_TEST_SEED` their seed.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that is not as it should be"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/stage.rs"]
mod stage;
mod support;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use sqlx::postgres::PgListener;
use sqlx::{Connection as _, Executor as _, PgConnection};

use database::{TestDatabase, say};
use stage::{Stage, has_ffmpeg};
use support::{Fault, Running, Service};

/// Ten seconds in two shots.
const FILM: [&str; 7] =
    ["create-video", "food video", "--yes", "--duration", "10", "--scenes", "2"];
const SHOTS: usize = 2;
/// How fast the services live.
const SPEED: f64 = 150.0;
/// Films that are made side by side.
const WORKERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(90);

/// One film that is cut off and gone on with.
struct Attempt {
    stage: Stage,
    /// Whether an equal film was made before, whose takes are used again.
    reuses: bool,
}

impl Deref for Attempt {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

/// What came of one attempt.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    was_killed: bool,
    /// Jobs of images or clips that were found again without their answer.
    adopted: i64,
    /// Images and clips whose outcome stayed unknown.
    unknown: i64,
    /// Lost replies of language models and embedders, booked at their ceilings.
    lost_replies: i64,
    finished: bool,
    /// The run waits for `aida recover`.
    held_up: bool,
    /// The film was cut without a picture that KIE's balance proves to be paid for and gone.
    in_part: bool,
    /// Images and clips that were bought a second time.
    bought_twice: usize,
    /// Clips that were paid for and are in no book.
    dropped: usize,
}

impl Attempt {
    async fn begin(embedded: bool) -> Self {
        let database =
            if embedded { TestDatabase::embedded() } else { TestDatabase::fresh().await };
        let mut stage = Stage::on(SPEED, database);
        stage.machine.set("AIDA_RECOVER_SECONDS", "2");
        Self { stage, reuses: false }
    }

    fn start(&self) -> Running {
        let policy = if self.reuses { "auto" } else { "never" };
        self.machine.spawn(&[&FILM[..], &["--reuse", policy]].concat())
    }

    /// Goes on until the film is there or its money is of unknown state, and judges.
    async fn go_on(&self) -> Outcome {
        let mut outcome = Outcome::default();
        // A run that was killed before it had a row leaves nothing to go on with.
        for _ in 0..3 {
            let resumed = self.machine.run(&["resume", "--last", "--yes"]);
            match resumed.code {
                Some(0) => outcome.finished = true,
                Some(6) => outcome.in_part = true,
                Some(7) => outcome.held_up = true,
                Some(2) if resumed.stderr.contains("no run that can go on") => {}
                other => panic!("{other:?}\n{}", resumed.stderr),
            }
            if outcome.finished || outcome.in_part || resumed.code == Some(2) {
                break;
            }
        }
        self.judge(&mut outcome).await;
        outcome
    }

    /// The bill is the judge.
    async fn judge(&self, outcome: &mut Outcome) {
        let bill = self.world.bill();
        self.world.assert_no_violations();
        let mut pictures: Vec<_> =
            self.world.kie().orders().into_iter().map(|order| order.prompt).collect();
        let mut clips: Vec<_> =
            self.world.fal().orders().into_iter().map(|order| order.prompt).collect();
        for bought in [&mut pictures, &mut clips] {
            let all = bought.len();
            bought.sort_unstable();
            bought.dedup();
            outcome.bought_twice += all - bought.len();
        }
        let Some(url) = self.database.url() else { return };
        let mut books = PgConnection::connect(&url).await.unwrap();
        let (settled, ceilings): (Decimal, Decimal) = sqlx::query_as(
            "SELECT coalesce(sum(settled_usd), 0),
                    coalesce(sum(reserved_usd) FILTER (WHERE state = 'unknown'), 0) FROM charges",
        )
        .fetch_one(&mut books)
        .await
        .unwrap();
        let known: Vec<String> = sqlx::query_scalar(
            "SELECT request_id FROM operations WHERE request_id IS NOT NULL AND state IN ('kept', 'failed_charged')",
        )
        .fetch_all(&mut books)
        .await
        .unwrap();
        let mut of_known = Decimal::ZERO;
        for item in bill.items() {
            if known.contains(&item.request_id) {
                of_known += item.usd;
            } else {
                outcome.dropped += usize::from(item.service == Service::Fal);
            }
        }
        // What the balance alone proves to be paid for has no id that the bill could be searched for.
        let proven: Decimal = sqlx::query_scalar(
            "SELECT coalesce(sum(charges.settled_usd), 0) FROM charges JOIN operations ON operations.id = operation_id
             WHERE operations.state = 'failed_charged' AND operations.request_id IS NULL",
        )
        .fetch_one(&mut books)
        .await
        .unwrap();
        assert_eq!(proven.is_zero(), !outcome.in_part, "{proven}\n{bill}");
        let known_total = of_known + proven;
        assert_eq!(settled.normalize(), known_total.normalize(), "books and bill differ:\n{bill}");
        assert!(settled <= bill.total(), "{settled}:\n{bill}");
        assert!(bill.total() <= settled + ceilings, "{settled} + {ceilings}:\n{bill}");
        let (unknown, lost_replies, adopted, moving): (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE state = 'unknown' AND kind IN ('image', 'clip')),
                    count(*) FILTER (WHERE state = 'unknown' AND kind IN ('language', 'embedding')),
                    count(*) FILTER (WHERE kind = 'clip' AND job ->> 'status_url' IS NULL AND job IS NOT NULL),
                    count(*) FILTER (WHERE state IN ('submitting', 'submitted', 'ready'))
             FROM operations",
        )
        .fetch_one(&mut books)
        .await
        .unwrap();
        assert_eq!(moving, 0, "operations were left in the middle");
        if outcome.finished {
            assert_eq!(unknown, 0);
            assert_eq!((pictures.len(), clips.len()), (SHOTS, SHOTS));
        }
        let (lines, saved): (i64, Decimal) = sqlx::query_as(
            "SELECT count(*), coalesce(sum(reuse_saved_usd), 0) FROM charges WHERE reuse_saved_usd > 0",
        )
        .fetch_one(&mut books)
        .await
        .unwrap();
        if self.reuses && outcome.finished {
            assert_eq!(usize::try_from(lines).unwrap(), 2 * SHOTS, "each was booked once");
            assert_eq!(saved.normalize(), Decimal::new(78, 2));
        }
        *outcome = Outcome { adopted, unknown, lost_replies, ..*outcome };
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Does `work` for every number below `count`, some at a time, each on a runtime of its own.
fn side_by_side(count: usize, work: impl Fn(usize) -> Outcome + Sync) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= count {
                        break;
                    }
                    let outcome = work(number);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn report(title: &str, outcomes: &[Outcome], took: Duration) {
    let count = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
    let sum = |of: fn(&Outcome) -> i64| outcomes.iter().map(of).sum::<i64>();
    let total = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (bought_twice, dropped) =
        (total(|outcome| outcome.bought_twice), total(|outcome| outcome.dropped));
    say(&format!(
        "{title}: {} films, {} killed before their end, {} finished after resume, {} in part, {} held up by unknown \
         money; clips found again without their answer {}, images and clips unknown {}, lost replies booked at \
         their ceilings {}; bought twice {bought_twice}, paid and dropped {dropped}; {:.0} s",
        outcomes.len(),
        count(|outcome| outcome.was_killed),
        count(|outcome| outcome.finished),
        count(|outcome| outcome.in_part),
        count(|outcome| outcome.held_up),
        sum(|outcome| outcome.adopted),
        sum(|outcome| outcome.unknown),
        sum(|outcome| outcome.lost_replies),
        took.as_secs_f64(),
    ));
    assert_eq!((bought_twice, dropped), (0, 0));
}

/// Has the database tell of every change of state as it is committed.
const TELL: &str = "
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('transitions', NEW.kind || ' ' || NEW.state); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OF state ON operations FOR EACH ROW EXECUTE FUNCTION tell();";

/// Runs a film, killed as soon as its `number`th transition is told of; answers the transitions.
async fn killed_at_transition(attempt: &Attempt, number: usize) -> (bool, Vec<String>) {
    let url = attempt.database.url().unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::raw_sql(TELL)).await.unwrap();
    let mut listener = PgListener::connect(&url).await.unwrap();
    listener.listen("transitions").await.unwrap();
    let mut film = attempt.start();
    let (mut told, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        assert!(Instant::now() < deadline, "the film did not end");
        match tokio::time::timeout(Duration::from_millis(20), listener.recv()).await {
            Ok(notification) => {
                told.push(notification.unwrap().payload().to_owned());
                if told.len() == number {
                    film.kill();
                    return (true, told);
                }
            }
            Err(_) if !film.is_running() => {
                film.wait(PATIENCE).expect(0);
                return (false, told);
            }
            Err(_) => {}
        }
    }
}

#[test]
fn killed_at_every_transition() {
    if !has_ffmpeg() || block_on(TestDatabase::native()).is_none() {
        return;
    }
    let began = Instant::now();
    let transitions = block_on(async {
        let attempt = Attempt::begin(false).await;
        let (_, told) = killed_at_transition(&attempt, usize::MAX).await;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for transition in &told {
            *kinds.entry(transition.clone()).or_default() += 1;
        }
        for expected in ["image submitted", "clip ready", "upload kept", "language kept"] {
            assert!(kinds.contains_key(expected), "{kinds:?}");
        }
        told.len()
    });
    let outcomes = side_by_side(transitions, |number| {
        block_on(async {
            let attempt = Attempt::begin(false).await;
            let (was_killed, _) = killed_at_transition(&attempt, number + 1).await;
            Outcome { was_killed, ..attempt.go_on().await }
        })
    });
    report("killed at every transition", &outcomes, began.elapsed());
    assert!(outcomes.iter().filter(|outcome| outcome.was_killed).count() * 10 > transitions * 9);
}

/// A film of kept takes: nothing is sent, but takes, choices and books are written for every step.
#[test]
fn killed_at_every_transition_of_a_film_of_kept_takes() {
    if !has_ffmpeg() || block_on(TestDatabase::native()).is_none() {
        return;
    }
    let began = Instant::now();
    let run = |number: Option<usize>| {
        block_on(async {
            let attempt = Attempt { reuses: true, ..Attempt::begin(false).await };
            attempt.machine.run(&FILM).expect(0);
            let (was_killed, told) =
                killed_at_transition(&attempt, number.unwrap_or(usize::MAX)).await;
            let outcome = if number.is_some() {
                Outcome { was_killed, ..attempt.go_on().await }
            } else {
                let mut outcome = Outcome { finished: true, ..Outcome::default() };
                attempt.judge(&mut outcome).await;
                outcome
            };
            assert!(outcome.finished, "nothing can be unknown where nothing is sent");
            (outcome, told)
        })
    };
    let (_, told) = run(None);
    let first = told.iter().position(|transition| transition == "image planned").unwrap();
    let jobs = told.iter().filter(|told| told.starts_with("image") || told.starts_with("clip"));
    assert_eq!(jobs.count(), 4 * SHOTS, "planned and kept, for picture and clip: {told:?}");
    let outcomes = side_by_side(told.len() - first, |number| run(Some(first + number + 1)).0);
    report("a film of kept takes killed at every transition", &outcomes, began.elapsed());
    assert!(outcomes.iter().any(|outcome| outcome.was_killed));
}

/// A number from 0 to 1 that follows from a seed and a place (splitmix64).
fn part(seed: u64, place: u64) -> f64 {
    let mut bits = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let top = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap();
    f64::from(top) / f64::from(u32::MAX)
}

/// How often a film is made anew that ended before it could be killed.
const TRIES: usize = 5;

/// Runs a film and kills it after a part of the time that a `whole` one takes; answers how long it
/// ran, too.
async fn killed_within(
    embedded: bool,
    whole: Duration,
    part: f64,
    number: usize,
) -> (Outcome, Duration) {
    let attempt = Attempt::begin(embedded).await;
    if number % 2 == 1 {
        // Answers take their time, so that many an instant lies between sending and hearing back.
        for (service, path) in [(Service::Kie, "mj/generate"), (Service::Fal, "POST /queue/")] {
            let slow = Fault::Delay(Duration::from_millis(400));
            attempt.world.faults().on(service, path).always().meets(slow);
        }
    }
    let mut film = attempt.start();
    // The first half of the time goes into starting the embedded database.
    let (begin, end) = (if embedded { 0.5 } else { 0.0 }, 0.85);
    let instant = whole.mul_f64(begin + (end - begin) * part);
    let started = Instant::now();
    while started.elapsed() < instant && film.is_running() {
        std::thread::sleep(Duration::from_millis(1));
    }
    if film.is_running() {
        film.kill();
        return (Outcome { was_killed: true, ..attempt.go_on().await }, instant);
    }
    let took = film.wait(PATIENCE).expect(0).took;
    let mut outcome = Outcome { finished: true, ..Outcome::default() };
    attempt.judge(&mut outcome).await;
    (outcome, took)
}

fn killed_at_random(embedded: bool, kills: u64, title: &str) {
    let seed = setting("AIDA_TEST_SEED", 20_261_127);
    let began = Instant::now();
    // How long a film takes beside the others: the instants are spread over that time.
    let shortest = Mutex::new(PATIENCE);
    side_by_side(WORKERS, |_| {
        block_on(async {
            let attempt = Attempt::begin(embedded).await;
            let took = attempt.start().wait(PATIENCE).expect(0).took;
            let mut shortest = shortest.lock().unwrap();
            *shortest = took.min(*shortest);
            Outcome::default()
        })
    });
    let outcomes = side_by_side(usize::try_from(kills).unwrap(), |number| {
        block_on(async {
            let mut last = Outcome::default();
            // A film that was faster than any before teaches how fast films are, and is made anew.
            for _ in 0..TRIES {
                let whole = *shortest.lock().unwrap();
                let (outcome, took) =
                    killed_within(embedded, whole, part(seed, number as u64), number).await;
                if outcome.was_killed {
                    return outcome;
                }
                last = outcome;
                let mut shortest = shortest.lock().unwrap();
                *shortest = took.min(*shortest);
            }
            last
        })
    });
    report(&format!("{title}, seed {seed}"), &outcomes, began.elapsed());
    let killed = outcomes.iter().filter(|outcome| outcome.was_killed).count();
    assert!(killed * 10 >= outcomes.len() * 8, "most films ended before they were killed");
}

/// The database refuses everybody for a while, and cuts off whoever is connected.
async fn away(database: &TestDatabase, time: Duration) {
    let url = url::Url::parse(&database.url().unwrap()).unwrap();
    let name = url.path().trim_start_matches('/').to_owned();
    let mut server = url.clone();
    server.set_path("postgres");
    let mut server = PgConnection::connect(server.as_str()).await.unwrap();
    let allow = |allowed: bool| {
        sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"))
    };
    server.execute(allow(false)).await.unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
        .bind(&name)
        .execute(&mut server)
        .await
        .unwrap();
    tokio::time::sleep(time).await;
    server.execute(allow(true)).await.unwrap();
}

#[test]
fn the_database_goes_away_between_two_writes() {
    if !has_ffmpeg() || block_on(TestDatabase::native()).is_none() {
        return;
    }
    let (seed, began) = (setting("AIDA_TEST_SEED", 20_261_127), Instant::now());
    let outcomes = side_by_side(16, |number| {
        block_on(async {
            let attempt = Attempt::begin(false).await;
            let mut film = attempt.start();
            let instant = Duration::from_millis(500)
                + Duration::from_secs(2).mul_f64(part(seed, number as u64));
            tokio::time::sleep(instant).await;
            let was_killed = film.is_running();
            if was_killed {
                away(&attempt.database, Duration::from_millis(1_500)).await;
            }
            let ended = film.wait(PATIENCE);
            if ended.code == Some(0) {
                let mut outcome = Outcome { was_killed, finished: true, ..Outcome::default() };
                attempt.judge(&mut outcome).await;
                return outcome;
            }
            assert!(matches!(ended.code, Some(7 | 9)), "{:?}\n{}", ended.code, ended.stderr);
            Outcome { was_killed, ..attempt.go_on().await }
        })
    });
    report("the database went away", &outcomes, began.elapsed());
    // An outage is no reason to lose a picture's task: only a process that dies can.
    assert!(outcomes.iter().all(|outcome| outcome.unknown == 0), "{outcomes:?}");
}

#[test]
fn two_that_resume_one_run_at_once_buy_once() {
    if !has_ffmpeg() {
        return;
    }
    block_on(async {
        let attempt = Attempt::begin(false).await;
        let film = attempt.start();
        support::wait_until("the first picture", PATIENCE, || {
            !attempt.world.requests(Service::Kie, "mj/generate").is_empty()
        });
        film.kill();
        let resume = || attempt.machine.spawn(&["resume", "--last", "--yes"]);
        let both = [resume(), resume()];
        let codes = both.map(|running| running.wait(PATIENCE).code.unwrap());
        // One goes on, without the picture where the balance proves that it is lost; the other
        // leaves it to it, or finds the work done or of unknown money.
        assert!(codes.iter().any(|code| matches!(code, 0 | 6 | 7)), "{codes:?}");
        assert!(codes.iter().all(|code| matches!(code, 0 | 2 | 6 | 7 | 11)), "{codes:?}");
        attempt.go_on().await;
    });
}

#[test]
fn killed_at_random_instants() {
    if has_ffmpeg() && block_on(TestDatabase::native()).is_some() {
        killed_at_random(false, setting("AIDA_TEST_KILLS", 220), "killed at random instants");
    }
}

#[test]
fn killed_at_random_instants_on_the_embedded_database() {
    if has_ffmpeg() {
        killed_at_random(true, 9, "killed at random instants on the embedded database");
    }
}
