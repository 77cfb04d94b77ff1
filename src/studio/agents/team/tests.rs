//! Whole conversations with a scripted model.

use rust_decimal_macros::dec;
use serde_json::{Value, json};

use crate::ledger::TillError;
use crate::ledger::till::Component;
use crate::providers::{
    FailureClass, LanguageReply, LanguageRequest, Message, MoneyState, Provider, ProviderError,
    StopReason, UserBlock,
};
use crate::studio::agents::rehearsal;
use crate::studio::agents::rehearsal::{
    Rehearsed, Shelf, ask_director, ask_writer, assignment, calling, good_turns, rehearse,
    rehearse_with, reply, saying, script_input, storyboard_input, submit_script, submit_storyboard,
};
use crate::studio::agents::{
    AgentError, Assignment, MOST_LOOKUPS, MOST_QUESTIONS, Role, most_output_tokens,
};
use crate::studio::wording::Wording;

/// The blocks of our last message in a request.
fn last_said(request: &LanguageRequest) -> &[UserBlock] {
    match request.messages.last() {
        Some(Message::User(blocks)) => blocks,
        other => panic!("the last message is not ours: {other:?}"),
    }
}

/// The tool results of our last message: id, content, whether it is an error.
fn results(request: &LanguageRequest) -> Vec<(&str, &str, bool)> {
    last_said(request)
        .iter()
        .map(|block| match block {
            UserBlock::ToolResult { tool_use_id, content, is_error, .. } => {
                (tool_use_id.as_str(), content.as_str(), *is_error)
            }
            other => panic!("no result among the results: {other:?}"),
        })
        .collect()
}

