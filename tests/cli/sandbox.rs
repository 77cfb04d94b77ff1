//! A home of its own for each test, and nothing of the developer's environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home folder, and aida called in it.
pub(crate) struct Sandbox {
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// What a call of aida came to.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Sets a variable for every call.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file in the home folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes config.toml where it belongs, readable by its owner only.
    pub(crate) fn config(&self, text: &str) {
        let path = self.file(".config/aida/config.toml", text);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = path;
    }

    /// aida, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aida"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .env("COLUMNS", "80")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    /// Calls aida and waits for it.
    pub(crate) fn aida(&self, arguments: &[&str]) -> Outcome {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let home = self.home().display().to_string();
        // macOS and some runners see the folder under another name, but aida prints what it is given.
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&home, "[HOME]");
        Outcome { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit {}", self.code)?;
        if !self.stdout.is_empty() {
            write!(formatter, "\n--- stdout\n{}", self.stdout.trim_end())?;
        }
        if !self.stderr.is_empty() {
            write!(formatter, "\n--- stderr\n{}", self.stderr.trim_end())?;
        }
        Ok(())
    }
}
