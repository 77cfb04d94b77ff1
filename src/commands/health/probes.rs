//! The probes of `aida health`. Each has a deadline, none costs anything, and all run at once.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use super::{Dependency, Status};
use crate::commands::{Context, Service};
use crate::error::{Error, Kind};
use crate::ledger::money::Usd;
use crate::ledger::report::{CacheResult, Level, Question};
use crate::memory::EmbedderChoice;
use crate::providers::{FailureClass, Probe, Provider, ProviderError, voyage};
use crate::store::{Store, charges};
use crate::studio::film::Ffmpeg;

/// How long a probe may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long ffmpeg may take to start: from a cold disk on a busy machine that is seconds, and it
/// says nothing against it.
const FFMPEG_DEADLINE: Duration = Duration::from_secs(15);
/// Over how many days the cache hit rate is measured.
const CACHE_DAYS: i64 = 30;
/// Free space under which a run may fill the disk: a dozen takes and the film, twice.
const TIGHT_DISK_BYTES: u64 = 2_000_000_000;
/// Free space under which a run will fill the disk.
const FULL_DISK_BYTES: u64 = 200_000_000;

/// What a provider answered, or why it could not be asked.
type Answer = Result<Result<Probe, ProviderError>, Error>;

/// Probes everything at once.
pub(super) async fn all(context: &Context) -> Vec<Dependency> {
    let (database, anthropic, kie, fal, embedder, ffmpeg) = tokio::join!(
        // Boxed: opening a database is a large future, and it is made once.
        Box::pin(database(context)),
        keyed(context, Service::Anthropic, async {
            let model = context.language_model()?;
            Ok(model.probe().await)
        }),
        keyed(context, Service::Kie, async {
            let model = context.image_model()?;
            Ok(model.probe().await)
        }),
        keyed(context, Service::Fal, async {
            let model = context.video_model()?;
            Ok(model.probe().await)
        }),
        embedder(context),
        ffmpeg(context),
    );
    let mut found = database;
    found.extend([anthropic, kie, fal, embedder, ffmpeg, disk(&context.settings.data_dir)]);
    found
}

/// Runs a probe until its deadline; answers how many milliseconds it took.
async fn in_time<T>(probe: impl Future<Output = T>) -> Option<(T, u64)> {
    within(DEADLINE, probe).await
}

async fn within<T>(deadline: Duration, probe: impl Future<Output = T>) -> Option<(T, u64)> {
    let began = Instant::now();
    let outcome = tokio::time::timeout(deadline, probe).await.ok()?;
    Some((outcome, u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)))
}

/// The database, pgvector, the migrations, and what stands in the books.
async fn database(context: &Context) -> Vec<Dependency> {
    let probe = async {
        let store = context.unmigrated_store().await?;
        let facts = store.facts().await?;
        Ok::<_, Error>((store, facts))
    };
    let (store, facts, latency) = match in_time(probe).await {
        None => {
            return vec![late("database", Kind::Database, DEADLINE)];
        }
        Some((Err(error), latency)) => {
            let mut down = Dependency::failed("database", &error);
            down.latency_ms = Some(latency);
            return vec![down];
        }
        Some((Ok((store, facts)), latency)) => (store, facts, latency),
    };
    let mut server = Dependency::ok(
        "database",
        format!("PostgreSQL {}, {}", facts.server_version, store.description()),
    );
    server.latency_ms = Some(latency);
    let pending =
        facts.migrations.iter().filter(|migration| migration.applied_at.is_none()).count();
    let vector = match facts.vector_version {
        Some(version) => Dependency::ok("pgvector", version),
        None if pending > 0 => Dependency::new("pgvector", Status::Degraded, "not created yet"),
        None => Dependency::down("pgvector", Kind::Database, "the extension is missing")
            .advising("aida migrate"),
    };
    let migrations = match pending {
        0 => Dependency::ok("migrations", format!("{} applied", facts.migrations.len())),
        // The embedded database migrates itself when it is next used.
        _ if store.is_embedded() => {
            Dependency::ok("migrations", format!("{pending} to be applied at the next use"))
        }
        _ if !facts.seed_tables.is_empty() => Dependency::down(
            "migrations",
            Kind::Database,
            format!("{pending} pending; the database holds the seed service's own tables"),
        )
        .advising("aida migrate --adopt"),
        _ => Dependency::down("migrations", Kind::Database, format!("{pending} pending"))
            .advising("aida migrate"),
    };
    let mut found = vec![server, vector, migrations];
    if pending == 0 {
        // Boxed: a report is a large future.
        match in_time(Box::pin(books(&store, context))).await {
            Some((Ok(books), _)) => found.extend(books),
            Some((Err(error), _)) => found.push(Dependency::failed("books", &error)),
            None => found.push(late("books", Kind::Database, DEADLINE)),
        }
    }
    found
}

