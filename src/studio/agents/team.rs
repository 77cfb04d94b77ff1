//! Drives the conversations: takes turns, deals with every way a turn can end, runs the tools
//! that were called, and keeps the bounds.

use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::providers::{LanguageReply, LanguageRequest, StopReason};
use crate::studio::agents::conversation::{Answer, Conversation, ToolCall};
use crate::studio::agents::error::{AgentError, LibraryError};
use crate::studio::agents::prompts;
use crate::studio::agents::role::Role;
use crate::studio::agents::submissions;
use crate::studio::agents::tools::{self, ToolName};
use crate::studio::agents::{
    Assignment, Creation, Library, MOST_FULL_ANSWERS, MOST_LOOKUPS, MOST_QUESTIONS, Turns,
    most_output_tokens,
};
use crate::studio::events::{Event, EventSink};
use crate::studio::script::Script;
use crate::studio::storyboard::{SHORTEST_SHOT_SECONDS, Storyboard, counted_shots};

/// How far a film may be from the length asked for, as
/// [`Storyboard::check`](crate::studio::storyboard::Storyboard::check) has it.
const LENGTH_TOLERANCE_SECONDS: Decimal = Decimal::from_parts(5, 0, 0, false, 1);

/// A result that was handed in, and the JSON in which the other roles read it.
#[derive(Debug)]
struct Handed<Work> {
    work: Work,
    json: String,
}

/// The team at work on one film.
pub(super) struct Team<'a> {
    assignment: &'a Assignment,
    turns: &'a dyn Turns,
    library: &'a dyn Library,
    events: &'a EventSink,
    /// What every conversation begins with: the shared prefix and no messages.
    blank: LanguageRequest,
    briefing: [String; 2],
    script: Option<Handed<Script>>,
    storyboard: Option<Handed<Storyboard>>,
    turns_taken: [u32; 3],
    questions: u32,
    lookups: u32,
    output_tokens: u64,
}

impl<'a> Team<'a> {
    /// Puts a team together. Fails where no storyboard could fulfil the assignment.
    pub(super) fn new(
        assignment: &'a Assignment,
        turns: &'a dyn Turns,
        library: &'a dyn Library,
        events: &'a EventSink,
    ) -> Result<Self, AgentError> {
        check_feasible(assignment)?;
        Ok(Self {
            assignment,
            turns,
            library,
            events,
            blank: LanguageRequest {
                model: assignment.model.clone(),
                system: prompts::SYSTEM.to_owned(),
                tools: tools::all(),
                messages: Vec::new(),
                max_output_tokens: most_output_tokens(assignment.brief.shots),
            },
            briefing: [prompts::taste(assignment), prompts::assignment(assignment)],
            script: None,
            storyboard: None,
            turns_taken: [0; 3],
            questions: 0,
            lookups: 0,
            output_tokens: 0,
        })
    }

    /// The Orchestrator's conversation, until its storyboard is accepted.
    pub(super) async fn create(mut self) -> Result<Creation, AgentError> {
        let mut conversation = self.open(Role::Orchestrator, prompts::orchestrator());
        loop {
            let calls = self.next_calls(&mut conversation).await?;
            let mut answers: Vec<Option<Answer>> = vec![None; calls.len()];

            // A storyboard that is accepted ends the film's planning, so nothing else of that
            // turn needs to be done or paid for.
            for (call, answer) in calls.iter().zip(&mut answers) {
                match own_tool(Role::Orchestrator, call) {
                    Err(refusal) => *answer = Some(refusal),
                    Ok(ToolName::SubmitStoryboard) => match self.accept(&call.input) {
                        Ok(creation) => return Ok(creation),
                        Err(refusal) => *answer = Some(refusal),
                    },
                    Ok(_) => {}
                }
            }
            self.look_up(&calls, &mut answers).await?;
            // The Writer first, whatever the order of the calls: the Director works from the
            // script.
            for asked in [ToolName::AskWriter, ToolName::AskDirector] {
                for (call, answer) in calls.iter().zip(&mut answers) {
                    if answer.is_none() && ToolName::named(&call.name) == Some(asked) {
                        *answer = Some(self.ask(asked, &call.input).await?);
                    }
                }
            }
            let answers = answers
                .into_iter()
                .map(|answer| answer.unwrap_or_else(|| Answer::Failed("nothing was done".into())))
                .collect();
            conversation.answer(calls, answers)?;
        }
    }

    /// Takes the Orchestrator's storyboard, if it can be shot and was written for.
    fn accept(&mut self, input: &Value) -> Result<Creation, Answer> {
        let storyboard = read_storyboard(self.assignment, input).map_err(Answer::Broken)?;
        let script = match self.script.take() {
            Some(script) => script.work,
            None => Script::implied_by(&storyboard),
        };
        Ok(Creation { script, storyboard })
    }

