//! What flags, environment, env file and config.toml say, before it is known what it means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::file;
use super::keys::{self, Form, Key};
use super::serve::{self, Origins, Serve};
use super::{Flags, Origin, Settings, Source, env_file};
use crate::cli::environment::Environment;
use crate::cli::log::LogFile;
use crate::clock::Zone;
use crate::error::Error;
use crate::ledger::money::Usd;
use crate::ledger::prices::Price;
use crate::memory::reuse::ReusePolicy;
use crate::studio::brief::Aspect;

/// A value and who gave it. The value of any setting may be a secret, so none can be printed.
#[derive(Debug)]
pub(super) struct Given {
    text: SecretString,
    source: Source,
}

/// What the sources say, the strongest first come.
pub(super) struct Layers {
    pub(super) given: BTreeMap<&'static str, Given>,
    /// Where config.toml is, and whether somebody named that place.
    pub(super) config_path: Option<(PathBuf, bool)>,
    /// The entries of `[[price]]` in config.toml.
    pub(super) prices: Vec<Price>,
    home: Option<PathBuf>,
}

impl Layers {
    /// The flags, the environment, and the env file.
    pub(super) fn of_environment(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let mut given = BTreeMap::new();
        for entry in &flags.overrides {
            given.entry(entry.name).or_insert(Given {
                text: entry.value.clone().into(),
                source: Source::Flag(entry.flag),
            });
        }
        for key in keys::all() {
            if environment.not_text.contains(key.variable) && !given.contains_key(key.name) {
                return Err(not_text(key.variable));
            }
            if let Some(value) = environment.variable(key.variable) {
                given.entry(key.name).or_insert(Given {
                    text: value.into(),
                    source: Source::Environment(key.variable),
                });
            }
        }
        if environment.not_text.contains("AIDA_CONFIG") && flags.config.is_none() {
            return Err(not_text("AIDA_CONFIG"));
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
    pub(super) fn add_file(&mut self) -> Result<Vec<String>, Error> {
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

    pub(super) fn secret(&self, name: &'static str) -> Result<Option<SecretString>, Error> {
        let Some(given) = self.given.get(name) else { return Ok(None) };
        let text = given.text.expose_secret().trim();
        if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err(wrong(name, given, "holds white space"));
        }
        Ok(Some(text.to_owned().into()))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, Error> {
        self.read(name, |text| {
            let fits = text.chars().count() <= 200 && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
                .ok_or_else(|| "is not one line of at most 200 characters".to_owned())
        })
    }

    /// Who owns what is written. Somebody has to.
    pub(super) fn user(&self) -> Result<String, Error> {
        let user = self.text("user")?;
        match self.given.get("user").map(|given| &given.source) {
            Some(Source::Flag(flag)) if user.is_empty() => {
                Err(Error::usage(format!("{flag} is empty"))
                    .hint("name a user, or leave it out to act for the one of the settings"))
            }
            _ => Ok(user),
        }
    }

    pub(super) fn path(&self, name: &'static str) -> Result<Option<PathBuf>, Error> {
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

    pub(super) fn address(&self, name: &'static str) -> Result<Url, Error> {
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
    pub(super) fn collector(&self, name: &'static str) -> Result<Option<Url>, Error> {
        if !self.given.contains_key(name) {
            return Ok(None);
        }
        self.read(name, |text| match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
            _ => Err("is not an http or https address".to_owned()),
        })
    }

    pub(super) fn switch(&self, name: &'static str) -> Result<bool, Error> {
        self.read(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        })
    }

    pub(super) fn whole(&self, name: &'static str) -> Result<u32, Error> {
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

    pub(super) fn decimal(&self, name: &'static str) -> Result<Decimal, Error> {
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

    pub(super) fn aspect(&self, name: &'static str) -> Result<Aspect, Error> {
        self.read(name, |text| {
            text.parse().map_err(|_| {
                let known: Vec<_> = Aspect::ALL.iter().map(|aspect| aspect.as_str()).collect();
                format!("is not an aspect that can be made; choose one of {}", known.join(", "))
            })
        })
    }

    /// A policy that is none where nobody says.
    pub(super) fn policy(&self, name: &'static str) -> Result<Option<ReusePolicy>, Error> {
        let Some(given) = self.given.get(name) else { return Ok(None) };
        let policy = given.text.expose_secret().trim().parse();
        policy.map(Some).map_err(|_| wrong(name, given, "is none of auto, ask, never"))
    }

    pub(super) fn zone(&self, name: &'static str) -> Result<Zone, Error> {
        self.read(name, |text| match text {
            "auto" => Ok(Zone::of_this_machine()),
            name => Zone::named(name)
                .ok_or_else(|| "is no time zone, such as Europe/Berlin, UTC or auto".to_owned()),
        })
    }

    /// The HTTP face.
    pub(super) fn serve(&self) -> Result<Serve, Error> {
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
    pub(super) fn log_file(&self) -> Result<Option<LogFile>, Error> {
        let days = self.whole("log_days")?;
        Ok(self.path("log_file")?.map(|path| LogFile { path, days }))
    }

    pub(super) fn level(
        &self,
        name: &'static str,
    ) -> Result<tracing::level_filters::LevelFilter, Error> {
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

/// A variable whose value is no text, which nothing can be read from.
fn not_text(variable: &str) -> Error {
    Error::settings(format!("{variable} is not text in UTF-8"))
        .hint(format!("change or unset {variable} in the environment"))
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
pub(super) fn origins(given: &BTreeMap<&'static str, Given>, settings: &Settings) -> Vec<Origin> {
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
