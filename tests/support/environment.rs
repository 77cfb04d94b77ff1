//! A machine of its own for the real binary: nothing of the developer's settings, keys, files
//! or folders gets in, nothing that aida writes gets out.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::world::World;

/// The binary under test. Examples share this code, start no aida and know no path of it.
const BINARY: Option<&str> = option_env!("CARGO_BIN_EXE_aida");
/// How long a command may take before it is killed and its test fails.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long after a command's end its output may stay open.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(10);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A home, a data directory and the environment variables of one imagined user.
#[derive(Debug)]
pub struct TestEnvironment {
    root: TempDir,
    variables: Vec<(String, String)>,
}

impl TestEnvironment {
    /// A fresh machine without keys and without a database server. The PATH is kept, so that
    /// ffmpeg is found where it is installed.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("aida-test").tempdir().unwrap();
        for folder in ["home", "work", "data"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let mut environment = Self { root, variables: Vec::new() };
        let home = environment.home().display().to_string();
        let data = environment.data().display().to_string();
        for (name, value) in [
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", format!("{home}/.config")),
            ("XDG_DATA_HOME", format!("{home}/.local/share")),
            ("XDG_CACHE_HOME", format!("{home}/.cache")),
            ("XDG_STATE_HOME", format!("{home}/.local/state")),
            ("AIDA_DATA_DIR", data),
            ("AIDA_RECOVER_SECONDS", "4".to_owned()),
            ("COLUMNS", "80".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ] {
            environment.set(name, &value);
        }
        environment
    }

    /// A machine that reaches the stand-ins.
    pub fn in_world(world: &World) -> Self {
        let mut environment = Self::new();
        for (name, value) in world.variables() {
            environment.set(name, &value);
        }
        environment
    }

    /// The same machine with an external database.
    #[must_use]
    pub fn with_database(mut self, url: &str) -> Self {
        self.set("DATABASE_URL", url);
        self
    }

    /// The same machine without ffmpeg, and without any other program.
    #[must_use]
    pub fn without_programs(mut self) -> Self {
        let empty = self.root.path().join("no-programs");
        std::fs::create_dir_all(&empty).unwrap();
        self.set("PATH", &empty.display().to_string());
        self
    }

    /// Sets an environment variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Removes an environment variable.
    pub fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The folder in which commands are typed.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// aida's data directory.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Writes a file below the working folder and answers its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The files of the working folder with this extension, sorted.
    pub fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.work()).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension() == Some(OsStr::new(extension)));
        files.sort();
        files
    }

    /// aida with some arguments, ready to be changed and started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(BINARY.unwrap_or("aida"));
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.work()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs aida to its end.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Finished {
        self.spawn(arguments).wait(PATIENCE)
    }

    /// Starts aida and goes on.
    #[track_caller]
    pub fn spawn<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Running {
        Running::start(self.command(arguments))
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}):\n{}", self.stdout))
    }

    /// Standard output as one JSON value per line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// Fails if any of the stand-ins' keys was printed.
    #[track_caller]
    pub fn assert_no_secrets(&self) {
        for secret in World::SECRETS {
            assert!(!self.stdout.contains(secret), "a key on standard output");
            assert!(!self.stderr.contains(secret), "a key on standard error");
        }
    }
}

/// A command that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    outputs: [Receiver<String>; 2],
    started: Instant,
}

impl Running {
    /// Starts a command whose outputs are pipes.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let outputs = [read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap())];
        Self { child, outputs, started: Instant::now() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) -> Finished {
        self.child.kill().unwrap();
        self.end()
    }

    /// Sends a signal by its name, such as `INT` or `TERM`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.unwrap().success(), "no signal {name} could be sent");
    }

    /// Waits for its end; kills it and fails if that takes longer than `patience`.
    #[track_caller]
    pub fn wait(mut self, patience: Duration) -> Finished {
        while self.is_running() {
            if self.started.elapsed() > patience {
                let finished = self.kill();
                panic!(
                    "still running after {patience:?}\nstdout:\n{}\nstderr:\n{}",
                    finished.stdout, finished.stderr
                );
            }
            std::thread::sleep(GLANCE);
        }
        self.end()
    }

    fn end(mut self) -> Finished {
        let status = self.child.wait().unwrap();
        let took = self.started.elapsed();
        let text = |output: &Receiver<String>| {
            let text = output.recv_timeout(OUTPUT_PATIENCE);
            text.expect("a process that aida left behind holds its output open")
        };
        let [stdout, stderr] = [text(&self.outputs[0]), text(&self.outputs[1])];
        Finished { code: status.code(), stdout, stderr, took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or its test is failing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe never stops a command.
fn read(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        // Nobody listens any more where the test has failed.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits until `condition` holds, and fails with `what` if it does not within `patience`.
#[track_caller]
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited {patience:?} in vain: {what}");
        std::thread::sleep(GLANCE);
    }
}

/// Length in seconds, width and height of a film, by ffprobe; nothing where ffprobe is missing.
pub fn probe(film: &Path) -> Option<(f64, u32, u32)> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries"])
        .args(["format=duration:stream=width,height", "-of", "json"])
        .arg(film)
        .output()
        .ok()?;
    let facts: Value = serde_json::from_slice(&output.stdout).ok()?;
    let side = |name: &str| u32::try_from(facts["streams"][0][name].as_u64()?).ok();
    let duration = facts["format"]["duration"].as_str()?.parse().ok()?;
    Some((duration, side("width")?, side("height")?))
}

/// The colour in the middle of a film's frame at a time in seconds, by ffmpeg; nothing where
/// ffmpeg is missing or the film has no such frame.
pub fn colour_at(film: &Path, seconds: f64) -> Option<[u8; 3]> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", &seconds.to_string(), "-i"])
        .arg(film)
        .args(["-frames:v", "1", "-vf", "crop=16:16,scale=1:1:flags=area,format=rgb24"])
        .args(["-f", "rawvideo", "-"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output.stdout.get(..3)?.try_into().ok()
}
