//! Bars: one for each shot, one for the whole.
//!
//! A small window shows as many shots as it has lines for: those at work first, in their order.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use console::truncate_str;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{TICK, words};
use crate::studio::events::{Event, Progress, Step};

/// Lines of the window that are left to the prompt, the whole, and the last words.
const SPARE_LINES: u16 = 4;
/// What a shot's keyframe counts for, of a hundred. A clip takes minutes, a picture half of one.
const IMAGE_SHARE: u64 = 25;

/// The bars of one run.
#[derive(Debug)]
pub(super) struct Board {
    bars: MultiProgress,
    whole: ProgressBar,
    lines: Vec<ProgressBar>,
    most_lines: usize,
    columns: usize,
    shots: BTreeMap<u32, Shot>,
    cutting: Option<u8>,
}

/// Where one shot stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Shot {
    /// 0 to 100.
    pub(super) done: u64,
    words: String,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Waiting,
    Working,
    Done,
    Failed,
}

impl Board {
    /// Bars for a window of so many lines and columns.
    pub(super) fn new(bars: MultiProgress, rows: u16, columns: u16) -> Self {
        let whole = bars.add(ProgressBar::new_spinner());
        whole.set_style(style("{spinner} {msg}  {elapsed}"));
        whole.enable_steady_tick(TICK);
        Self {
            bars,
            whole,
            lines: Vec::new(),
            most_lines: usize::from(rows.saturating_sub(SPARE_LINES).max(1)),
            columns: usize::from(columns.clamp(40, 80)),
            shots: BTreeMap::new(),
            cutting: None,
        }
    }

    /// Whether an event is shown by the bars, so that it needs no line of its own.
    #[expect(clippy::unused_self, reason = "which events are drawn is the board's business")]
    pub(super) fn draws(&self, event: &Event) -> bool {
        match event {
            Event::Turn { .. } | Event::Film { .. } => true,
            Event::Shot { progress, .. } => !matches!(progress, Progress::Failed { .. }),
            _ => false,
        }
    }

    /// Brings the bars up to date.
    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::Turn { .. } | Event::Recalled { .. } | Event::RunStarted { .. } => {
                if let Some(line) = words::line(event) {
                    self.whole.set_message(self.cut(&line, 14));
                }
            }
            Event::StoryboardReady { shots, .. } => {
                for number in 1..=*shots {
                    self.shots.entry(number).or_default();
                }
                self.whole.set_message("the storyboard is written");
            }
            Event::Shot { shot, step, progress } => {
                self.shots.entry(*shot).or_default().take(*step, progress);
                self.draw();
            }
            Event::Film { percent } => {
                self.cutting = Some(*percent);
                self.draw();
            }
            _ => {}
        }
    }

    /// Takes all bars off the screen.
    pub(super) fn clear(self) {
        self.whole.finish_and_clear();
        for line in &self.lines {
            line.finish_and_clear();
        }
        let _ = self.bars.clear();
    }

    fn draw(&mut self) {
        let visible = self.visible();
        while self.lines.len() < visible.len() {
            let line = self.bars.insert_before(&self.whole, ProgressBar::new(100));
            line.set_style(style("{prefix} {bar:20.cyan/dim} {msg}"));
            self.lines.push(line);
        }
        for (line, number) in self.lines.iter().zip(&visible) {
            let shot = &self.shots[number];
            line.set_prefix(format!("shot {number:>2}"));
            line.set_position(shot.done);
            line.set_message(self.cut(&shot.words, 29));
        }
        let total = self.shots.len();
        let done = self.shots.values().filter(|shot| shot.state == State::Done).count();
        let failed = self.shots.values().filter(|shot| shot.state == State::Failed).count();
        let hidden = total - visible.len();
        let noun = if total == 1 { "shot" } else { "shots" };
        let mut text = format!("{done} of {total} {noun}");
        if failed > 0 {
            let _ = write!(text, ", {failed} failed");
        }
        if let Some(percent) = self.cutting {
            text = format!("film {percent} %, {text}");
        }
        if hidden > 0 {
            let _ = write!(text, " ({hidden} not shown)");
        }
        self.whole.set_message(self.cut(&text, 14));
    }

    /// The shots that are shown, in their order.
    fn visible(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.shots.keys().copied().collect();
        if numbers.len() > self.most_lines {
            numbers.sort_by_key(|number| (rank(self.shots[number].state), *number));
            numbers.truncate(self.most_lines);
            numbers.sort_unstable();
        }
        numbers
    }

    /// Cuts a text so that it fits beside `taken` columns.
    fn cut(&self, text: &str, taken: usize) -> String {
        truncate_str(text, self.columns.saturating_sub(taken), "…").into_owned()
    }
}