/// The first message of a request, as one text.
fn first_message(request: &LanguageRequest) -> String {
    let Message::User(blocks) = &request.messages[0] else { panic!("not ours") };
    blocks
        .iter()
        .map(|block| match block {
            UserBlock::Text { text, .. } => text.as_str(),
            other => panic!("no text in the first message: {other:?}"),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Plays the replies and expects an error.
async fn fails(replies: Vec<LanguageReply>) -> (AgentError, Rehearsed) {
    let mut rehearsed = rehearse(replies).await;
    let outcome = std::mem::replace(&mut rehearsed.outcome, Err(TillError::Cancelled.into()));
    (outcome.expect_err("a storyboard came out"), rehearsed)
}

#[tokio::test]
async fn a_good_film_goes_through_all_three_roles() {
    let rehearsed = rehearse(good_turns()).await;
    let creation = rehearsed.outcome.unwrap();
    assert_eq!(creation.script.title, "Steam");
    assert_eq!(creation.storyboard.duration_seconds(), dec!(10));
    assert_eq!(rehearsed.left_over, 0);

    let components: Vec<&str> =
        rehearsed.asked.iter().map(|(component, _)| component.as_str()).collect();
    assert_eq!(
        components,
        ["conversation", "conversation", "writer", "conversation", "director", "conversation"]
    );
    assert_eq!(
        rehearsed.notes,
        [
            "conversation 1: searched past projects, searched the files, read the campaign, read the preferences",
            "conversation 2: asked the Writer",
            "writer 1: submitted the script",
            "conversation 3: asked the Director",
            "director 1: submitted the storyboard",
            "conversation 4: submitted the storyboard",
        ]
    );
    // What the Writer and the Director handed in reaches the Orchestrator as they wrote it.
    assert_eq!(
        results(&rehearsed.asked[3].1),
        [("toolu_ask_writer_0", script_input().to_string().as_str(), false)]
    );
    assert_eq!(
        results(&rehearsed.asked[5].1),
        [("toolu_ask_director_0", storyboard_input().to_string().as_str(), false)]
    );
}

#[tokio::test]
async fn each_role_is_told_who_it_is_and_what_it_needs() {
    let rehearsed = rehearse(good_turns()).await;
    for (place, role, needs) in [
        (0, "Role: Orchestrator", "food video"),
        (2, "Role: Writer", "Write about steam."),
        (4, "Role: Director", "A lid trembles over a pot."),
    ] {
        let text = first_message(&rehearsed.asked[place].1);
        assert_eq!(text.lines().filter(|line| line.starts_with("Role: ")).count(), 1);
        for line in [role, "Shots: 2", "Length: 10 seconds", "Aspect: 9:16"] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        for part in [needs, "soup in a blue bowl", "Likes slow pans.", "Winter kitchen"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}

#[tokio::test]
async fn parallel_calls_are_answered_in_one_message_in_their_order() {
    let shelf = Shelf { failing: Some(("search_files", false)), ..Shelf::default() };
    let replies = good_turns().into_iter().map(Ok).collect();
    let rehearsed = rehearse_with(&assignment(), replies, shelf).await;
    rehearsed.outcome.unwrap();
    assert_eq!(rehearsed.looked_up.len(), 4);
    assert_eq!(
        results(&rehearsed.asked[1].1),
        [
            (
                "toolu_search_projects_0",
                "<recalled>\nsearch_projects found food\n</recalled>",
                false
            ),
            (
                "toolu_search_files_1",
                "This look-up is not available now (the embedder is away). Go on without it.",
                true
            ),
            ("toolu_read_campaign_2", "<recalled>\nread_campaign found \n</recalled>", false),
            ("toolu_read_preferences_3", "<recalled>\nread_preferences found \n</recalled>", false),
        ]
    );
}

#[tokio::test]
async fn the_writer_works_before_the_director_whatever_the_order_of_the_calls() {
    let both = calling(&[
        ("ask_director", json!({"instructions": "Warm light."})),
        ("ask_writer", json!({"instructions": "Write."})),
    ]);
    let rehearsed =
        rehearse(vec![both, submit_script(), submit_storyboard(), submit_storyboard()]).await;
    rehearsed.outcome.unwrap();
    assert_eq!(rehearsed.asked[1].0, Component::Writer);
    assert_eq!(rehearsed.asked[2].0, Component::Director);
    let answered: Vec<&str> = results(&rehearsed.asked[3].1).iter().map(|(id, ..)| *id).collect();
    assert_eq!(answered, ["toolu_ask_director_0", "toolu_ask_writer_1"]);
}

#[tokio::test]
async fn a_second_question_shows_the_earlier_work() {
    let rehearsed = rehearse(vec![
        ask_writer(),
        submit_script(),
        calling(&[("ask_writer", json!({"instructions": "Shorter."}))]),
        submit_script(),
        ask_director(),
        submit_storyboard(),
        ask_director(),
        submit_storyboard(),
        submit_storyboard(),
    ])
    .await;
    rehearsed.outcome.unwrap();
    let earlier = |place: usize| first_message(&rehearsed.asked[place].1).contains("Your earlier ");
    assert_eq!([1, 3, 5, 7].map(earlier), [false, true, false, true]);
}

#[tokio::test]
async fn another_roles_tool_is_refused_with_the_roles_own() {
    let rehearsed = rehearse(vec![
        calling(&[("submit_script", script_input())]),
        ask_writer(),
        calling(&[
            ("search_files", json!({"query": "menu"})),
            ("submit_storyboard", storyboard_input()),
            ("draw", json!({})),
        ]),
        submit_script(),
        ask_director(),
        submit_storyboard(),
        submit_storyboard(),
    ])
    .await;
    rehearsed.outcome.unwrap();
    let refused = results(&rehearsed.asked[1].1);
    assert!(refused[0].1.contains("submit_script is not a tool of the Orchestrator"));
    assert!(refused[0].1.contains("ask_writer, ask_director, submit_storyboard") && refused[0].2);
    let refused = results(&rehearsed.asked[3].1);
    assert_eq!(
        refused,
        [
            (
                "toolu_search_files_0",
                "search_files is not a tool of the Writer. Your tools: submit_script.",
                true
            ),
            (
                "toolu_submit_storyboard_1",
                "submit_storyboard is not a tool of the Writer. Your tools: submit_script.",
                true
            ),
            ("toolu_draw_2", "There is no tool of this name. Your tools: submit_script.", true),
        ]
    );
    assert_eq!(rehearsed.looked_up, Vec::<String>::new());
}

#[tokio::test]
async fn a_director_without_a_script_is_not_asked() {
    let rehearsed =
        rehearse(vec![ask_director(), ask_writer(), submit_script(), submit_storyboard()]).await;
    rehearsed.outcome.unwrap();
    let answered = results(&rehearsed.asked[1].1);
    assert!(answered[0].1.contains("There is no script yet") && answered[0].2);
}

#[tokio::test]
async fn a_storyboard_without_a_script_implies_one() {
    let rehearsed = rehearse(vec![submit_storyboard()]).await;
    let creation = rehearsed.outcome.unwrap();
    assert_eq!(creation.script.beats.len(), creation.storyboard.shots.len());
    creation.script.check().unwrap();
}

#[tokio::test]
async fn an_accepted_storyboard_ends_everything_at_once() {
    let rehearsed = rehearse(vec![
        ask_writer(),
        submit_script(),
        calling(&[
            ("search_files", json!({"query": "menu"})),
            ("ask_director", json!({"instructions": "Again."})),
            ("submit_storyboard", storyboard_input()),
        ]),
    ])
    .await;
    rehearsed.outcome.unwrap();
    assert_eq!(rehearsed.looked_up, Vec::<String>::new());
}

#[tokio::test]
async fn text_gets_one_reminder() {
    let mut replies = good_turns();
    replies.insert(0, saying("Here is what I think."));
    replies.insert(3, saying("A script: …"));
    let rehearsed = rehearse(replies).await;
    rehearsed.outcome.unwrap();
    assert!(matches!(
        last_said(&rehearsed.asked[1].1),
        [UserBlock::Text { text, .. }] if text.contains("Call submit_storyboard")
    ));
    assert!(matches!(
        last_said(&rehearsed.asked[4].1),
        [UserBlock::Text { text, .. }] if text.contains("Call submit_script")
    ));
    assert_eq!(rehearsed.notes[0], "conversation 1: answered in text");
}

#[tokio::test]
async fn text_twice_ends_the_work() {
    let (error, rehearsed) =
        fails(vec![ask_writer(), saying("Once."), saying("Twice."), submit_script()]).await;
    assert!(matches!(
        &error,
        AgentError::AnsweredInText { role: Role::Writer, tool: "submit_script", said }
            if said == "\"Twice.\""
    ));
    assert_eq!(rehearsed.left_over, 1);
}

#[tokio::test]
async fn broken_input_goes_back_once() {
    let mut broken = storyboard_input();
    broken["shots"].as_array_mut().unwrap().pop();
    let rehearsed = rehearse(vec![
        calling(&[("ask_writer", json!({"instruction": "typo"}))]),
        ask_writer(),
        calling(&[("submit_script", json!({"title": "Steam"}))]),
        submit_script(),
        ask_director(),
        calling(&[("submit_storyboard", broken.clone())]),
        submit_storyboard(),
        calling(&[("submit_storyboard", broken)]),
        submit_storyboard(),
    ])
    .await;
    rehearsed.outcome.unwrap();
    for (place, words) in [
        (1, "unknown field `instruction`"),
        (3, "missing field `logline`"),
        (6, "the storyboard has 1 shot; 2 were asked for"),
        (8, "the storyboard has 1 shot; 2 were asked for"),
    ] {
        let answered = results(&rehearsed.asked[place].1);
        assert!(answered[0].1.contains(words) && answered[0].2, "{answered:?}");
    }
}

#[tokio::test]
async fn broken_input_twice_ends_the_work() {
    let broken = || calling(&[("submit_script", json!({"title": 1}))]);
    let (error, rehearsed) = fails(vec![ask_writer(), broken(), broken(), submit_script()]).await;
    assert!(matches!(
        error,
        AgentError::BrokenInput { role: Role::Writer, tool: "submit_script", .. }
    ));
    assert_eq!(rehearsed.left_over, 1);

    let mut short = storyboard_input();
    short["shots"].as_array_mut().unwrap().pop();
    let submit = || calling(&[("submit_storyboard", short.clone())]);
    let (error, _) = fails(vec![ask_writer(), submit_script(), submit(), submit()]).await;
    assert_eq!(
        error.to_string(),
        "the Orchestrator called submit_storyboard twice with input that cannot be used: the storyboard has 1 shot; 2 were asked for"
    );
}

#[tokio::test]
async fn every_stop_reason_that_ends_the_work_says_why() {
    // The calls of these replies look whole; none of them may be used.
    let stopped = |stop| LanguageReply { stop, ..submit_script() };
    let refusal = StopReason::Refusal {
        category: Some("general_harms".to_owned()),
        explanation: Some("It asks for harm.".to_owned()),
    };
    for (stop, message, note) in [
        (
            refusal,
            "the Writer refused the brief (category: general_harms): It asks for harm.",
            "writer 1: refused",
        ),
        (
            StopReason::Refusal { category: None, explanation: None },
            "the Writer refused the brief",
            "writer 1: refused",
        ),
        (
            StopReason::MaxTokens,
            "the Writer's answer was cut off at 16000 output tokens",
            "writer 1: was cut off",
        ),
        (
            StopReason::ContextWindowExceeded,
            "the conversation with the Writer no longer fits the model's context window",
            "writer 1: ran out of room",
        ),
        (
            StopReason::StopSequence,
            "the Writer stopped for a reason that cannot be handled: stop_sequence",
            "writer 1: stopped oddly",
        ),
        (
            StopReason::Other("nap".to_owned()),
            "the Writer stopped for a reason that cannot be handled: nap",
            "writer 1: stopped oddly",
        ),
    ] {
        let (error, rehearsed) = fails(vec![ask_writer(), stopped(stop), submit_script()]).await;
        assert_eq!(error.to_string(), message);
        assert!(error.hint().is_some());
        assert_eq!(rehearsed.notes.last().map(String::as_str), Some(note));
        assert_eq!(rehearsed.left_over, 1);
    }
}

#[tokio::test]
async fn a_pause_is_gone_on_from() {
    let thinking = json!({"type": "thinking", "thinking": "", "signature": "a"});
    let mut replies = good_turns();
    replies.insert(0, reply(vec![thinking.clone()], StopReason::PauseTurn));
    let rehearsed = rehearse(replies).await;
    rehearsed.outcome.unwrap();
    assert_eq!(rehearsed.notes[0], "conversation 1: paused");
    let resumed = &rehearsed.asked[1].1;
    assert_eq!(resumed.messages[1], Message::Assistant(vec![thinking.clone()]));
    assert!(matches!(last_said(resumed), [UserBlock::Text { text, .. }] if text == "Go on."));

    let paused = || reply(vec![thinking.clone()], StopReason::PauseTurn);
    let (error, _) = fails((0..13).map(|_| paused()).collect()).await;
    assert!(matches!(error, AgentError::TooManyTurns { role: Role::Orchestrator, most: 12 }));
}

#[tokio::test]
async fn what_the_model_said_is_sent_back_byte_for_byte() {
    let odd: Value = serde_json::from_str(
        r#"{"type":"thinking","signature":"Z/+=\u00e9","thinking":"a\u2028b","later":{"z":1,"a":[2.50,1e2]}}"#,
    )
    .unwrap();
    let mut replies = good_turns();
    replies[0].content.insert(0, odd);
    replies[0].content.push(json!({"type": "redacted_thinking", "data": "x"}));
    let before = serde_json::to_string(&replies[0].content).unwrap();
    let rehearsed = rehearse(replies).await;
    rehearsed.outcome.unwrap();
    for place in [1, 3, 5] {
        let Message::Assistant(said) = &rehearsed.asked[place].1.messages[1] else { panic!() };
        assert_eq!(serde_json::to_string(said).unwrap(), before);
    }
}

#[tokio::test]
async fn an_unreadable_tool_call_ends_the_work() {
    let nameless = json!({"type": "tool_use", "id": "toolu_1", "input": {}});
    let (error, _) = fails(vec![reply(vec![nameless], StopReason::ToolUse)]).await;
    assert!(matches!(error, AgentError::Malformed { role: Role::Orchestrator, .. }));
}

#[tokio::test]
async fn turns_are_bounded() {
    let wrong_tool = || calling(&[("draw", json!({}))]);
    let (error, rehearsed) = fails((0..13).map(|_| wrong_tool()).collect()).await;
    assert!(matches!(error, AgentError::TooManyTurns { role: Role::Orchestrator, most: 12 }));
    assert_eq!(rehearsed.left_over, 1);

    let mut replies = vec![ask_writer()];
    replies.extend((0..5).map(|_| wrong_tool()));
    let (error, rehearsed) = fails(replies).await;
    assert!(matches!(error, AgentError::TooManyTurns { role: Role::Writer, most: 4 }));
    assert_eq!(rehearsed.left_over, 1);
}

#[tokio::test]
async fn questions_are_bounded_and_the_work_so_far_is_not_lost() {
    let mut replies = Vec::new();
    for _ in 0..MOST_QUESTIONS {
        replies.extend([ask_writer(), submit_script()]);
    }
    replies.extend([ask_director(), submit_storyboard()]);
    let rehearsed = rehearse(replies).await;
    rehearsed.outcome.unwrap();
    let (_, last) = rehearsed.asked.last().unwrap();
    assert!(results(last)[0].1.contains("All 6 questions are used"));
}

#[tokio::test]
async fn look_ups_are_bounded() {
    let many: Vec<(&str, Value)> =
        (0..=MOST_LOOKUPS).map(|_| ("search_files", json!({"query": "x"}))).collect();
    let rehearsed =
        rehearse(vec![calling(&many), ask_writer(), submit_script(), submit_storyboard()]).await;
    rehearsed.outcome.unwrap();
    assert_eq!(rehearsed.looked_up.len(), MOST_LOOKUPS as usize);
    let answered = results(&rehearsed.asked[1].1);
    assert_eq!(answered.len(), many.len());
    assert_eq!(answered.iter().filter(|(_, _, is_error)| *is_error).count(), 1);
}

#[tokio::test]
async fn output_is_bounded() {
    let mut long = ask_writer();
    long.tokens.output = 4 * u64::from(most_output_tokens(2));
    let (error, rehearsed) = fails(vec![long, submit_script()]).await;
    assert!(matches!(error, AgentError::TooMuchOutput { used: 64_000, most: 64_000 }));
    assert_eq!(rehearsed.left_over, 1);
}

#[tokio::test]
async fn the_tills_error_comes_back_as_it_was() {
    let refused = ProviderError {
        provider: Provider::Anthropic,
        class: FailureClass::Funds,
        money: MoneyState::NotCharged,
        status: Some(402),
        code: Some("billing_error".to_owned()),
        message: "no credit".to_owned(),
        request_id: Some("req_1".to_owned()),
        retry_after: None,
    };
    // In a turn of the Writer, one level down.
    let replies = vec![Ok(ask_writer()), Err(TillError::Provider(refused))];
    let rehearsed = rehearse_with(&assignment(), replies, Shelf::default()).await;
    assert!(matches!(
        rehearsed.outcome,
        Err(AgentError::Till(TillError::Provider(error)))
            if error.class == FailureClass::Funds && error.request_id.as_deref() == Some("req_1")
    ));

    // In a look-up that ends the work.
    let shelf = Shelf { failing: Some(("search_files", true)), ..Shelf::default() };
    let replies = good_turns().into_iter().map(Ok).collect();
    let rehearsed = rehearse_with(&assignment(), replies, shelf).await;
    assert!(matches!(rehearsed.outcome, Err(AgentError::Till(TillError::Cancelled))));
}

#[tokio::test]
async fn an_impossible_film_costs_nothing() {
    for (seconds, shots, words) in [
        (dec!(21), 2, "2 shots of at most 10 s cannot fill 21 s"),
        (dec!(2.4), 3, "3 shots of at least 1 s do not fit into 2.4 s"),
    ] {
        let mut known = assignment();
        known.brief.duration_seconds = seconds;
        known.brief.shots = shots;
        let rehearsed = rehearse_with(&known, Vec::new(), Shelf::default()).await;
        assert_eq!(rehearsed.outcome.unwrap_err().to_string(), words);
        assert!(rehearsed.asked.is_empty());
    }
}

#[tokio::test]
async fn the_same_replies_lead_to_the_same_requests() {
    let requests = async || {
        let rehearsed = rehearse(good_turns()).await;
        rehearsed
            .asked
            .iter()
            .map(|(_, request)| serde_json::to_string(request).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(requests().await, requests().await);
}

#[test]
fn planning_can_be_moved_between_threads() {
    fn needs_send<T: Send>(_: T) {}
    let known = assignment();
    needs_send(rehearse_with(&known, Vec::new(), Shelf::default()));
}

/// A campaign that avoids a word.
fn avoiding(word: &str) -> Assignment {
    let wording = Wording { to_avoid: vec![word.to_owned()], ..Wording::default() };
    Assignment { wording, ..rehearsal::assignment() }
}

#[tokio::test]
async fn a_word_to_avoid_is_sent_back_and_the_second_time_ends_the_work() {
    let mut better = rehearsal::script_input();
    better["beats"][1]["action"] = json!("Fog fills the window.");
    better["title"] = json!("Breath");
    let mut storyboard = rehearsal::storyboard_input();
    storyboard["title"] = json!("Breath");
    for shot in storyboard["shots"].as_array_mut().unwrap() {
        shot["motion_prompt"] = json!("The lid trembles. Static camera.");
    }
    let turns = vec![
        rehearsal::ask_writer(),
        rehearsal::submit_script(),
        rehearsal::calling(&[("submit_script", better)]),
        rehearsal::ask_director(),
        rehearsal::submit_storyboard(),
        rehearsal::calling(&[("submit_storyboard", storyboard.clone())]),
        rehearsal::calling(&[("submit_storyboard", storyboard)]),
    ];
    let replies = |turns: Vec<LanguageReply>| turns.into_iter().map(Ok).collect();
    let rehearsed =
        rehearsal::rehearse_with(&avoiding("steams"), replies(turns), rehearsal::Shelf::default())
            .await;
    assert_eq!(rehearsed.outcome.unwrap().storyboard.title, "Breath");
    let sent_back: Vec<String> =
        rehearsed.asked.iter().map(|(_, request)| json!(request.messages).to_string()).collect();
    assert!(sent_back.iter().any(|sent| sent.contains("the title says")), "{sent_back:#?}");

    let stubborn =
        vec![rehearsal::ask_writer(), rehearsal::submit_script(), rehearsal::submit_script()];
    let rehearsed = rehearsal::rehearse_with(
        &avoiding("steam"),
        replies(stubborn),
        rehearsal::Shelf::default(),
    )
    .await;
    let error = rehearsed.outcome.unwrap_err();
    assert!(matches!(error, AgentError::BrokenInput { role: Role::Writer, .. }), "{error}");
    assert!(error.to_string().contains("the campaign avoids \"steam\""), "{error}");
}
