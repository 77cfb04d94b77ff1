//! Standard output is data; standard error is talk. Nothing else in aida writes to either.
//!
//! With `--json` every command prints JSON on standard output: single objects, or one object a
//! line. A command that fails prints its error for people on standard error and, with `--json`,
//! as the last line of standard output too, so that a script reads one stream.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::{Style, Term};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::environment::Environment;
use crate::error::{Error, Kind};
use crate::printable::printable_lines;

/// The narrowest terminal that everything fits.
pub const STANDARD_WIDTH: u16 = 80;

/// Who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A person.
    #[default]
    Human,
    /// A script: one JSON object for each thing.
    Json,
}

/// Everything that is printed goes through here. Cheap to clone.
#[derive(Clone)]
pub struct Output(Arc<Inner>);

struct Inner {
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
    /// The first failure of standard output other than a reader that left.
    failure: Mutex<Option<io::Error>>,
    bars: MultiProgress,
    format: Format,
    quiet: bool,
    can_prompt: bool,
    /// Whether bars can be drawn: standard error is a terminal that nobody has silenced.
    animated: bool,
    colour: bool,
    stdout_colour: bool,
    width: u16,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Output")
            .field("format", &self.0.format)
            .field("quiet", &self.0.quiet)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// The streams of this process.
    pub fn of_this_process(environment: &Environment, format: Format, quiet: bool) -> Self {
        let stderr = Term::stderr();
        let animated = environment.stderr_is_terminal && !quiet && format == Format::Human;
        let bars = MultiProgress::with_draw_target(if animated {
            ProgressDrawTarget::term(stderr.clone(), 10)
        } else {
            ProgressDrawTarget::hidden()
        });
        let width = if environment.stdout_is_terminal {
            Term::stdout().size_checked().map_or(STANDARD_WIDTH, |(_, columns)| columns)
        } else {
            STANDARD_WIDTH
        };
        let colour = environment.allows_colour();
        Self(Arc::new(Inner {
            stdout: Mutex::new(Box::new(io::stdout())),
            stderr: Mutex::new(Box::new(io::stderr())),
            failure: Mutex::new(None),
            bars,
            format,
            quiet,
            can_prompt: environment.stdin_is_terminal && environment.stderr_is_terminal,
            animated,
            colour: colour && environment.stderr_is_terminal,
            stdout_colour: colour && environment.stdout_is_terminal,
            width: width.max(40),
        }))
    }

