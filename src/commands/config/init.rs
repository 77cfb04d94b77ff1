//! `aida config init`: asks for the settings and writes config.toml.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::environment::Environment;
use crate::cli::output::Output;
use crate::cli::settings::keys::{self, Form, Key};
use crate::cli::settings::{self, Flags, Settings};
use crate::error::{Error, Kind};

/// Arguments of `aida config init`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  aida config init
  aida config init --force
  aida --config ./aida.toml config init")]
pub struct InitArgs {
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
}

/// What is asked, in this order: the setting, and the question.
const QUESTIONS: &[(&str, &str)] = &[
    ("anthropic_api_key", "Anthropic key (Claude writes and directs)"),
    ("kie_api_key", "KIE.AI key (draws the keyframes)"),
    ("fal_key", "fal.ai key (moves them)"),
    ("openai_api_key", "OpenAI key (search by meaning; may be left empty)"),
    ("embedder", "What turns text into vectors (auto, builtin, compatible, or a model)"),
    ("database_url", "Postgres URL (empty: aida runs its own database)"),
    ("videos_dir", "Folder for finished films (empty: where aida is called)"),
    ("image_model", "Model that draws keyframes"),
    ("video_model", "Model that moves them"),
];

/// Asks and writes. Nothing is written before every question is answered.
pub async fn init(
    arguments: &InitArgs,
    flags: &Flags,
    environment: &Environment,
    output: &Output,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let path = settings::config_path(flags, environment)?.ok_or_else(|| {
        Error::settings("there is no place for config.toml: the user has no home")
            .hint("name one with --config PATH or AIDA_CONFIG")
    })?;
    if !arguments.force && path.exists() {
        return Err(exists(&path));
    }
    if !output.can_prompt() {
        return Err(Error::new(
            Kind::NeedsYes,
            "config init asks questions, and this is not a terminal",
        )
        .hint(format!("aida config example > {}", path.display()))
        .hint("or set the variables ANTHROPIC_API_KEY, KIE_API_KEY and FAL_KEY"));
    }
    output.status(format!("Settings for {}", path.display()));
    output.status("Enter keeps what stands in brackets; keys are not shown while you type.");
    let mut answers = Vec::new();
    for (name, question) in QUESTIONS {
        let key = keys::find(name)
            .ok_or_else(|| Error::internal(format!("there is no setting '{name}'")))?;
        let answer = if key.form == Form::Secret {
            output.ask_secret(question, cancel).await?
        } else {
            output.ask_text(question, key.default.unwrap_or_default(), cancel).await?.into()
        };
        answers.push((key, answer));
    }
    let text = config_text(&answers);
    write(&path, text.expose_secret(), arguments.force)?;
    // What was written is read back at once, so that a wrong answer is told here and not later.
    let written = Flags { config: Some(path.clone()), ..Flags::default() };
    if let Err(error) = Settings::resolve(
        &written,
        &Environment { variables: std::collections::BTreeMap::default(), ..environment.clone() },
    ) {
        output.warning(format!("the file was written, but {error}"));
    }
    if output.is_json() {
        output.json(&json!({ "path": path }));
    } else {
        output.data(path.display().to_string());
    }
    output.hint("`aida health` tests the keys without paying");
    Ok(())
}

fn exists(path: &Path) -> Error {
    Error::usage(format!("{} exists already", path.display()))
        .hint("edit it, or replace it with --force")
}

/// The example file with the answers in place of their commented-out lines.
fn config_text(answers: &[(&'static Key, SecretString)]) -> SecretString {
    let mut text = String::new();
    for line in keys::example().lines() {
        let answer = answers.iter().find(|(key, answer)| {
            let answer = answer.expose_secret().trim();
            !answer.is_empty()
                && key.default != Some(answer)
                && line
                    .strip_prefix('#')
                    .and_then(|line| line.split_once(" = "))
                    .is_some_and(|(name, _)| name == key.name)
        });
        match answer {
            Some((key, answer)) => {
                text.push_str(&keys::assignment(key, answer.expose_secret().trim()));
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text.into()
}

/// Writes a file that only its owner may read: beside its place first, then moved there, so
/// that a crash leaves either the old file or the new one.
fn write(path: &Path, text: &str, replace: bool) -> Result<(), Error> {
    let failed = |error: io::Error| {
        Error::settings(format!("{} cannot be written", path.display()))
            .because(error)
            .hint("choose another place with --config PATH")
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = beside(path);
    let result = write_new(&beside, text).and_then(|()| {
        if replace {
            std::fs::rename(&beside, path)
        } else {
            // A link fails where the place is taken; a rename would replace it.
            std::fs::hard_link(&beside, path)
        }
    });
    // After a rename there is nothing left to remove.
    let _ = std::fs::remove_file(&beside);
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !replace => Err(exists(path)),
        result => result.map_err(failed),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Vec<(&'static Key, SecretString)> {
        [
            ("fal_key", "k\"1"),
            ("image_model", "nano-banana-2"),
            ("video_model", "kling-2.6-pro"),
            ("videos_dir", ""),
        ]
        .into_iter()
        .map(|(name, answer)| (keys::find(name).unwrap(), answer.into()))
        .collect()
    }

    #[test]
    fn answers_take_the_place_of_comments_and_defaults_stay_comments() {
        let text = config_text(&answers());
        let text = text.expose_secret();
        assert!(text.contains("\nfal_key = 'k\"1'\n"), "{text}");
        assert!(text.contains("\nimage_model = \"nano-banana-2\"\n"));
        assert!(text.contains("\n#video_model = \"kling-2.6-pro\"\n"));
        assert!(text.contains("\n#videos_dir = \"\"\n"));
        assert_eq!(
            text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count(),
            2
        );
    }

    #[test]
    fn an_existing_file_is_kept_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("config.toml");
        write(&path, "a", false).unwrap();
        assert_eq!(write(&path, "b", false).unwrap_err().kind().exit_code(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a");
        write(&path, "b", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "a", true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
