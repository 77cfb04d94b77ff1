//! Flag > environment > config.toml > default, merged once into plain values.

mod env_file;
mod file;
pub mod keys;
pub mod prices;
pub mod serve;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::cli::environment::Environment;
use crate::cli::log::LogFile;
use crate::clock::Zone;
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::ledger::prices::Price;
use crate::memory::reuse::ReusePolicy;
use crate::studio::brief::Aspect;

use self::file::Place;
use self::keys::{Form, Key};
use self::serve::{Origins, Serve};

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
            user: layers.text("user")?,
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

/// A value and who gave it. The value of any setting may be a secret, so none can be printed.
#[derive(Debug)]
struct Given {
    text: SecretString,
    source: Source,
}

/// What the sources say, the strongest first come.
struct Layers {
    given: BTreeMap<&'static str, Given>,
    /// Where config.toml is, and whether somebody named that place.
    config_path: Option<(PathBuf, bool)>,
    /// The entries of `[[price]]` in config.toml.
    prices: Vec<Price>,
    home: Option<PathBuf>,
}

impl Layers {
    /// The flags, the environment, and the env file.
    fn of_environment(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let mut given = BTreeMap::new();
        for entry in &flags.overrides {
            given.entry(entry.name).or_insert(Given {
                text: entry.value.clone().into(),
                source: Source::Flag(entry.flag),
            });
        }
        for key in keys::all() {
            if let Some(value) = environment.variable(key.variable) {
                given.entry(key.name).or_insert(Given {
                    text: value.into(),
                    source: Source::Environment(key.variable),
                });
            }
        }
        let mut config =
            flags.config.clone().or_else(|| environment.variable("AIDA_CONFIG").map(PathBuf::from));
        if let Some(path) = &flags.env_file {
            for (name, value) in env_file::read(path)? {
                if value.trim().is_empty() {
                    continue;
                }
                if name == "AIDA_CONFIG" && config.is_none() {
                    config = Some(PathBuf::from(&value));
                }
                // Other programs keep their own variables in the same file.
                if let Some(key) = keys::all().find(|key| key.variable == name) {
                    given.entry(key.name).or_insert(Given {
                        text: value.into(),
                        source: Source::EnvFile(key.variable, path.clone()),
                    });
                }
            }
        }
        let config_path = config.map(|path| (path, true)).or_else(|| {
            environment.config_dir.as_ref().map(|folder| (folder.join("config.toml"), false))
        });
        let prices = Vec::new();
        Ok(Self {
            given,
            config_path,
            prices,
            home: environment.variable("HOME").map(PathBuf::from),
        })
    }