    /// Streams that a test can read afterwards: standard output, then standard error.
    #[cfg(test)]
    pub(crate) fn captured(format: Format, quiet: bool) -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let output = Self(Arc::new(Inner {
            stdout: Mutex::new(Box::new(stdout.clone())),
            stderr: Mutex::new(Box::new(stderr.clone())),
            failure: Mutex::new(None),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            format,
            quiet,
            can_prompt: false,
            animated: false,
            colour: false,
            stdout_colour: false,
            width: STANDARD_WIDTH,
        }));
        (output, stdout, stderr)
    }

    /// Whether `--json` was asked.
    pub fn is_json(&self) -> bool {
        self.0.format == Format::Json
    }

    /// Whether `--quiet` was asked.
    pub fn is_quiet(&self) -> bool {
        self.0.quiet
    }

    /// Whether bars can be drawn.
    pub fn is_animated(&self) -> bool {
        self.0.animated
    }

    /// Whether somebody is there who can answer a question.
    pub fn can_prompt(&self) -> bool {
        self.0.can_prompt
    }

    /// Columns that data may fill: those of the terminal, or [`STANDARD_WIDTH`] elsewhere.
    pub fn width(&self) -> u16 {
        self.0.width
    }

    /// Where bars are drawn; hidden where they cannot be.
    pub fn bars(&self) -> &MultiProgress {
        &self.0.bars
    }

    /// Prints data on standard output, ending in a line feed. A reader that has left is not an
    /// error; any other failure is remembered and told by [`Output::finish`].
    pub fn data(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let line_feed = if text.ends_with('\n') { "" } else { "\n" };
        self.bytes(format!("{text}{line_feed}").as_bytes());
    }

    /// Prints bytes on standard output as they are.
    pub fn bytes(&self, bytes: &[u8]) {
        let write = || {
            let mut stdout = lock(&self.0.stdout);
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        };
        if let Err(error) = self.beside_the_bars(write) {
            lock(&self.0.failure).get_or_insert(error);
        }
    }

    /// Prints one value as one line of JSON on standard output.
    pub fn json(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(line) => self.data(line),
            Err(error) => {
                lock(&self.0.failure).get_or_insert(io::Error::other(error));
            }
        }
    }

    /// Says how the work goes, on standard error; silent with `--quiet`.
    pub fn status(&self, text: impl AsRef<str>) {
        if !self.0.quiet {
            self.talk(&printable_lines(text.as_ref()));
        }
    }

    /// Says that something is not as it should be, on standard error.
    pub fn warning(&self, text: impl AsRef<str>) {
        let label = self.style(&Style::new().yellow().bold(), "warning:");
        self.talk(&format!("{label} {}", printable_lines(text.as_ref())));
    }

    /// Says what could be typed next, on standard error; silent with `--quiet`.
    pub fn hint(&self, text: impl AsRef<str>) {
        if !self.0.quiet {
            let label = self.style(&Style::new().cyan().bold(), "hint:");
            self.talk(&format!("{label} {}", printable_lines(text.as_ref())));
        }
    }

    /// Prints an error: what happened, why, and what to type next. With `--json` it is also the
    /// last object on standard output, unless the command's own object told of it.
    pub fn error(&self, error: &Error) {
        let mut text = String::new();
        let mut line = |style: Style, label: &str, words: &str| {
            let start = if text.is_empty() { "" } else { "\n" };
            let label = self.style(&style, label);
            let _ = write!(text, "{start}{label} {}", printable_lines(words));
        };
        line(Style::new().red().bold(), "error:", &error.to_string());
        for cause in error.causes() {
            line(Style::new().bold(), "caused by:", &cause);
        }
        for hint in error.hints() {
            line(Style::new().cyan().bold(), "hint:", hint);
        }
        self.talk(&text);
        if self.is_json() && !error.is_reported() {
            self.json(&error.to_json());
        }
    }

    /// Writes a line of the log beside whatever bars are drawn.
    pub(crate) fn log_line(&self, bytes: &[u8]) -> io::Result<()> {
        self.beside_the_bars(|| lock(&self.0.stderr).write_all(bytes))
    }

    /// Text in a style, where standard error shows styles.
    pub(crate) fn style(&self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.0.colour).apply_to(text).to_string()
    }

    /// Text in a style, where standard output shows styles.
    pub fn data_style(&self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.0.stdout_colour).apply_to(text).to_string()
    }

    /// Asks a yes-or-no question on standard error. Ends with an error of kind
    /// [`Kind::Interrupted`] when `cancel` is, with the cursor shown again.
    pub async fn confirm(&self, question: &str, cancel: &CancellationToken) -> Result<bool, Error> {
        let question = question.to_owned();
        self.ask(cancel, move |terminal| {
            dialoguer::Confirm::new()
                .with_prompt(question)
                .default(false)
                .interact_on_opt(terminal)
                .map(|answer| answer.unwrap_or(false))
        })
        .await
    }

    /// Has one of some things chosen, by its place; `default` is where the cursor stands.
    pub async fn choose(
        &self,
        question: &str,
        things: Vec<String>,
        default: usize,
        cancel: &CancellationToken,
    ) -> Result<usize, Error> {
        let question = question.to_owned();
        self.ask(cancel, move |terminal| {
            dialoguer::Select::new()
                .with_prompt(question)
                .items(things)
                .default(default)
                .interact_on(terminal)
        })
        .await
    }

    /// Has any of some things chosen, by their places; those with `true` are marked beforehand.
    pub async fn choose_some(
        &self,
        question: &str,
        things: Vec<(String, bool)>,
        cancel: &CancellationToken,
    ) -> Result<Vec<usize>, Error> {
        let question = question.to_owned();
        self.ask(cancel, move |terminal| {
            dialoguer::MultiSelect::new()
                .with_prompt(question)
                .items_checked(things)
                .report(false)
                .interact_on(terminal)
        })
        .await
    }

    /// Asks for a line of text; an empty answer takes `default`.
    pub async fn ask_text(
        &self,
        question: &str,
        default: &str,
        cancel: &CancellationToken,
    ) -> Result<String, Error> {
        let (question, default) = (question.to_owned(), default.to_owned());
        self.ask(cancel, move |terminal| {
            dialoguer::Input::<String>::new()
                .with_prompt(question)
                .show_default(!default.is_empty())
                .default(default)
                .allow_empty(true)
                .interact_text_on(terminal)
        })
        .await
    }

    /// Asks for a secret, which is not shown while it is typed; empty is an answer.
    pub async fn ask_secret(
        &self,
        question: &str,
        cancel: &CancellationToken,
    ) -> Result<secrecy::SecretString, Error> {
        let question = question.to_owned();
        self.ask(cancel, move |terminal| {
            dialoguer::Password::new()
                .with_prompt(question)
                .allow_empty_password(true)
                .interact_on(terminal)
                .map(Into::into)
        })
        .await
    }

    /// Runs a prompt on a thread of its own, because a terminal can only be waited for.
    async fn ask<T: Send + 'static>(
        &self,
        cancel: &CancellationToken,
        prompt: impl FnOnce(&Term) -> dialoguer::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        if !self.can_prompt() {
            return Err(Error::new(Kind::NeedsYes, "nobody can be asked: this is not a terminal"));
        }
        let interrupted = || Error::new(Kind::Interrupted, "stopped at the question");
        let terminal = Term::stderr();
        let mut question = Question::on(terminal.clone());
        let answer = tokio::task::spawn_blocking(move || prompt(&terminal));
        let answer = tokio::select! {
            answer = answer => answer,
            // The prompt's thread still waits, and ends with the process.
            () = cancel.cancelled() => return Err(interrupted()),
        };
        match answer {
            Ok(Ok(answer)) => {
                question.is_answered = true;
                Ok(answer)
            }
            Ok(Err(dialoguer::Error::IO(error))) if error.kind() == io::ErrorKind::Interrupted => {
                Err(interrupted())
            }
            Ok(Err(error)) => {
                Err(Error::new(Kind::NeedsYes, "the question was not answered").because(error))
            }
            Err(error) => Err(Error::internal("the prompt broke down").because(error)),
        }
    }

    /// Tells whether all data arrived. A reader that left early, as `head` does, is content.
    pub fn finish(&self) -> Result<(), Error> {
        match lock(&self.0.failure).take() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::Internal, "standard output cannot be written")
                    .because(error)
                    .hint("is the disk full that it goes to?"))
            }
            _ => Ok(()),
        }
    }

    /// A line on standard error. A failure there has nowhere to be told.
    fn talk(&self, text: &str) {
        let _ = self.beside_the_bars(|| {
            let mut stderr = lock(&self.0.stderr);
            writeln!(stderr, "{text}")
        });
    }

    /// Writes while the bars are out of the way.
    fn beside_the_bars<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.0.animated { self.0.bars.suspend(write) } else { write() }
    }
}

