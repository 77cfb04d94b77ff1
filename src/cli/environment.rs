//! What the surrounding process says, handed in as plain data, so that nothing else reads the
//! process environment and no test has to change it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::PathBuf;

use directories::ProjectDirs;

/// The surroundings of one call of aida.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The environment variables that are valid Unicode.
    pub variables: BTreeMap<String, String>,
    /// The names of those whose values are not.
    pub not_text: BTreeSet<String>,
    /// Where this user's settings belong, if the user has a home.
    pub config_dir: Option<PathBuf>,
    /// Where this user's data belong, if the user has a home.
    pub data_dir: Option<PathBuf>,
    /// This program, which the embedded database starts again as its host.
    pub executable: PathBuf,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
}

impl Environment {
    /// The surroundings of this process.
    pub fn of_this_process() -> Self {
        let folders = ProjectDirs::from("", "", "aida");
        let (mut variables, mut not_text) = (BTreeMap::new(), BTreeSet::new());
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    variables.insert(name, value);
                }
                Err(_) => {
                    not_text.insert(name);
                }
            }
        }
        Self {
            variables,
            not_text,
            config_dir: folders.as_ref().map(|folders| folders.config_dir().to_owned()),
            data_dir: folders.as_ref().map(|folders| folders.data_dir().to_owned()),
            executable: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("aida")),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// A variable that is set and not blank. An empty variable is a common way to unset one.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// Whether colour is welcome at all (<https://no-color.org>).
    pub fn allows_colour(&self) -> bool {
        self.variable("NO_COLOR").is_none() && self.variable("TERM") != Some("dumb")
    }
}