    /// config.toml, and what is worth a warning about it.
    fn add_file(&mut self) -> Result<Vec<String>, Error> {
        let Some((path, named)) = self.config_path.clone() else { return Ok(Vec::new()) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                return Ok(Vec::new());
            }
            Err(error) => {
                let unreadable =
                    Error::settings(format!("the settings in {} cannot be read", path.display()))
                        .because(error);
                return Err(if named {
                    unreadable.hint("--config and AIDA_CONFIG name the file to read")
                } else {
                    unreadable.hint("mend or remove the file; `aida config init` writes a new one")
                });
            }
        };
        let mut holds_keys = false;
        let content = file::parse(&path, &text)?;
        self.prices = content.prices;
        for value in content.values {
            if value.text.trim().is_empty() {
                return Err(value
                    .place
                    .error(&format!("'{}' is empty", value.key.name))
                    .hint("remove the line to use the default"));
            }
            holds_keys |= value.key.form == Form::Secret;
            self.given
                .entry(value.key.name)
                .or_insert(Given { text: value.text.into(), source: Source::File(value.place) });
        }
        Ok(if holds_keys { others_may_read(&path).into_iter().collect() } else { Vec::new() })
    }

    fn secret(&self, name: &'static str) -> Result<Option<SecretString>, Error> {
        let Some(given) = self.given.get(name) else { return Ok(None) };
        let text = given.text.expose_secret().trim();
        if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err(wrong(name, given, "holds white space"));
        }
        Ok(Some(text.to_owned().into()))
    }

    fn text(&self, name: &'static str) -> Result<String, Error> {
        self.read(name, |text| {
            let fits = text.chars().count() <= 200 && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
                .ok_or_else(|| "is not one line of at most 200 characters".to_owned())
        })
    }

    fn path(&self, name: &'static str) -> Result<Option<PathBuf>, Error> {
        let Some(given) = self.given.get(name) else { return Ok(None) };
        let text = given.text.expose_secret();
        if text.chars().any(char::is_control) {
            return Err(wrong(name, given, "holds control characters"));
        }
        let path = match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        // A path in config.toml means the same wherever aida is called.
        Ok(Some(match &given.source {
            Source::File(place) => {
                place.path.parent().map_or(path.clone(), |folder| folder.join(path))
            }
            _ => path,
        }))
    }

    fn address(&self, name: &'static str) -> Result<Url, Error> {
        self.read(name, |text| {
            let url = Url::parse(text).map_err(|_| "is not an https address".to_owned())?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err("must not carry a user name or a password".to_owned());
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err("must not carry a query or a fragment".to_owned());
            }
            match url.scheme() {
                "https" => Ok(url),
                "http" if is_loopback(&url) => Ok(url),
                "http" => Err("must be https; plain http is for this machine only".to_owned()),
                _ => Err("is not an https address".to_owned()),
            }
        })
    }

    /// A collector of one's own, which inside a network is often spoken to over plain http.
    fn collector(&self, name: &'static str) -> Result<Option<Url>, Error> {
        if !self.given.contains_key(name) {
            return Ok(None);
        }
        self.read(name, |text| match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
            _ => Err("is not an http or https address".to_owned()),
        })
    }

    fn switch(&self, name: &'static str) -> Result<bool, Error> {
        self.read(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        })
    }

    fn whole(&self, name: &'static str) -> Result<u32, Error> {
        let (least, most) = match find(name)?.form {
            Form::Whole(least, most) => (least, most),
            _ => (0, u32::MAX),
        };
        self.read(name, |text| {
            text.parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("is not a whole number from {least} to {most}"))
        })
    }

    fn decimal(&self, name: &'static str) -> Result<Decimal, Error> {
        let form = find(name)?.form;
        self.read(name, |text| {
            let number = match form {
                Form::Dollars => text.parse::<Usd>().map(Usd::dollars).ok(),
                _ => Decimal::from_str_exact(text).ok(),
            };
            match form {
                Form::Dollars => number
                    .filter(|number| !number.is_sign_negative() || number.is_zero())
                    .ok_or_else(|| {
                        "is not an amount of dollars from 0 up, such as 5.00".to_owned()
                    }),
                Form::Seconds(most) => number
                    .filter(|number| *number >= Decimal::ONE && *number <= Decimal::from(most))
                    .ok_or_else(|| format!("is not a number of seconds from 1 to {most}")),
                _ => number
                    .filter(|number| *number >= Decimal::ZERO && *number <= Decimal::ONE)
                    .ok_or_else(|| "is not a share from 0 to 1, such as 0.60".to_owned()),
            }
        })
    }

    fn aspect(&self, name: &'static str) -> Result<Aspect, Error> {
        self.read(name, |text| {
            text.parse().map_err(|_| {
                let known: Vec<_> = Aspect::ALL.iter().map(|aspect| aspect.as_str()).collect();
                format!("is not an aspect that can be made; choose one of {}", known.join(", "))
            })
        })
    }

    /// A policy that is none where nobody says.
    fn policy(&self, name: &'static str) -> Result<Option<ReusePolicy>, Error> {
        let Some(given) = self.given.get(name) else { return Ok(None) };
        let policy = given.text.expose_secret().trim().parse();
        policy.map(Some).map_err(|_| wrong(name, given, "is none of auto, ask, never"))
    }

    fn zone(&self, name: &'static str) -> Result<Zone, Error> {
        self.read(name, |text| match text {
            "auto" => Ok(Zone::of_this_machine()),
            name => Zone::named(name)
                .ok_or_else(|| "is no time zone, such as Europe/Berlin, UTC or auto".to_owned()),
        })
    }

    /// The HTTP face.
    fn serve(&self) -> Result<Serve, Error> {
        let budget = "serve.run_budget_usd";
        let run_budget = if self.given.contains_key(budget) {
            Some(Usd::new(self.decimal(budget)?))
        } else {
            None
        };
        Ok(Serve {
            run_budget,
            port: self.read("serve.port", |text| {
                text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "is no port".to_owned())
            })?,
            listen: self.read("serve.listen", serve::addresses)?,
            tokens: match self.secret("serve.tokens")? {
                None => Vec::new(),
                Some(tokens) => {
                    serve::tokens(tokens.expose_secret()).map_err(|problem| {
                        match self.given.get("serve.tokens") {
                            Some(given) => wrong("serve.tokens", given, &problem),
                            None => Error::internal(problem),
                        }
                    })?
                }
            },
            origins: if self.given.contains_key("serve.origins") {
                self.read("serve.origins", serve::origins)?
            } else {
                Origins::These(Vec::new())
            },
            jobs: self.whole("serve.jobs")?,
            queue: self.whole("serve.queue")?,
            requests_per_minute: self.whole("serve.requests_per_minute")?,
        })
    }

    /// The log in files.
    fn log_file(&self) -> Result<Option<LogFile>, Error> {
        let days = self.whole("log_days")?;
        Ok(self.path("log_file")?.map(|path| LogFile { path, days }))
    }

    fn level(&self, name: &'static str) -> Result<tracing::level_filters::LevelFilter, Error> {
        self.read(name, |text| {
            text.parse().map_err(|_| format!("is none of {}", keys::LOG_LEVELS.join(", ")))
        })
    }

    /// Reads a value that has a default. The defaults are read by the same code.
    fn read<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Error> {
        if let Some(given) = self.given.get(name) {
            return parse(given.text.expose_secret().trim())
                .map_err(|problem| wrong(name, given, &problem));
        }
        let default = find(name)?.default.unwrap_or_default();
        parse(default).map_err(|problem| {
            Error::internal(format!("the default of {name}, '{default}', {problem}"))
        })
    }
}