    /// Runs the look-up tools of a turn, side by side.
    async fn look_up(
        &mut self,
        calls: &[ToolCall],
        answers: &mut [Option<Answer>],
    ) -> Result<(), AgentError> {
        let mut wanted = Vec::new();
        for (place, call) in calls.iter().enumerate() {
            let tool = match ToolName::named(&call.name) {
                Some(
                    tool @ (ToolName::SearchProjects
                    | ToolName::SearchFiles
                    | ToolName::ReadCampaign
                    | ToolName::ReadPreferences),
                ) if answers[place].is_none() => tool,
                _ => continue,
            };
            let query = match tool {
                ToolName::SearchProjects | ToolName::SearchFiles => {
                    submissions::read_query(&call.input)
                }
                _ => Ok(String::new()),
            };
            match query {
                Err(problem) => answers[place] = Some(Answer::Broken(problem)),
                Ok(_) if self.lookups == MOST_LOOKUPS => {
                    answers[place] = Some(Answer::Failed(format!(
                        "All {MOST_LOOKUPS} look-ups are used; go on with what you know."
                    )));
                }
                Ok(query) => {
                    self.lookups += 1;
                    wanted.push((place, tool, query));
                }
            }
        }
        let library = self.library;
        let found = join_all(wanted.iter().map(async |(_, tool, query)| match tool {
            ToolName::SearchProjects => library.search_projects(query).await,
            ToolName::SearchFiles => library.search_files(query).await,
            ToolName::ReadCampaign => library.read_campaign().await,
            _ => library.read_preferences().await,
        }))
        .await;
        for ((place, ..), found) in wanted.into_iter().zip(found) {
            answers[place] = Some(match found {
                Ok(found) => Answer::Found(prompts::finding(&found)),
                Err(LibraryError::Unavailable(why)) => Answer::Failed(format!(
                    "This look-up is not available now ({why}). Go on without it."
                )),
                Err(LibraryError::Stop(error)) => return Err(error.into()),
            });
        }
        Ok(())
    }

    /// Asks the Writer or the Director, in a conversation of their own.
    async fn ask(&mut self, asked: ToolName, input: &Value) -> Result<Answer, AgentError> {
        let request = match submissions::read_instructions(input) {
            Ok(request) => request,
            Err(problem) => return Ok(Answer::Broken(problem)),
        };
        if asked == ToolName::AskDirector && self.script.is_none() {
            return Ok(Answer::Failed(
                "There is no script yet. Call ask_writer first; the Director works from the script."
                    .to_owned(),
            ));
        }
        if self.questions == MOST_QUESTIONS {
            return Ok(Answer::Failed(format!(
                "All {MOST_QUESTIONS} questions are used. Call submit_storyboard with the best storyboard you have, corrected by yourself where needed."
            )));
        }
        self.questions += 1;
        let earlier_script = self.script.as_ref().map(|script| script.json.as_str());
        let json = if asked == ToolName::AskWriter {
            let opening = prompts::writer(self.assignment, &request, earlier_script);
            let wording = &self.assignment.wording;
            let script = self
                .commission(Role::Writer, opening, |input| {
                    let script = submissions::read_script(input)?;
                    wording.check_script(&script)?;
                    Ok(script)
                })
                .await?;
            self.script.insert(script).json.clone()
        } else {
            let opening = prompts::director(
                self.assignment,
                earlier_script.unwrap_or_default(),
                &request,
                self.storyboard.as_ref().map(|storyboard| storyboard.json.as_str()),
            );
            let assignment = self.assignment;
            let storyboard = self
                .commission(Role::Director, opening, |input| read_storyboard(assignment, input))
                .await?;
            self.storyboard.insert(storyboard).json.clone()
        };
        Ok(Answer::Found(json))
    }

    /// The conversation of a role whose only tool hands in its result, until that is accepted.
    async fn commission<Work>(
        &mut self,
        role: Role,
        opening: String,
        read: impl Fn(&Value) -> Result<Work, String>,
    ) -> Result<Handed<Work>, AgentError> {
        let mut conversation = self.open(role, opening);
        loop {
            let calls = self.next_calls(&mut conversation).await?;
            let mut answers = Vec::with_capacity(calls.len());
            for call in &calls {
                answers.push(match own_tool(role, call) {
                    Err(refusal) => refusal,
                    Ok(_) => match read(&call.input) {
                        Ok(work) => {
                            return Ok(Handed { work, json: call.input.to_string() });
                        }
                        Err(problem) => Answer::Broken(problem),
                    },
                });
            }
            conversation.answer(calls, answers)?;
        }
    }

    fn open(&self, role: Role, opening: String) -> Conversation {
        Conversation::open(role, self.blank.clone(), self.briefing.clone(), opening)
    }

