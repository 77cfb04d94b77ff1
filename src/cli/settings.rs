//! Flag > environment > config.toml > default, merged once into plain values.

mod env_file;
mod file;
pub mod keys;
mod layers;
pub mod prices;
pub mod serve;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;
use secrecy::SecretString;
use url::Url;

use crate::cli::environment::Environment;
use crate::cli::log::LogFile;
use crate::clock::Zone;
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::ledger::prices::Price;
use crate::memory::reuse::ReusePolicy;
use crate::studio::brief::Aspect;

use self::file::Place;
use self::keys::Key;
use self::layers::{Layers, origins};
use self::serve::Serve;

/// Everything that can be set, merged.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who owns what is written.
    pub user: String,
    /// Working files, takes and the embedded database; an absolute path.
    pub data_dir: PathBuf,
    /// Where finished films go; the current folder if not set.
    pub videos_dir: Option<PathBuf>,
    /// The ffmpeg program; the one on the PATH if not set.
    pub ffmpeg: Option<PathBuf>,
    /// The external database; the embedded one if not set.
    pub database_url: Option<SecretString>,
    /// Claude.
    pub anthropic: Anthropic,
    /// OpenAI.
    pub openai: OpenAi,
    /// Voyage AI.
    pub voyage: Voyage,
    /// Any host that speaks OpenAI's interface.
    pub compatible: Compatible,
    /// KIE.AI.
    pub kie: Kie,
    /// fal.ai.
    pub fal: Fal,
    /// The model of all three roles.
    pub language_model: String,
    /// The model that describes the user's pictures.
    pub vision_model: String,
    /// The model that draws keyframes.
    pub image_model: String,
    /// The model that moves them.
    pub video_model: String,
    /// `auto`, `builtin`, `compatible`, or the name of an embedding model.
    pub embedder: String,
    /// Whether clips have sound.
    pub audio: bool,
    /// The shape of the picture.
    pub aspect: Aspect,
    /// The length of the film in seconds.
    pub duration_seconds: Decimal,
    /// The most that writing and directing one video may cost, USD.
    pub language_budget: Usd,
    /// Small commands that pay ask above this, USD.
    pub ask_above: Usd,
    /// The share of input tokens that should come from the prompt cache, 0 to 1.
    pub cache_hit_target: Decimal,
    /// Where days, weeks and months of costs and budgets begin.
    pub time_zone: Zone,
    /// Whether kept takes are used again; none where nobody says.
    pub reuse: Option<ReusePolicy>,
    /// How long fal is asked again about a job that it does not list.
    pub recover: Duration,
    /// Prices of the user's own, over those that aida ships with.
    pub prices: Vec<Price>,
    /// How much the log tells.
    pub log: tracing::level_filters::LevelFilter,
    /// The log in files, where one is asked for.
    pub log_file: Option<LogFile>,
    /// Where traces and metrics go, if anywhere.
    pub otlp_endpoint: Option<Url>,
    /// The HTTP face.
    pub serve: Serve,
    /// Where config.toml is, whether or not it exists.
    pub config_path: Option<PathBuf>,
    /// Things worth a warning that did not stop the reading.
    pub warnings: Vec<String>,
    /// Every setting with its value and where it came from, in the order of the catalogue.
    pub origins: Vec<Origin>,
}

/// How Claude is reached.
#[derive(Debug, Clone)]
pub struct Anthropic {
    /// The key.
    pub key: Option<SecretString>,
    /// The host; aida appends `/v1/messages`.
    pub base_url: Url,
}

/// How OpenAI is reached.
#[derive(Debug, Clone)]
pub struct OpenAi {
    /// The key.
    pub key: Option<SecretString>,
    /// The host; aida appends `/embeddings`.
    pub base_url: Url,
}

/// How Voyage AI is reached.
#[derive(Debug, Clone)]
pub struct Voyage {
    /// The key.
    pub key: Option<SecretString>,
    /// The host; aida appends `/embeddings`.
    pub base_url: Url,
    /// Whether somebody chose the host.
    pub host_is_chosen: bool,
}

/// How a host that speaks OpenAI's interface is reached.
#[derive(Debug, Clone)]
pub struct Compatible {
    /// The key, if it wants one.
    pub key: Option<SecretString>,
    /// The host; aida appends `/embeddings`.
    pub base_url: Url,
    /// The model; empty for none.
    pub model: String,
    /// The width that is asked; 0 for the model's own.
    pub dimensions: u32,
}