/// What is at work is worth a line first, then what failed, then what waits, then what is done.
const fn rank(state: State) -> u8 {
    match state {
        State::Working => 0,
        State::Failed => 1,
        State::Waiting => 2,
        State::Done => 3,
    }
}

impl Shot {
    /// Takes in what was told about a step.
    pub(super) fn take(&mut self, step: Step, progress: &Progress) {
        let (start, share) = match step {
            Step::Image => (0, IMAGE_SHARE),
            Step::Clip => (IMAGE_SHARE, 100 - IMAGE_SHARE),
            Step::Card => (0, 100),
        };
        let kind = words::step(step);
        self.state = State::Working;
        (self.done, self.words) = match progress {
            Progress::Waiting => (start, format!("{kind}: waiting its turn")),
            Progress::Submitted => (start + share / 10, format!("{kind}: ordered")),
            Progress::Running { percent: None } => {
                (start + share / 5, format!("{kind}: in the making"))
            }
            Progress::Running { percent: Some(percent) } => {
                (start + share * u64::from(*percent).min(100) / 100, format!("{kind}: {percent} %"))
            }
            Progress::Downloading { bytes, total } => {
                (start + share * 9 / 10, format!("{kind}: fetching {}", amount(*bytes, *total)))
            }
            Progress::Done { already } => {
                if step != Step::Image {
                    self.state = State::Done;
                }
                let words = if *already { "bought before" } else { "there" };
                (start + share, format!("{kind}: {words}"))
            }
            Progress::Failed { message } => {
                self.state = State::Failed;
                (self.done, format!("{kind} failed: {message}"))
            }
        };
    }
}

fn amount(bytes: u64, total: Option<u64>) -> String {
    let tenths = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
    match total {
        Some(total) => format!("{} of {} MB", tenths(bytes), tenths(total)),
        None => format!("{} MB", tenths(bytes)),
    }
}

/// A bar's style. The templates are part of the program, and a test reads them; a broken one
/// would show a plain bar.
pub(super) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::*;

    fn board(rows: u16) -> Board {
        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Board::new(hidden, rows, 200)
    }

    fn tell(board: &mut Board, shot: u32, step: Step, progress: Progress) {
        board.show(&Event::Shot { shot, step, progress });
    }

    fn storyboard(board: &mut Board, shots: u32) {
        board.show(&Event::StoryboardReady {
            title: "t".to_owned(),
            shots,
            duration_seconds: 30.into(),
            author: "outline".to_owned(),
        });
    }

    #[test]
    fn a_shot_never_goes_backwards_from_image_to_clip() {
        let mut board = board(40);
        storyboard(&mut board, 1);
        let mut before = 0;
        for (step, progress) in [
            (Step::Image, Progress::Submitted),
            (Step::Image, Progress::Running { percent: Some(50) }),
            (Step::Image, Progress::Done { already: false }),
            (Step::Clip, Progress::Submitted),
            (Step::Clip, Progress::Running { percent: None }),
            (Step::Clip, Progress::Downloading { bytes: 1_500_000, total: Some(3_000_000) }),
            (Step::Clip, Progress::Done { already: false }),
        ] {
            tell(&mut board, 1, step, progress);
            assert!(board.lines[0].position() >= before);
            before = board.lines[0].position();
        }
        assert_eq!(before, 100);
        assert!(board.whole.message().starts_with("1 of 1 shot"), "{}", board.whole.message());
    }

    #[test]
    fn a_small_window_shows_what_is_at_work() {
        let mut board = board(7);
        storyboard(&mut board, 12);
        tell(&mut board, 1, Step::Clip, Progress::Done { already: false });
        tell(&mut board, 9, Step::Image, Progress::Submitted);
        tell(&mut board, 11, Step::Clip, Progress::Failed { message: "no".to_owned() });
        assert_eq!(board.visible(), [2, 9, 11]);
        assert_eq!(board.lines.len(), 3);
        assert!(board.whole.message().contains("9 not shown"), "{}", board.whole.message());
    }

    #[test]
    fn words_fit_eighty_columns() {
        let mut board = board(40);
        storyboard(&mut board, 1);
        tell(&mut board, 1, Step::Clip, Progress::Failed { message: "long ".repeat(40) });
        let drawn =
            "shot  1 ".len() + 20 + 1 + console::measure_text_width(&board.lines[0].message());
        assert!(drawn <= 80, "{drawn}");
    }

    #[test]
    fn the_templates_are_right() {
        for template in ["{spinner} {msg}  {elapsed}", "{prefix} {bar:20.cyan/dim} {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
