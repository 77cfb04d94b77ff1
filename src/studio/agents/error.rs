//! What can end the team's work without a storyboard.

use crate::ledger::TillError;
use crate::studio::agents::Role;

/// Why there is no storyboard.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The till did not yield a turn or a look-up: a cap, a provider, the database, a stop.
    #[error(transparent)]
    Till(#[from] TillError),
    /// No storyboard can fulfil the assignment. Nothing was sent.
    #[error("{0}")]
    Impossible(String),
    /// The model declined to work on this brief.
    #[error(
        "the {role} refused the brief{}{}",
        category.as_deref().map(|category| format!(" (category: {category})")).unwrap_or_default(),
        explanation.as_deref().map(|explanation| format!(": {explanation}")).unwrap_or_default()
    )]
    Refused {
        /// Who refused.
        role: Role,
        /// The vendor's category, where it names one.
        category: Option<String>,
        /// The vendor's explanation, where it gives one.
        explanation: Option<String>,
    },
    /// The answer reached the limit of output tokens. None of it is used: a tool call that was
    /// cut off can look whole.
    #[error("the {role}'s answer was cut off at {most} output tokens")]
    CutOff {
        /// Whose answer.
        role: Role,
        /// The limit in tokens.
        most: u32,
    },
    /// The conversation outgrew the model.
    #[error("the conversation with the {role} no longer fits the model's context window")]
    ContextWindowExceeded {
        /// Whose conversation.
        role: Role,
    },
    /// The model stopped for a reason that this version does not know.
    #[error("the {role} stopped for a reason that cannot be handled: {reason}")]
    UnexpectedStop {
        /// Who stopped.
        role: Role,
        /// The vendor's word for it.
        reason: String,
    },
    /// The model answered in text, was reminded, and did it again.
    #[error("the {role} answered in text instead of calling {tool}, even after a reminder: {said}")]
    AnsweredInText {
        /// Who answered.
        role: Role,
        /// The tool that was to be called.
        tool: &'static str,
        /// The beginning of the second text.
        said: String,
    },
    /// The model called a tool twice with input that cannot be used.
    #[error("the {role} called {tool} twice with input that cannot be used: {problem}")]
    BrokenInput {
        /// Who called.
        role: Role,
        /// The tool.
        tool: &'static str,
        /// What was wrong the second time.
        problem: String,
    },
    /// The answer was not what the vendor documents.
    #[error("the {role}'s answer cannot be read: {problem}")]
    Malformed {
        /// Whose answer.
        role: Role,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The conversation did not come to its end in time.
    #[error("the {role} has not finished after {most} turns")]
    TooManyTurns {
        /// Whose conversation.
        role: Role,
        /// The limit.
        most: u32,
    },
    /// The team talked more than a film can need.
    #[error("the team has used {used} output tokens without a storyboard; the limit is {most}")]
    TooMuchOutput {
        /// Tokens so far.
        used: u64,
        /// The limit in tokens.
        most: u64,
    },
}

impl AgentError {
    /// What the user can do about it, where that is not the till's to say.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Till(_) => None,
            Self::Impossible(_) => Some("change --duration or --scenes"),
            Self::Refused { .. } => Some("say the brief differently and start again"),
            Self::CutOff { .. } | Self::ContextWindowExceeded { .. } => {
                Some("start again with fewer shots (--scenes) or a shorter brief")
            }
            Self::UnexpectedStop { .. }
            | Self::AnsweredInText { .. }
            | Self::BrokenInput { .. }
            | Self::Malformed { .. }
            | Self::TooManyTurns { .. }
            | Self::TooMuchOutput { .. } => {
                Some("start again; if it happens twice, make the brief more definite")
            }
        }
    }
}

/// Why a look-up found nothing out.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The work cannot go on: the conversation ends with this error.
    #[error(transparent)]
    Stop(TillError),
    /// This look-up failed, and a film can be planned without it: the model is told so, in
    /// these words.
    #[error("{0}")]
    Unavailable(String),
}

impl From<TillError> for LibraryError {
    /// A provider that cannot embed a query is no reason to give up a film. A cap that is
    /// reached, a database that is gone and a run that was asked to stop are.
    fn from(error: TillError) -> Self {
        match error {
            TillError::Provider(error) => Self::Unavailable(error.to_string()),
            error => Self::Stop(error),
        }
    }
}