/// How KIE.AI is reached.
#[derive(Debug, Clone)]
pub struct Kie {
    /// The key.
    pub key: Option<SecretString>,
    /// The host; aida appends `/api/v1/…`.
    pub base_url: Url,
    /// The host of uploads.
    pub upload_url: Url,
}

/// How fal.ai is reached.
#[derive(Debug, Clone)]
pub struct Fal {
    /// The key.
    pub key: Option<SecretString>,
    /// The queue; aida appends the endpoint's id.
    pub queue_url: Url,
    /// The platform API.
    pub api_url: Url,
    /// The host of uploads.
    pub storage_url: Url,
    /// Clips in the making at once, over all processes.
    pub concurrency: u32,
}

/// A setting, what it is, and who said so.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The setting.
    pub key: &'static Key,
    /// Its value; none for secrets and for what is not set.
    pub value: Option<String>,
    /// Whether it has a value at all.
    pub is_set: bool,
    /// Who said so.
    pub source: Source,
}

/// Who said what a setting is.
#[derive(Debug, Clone)]
pub enum Source {
    /// A flag on the command line.
    Flag(&'static str),
    /// A variable of the process environment.
    Environment(&'static str),
    /// A variable of the file given with `--env-file`.
    EnvFile(&'static str, PathBuf),
    /// A line of config.toml.
    File(Place),
    /// Nobody: it is what aida ships with.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => formatter.write_str(flag),
            Self::Environment(_) => formatter.write_str("environment"),
            Self::EnvFile(..) => formatter.write_str("env file"),
            Self::File(place) => write!(formatter, "config.toml:{}", place.line),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// A setting given by a flag.
#[derive(Debug, Clone)]
pub struct Override {
    /// The setting's name in the catalogue.
    pub name: &'static str,
    /// The flag as it was typed, for messages.
    pub flag: &'static str,
    /// The value as one would write it in the environment.
    pub value: String,
}

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--env-file`.
    pub env_file: Option<PathBuf>,
    /// Settings given by flags.
    pub overrides: Vec<Override>,
}

/// Where config.toml is: `--config`, else `AIDA_CONFIG`, else the place that is usual on this
/// system. None where the user has no home folder.
pub fn config_path(flags: &Flags, environment: &Environment) -> Result<Option<PathBuf>, Error> {
    Ok(Layers::of_environment(flags, environment)?.config_path.map(|(path, _)| path))
}

impl Settings {
    /// Merges all sources. Errors name the source and what to change: exit code 2 for a flag, 8
    /// for the rest.
    pub fn resolve(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let mut layers = Layers::of_environment(flags, environment)?;
        let warnings = layers.add_file()?;
        let data_dir = match layers.path("data_dir")? {
            Some(folder) => folder,
            None => environment.data_dir.clone().ok_or_else(|| {
                Error::settings("there is no folder for aida's data: the user has no home")
                    .hint("set AIDA_DATA_DIR to a folder that aida may write to")
            })?,
        };
        let data_dir = std::path::absolute(&data_dir).map_err(|error| {
            Error::settings(format!("the data folder {} is not a path", data_dir.display()))
                .because(error)
        })?;
        let settings = Self {
            user: layers.user()?,
            data_dir,
            videos_dir: layers.path("videos_dir")?,
            ffmpeg: layers.path("ffmpeg")?,
            database_url: layers.secret("database_url")?,
            anthropic: Anthropic {
                key: layers.secret("anthropic_api_key")?,
                base_url: layers.address("anthropic_base_url")?,
            },
            openai: OpenAi {
                key: layers.secret("openai_api_key")?,
                base_url: layers.address("openai_base_url")?,
            },
            voyage: Voyage {
                key: layers.secret("voyage_api_key")?,
                base_url: layers.address("voyage_base_url")?,
                host_is_chosen: layers.given.contains_key("voyage_base_url"),
            },
            compatible: Compatible {
                key: layers.secret("embedding_api_key")?,
                base_url: layers.address("embedding_base_url")?,
                model: layers.text("embedding_model")?,
                dimensions: layers.whole("embedding_dimensions")?,
            },
            kie: Kie {
                key: layers.secret("kie_api_key")?,
                base_url: layers.address("kie_base_url")?,
                upload_url: layers.address("kie_upload_url")?,
            },
            fal: Fal {
                key: layers.secret("fal_key")?,
                queue_url: layers.address("fal_queue_url")?,
                api_url: layers.address("fal_api_url")?,
                storage_url: layers.address("fal_storage_url")?,
                concurrency: layers.whole("fal_concurrency")?,
            },
            language_model: layers.text("language_model")?,
            vision_model: layers.text("vision_model")?,
            image_model: layers.text("image_model")?,
            video_model: layers.text("video_model")?,
            embedder: layers.text("embedder")?,
            audio: layers.switch("audio")?,
            aspect: layers.aspect("aspect")?,
            duration_seconds: layers.decimal("duration_seconds")?,
            language_budget: Usd::new(layers.decimal("language_budget_usd")?),
            ask_above: Usd::new(layers.decimal("ask_above_usd")?),
            cache_hit_target: layers.decimal("cache_hit_target")?,
            time_zone: layers.zone("time_zone")?,
            reuse: layers.policy("reuse")?,
            recover: Duration::from_secs(layers.whole("recover_seconds")?.into()),
            log: layers.level("log")?,
            log_file: layers.log_file()?,
            otlp_endpoint: layers.collector("otlp_endpoint")?,
            serve: layers.serve()?,
            prices: std::mem::take(&mut layers.prices),
            origins: Vec::new(),
            config_path: layers.config_path.map(|(path, _)| path),
            warnings,
        };
        Ok(Self { origins: origins(&layers.given, &settings), ..settings })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            data_dir: Some(PathBuf::from("/data")),
            ..Environment::default()
        }
    }

    fn with_file(text: &str) -> (tempfile::TempDir, Flags) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        (folder, Flags { config: Some(path), ..Flags::default() })
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = Settings::resolve(&Flags::default(), &environment(&[])).unwrap();
        assert_eq!(settings.language_model, "claude-sonnet-5-5");
        assert_eq!(settings.image_model, "midjourney-7-fast");
        assert_eq!(settings.video_model, "kling-2.6-pro");
        assert_eq!(settings.duration_seconds, Decimal::from(30));
        assert_eq!(settings.aspect, Aspect::Portrait9x16);
        assert!(!settings.audio);
        assert_eq!(settings.language_budget.dollars(), Decimal::new(50, 2));
        assert_eq!(settings.ask_above.dollars(), Decimal::new(5, 2));
        assert_eq!(settings.data_dir, Path::new("/data"));
        assert!(settings.database_url.is_none());
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let (_folder, mut flags) = with_file("user = \"file\"\naspect = \"1:1\"\naudio = true");
        let variables = [("AIDA_USER", "environment"), ("AIDA_ASPECT", "16:9")];
        flags.overrides.push(Override { name: "user", flag: "--user", value: "flag".to_owned() });
        let settings = Settings::resolve(&flags, &environment(&variables)).unwrap();
        assert_eq!(settings.user, "flag");
        assert_eq!(settings.aspect, Aspect::Landscape16x9);
        assert!(settings.audio);
        let source = |name| {
            let origin = settings.origins.iter().find(|origin| origin.key.name == name).unwrap();
            origin.source.to_string()
        };
        assert_eq!(source("user"), "--user");
        assert_eq!(source("aspect"), "environment");
        assert_eq!(source("audio"), "config.toml:3");
        assert_eq!(source("log"), "default");
    }

    #[test]
    fn the_env_file_fills_what_the_environment_leaves_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.env");
        std::fs::write(&path, "PORT=3003\nFAL_KEY=\"a\"\nAIDA_USER=file\nKIE_API_KEY=\n").unwrap();
        let flags = Flags { env_file: Some(path), ..Flags::default() };
        let settings =
            Settings::resolve(&flags, &environment(&[("AIDA_USER", "process")])).unwrap();
        assert_eq!(settings.user, "process");
        assert_eq!(settings.fal.key.unwrap().expose_secret(), "a");
        assert!(settings.kie.key.is_none());
    }

    #[test]
    fn wrong_values_are_refused_in_the_words_of_their_source() {
        let refused = |name: &str, value: &str| {
            let error =
                Settings::resolve(&Flags::default(), &environment(&[(name, value)])).unwrap_err();
            assert_eq!(error.kind().exit_code(), 8);
            error.to_string()
        };
        assert!(refused("AIDA_LANGUAGE_BUDGET_USD", "-1").contains("from 0 up"));
        assert!(refused("AIDA_ASPECT", "5:4").contains("9:16"));
        assert!(refused("AIDA_DURATION_SECONDS", "0").contains("from 1 to 600"));
        assert!(refused("AIDA_CACHE_HIT_TARGET", "60").contains("share"));
        assert!(refused("AIDA_AUDIO", "maybe").contains("neither"));
        assert!(refused("AIDA_FAL_CONCURRENCY", "0").contains("from 1 to 100"));
        assert!(refused("KIE_BASE_URL", "http://example.com").contains("https"));
        assert!(refused("KIE_BASE_URL", "https://a:b@example.com").contains("password"));
        assert!(refused("AIDA_LOG", "loud").contains("debug"));
        let error = refused("ANTHROPIC_API_KEY", "sk-one sk-two");
        assert!(!error.contains("sk-"), "{error}");
    }

    #[test]
    fn a_wrong_flag_is_wrong_usage() {
        let flags = Flags {
            overrides: vec![Override { name: "aspect", flag: "--aspect", value: "x".to_owned() }],
            ..Flags::default()
        };
        let error = Settings::resolve(&flags, &environment(&[])).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
    }

    #[test]
    fn somebody_has_to_own_what_is_written() {
        for value in ["", " \t"] {
            let overrides =
                vec![Override { name: "user", flag: "--user", value: value.to_owned() }];
            let flags = Flags { overrides, ..Flags::default() };
            let error = Settings::resolve(&flags, &environment(&[])).unwrap_err();
            assert_eq!(error.to_string(), "--user is empty");
            assert_eq!(error.kind().exit_code(), 2);
        }
        let (_folder, flags) = with_file("user = \" \"");
        let error = Settings::resolve(&flags, &environment(&[])).unwrap_err();
        assert_eq!(error.kind().exit_code(), 8);
    }

    #[test]
    fn a_variable_that_is_no_text_is_refused_unless_something_stronger_is_heard() {
        let mut surroundings = environment(&[]);
        surroundings.not_text = ["AIDA_USER", "OF_ANOTHER_PROGRAM"].map(str::to_owned).into();
        let error = Settings::resolve(&Flags::default(), &surroundings).unwrap_err();
        assert_eq!(error.kind().exit_code(), 8);
        assert!(error.to_string().contains("AIDA_USER"), "{error}");
        let overrides = vec![Override { name: "user", flag: "--user", value: "ada".to_owned() }];
        let flags = Flags { overrides, ..Flags::default() };
        assert!(Settings::resolve(&flags, &surroundings).is_ok());
        surroundings.not_text = ["AIDA_CONFIG".to_owned()].into();
        assert!(Settings::resolve(&flags, &surroundings).is_err());
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for host in ["http://127.0.0.1:9", "http://localhost:9/fal", "http://[::1]:9"] {
            Settings::resolve(&Flags::default(), &environment(&[("FAL_QUEUE_URL", host)])).unwrap();
        }
    }

    #[test]
    fn a_named_file_must_exist_and_the_usual_one_need_not() {
        let flags = Flags { config: Some(PathBuf::from("/nowhere/c.toml")), ..Flags::default() };
        assert!(Settings::resolve(&flags, &environment(&[])).is_err());
        let mut surroundings = environment(&[]);
        surroundings.config_dir = Some(PathBuf::from("/nowhere"));
        assert!(Settings::resolve(&Flags::default(), &surroundings).is_ok());
    }

    #[test]
    fn the_example_is_the_defaults() {
        let uncommented: String = keys::example()
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' ') && !line.is_empty())
            .filter(|line| !line.ends_with("\"\""))
            .fold(String::new(), |text, line| text + line + "\n");
        let (_folder, flags) = with_file(&uncommented);
        let from_example = Settings::resolve(&flags, &environment(&[])).unwrap();
        let defaults = Settings::resolve(&Flags::default(), &environment(&[])).unwrap();
        for (example, default) in from_example.origins.iter().zip(&defaults.origins) {
            assert_eq!(example.value, default.value, "{}", example.key.name);
        }
        let with_default = keys::all().filter(|key| key.default.is_some()).count();
        assert_eq!(uncommented.lines().count(), with_default, "{uncommented}");
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_others_may_read_are_worth_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, flags) = with_file("fal_key = \"k\"");
        let path = flags.config.clone().unwrap();
        let warnings = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Settings::resolve(&flags, &environment(&[])).unwrap().warnings.len()
        };
        assert_eq!(warnings(0o644), 1);
        assert_eq!(warnings(0o600), 0);
    }

    #[test]
    fn a_path_in_the_file_is_beside_the_file() {
        let (folder, flags) = with_file("videos_dir = \"films\"");
        let settings = Settings::resolve(&flags, &environment(&[])).unwrap();
        assert_eq!(settings.videos_dir.unwrap(), folder.path().join("films"));
    }
}
