//! Every error that a user sees: its kind (which decides the exit code), what happened, why, and
//! what to type next.

use std::error::Error as StdError;
use std::fmt;

use serde_json::{Value, json};

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

    /// How grave it is beside others: where several apply, the documented order is the database,
    /// settings, unknown money, a budget, a provider, a part; whatever else comes last.
    pub const fn gravity(self) -> u8 {
        match self {
            Self::Database => 6,
            Self::Settings => 5,
            Self::MoneyUnknown => 4,
            Self::Budget => 3,
            Self::Provider => 2,
            Self::Partial => 1,
            _ => 0,
        }
    }

    /// The name that scripts read in JSON errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::NeedsYes => "needs_yes",
            Self::Budget => "budget",
            Self::Provider => "provider",
            Self::Partial => "partial",
            Self::MoneyUnknown => "money_unknown",
            Self::Settings => "settings",
            Self::Database => "database",
            Self::Check => "check",
            Self::Locked => "locked",
            Self::Deadline => "deadline",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
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
    is_reported: bool,
}

impl Error {
    /// An error of a kind, with what happened as a lower-case sentence without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, hints: Vec::new(), is_reported: false }
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

    /// The same error, told by what asked for the stop: a signal, the deadline, or a lost lock.
    #[must_use]
    pub fn stopped_by(mut self, kind: Kind) -> Self {
        self.kind = kind;
        match kind {
            Kind::Deadline => "the deadline passed".clone_into(&mut self.message),
            Kind::Locked => {
                "another process took the lock over, so this one stopped"
                    .clone_into(&mut self.message);
            }
            _ => {}
        }
        self
    }

    /// Says that the command's own JSON object tells of this already, so that scripts are not
    /// given a second object for it.
    #[must_use]
    pub const fn reported(mut self) -> Self {
        self.is_reported = true;
        self
    }

    /// Whether the command's own JSON object tells of this already.
    pub const fn is_reported(&self) -> bool {
        self.is_reported
    }

    /// A fault in aida itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
            .hint("this is a fault in aida; please report it with the command that you typed")
    }

    /// Wrong or missing settings.
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(Kind::Settings, message)
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Why it happened, from the nearest cause to the root. A cause that only repeats the words
    /// above it is left out.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            let words = cause.to_string();
            let above = causes.last().unwrap_or(&self.message);
            if !above.contains(&words) {
                causes.push(words);
            }
            next = cause.source();
        }
        causes
    }

    /// The error as scripts read it: `{"error":{kind, exit_code, message, causes, hints}}`.
    pub fn to_json(&self) -> Value {
        json!({
            "error": {
                "kind": self.kind.as_str(),
                "exit_code": self.kind.exit_code(),
                "message": self.message,
                "causes": self.causes(),
                "hints": self.hints,
            }
        })
    }

    /// How grave it is beside others: where several apply, the documented order is the database,
    /// settings, unknown money, a budget, a provider, a part; whatever else comes last.
    pub const fn gravity(&self) -> u8 {
        self.kind.gravity()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_do_not_repeat_what_was_said() {
        let error = Error::usage("the brief is empty").because("the brief is empty");
        assert!(error.causes().is_empty());
        let error = Error::usage("the brief was not taken").because("the brief is empty");
        assert_eq!(error.causes(), ["the brief is empty"]);
    }

    #[test]
    fn the_documented_order_decides_where_several_apply() {
        let documented = [
            Kind::Database,
            Kind::Settings,
            Kind::MoneyUnknown,
            Kind::Budget,
            Kind::Provider,
            Kind::Partial,
        ];
        assert_eq!(documented.map(Kind::exit_code), [9, 8, 7, 4, 5, 6]);
        assert!(documented.is_sorted_by(|graver, other| graver.gravity() > other.gravity()));
    }

    #[test]
    fn json_names_kind_and_exit_code() {
        let json = Error::new(Kind::NeedsYes, "needs a yes").hint("add --yes").to_json();
        assert_eq!(json["error"]["exit_code"], 3);
        assert_eq!(json["error"]["kind"], "needs_yes");
    }
}
