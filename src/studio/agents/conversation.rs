//! The conversation of one role: what was said so far, and what the cache shall remember of it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::providers::{LanguageRequest, Message, UserBlock};
use crate::studio::agents::error::AgentError;
use crate::studio::agents::role::Role;
use crate::studio::agents::tools::ToolName;

/// How much of a text answer an error shows, in characters.
const SHOWN_TEXT: usize = 200;

/// A tool call of the model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    /// The vendor's id of the call, which the answer carries.
    pub(super) id: String,
    /// The tool's name, as the model wrote it.
    pub(super) name: String,
    /// Its input, unchecked.
    pub(super) input: Value,
}

impl ToolCall {
    /// Every tool call among the content blocks of a reply, in order.
    pub(super) fn all_in(role: Role, content: &[Value]) -> Result<Vec<Self>, AgentError> {
        content
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .map(|block| match (block["id"].as_str(), block["name"].as_str()) {
                (Some(id), Some(name)) => Ok(Self {
                    id: id.to_owned(),
                    name: name.to_owned(),
                    input: block["input"].clone(),
                }),
                _ => {
                    Err(AgentError::Malformed { role, problem: "a tool call has no id or no name" })
                }
            })
            .collect()
    }
}

/// What a tool call is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// What the tool found.
    Found(String),
    /// It did not work, or not now.
    Failed(String),
    /// Its input cannot be used, and why. The second time ends the conversation.
    Broken(String),
}

/// A conversation that is going on.
#[derive(Debug)]
pub(super) struct Conversation {
    role: Role,
    request: LanguageRequest,
    turns: u32,
    was_reminded: bool,
    broken: BTreeSet<ToolName>,
}

impl Conversation {
    /// Opens a conversation. `briefing` holds the taste, which is the same for many films, and the
    /// assignment, which is the same for every role of one; `opening` is the role's own.
    pub(super) fn open(
        role: Role,
        mut request: LanguageRequest,
        briefing: [String; 2],
        opening: String,
    ) -> Self {
        let [taste, assignment] = briefing;
        request.messages = vec![Message::User(vec![text(taste), text(assignment), text(opening)])];
        Self { role, request, turns: 0, was_reminded: false, broken: BTreeSet::new() }
    }

    /// Whose conversation it is.
    pub(super) const fn role(&self) -> Role {
        self.role
    }

    /// The next request, with its cache breakpoints in place, if one more turn is left.
    pub(super) fn next_request(&mut self) -> Result<&LanguageRequest, AgentError> {
        let most = self.role.most_turns();
        if self.turns == most {
            return Err(AgentError::TooManyTurns { role: self.role, most });
        }
        self.turns += 1;
        self.place_breakpoints();
        Ok(&self.request)
    }

    /// Appends what the model said, untouched. The vendor refuses empty messages, so an empty
    /// answer leaves no trace.
    pub(super) fn hear(&mut self, content: Vec<Value>) {
        if !content.is_empty() {
            self.request.messages.push(Message::Assistant(content));
        }
    }

    /// Answers every call of a turn in one message, in the order of the calls.
    pub(super) fn answer(
        &mut self,
        calls: Vec<ToolCall>,
        answers: Vec<Answer>,
    ) -> Result<(), AgentError> {
        self.count_broken(&calls, &answers)?;
        let results = calls
            .into_iter()
            .zip(answers)
            .map(|(call, answer)| {
                let (content, is_error) = match answer {
                    Answer::Found(content) => (content, false),
                    Answer::Failed(content) => (content, true),
                    Answer::Broken(problem) => (
                        format!(
                            "The input of {name} cannot be used: {problem}. Correct this and call {name} again with the complete input; a second mistake ends the conversation.",
                            name = call.name
                        ),
                        true,
                    ),
                };
                UserBlock::ToolResult { tool_use_id: call.id, content, is_error, cache: false }
            })
            .collect();
        self.say(results);
        Ok(())
    }

    /// Lets the model go on after a pause. A conversation always ends in words of ours: one that
    /// ends in the model's own is taken for a prefilled answer, and refused.
    pub(super) fn resume(&mut self) {
        self.say(vec![text("Go on.".to_owned())]);
    }

    /// Reminds the model, once, that text reaches nobody.
    pub(super) fn remind(&mut self, content: &[Value]) -> Result<(), AgentError> {
        let tool = self.role.submission().as_str();
        if self.was_reminded {
            return Err(AgentError::AnsweredInText {
                role: self.role,
                tool,
                said: beginning(content),
            });
        }
        self.was_reminded = true;
        self.say(vec![text(format!(
            "Text reaches nobody. Call {tool} with the complete result, or one of your other tools first. Your tools: {}. This is the only reminder.",
            self.role.tool_names()
        ))]);
        Ok(())
    }

    /// Appends blocks of ours. After an empty answer they join our last message.
    fn say(&mut self, blocks: Vec<UserBlock>) {
        match self.request.messages.last_mut() {
            Some(Message::User(said)) => said.extend(blocks),
            _ => self.request.messages.push(Message::User(blocks)),
        }
    }

    /// A tool whose input is broken in two turns ends the conversation. Several broken calls of
    /// one turn count once: the model has not yet been told.
    fn count_broken(&mut self, calls: &[ToolCall], answers: &[Answer]) -> Result<(), AgentError> {
        let mut broken_now = BTreeSet::new();
        for (call, answer) in calls.iter().zip(answers) {
            if let (Some(tool), Answer::Broken(problem)) = (ToolName::named(&call.name), answer) {
                if self.broken.contains(&tool) {
                    return Err(AgentError::BrokenInput {
                        role: self.role,
                        tool: tool.as_str(),
                        problem: problem.clone(),
                    });
                }
                broken_now.insert(tool);
            }
        }
        self.broken.append(&mut broken_now);
        Ok(())
    }