/// The cache hit rate, and money of unknown outcome.
async fn books(store: &Store, context: &Context) -> Result<[Dependency; 2], Error> {
    let now = context.clock.now();
    let question = Question {
        since: Some(now - jiff::SignedDuration::from_hours(24 * CACHE_DAYS)),
        ..Question::of_everything(Level::Component, now, context.settings.cache_hit_target)
    };
    let mut session = store.session().await?;
    let report = question.ask(&mut session).await?;
    let (unknown, ceiling) = charges::unknown_operations(&mut session).await?;
    session.close().await;
    Ok([cache(report.cache), unknown_money(unknown, Usd::new(ceiling))])
}

fn cache(result: CacheResult) -> Dependency {
    let percent = |share: Decimal| (share * Decimal::ONE_HUNDRED).trunc_with_scale(1).normalize();
    let target = percent(result.target);
    match (result.hit_rate, result.met) {
        (Some(rate), Some(true)) => Dependency::ok(
            "prompt cache",
            format!(
                "{}% hit rate in {CACHE_DAYS} days, above the target of {target}%",
                percent(rate)
            ),
        ),
        (Some(rate), _) => Dependency::degraded(
            "prompt cache",
            format!(
                "{}% hit rate in {CACHE_DAYS} days, not above the target of {target}%",
                percent(rate)
            ),
        )
        .advising("aida costs --cache --all-users"),
        (None, _) => {
            Dependency::ok("prompt cache", format!("N/A, nothing cacheable in {CACHE_DAYS} days"))
        }
    }
}

fn unknown_money(operations: i64, ceiling: Usd) -> Dependency {
    match operations {
        0 => Dependency::ok("unknown money", "none"),
        1 => Dependency::degraded("unknown money", format!("1 paid call, at most {ceiling}"))
            .advising("aida recover"),
        _ => Dependency::degraded(
            "unknown money",
            format!("{operations} paid calls, at most {ceiling}"),
        )
        .advising("aida recover"),
    }
}

/// A provider that films cannot be made without.
async fn keyed(
    context: &Context,
    service: Service,
    probe: impl Future<Output = Answer>,
) -> Dependency {
    let name = name(service);
    if context.key(service).is_none() {
        return Dependency::down(
            name,
            Kind::Settings,
            format!("{} is not set", service.variable()),
        )
        .advising("set it in the environment, or run `aida config init`");
    }
    judge(name, in_time(probe).await)
}

/// The provider of vectors, which only a setting makes necessary.
async fn embedder(context: &Context) -> Dependency {
    let setting = context.settings.embedder.as_str();
    let openai = name(Service::OpenAi);
    let choice = match context.embedder_choice(setting) {
        Ok(choice) => choice,
        Err(error) => {
            let named = if voyage::MODELS.contains(&setting) {
                name(Service::Voyage)
            } else if setting == "compatible" {
                name(Service::Compatible)
            } else {
                openai
            };
            return Dependency::failed(named, &error);
        }
    };
    let named = match &choice {
        EmbedderChoice::Builtin if setting == "auto" => {
            return Dependency::ok(openai, "no key: the built-in embedder is used");
        }
        EmbedderChoice::Builtin => {
            return Dependency::ok(openai, "not used: the embedder is the built-in one");
        }
        EmbedderChoice::OpenAi { .. } => openai,
        EmbedderChoice::Voyage { .. } => name(Service::Voyage),
        EmbedderChoice::Compatible { .. } => name(Service::Compatible),
    };
    let probe = async {
        let embedder = context
            .embedder(&choice)?
            .ok_or_else(|| Error::internal("the chosen embedder is not a provider's"))?;
        Ok(embedder.probe().await)
    };
    judge(named, in_time(probe).await)
}

fn judge(name: &'static str, outcome: Option<(Answer, u64)>) -> Dependency {
    let (mut dependency, latency) = match outcome {
        None => return late(name, Kind::Provider, DEADLINE),
        Some((Ok(Ok(probe)), latency)) => {
            let mut found = Dependency::ok(name, probe.note);
            found.balance_usd = probe.balance;
            if probe.balance.is_some_and(|balance| balance <= Usd::ZERO) {
                found.status = Status::Degraded;
                found.hint = Some("the account is empty; add credit".to_owned());
            }
            (found, latency)
        }
        Some((Ok(Err(error)), latency)) => (refused(name, error), latency),
        Some((Err(error), latency)) => (Dependency::failed(name, &error), latency),
    };
    dependency.latency_ms = Some(latency);
    dependency
}

/// What a failed probe says. Nothing was under way, so the advice of a run does not apply.
fn refused(name: &'static str, error: ProviderError) -> Dependency {
    let detail = error.to_string();
    let class = error.class;
    let error = Error::from(error);
    let dependency = Dependency::down(name, error.kind(), detail);
    match class {
        FailureClass::Credentials | FailureClass::Funds | FailureClass::NotOffered => {
            dependency.with_hint(error.hints().first())
        }
        _ => dependency.advising("try again later; `aida config show` lists the hosts"),
    }
}