    /// Takes turns until the model calls tools. There is at least one call in the result.
    async fn next_calls(
        &mut self,
        conversation: &mut Conversation,
    ) -> Result<Vec<ToolCall>, AgentError> {
        let role = conversation.role();
        loop {
            let reply = self.turn(conversation).await?;
            match reply.stop {
                StopReason::ToolUse | StopReason::EndTurn | StopReason::PauseTurn => {}
                StopReason::Refusal { category, explanation } => {
                    return Err(AgentError::Refused { role, category, explanation });
                }
                StopReason::MaxTokens => {
                    return Err(AgentError::CutOff { role, most: self.blank.max_output_tokens });
                }
                StopReason::ContextWindowExceeded => {
                    return Err(AgentError::ContextWindowExceeded { role });
                }
                // No stop sequences are ever asked for, so this is as strange as a new reason.
                StopReason::StopSequence => {
                    return Err(AgentError::UnexpectedStop {
                        role,
                        reason: "stop_sequence".to_owned(),
                    });
                }
                StopReason::Other(reason) => {
                    return Err(AgentError::UnexpectedStop { role, reason });
                }
            }
            let calls = ToolCall::all_in(role, &reply.content)?;
            if !calls.is_empty() {
                conversation.hear(reply.content);
                return Ok(calls);
            }
            if reply.stop == StopReason::PauseTurn {
                conversation.hear(reply.content);
                conversation.resume();
            } else {
                let content = reply.content.clone();
                conversation.hear(reply.content);
                conversation.remind(&content)?;
            }
        }
    }

    /// Buys one turn and tells of it.
    async fn turn(&mut self, conversation: &mut Conversation) -> Result<LanguageReply, AgentError> {
        let most = MOST_FULL_ANSWERS * u64::from(self.blank.max_output_tokens);
        if self.output_tokens >= most {
            return Err(AgentError::TooMuchOutput { used: self.output_tokens, most });
        }
        let component = conversation.role().component();
        let reply = self.turns.turn(component, conversation.next_request()?).await?;
        self.output_tokens += reply.tokens.output;
        let taken = &mut self.turns_taken[conversation.role() as usize];
        *taken += 1;
        // Nobody has to listen.
        let _ = self.events.send(Event::Turn {
            component: component.as_str().to_owned(),
            turn: *taken,
            note: note(&reply),
        });
        Ok(reply)
    }
}

/// A storyboard that fulfils the assignment, in numbers and in words.
fn read_storyboard(assignment: &Assignment, input: &Value) -> Result<Storyboard, String> {
    let storyboard = submissions::read_storyboard(input, assignment)?;
    assignment.wording.check_storyboard(&storyboard)?;
    Ok(storyboard)
}

/// The tool of a call, if it is one of the role's own.
fn own_tool(role: Role, call: &ToolCall) -> Result<ToolName, Answer> {
    let known = ToolName::named(&call.name);
    known.filter(|tool| role.tools().contains(tool)).ok_or_else(|| {
        let fault = match known {
            Some(tool) => format!("{} is not a tool of the {role}", tool.as_str()),
            None => "There is no tool of this name".to_owned(),
        };
        Answer::Failed(format!("{fault}. Your tools: {}.", role.tool_names()))
    })
}

/// What a turn did, in a few words.
fn note(reply: &LanguageReply) -> String {
    match &reply.stop {
        StopReason::Refusal { .. } => return "refused".to_owned(),
        StopReason::MaxTokens => return "was cut off".to_owned(),
        StopReason::ContextWindowExceeded => return "ran out of room".to_owned(),
        StopReason::StopSequence | StopReason::Other(_) => return "stopped oddly".to_owned(),
        StopReason::ToolUse | StopReason::EndTurn | StopReason::PauseTurn => {}
    }
    let mut notes: Vec<&str> = Vec::new();
    for block in reply.content.iter().filter(|block| block["type"] == "tool_use") {
        let note = block["name"]
            .as_str()
            .and_then(ToolName::named)
            .map_or("called a tool that does not exist", ToolName::note);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    match (notes.is_empty(), reply.stop == StopReason::PauseTurn) {
        (false, _) => notes.join(", "),
        (true, true) => "paused".to_owned(),
        (true, false) => "answered in text".to_owned(),
    }
}

/// Whether any storyboard could pass the check, before anything is paid for the attempt.
fn check_feasible(assignment: &Assignment) -> Result<(), AgentError> {
    let (shots, asked) = (assignment.brief.shots, assignment.brief.duration_seconds.normalize());
    let most = Decimal::from(shots) * Decimal::from(assignment.longest_shot_seconds);
    let least = Decimal::from(shots) * SHORTEST_SHOT_SECONDS;
    if asked - most > LENGTH_TOLERANCE_SECONDS {
        return Err(AgentError::Impossible(format!(
            "{} of at most {} s cannot fill {asked} s",
            counted_shots(shots as usize),
            assignment.longest_shot_seconds
        )));
    }
    if least - asked > LENGTH_TOLERANCE_SECONDS {
        return Err(AgentError::Impossible(format!(
            "{shots} shots of at least {SHORTEST_SHOT_SECONDS} s do not fit into {asked} s"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod tests;
