//! Many films at once: one bar for each that is at work, one for all; lines or JSON elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::truncate_str;
use indicatif::ProgressBar;
use serde_json::Value;

use super::board::{Shot, State, style};
use super::{TICK, words};
use crate::cli::output::Output;
use crate::ids::RunId;
use crate::studio::events::{Event, Progress, Step};

/// Columns that a film's bar leaves to words.
const WORDS: usize = 42;

/// Shows how the films of a batch come along.
#[derive(Debug)]
pub struct BatchBars {
    output: Output,
    films: HashMap<RunId, (i32, String)>,
    state: Mutex<Board>,
}

#[derive(Debug)]
struct Board {
    whole: Option<ProgressBar>,
    at_work: BTreeMap<RunId, Film>,
    done: usize,
    /// What stopped, as long as it is not taken up again.
    stopped: BTreeSet<RunId>,
}

/// A film that is at work.
#[derive(Debug)]
struct Film {
    bar: Option<ProgressBar>,
    shots: BTreeMap<u32, Shot>,
    words: String,
}

/// An event of one film, as `--json` prints it.
fn of_film(line: i32, run: RunId, event: &Event) -> Value {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("line".to_owned(), line.into());
        fields.insert("run_id".to_owned(), run.to_string().into());
    }
    value
}

impl BatchBars {
    /// Begins to show films, given by run with the line of the file and the brief.
    pub fn start(output: &Output, films: Vec<(RunId, i32, String)>) -> Self {
        let whole = output.is_animated().then(|| {
            let whole = output.bars().add(ProgressBar::new_spinner());
            whole.set_style(style("{spinner} {msg}  {elapsed}"));
            whole.enable_steady_tick(TICK);
            whole
        });
        let films = films.into_iter().map(|(run, line, brief)| (run, (line, brief))).collect();
        let board = Board { whole, at_work: BTreeMap::new(), done: 0, stopped: BTreeSet::new() };
        let bars = Self { output: output.clone(), films, state: Mutex::new(board) };
        bars.draw_whole(&bars.board());
        bars
    }

    /// A film was taken up.
    pub fn begins(&self, run: RunId) {
        let mut board = self.board();
        board.stopped.remove(&run);
        let bar = board.whole.as_ref().map(|whole| {
            let bar = self.output.bars().insert_before(whole, ProgressBar::new(100));
            bar.set_style(style("{prefix} {bar:20.cyan/dim} {msg}"));
            bar.set_prefix(format!("line {:>4}", self.line(run)));
            bar
        });
        board.at_work.insert(run, Film { bar, shots: BTreeMap::new(), words: String::new() });
        self.draw_whole(&board);
        drop(board);
        if !self.output.is_animated() && !self.output.is_json() {
            self.output.status(format!("{}: begins", self.name(run)));
        }
    }

    /// A film told something.
    pub fn told(&self, run: RunId, event: &Event) {
        if self.output.is_json() {
            if !self.output.is_quiet() {
                self.output.json(&of_film(self.line(run), run, event));
            }
            return;
        }
        let mut board = self.board();
        if let Some(film) = board.at_work.get_mut(&run) {
            film.take(event);
        }
        drop(board);
        // What needs somebody's eyes later stays on the screen.
        let stays = matches!(
            event,
            Event::Note { .. } | Event::Shot { progress: Progress::Failed { .. }, .. }
        );
        if stays && let Some(line) = words::line(event) {
            self.output.status(format!("{}: {line}", self.name(run)));
        }
    }

    /// A film was let go of: it is there, or this is why not.
    pub fn ended(&self, run: RunId, outcome: Result<String, String>) {
        let mut board = self.board();
        if let Some(bar) = board.at_work.remove(&run).and_then(|film| film.bar) {
            bar.finish_and_clear();
            self.output.bars().remove(&bar);
        }
        match &outcome {
            Ok(_) => board.done += 1,
            Err(_) => {
                board.stopped.insert(run);
            }
        }
        self.draw_whole(&board);
        let (done, all) = (board.done, self.films.len());
        drop(board);
        if self.output.is_json() {
            return;
        }
        let name = self.name(run);
        self.output.status(match outcome {
            Ok(what) => format!("[{done}/{all}] {name}: {what}"),
            Err(why) => format!("{name} stopped: {why}"),
        });
    }

