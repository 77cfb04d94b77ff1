//! The three roles, and which tools are whose.

use std::fmt;

use crate::ledger::till::Component;
use crate::studio::agents::tools::ToolName;

/// A member of the team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Leads the conversation, asks the others, submits the storyboard.
    Orchestrator,
    /// Writes the script.
    Writer,
    /// Makes the storyboard.
    Director,
}

impl Role {
    /// Under which name its turns stand in the books.
    pub const fn component(self) -> Component {
        match self {
            Self::Orchestrator => Component::Conversation,
            Self::Writer => Component::Writer,
            Self::Director => Component::Director,
        }
    }

    /// The most turns of one of its conversations.
    pub const fn most_turns(self) -> u32 {
        match self {
            Self::Orchestrator => 12,
            Self::Writer => 4,
            Self::Director => 6,
        }
    }

    /// The tool that hands in its result.
    pub(super) const fn submission(self) -> ToolName {
        match self {
            Self::Writer => ToolName::SubmitScript,
            Self::Orchestrator | Self::Director => ToolName::SubmitStoryboard,
        }
    }

    /// The tools that it may use.
    pub(super) const fn tools(self) -> &'static [ToolName] {
        match self {
            Self::Orchestrator => &[
                ToolName::SearchProjects,
                ToolName::SearchFiles,
                ToolName::ReadCampaign,
                ToolName::ReadPreferences,
                ToolName::AskWriter,
                ToolName::AskDirector,
                ToolName::SubmitStoryboard,
            ],
            Self::Writer => &[ToolName::SubmitScript],
            Self::Director => &[ToolName::SubmitStoryboard],
        }
    }

    /// The names of its tools, for instructions and error results.
    pub(super) fn tool_names(self) -> String {
        self.tools().iter().map(|tool| tool.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Orchestrator => "Orchestrator",
            Self::Writer => "Writer",
            Self::Director => "Director",
        })
    }
}
