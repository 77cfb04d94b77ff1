//! A run's events as bars, as plain lines, or as lines of JSON.
//!
//! The work sends [`Event`]s and never learns who listens: bars on a terminal, one line for each
//! important event where standard error is not one, one JSON object for each event with `--json`,
//! nothing with `--quiet`.

mod batch;
mod board;
mod words;

use std::future::Future;
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::output::Output;
use crate::ids::RunId;
use crate::studio::events::{Event, EventSink};

pub use self::batch::BatchBars;
use self::board::Board;

/// How often the whole's clock moves on.
const TICK: Duration = Duration::from_millis(250);

/// The consumer of a run's events. Ends with [`Bars::finish`].
#[derive(Debug)]
pub struct Bars {
    output: Output,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Bars {
    /// Begins to listen. Whatever is sent into the sink is shown.
    pub fn start(output: &Output) -> (EventSink, Self) {
        let (sink, events) = unbounded_channel();
        let end = CancellationToken::new();
        let task = tokio::spawn(listen(events, output.clone(), end.clone()));
        (sink, Self { output: output.clone(), end, task })
    }

    /// Shows what was sent so far, clears the bars and stops listening. Senders may still be
    /// around; what they send later is not shown.
    pub async fn finish(self) {
        self.end.cancel();
        // The listener only ends early by a panic, which it has told of by itself.
        let _ = self.task.await;
    }

    /// Takes the bars off the screen while `asking`, as a prompt does.
    pub async fn suspend<T>(&self, asking: impl Future<Output = T>) -> T {
        if !self.output.is_animated() {
            return asking.await;
        }
        let bars = self.output.bars();
        let _ = bars.clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
        let answer = asking.await;
        bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        answer
    }
}

/// Consumes events until the end is asked for, and then what is left of them.
async fn listen(mut events: UnboundedReceiver<Event>, output: Output, end: CancellationToken) {
    let mut view = View::new(&output);
    let mut journal = Journal::default();
    let mut take = |event: Event| {
        journal.write(&event);
        view.show(&event);
    };
    loop {
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => take(event),
                None => break,
            },
            () = end.cancelled() => {
                while let Ok(event) = events.try_recv() {
                    take(event);
                }
                break;
            }
        }
    }
    view.end();
}

/// Writes a run's events into the log: what is worth a line, and the rest for those who look closely.
#[derive(Default)]
struct Journal {
    run: Option<RunId>,
}

impl Journal {
    fn write(&mut self, event: &Event) {
        if let Event::RunStarted { run_id, .. } = event {
            self.run = Some(*run_id);
        }
        let run = self.run.map(tracing::field::display);
        if let Some(line) = words::line(event) {
            tracing::info!(run, "{line}");
        } else {
            tracing::debug!(run, ?event, "progress");
        }
    }
}

/// Who looks at the events.
enum View {
    Bars(Output, Box<Board>),
    Lines(Output),
    Json(Output),
    Nobody,
}

impl View {
    fn new(output: &Output) -> Self {
        let output = output.clone();
        match () {
            () if output.is_quiet() => Self::Nobody,
            () if output.is_json() => Self::Json(output),
            () if output.is_animated() => {
                let (rows, columns) = console::Term::stderr().size();
                let board = Board::new(output.bars().clone(), rows, columns);
                Self::Bars(output, Box::new(board))
            }
            () => Self::Lines(output),
        }
    }

    fn show(&mut self, event: &Event) {
        match self {
            Self::Bars(output, board) => {
                if let Some(line) = words::line(event).filter(|_| !board.draws(event)) {
                    output.status(line);
                }
                board.show(event);
            }
            Self::Lines(output) => {
                if let Some(line) = words::line(event) {
                    output.status(line);
                }
            }
            Self::Json(output) => output.json(event),
            Self::Nobody => {}
        }
    }

    fn end(self) {
        if let Self::Bars(_, board) = self {
            board.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::ids::ProjectId;
    use crate::studio::events::{Progress, Step};

    fn shot(shot: u32, progress: Progress) -> Event {
        Event::Shot { shot, step: Step::Clip, progress }
    }

    async fn shown(format: Format, quiet: bool) -> (String, String) {
        let (output, stdout, stderr) = Output::captured(format, quiet);
        let (sink, bars) = Bars::start(&output);
        let (project_id, run_id) = (ProjectId::new(), RunId::new());
        for event in [
            Event::RunStarted { project_id, run_id, resumed: false },
            shot(1, Progress::Submitted),
            shot(1, Progress::Running { percent: Some(40) }),
            shot(1, Progress::Done { already: false }),
            shot(2, Progress::Failed { message: "refused".to_owned() }),
        ] {
            sink.send(event).unwrap();
        }
        // The sink is still alive: the end does not wait for it.
        bars.finish().await;
        drop(sink);
        (stdout.text(), stderr.text())
    }

    #[tokio::test]
    async fn scripts_get_every_event_as_a_line() {
        let (stdout, stderr) = shown(Format::Json, false).await;
        let events: Vec<serde_json::Value> =
            stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 5);
        assert_eq!(events[0]["event"], "run_started");
        assert_eq!(events[2]["progress"]["percent"], 40);
        assert_eq!(stderr, "");
    }

    #[tokio::test]
    async fn a_pipe_gets_the_important_lines() {
        let (stdout, stderr) = shown(Format::Human, false).await;
        assert_eq!(stdout, "");
        assert_eq!(stderr.lines().count(), 4, "{stderr}");
        assert!(stderr.contains("shot 1: the clip is there"), "{stderr}");
        assert!(stderr.contains("shot 2: the clip failed: refused"), "{stderr}");
    }

    #[tokio::test]
    async fn quiet_is_quiet() {
        assert_eq!(shown(Format::Human, true).await, (String::new(), String::new()));
        assert_eq!(shown(Format::Json, true).await, (String::new(), String::new()));
    }
}