    /// Marks the places that the cache may remember. The system text ends in one of its own; three
    /// more are left, and which of them are worth their price is for the till to say.
    ///
    /// One stands after the assignment, which all roles of a film share. While nothing was answered
    /// yet, the others stand after the taste, which other films may share, and after the opening.
    /// Later they stand after our last two messages: the newest is what the next turn will read, the
    /// one before it is what this turn reads. Without the latter a turn with many parallel calls
    /// would lie beyond the twenty blocks that the vendor looks back.
    fn place_breakpoints(&mut self) {
        let mut ours: Vec<&mut Vec<UserBlock>> = self
            .request
            .messages
            .iter_mut()
            .filter_map(|message| match message {
                Message::User(blocks) => Some(blocks),
                Message::Assistant(_) => None,
            })
            .collect();
        for block in ours.iter_mut().flat_map(|blocks| blocks.iter_mut()) {
            set_breakpoint(block, false);
        }
        for blocks in ours.iter_mut().rev().take(2) {
            if let Some(last) = blocks.last_mut() {
                set_breakpoint(last, true);
            }
        }
        let is_opening = ours.len() == 1;
        if let Some([taste, assignment, ..]) = ours.first_mut().map(|blocks| blocks.as_mut_slice())
        {
            set_breakpoint(taste, is_opening);
            set_breakpoint(assignment, true);
        }
    }
}

fn text(text: String) -> UserBlock {
    UserBlock::Text { text, cache: false }
}

/// A team is shown no pictures, so that every block can have a breakpoint.
const fn set_breakpoint(block: &mut UserBlock, is_set: bool) {
    match block {
        UserBlock::Text { cache, .. } | UserBlock::ToolResult { cache, .. } => *cache = is_set,
        UserBlock::Image { .. } => {}
    }
}

/// The beginning of the text in a reply, on one line.
fn beginning(content: &[Value]) -> String {
    let said = content
        .iter()
        .filter_map(|block| block["text"].as_str())
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ");
    if said.is_empty() {
        return "(no words)".to_owned();
    }
    match said.char_indices().nth(SHOWN_TEXT) {
        Some((end, _)) => format!("\"{}…\"", &said[..end]),
        None => format!("\"{said}\""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conversation() -> Conversation {
        let request = LanguageRequest {
            model: "claude".to_owned(),
            system: String::new(),
            tools: Vec::new(),
            messages: Vec::new(),
            max_output_tokens: 1,
        };
        let briefing = ["taste".to_owned(), "assignment".to_owned()];
        Conversation::open(Role::Orchestrator, request, briefing, "role".to_owned())
    }

    /// Where the breakpoints stand, as (message, block).
    fn breakpoints(request: &LanguageRequest) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (place, message) in request.messages.iter().enumerate() {
            if let Message::User(blocks) = message {
                for (index, block) in blocks.iter().enumerate() {
                    if matches!(
                        block,
                        UserBlock::Text { cache: true, .. }
                            | UserBlock::ToolResult { cache: true, .. }
                    ) {
                        found.push((place, index));
                    }
                }
            }
        }
        found
    }

    #[test]
    fn breakpoints_follow_what_is_shared_and_our_last_two_messages() {
        let mut conversation = conversation();
        let mut found = Vec::new();
        for turn in 0..4 {
            found.push(breakpoints(conversation.next_request().unwrap()));
            let calls: Vec<ToolCall> = (0..2)
                .map(|call| ToolCall {
                    id: format!("{turn}-{call}"),
                    name: "search_files".to_owned(),
                    input: json!({}),
                })
                .collect();
            conversation.hear(vec![json!({"type": "tool_use"})]);
            let answers = vec![Answer::Found(String::new()); 2];
            conversation.answer(calls, answers).unwrap();
        }
        assert_eq!(
            found,
            [
                vec![(0, 0), (0, 1), (0, 2)],
                vec![(0, 1), (0, 2), (2, 1)],
                vec![(0, 1), (2, 1), (4, 1)],
                vec![(0, 1), (4, 1), (6, 1)],
            ]
        );
    }

    #[test]
    fn an_empty_answer_leaves_no_empty_message_behind() {
        let mut conversation = conversation();
        conversation.hear(Vec::new());
        conversation.remind(&[]).unwrap();
        let request = conversation.next_request().unwrap();
        assert_eq!(request.messages.len(), 1);
        assert!(matches!(&request.messages[0], Message::User(blocks) if blocks.len() == 4));
    }

    #[test]
    fn two_broken_calls_of_one_turn_are_one_mistake() {
        let call = ToolCall {
            id: "1".to_owned(),
            name: "submit_storyboard".to_owned(),
            input: Value::Null,
        };
        let broken = Answer::Broken("no".to_owned());
        let mut conversation = conversation();
        conversation
            .answer(vec![call.clone(), call.clone()], vec![broken.clone(), broken.clone()])
            .unwrap();
        assert!(matches!(
            conversation.answer(vec![call], vec![broken]),
            Err(AgentError::BrokenInput { tool: "submit_storyboard", .. })
        ));
    }

    #[test]
    fn long_texts_are_shown_by_their_beginning() {
        let long = json!({"type": "text", "text": "é ".repeat(500)});
        let shown = beginning(&[json!({"type": "thinking", "thinking": "x"}), long]);
        assert_eq!(shown.chars().count(), SHOWN_TEXT + 3);
        assert_eq!(beginning(&[]), "(no words)");
    }
}