async fn ffmpeg(context: &Context) -> Dependency {
    match within(FFMPEG_DEADLINE, Ffmpeg::find(context.settings.ffmpeg.clone())).await {
        Some((Ok(ffmpeg), _)) => Dependency::ok(
            "ffmpeg",
            format!("{}, {}", ffmpeg.version(), ffmpeg.program().display()),
        ),
        Some((Err(error), _)) => Dependency::down("ffmpeg", Kind::Settings, error.to_string())
            .advising("install ffmpeg, or name it with the setting ffmpeg (AIDA_FFMPEG)"),
        None => late("ffmpeg", Kind::Settings, FFMPEG_DEADLINE),
    }
}

/// Room for takes and films where the data folder is, or will be.
fn disk(data_dir: &Path) -> Dependency {
    let in_the_way = data_dir.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir());
    if let Some(part) = in_the_way {
        let (folder, part) = (data_dir.display(), part.display());
        let detail = format!("{folder} cannot be used: {part} is not a folder");
        return Dependency::down("disk", Kind::Settings, detail)
            .advising("choose another folder with --data-dir or AIDA_DATA_DIR");
    }
    let Some(folder) = existing(data_dir) else {
        return Dependency::down(
            "disk",
            Kind::Settings,
            format!("no part of {} exists", data_dir.display()),
        )
        .advising("choose another folder with --data-dir or AIDA_DATA_DIR");
    };
    let free = match free_bytes(&folder) {
        Ok(Some(free)) => free,
        Ok(None) => return Dependency::ok("disk", "not measured on this system"),
        Err(error) => {
            return Dependency::down(
                "disk",
                Kind::Settings,
                format!("{} cannot be used: {}: {error}", data_dir.display(), folder.display()),
            )
            .advising("choose another folder with --data-dir or AIDA_DATA_DIR");
        }
    };
    let detail = format!("{} free in {}", gigabytes(free), data_dir.display());
    if free < FULL_DISK_BYTES {
        Dependency::down("disk", Kind::Settings, detail).advising("free some space")
    } else if free < TIGHT_DISK_BYTES {
        Dependency::degraded("disk", detail).advising("free some space")
    } else {
        Dependency::ok("disk", detail)
    }
}

/// The folder itself, or the nearest one above it that exists.
fn existing(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_path_buf)
}

/// Bytes that this user may still write under a folder; none where the system is not asked.
/// Fails when the folder cannot be written to.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> std::io::Result<Option<u64>> {
    use rustix::fs::{Access, access, statvfs};
    access(folder, Access::WRITE_OK)?;
    let disk = statvfs(folder)?;
    if disk.f_blocks == 0 {
        return Err(std::io::Error::other("its file system has no room for files"));
    }
    Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
}

#[cfg(not(unix))]
fn free_bytes(_folder: &Path) -> std::io::Result<Option<u64>> {
    Ok(None)
}

fn gigabytes(bytes: u64) -> String {
    format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000)
}

fn late(name: &'static str, kind: Kind, deadline: Duration) -> Dependency {
    Dependency::down(name, kind, format!("no answer within {} s", deadline.as_secs()))
}

const fn name(service: Service) -> &'static str {
    match service {
        Service::Anthropic => Provider::Anthropic.as_str(),
        Service::Kie => Provider::Kie.as_str(),
        Service::Fal => Provider::Fal.as_str(),
        Service::OpenAi => Provider::OpenAi.as_str(),
        Service::Voyage => Provider::Voyage.as_str(),
        Service::Compatible => Provider::Compatible.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal_macros::dec;

    use super::*;

    #[test]
    fn unknown_money_and_a_cold_cache_degrade_and_do_not_stop() {
        assert_eq!(unknown_money(0, Usd::ZERO).status, Status::Ok);
        assert_eq!(unknown_money(2, Usd::new(dec!(0.5))).status, Status::Degraded);
        let cache = |rate| cache(CacheResult::new(rate, dec!(0.6))).status;
        assert_eq!(cache(None), Status::Ok);
        assert_eq!(cache(Some(dec!(0.61))), Status::Ok);
        assert_eq!(cache(Some(dec!(0.6))), Status::Degraded);
    }

    #[test]
    fn the_disk_is_measured_where_the_folder_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let found = disk(&folder.path().join("not").join("yet"));
        assert_ne!(found.detail, "", "{found:?}");
        assert_eq!(existing(&folder.path().join("a/b")), Some(folder.path().to_owned()));
    }

    #[test]
    fn a_folder_that_cannot_be_is_told_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "notes").unwrap();
        for data_dir in [file.clone(), file.join("aida")] {
            let found = disk(&data_dir);
            assert_eq!(found.status, Status::Down);
            assert!(found.detail.ends_with("notes.txt is not a folder"), "{found:?}");
        }
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_given_up() {
        assert!(within(Duration::ZERO, std::future::pending::<()>()).await.is_none());
    }
}
