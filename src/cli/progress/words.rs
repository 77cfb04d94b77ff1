//! Events in words.

use crate::studio::events::{Event, Progress, Step};

/// The name of a step.
pub(super) const fn step(step: Step) -> &'static str {
    match step {
        Step::Image => "image",
        Step::Clip => "clip",
        Step::Card => "card",
    }
}

/// A line for an event that somebody who reads a log wants to know of; none for mere progress.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { run_id, resumed, .. } => {
            let verb = if *resumed { "going on with" } else { "starting" };
            format!("{verb} run {}", run_id.short())
        }
        Event::Quoted { low_usd, high_usd } if low_usd == high_usd => {
            format!("quote: {high_usd}")
        }
        Event::Quoted { low_usd, high_usd } => format!("quote: {low_usd} to {high_usd}"),
        Event::Recalled { found, embedder } => match found {
            0 => format!("nothing similar in earlier work ({embedder})"),
            1 => format!("recalled 1 thing from earlier work ({embedder})"),
            _ => format!("recalled {found} things from earlier work ({embedder})"),
        },
        Event::Turn { component, turn, note } => {
            format!("{}, turn {turn}: {note}", role(component))
        }
        Event::StoryboardReady { title, shots, duration_seconds, author } => {
            let shots = if *shots == 1 { "1 shot".to_owned() } else { format!("{shots} shots") };
            format!(
                "storyboard “{title}”: {shots}, {} s, by {author}",
                duration_seconds.normalize()
            )
        }
        Event::Planned { plan_usd } => format!("images and clips to buy: {plan_usd}"),
        Event::Reused { shot, step: kind, project, project_shot, saved_usd, .. } => {
            let kind = step(*kind);
            format!(
                "shot {shot}: the {kind} of shot {project_shot} of “{project}” is used again, {saved_usd} saved"
            )
        }
        Event::Shot { shot, step: kind, progress } => {
            let kind = step(*kind);
            match progress {
                Progress::Submitted => format!("shot {shot}: the {kind} is ordered"),
                Progress::Done { already: false } => format!("shot {shot}: the {kind} is there"),
                Progress::Done { already: true } => {
                    format!("shot {shot}: the {kind} was there already")
                }
                Progress::Failed { message } => {
                    format!("shot {shot}: the {kind} failed: {message}")
                }
                Progress::Waiting | Progress::Running { .. } | Progress::Downloading { .. } => {
                    return None;
                }
            }
        }
        Event::Film { percent: 0 } => "putting the film together".to_owned(),
        Event::Film { .. } => return None,
        Event::Note { message } => message.clone(),
        Event::FilmReady { duration_seconds, .. } => {
            format!("the film is there: {} s", duration_seconds.normalize())
        }
    })
}

/// Who speaks, for people.
fn role(component: &str) -> &str {
    match component {
        "conversation" => "Orchestrator",
        "writer" => "Writer",
        "director" => "Director",
        other => other,
    }
}