    /// Takes all bars off the screen.
    pub fn finish(&self) {
        let mut board = self.board();
        for film in board.at_work.values() {
            if let Some(bar) = &film.bar {
                bar.finish_and_clear();
            }
        }
        if let Some(whole) = board.whole.take() {
            whole.finish_and_clear();
            let _ = self.output.bars().clear();
        }
    }

    fn draw_whole(&self, board: &Board) {
        let Some(whole) = &board.whole else { return };
        let mut text = format!(
            "{} of {} films, {} at work",
            board.done,
            self.films.len(),
            board.at_work.len()
        );
        if !board.stopped.is_empty() {
            let _ = write!(text, ", {} stopped", board.stopped.len());
        }
        whole.set_message(text);
    }

    fn line(&self, run: RunId) -> i32 {
        self.films.get(&run).map_or(0, |(line, _)| *line)
    }

    fn name(&self, run: RunId) -> String {
        match self.films.get(&run) {
            Some((line, brief)) => format!("line {line} ({})", truncate_str(brief, 30, "…")),
            None => run.short(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Film {
    fn take(&mut self, event: &Event) {
        match event {
            Event::StoryboardReady { shots, .. } => {
                for number in 1..=*shots {
                    self.shots.entry(number).or_default();
                }
                "the storyboard is written".clone_into(&mut self.words);
            }
            Event::Shot { shot, step, progress } => {
                let entry = self.shots.entry(*shot).or_default();
                entry.take(*step, progress);
                let done = self.shots.values().filter(|shot| shot.state == State::Done).count();
                let what = if *step == Step::Clip { "clips" } else { "images" };
                self.words = format!("{what}, {done} of {} shots there", self.shots.len());
            }
            Event::Film { percent } => self.words = format!("cutting: {percent} %"),
            _ => {
                if let Some(line) = words::line(event) {
                    self.words = line;
                }
            }
        }
        let Some(bar) = &self.bar else { return };
        let shots = u64::try_from(self.shots.len()).unwrap_or(u64::MAX).max(1);
        bar.set_position(self.shots.values().map(|shot| shot.done).sum::<u64>() / shots);
        bar.set_message(truncate_str(&self.words, WORDS, "…").into_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;

    fn shown(format: Format) -> (String, String) {
        let (output, stdout, stderr) = Output::captured(format, false);
        let (one, other) = (RunId::new(), RunId::new());
        let films = vec![(one, 2, "bread".to_owned()), (other, 3, "shoes".to_owned())];
        let bars = BatchBars::start(&output, films);
        bars.begins(one);
        bars.begins(other);
        let step = Step::Clip;
        bars.told(one, &Event::Shot { shot: 1, step, progress: Progress::Submitted });
        let failed = Progress::Failed { message: "refused".to_owned() };
        bars.told(other, &Event::Shot { shot: 1, step, progress: failed });
        bars.ended(one, Ok("5 s, /films/bread.mp4".to_owned()));
        bars.ended(other, Err("no shot could be made".to_owned()));
        bars.finish();
        (stdout.text(), stderr.text())
    }

    #[test]
    fn a_pipe_gets_a_line_for_what_matters() {
        let (stdout, stderr) = shown(Format::Human);
        assert_eq!(stdout, "");
        assert_eq!(
            stderr.lines().collect::<Vec<_>>(),
            [
                "line 2 (bread): begins",
                "line 3 (shoes): begins",
                "line 3 (shoes): shot 1: the clip failed: refused",
                "[1/2] line 2 (bread): 5 s, /films/bread.mp4",
                "line 3 (shoes) stopped: no shot could be made",
            ]
        );
    }

    #[test]
    fn scripts_get_events_with_the_line_of_the_file() {
        let (stdout, stderr) = shown(Format::Json);
        assert_eq!(stderr, "");
        let events: Vec<serde_json::Value> =
            stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0]["line"], 2);
        assert_eq!(events[0]["event"], "shot");
        assert_eq!(events[1]["progress"]["state"], "failed");
    }
}
