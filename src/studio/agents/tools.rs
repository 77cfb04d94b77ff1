//! The tools as the model sees them. One array for all roles: the tools stand first in the
//! cached prefix, and a different array would be a different prefix.

use serde_json::{Value, json};

use crate::providers::Tool;

/// A tool of the team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ToolName {
    SearchProjects,
    SearchFiles,
    ReadCampaign,
    ReadPreferences,
    AskWriter,
    AskDirector,
    SubmitScript,
    SubmitStoryboard,
}

impl ToolName {
    /// Every tool, in the order in which the model is shown them. To change the order, a name or
    /// a description is to give up every cached prefix.
    pub(super) const ALL: [Self; 8] = [
        Self::SearchProjects,
        Self::SearchFiles,
        Self::ReadCampaign,
        Self::ReadPreferences,
        Self::AskWriter,
        Self::AskDirector,
        Self::SubmitScript,
        Self::SubmitStoryboard,
    ];

    /// The name on the wire.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SearchProjects => "search_projects",
            Self::SearchFiles => "search_files",
            Self::ReadCampaign => "read_campaign",
            Self::ReadPreferences => "read_preferences",
            Self::AskWriter => "ask_writer",
            Self::AskDirector => "ask_director",
            Self::SubmitScript => "submit_script",
            Self::SubmitStoryboard => "submit_storyboard",
        }
    }

    /// The tool of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == name)
    }

    /// What a call of it is called in the log of a run.
    pub(super) const fn note(self) -> &'static str {
        match self {
            Self::SearchProjects => "searched past projects",
            Self::SearchFiles => "searched the files",
            Self::ReadCampaign => "read the campaign",
            Self::ReadPreferences => "read the preferences",
            Self::AskWriter => "asked the Writer",
            Self::AskDirector => "asked the Director",
            Self::SubmitScript => "submitted the script",
            Self::SubmitStoryboard => "submitted the storyboard",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::SearchProjects => {
                "Orchestrator only. Searches the user's past projects (briefs, scripts, shots, ratings) by meaning and by words. Use it when the brief refers to earlier work or when a proven approach for this subject would help."
            }
            Self::SearchFiles => {
                "Orchestrator only. Searches the user's own documents and pictures for passages about the query. Use it for facts, names and wording that the film must get right."
            }
            Self::ReadCampaign => {
                "Orchestrator only. Reads the campaign that the film belongs to: its style and its earlier films."
            }
            Self::ReadPreferences => {
                "Orchestrator only. Reads what is known of the user's taste, with the ratings and notes behind it."
            }
            Self::AskWriter => {
                "Orchestrator only. Hands the Writer your instructions and answers with the complete script as JSON. The Writer sees the assignment, your instructions and the previous script if there is one, but not this conversation."
            }
            Self::AskDirector => {
                "Orchestrator only, after the Writer. Hands the Director your instructions and answers with the complete storyboard as JSON. The Director sees the assignment, the newest script, your instructions and the previous storyboard if there is one, but not this conversation."
            }
            Self::SubmitScript => {
                "Writer only. Hands in the complete script. This ends the Writer's work."
            }
            Self::SubmitStoryboard => {
                "Director and Orchestrator. Hands in the complete storyboard, every shot with every field. The Director hands it to the Orchestrator; the Orchestrator's submission is final and ends the team's work."
            }
        }
    }

    fn input_schema(self) -> Value {
        match self {
            Self::SearchProjects | Self::SearchFiles => object(&[(
                "query",
                text("What to look for, in a few words; at most 400 characters."),
            )]),
            Self::ReadCampaign | Self::ReadPreferences => object(&[]),
            Self::AskWriter | Self::AskDirector => object(&[(
                "instructions",
                text("What you want, complete in itself; at most 8,000 characters."),
            )]),
            Self::SubmitScript => object(&[
                ("title", text("The film's title; at most 80 characters.")),
                ("logline", text("The film in one sentence.")),
                (
                    "beats",
                    list(
                        "One beat for each shot, in order.",
                        &object(&[
                            ("action", text("What happens and is seen.")),
                            (
                                "narration",
                                text("What a voice says over it; empty where nobody speaks."),
                            ),
                            (
                                "on_screen_text",
                                text(
                                    "Words shown on the screen; at most 60 characters, empty for none.",
                                ),
                            ),
                        ]),
                    ),
                ),
            ]),
            Self::SubmitStoryboard => object(&[
                ("title", text("The film's title; at most 80 characters.")),
                (
                    "shots",
                    list(
                        "The shots in order, as many as the assignment asks for.",
                        &object(&[
                            (
                                "number",
                                json!({"type": "integer", "description": "Its place in the film, from 1 without gaps."}),
                            ),
                            (
                                "image_prompt",
                                text(
                                    "The keyframe, described in English for the image model; at most 1,800 characters.",
                                ),
                            ),
                            (
                                "motion_prompt",
                                text(
                                    "How the keyframe moves, in English for the video model; at most 1,800 characters.",
                                ),
                            ),
                            (
                                "duration_seconds",
                                json!({"type": "number", "description": "How long the shot stands in the film, in seconds: at least 1, at most the longest shot of the assignment."}),
                            ),
                            (
                                "on_screen_text",
                                text(
                                    "Words shown on the screen; at most 60 characters, empty for none.",
                                ),
                            ),
                            (
                                "narration",
                                text("What a voice says over it; empty where nobody speaks."),
                            ),
                            (
                                "references",
                                list(
                                    "Earlier shots (\"shot 1\") or the user's own pictures, by name, that the picture should look like; usually empty.",
                                    &json!({"type": "string"}),
                                ),
                            ),
                        ]),
                    ),
                ),
            ]),
        }
    }
}