fn find(name: &'static str) -> Result<&'static Key, Error> {
    keys::find(name).ok_or_else(|| Error::internal(format!("there is no setting '{name}'")))
}

/// A value that cannot be used, told in the words of whoever gave it.
fn wrong(name: &'static str, given: &Given, problem: &str) -> Error {
    let secret = keys::find(name).is_none_or(|key| key.form == Form::Secret);
    let shown = |who: &str| {
        if secret {
            format!("{who} {problem}")
        } else {
            format!("{who} is '{}', which {problem}", given.text.expose_secret())
        }
    };
    match &given.source {
        Source::Flag(flag) => Error::usage(shown(flag)),
        Source::Environment(variable) => Error::settings(shown(variable))
            .hint(format!("change or unset {variable} in the environment")),
        Source::EnvFile(variable, path) => Error::settings(shown(variable))
            .hint(format!("change {variable} in {}", path.display())),
        Source::File(place) => place.error(&shown(&format!("'{name}'"))),
        Source::Default => Error::internal(shown(name)),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A warning if others may read a file that holds keys.
#[cfg(unix)]
fn others_may_read(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{} holds keys and others may read it (mode {:03o}); `chmod 600` keeps it to you",
            path.display(),
            mode & 0o777
        )
    })
}

#[cfg(not(unix))]
fn others_may_read(_path: &Path) -> Option<String> {
    None
}

/// What is in force, setting by setting.
fn origins(given: &BTreeMap<&'static str, Given>, settings: &Settings) -> Vec<Origin> {
    keys::all()
        .map(|key| {
            let source = given.get(key.name).map_or(Source::Default, |given| given.source.clone());
            let text = given
                .get(key.name)
                .map(|given| given.text.expose_secret().trim().to_owned())
                .or_else(|| key.default.map(str::to_owned));
            let value = match (key.name, key.form) {
                (_, Form::Secret) => None,
                ("data_dir", _) => Some(settings.data_dir.display().to_string()),
                ("videos_dir", _) => {
                    settings.videos_dir.as_ref().map(|folder| folder.display().to_string())
                }
                _ => text.clone(),
            };
            Origin { key, is_set: text.is_some() || value.is_some(), value, source }
        })
        .collect()
}

#[cfg(test)]
mod tests {
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