/// A question on the terminal. One that is given up, by a signal or by whoever stops waiting,
/// leaves the terminal as it was: prompts hide the cursor, and secrets are typed without echo.
struct Question {
    terminal: Term,
    is_answered: bool,
    #[cfg(unix)]
    modes: Option<rustix::termios::Termios>,
}

impl Question {
    fn on(terminal: Term) -> Self {
        Self {
            terminal,
            is_answered: false,
            #[cfg(unix)]
            modes: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        // Nothing can be done about a terminal that does not listen any more.
        #[cfg(unix)]
        if let Some(modes) = &self.modes {
            let now = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(io::stdin(), now, modes);
        }
        let _ = self.terminal.show_cursor();
        let _ = self.terminal.write_line("");
    }
}

/// A stream's lock outlives a panic elsewhere: half a line is better than none.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a test reads of a stream.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Captured {
    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_talk_never_mix() {
        let (output, stdout, stderr) = Output::captured(Format::Human, false);
        output.data("a");
        output.data("b\n");
        output.status("c");
        output.warning("d");
        output.hint("e");
        assert_eq!(stdout.text(), "a\nb\n");
        assert_eq!(stderr.text(), "c\nwarning: d\nhint: e\n");
    }

    #[test]
    fn quiet_keeps_data_warnings_and_errors() {
        let (output, stdout, stderr) = Output::captured(Format::Human, true);
        output.data("a");
        output.status("c");
        output.hint("e");
        output.warning("d");
        output.error(&Error::usage("f").because("g").hint("h"));
        assert_eq!(stdout.text(), "a\n");
        assert_eq!(stderr.text(), "warning: d\nerror: f\ncaused by: g\nhint: h\n");
    }

    #[test]
    fn scripts_find_the_error_as_the_last_line_of_data() {
        let (output, stdout, stderr) = Output::captured(Format::Json, false);
        output.error(&Error::usage("f").hint("h"));
        let last: serde_json::Value = serde_json::from_str(&stdout.text()).unwrap();
        assert_eq!(last["error"]["message"], "f");
        assert_eq!(last["error"]["exit_code"], 2);
        assert!(stderr.text().starts_with("error: f\n"));
    }

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_is_content_and_a_full_disk_is_not() {
        for (kind, content) in
            [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)]
        {
            let (output, ..) = Output::captured(Format::Human, false);
            *lock(&output.0.stdout) = Box::new(Broken(kind));
            output.data("a");
            assert_eq!(output.finish().is_ok(), content, "{kind}");
        }
    }

    #[tokio::test]
    async fn without_a_terminal_nobody_is_asked() {
        let (output, ..) = Output::captured(Format::Human, false);
        let error = output.confirm("Spend?", &CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
    }
}