/// The tools of all roles.
pub(super) fn all() -> Vec<Tool> {
    ToolName::ALL
        .into_iter()
        .map(|tool| Tool {
            name: tool.as_str().to_owned(),
            description: tool.description().to_owned(),
            input_schema: tool.input_schema(),
        })
        .collect()
}

/// A closed object whose properties are all required, as strict tools want it.
fn object(properties: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = properties.iter().map(|&(name, _)| name).collect();
    let properties: serde_json::Map<String, Value> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn list(description: &str, items: &Value) -> Value {
    json!({"type": "array", "description": description, "items": items})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a schema and fails on anything that a strict tool may not have.
    fn check_strict(path: &str, schema: &Value) {
        let object = schema.as_object().unwrap_or_else(|| panic!("{path} is not an object"));
        for keyword in object.keys() {
            assert!(
                matches!(
                    keyword.as_str(),
                    "type"
                        | "description"
                        | "properties"
                        | "required"
                        | "additionalProperties"
                        | "items"
                ),
                "{path} has the keyword {keyword}"
            );
        }
        match object["type"].as_str().unwrap() {
            "object" => {
                assert_eq!(object["additionalProperties"], json!(false), "{path}");
                let properties = object["properties"].as_object().unwrap();
                let required: Vec<&str> = object["required"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str)
                    .collect();
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                assert_eq!(required, names, "{path}");
                for (name, property) in properties {
                    check_strict(&format!("{path}.{name}"), property);
                }
            }
            "array" => check_strict(&format!("{path}[]"), &object["items"]),
            "string" | "integer" | "number" => {}
            other => panic!("{path} has the type {other}"),
        }
    }

    #[test]
    fn schemas_are_within_what_strict_tools_allow() {
        for tool in all() {
            assert_eq!(tool.input_schema["type"], "object");
            check_strict(&tool.name, &tool.input_schema);
        }
    }

    #[test]
    fn names_find_their_tools() {
        for tool in ToolName::ALL {
            assert_eq!(ToolName::named(tool.as_str()), Some(tool));
        }
        assert_eq!(ToolName::named("shoot"), None);
    }
}
