//! Identifiers. Every id is a UUID version 7, made before it is used, so that a
//! step that is repeated after a crash writes the same row again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! identifiers {
    ($($(#[$documentation:meta])* $name:ident;)*) => {$(
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new id.
            #[expect(clippy::new_without_default, reason = "a new id is never a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps a UUID that came from storage.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The last eight hexadecimal digits: the random end of the id, short enough to
            /// type and to stand in a file name.
            pub fn short(self) -> String {
                let text = self.0.simple().to_string();
                text[24..].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

identifiers! {
    /// A video: its brief, script, storyboard and everything made for it.
    ProjectId;
    /// One attempt to take a project through its stages; a project may have several.
    RunId;
    /// One shot of a storyboard.
    ShotId;
    /// One paid call.
    OperationId;
    /// One line in the books.
    ChargeId;
    /// One kept image or clip of a shot.
    TakeId;
    /// A cap on some spend.
    BudgetId;
    /// A campaign: projects that belong together.
    CampaignId;
    /// One of the user's own files.
    FileId;
    /// A rating or remark on a film or shot.
    FeedbackId;
    /// Something that the user likes or wants.
    PreferenceId;
    /// Many briefs that were given, priced and admitted as a whole.
    BatchId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_the_random_end() {
        let id: ProjectId = "019aab12-3456-7890-abcd-ef0123456789".parse().unwrap();
        assert_eq!(id.short(), "23456789");
    }
}
