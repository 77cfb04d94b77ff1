//! Every error that a user sees: its kind (which decides the exit code), what happened, why, and
//! what to type next.

use std::error::Error as StdError;
use std::fmt;

/// What kind of trouble it is. Each kind has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A fault in aida itself.
    Internal,
    /// Wrong usage or input.
    Usage,
    /// Needs a yes that nobody could give.
    NeedsYes,
    /// Stopped by a budget.
    Budget,
    /// A provider or the network failed.
    Provider,
    /// Finished in part.
    Partial,
    /// An operation's money state is unknown.
    MoneyUnknown,
    /// Settings or credentials are missing or wrong.
    Settings,
    /// The database cannot be used.
    Database,
    /// A check failed.
    Check,
    /// A named lock is held by another.
    Locked,
    /// The deadline passed.
    Deadline,
    /// Interrupted, as by Ctrl-C.
    Interrupted,
    /// Terminated, as by SIGTERM.
    Terminated,
}

impl Kind {
    /// The documented exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::NeedsYes => 3,
            Self::Budget => 4,
            Self::Provider => 5,
            Self::Partial => 6,
            Self::MoneyUnknown => 7,
            Self::Settings => 8,
            Self::Database => 9,
            Self::Check => 10,
            Self::Locked => 11,
            Self::Deadline => 12,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    hints: Vec<String>,
}

impl Error {
    /// An error of a kind, with what happened as a lower-case sentence without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new() }
    }

    /// Wrong usage or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Adds why it happened.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what to type next. May be given several times.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What to type next.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
