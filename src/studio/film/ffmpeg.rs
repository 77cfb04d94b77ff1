//! The ffmpeg program: finding it, and running it so that it can be watched and ended.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::FilmError;

/// How long ffmpeg may take to say who it is. A cold start from a slow disk takes seconds.
const PROBE_DEADLINE: Duration = Duration::from_mins(1);
/// How long ffmpeg may go without a word of progress; it reports twice a second.
const LONGEST_SILENCE: Duration = Duration::from_mins(2);
/// How much of what ffmpeg said last is kept, in bytes.
const TAIL_BYTES: usize = 2_000;
/// The oldest version that has every filter and option used here.
const OLDEST_VERSION: (u32, u32) = (4, 2);

/// An ffmpeg that was found and can encode H.264.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    encoder: Encoder,
}

/// The H.264 encoders that are good for a film, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoder {
    X264,
    VideoToolbox,
    OpenH264,
}

impl Encoder {
    const ALL: [Self; 3] = [Self::X264, Self::VideoToolbox, Self::OpenH264];

    /// ffmpeg's name for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::X264 => "libx264",
            Self::VideoToolbox => "h264_videotoolbox",
            Self::OpenH264 => "libopenh264",
        }
    }

    /// Options for a picture without visible loss.
    pub(super) const fn quality(self) -> &'static [&'static str] {
        match self {
            Self::X264 => &["-preset", "fast", "-crf", "18", "-profile:v", "high"],
            Self::VideoToolbox => &["-q:v", "70", "-profile:v", "high"],
            Self::OpenH264 => &["-b:v", "12M"],
        }
    }
}

impl Ffmpeg {
    /// Looks for ffmpeg, at `path_override` or else by its name in `PATH`, and asks it for its
    /// version and its encoders. Costs nothing and is meant to be called before any money is
    /// spent.
    pub async fn find(path_override: Option<PathBuf>) -> Result<Self, FilmError> {
        let program = path_override.unwrap_or_else(|| PathBuf::from("ffmpeg"));
        let version_text = ask(&program, "-version").await?;
        let version = version_text
            .strip_prefix("ffmpeg version ")
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or_else(|| FilmError::FfmpegUnusable {
                program: program.display().to_string(),
                reason: "it does not name its version".to_owned(),
            })?
            .to_owned();
        // Builds from a repository are named by date or commit and are taken as new.
        if release(&version).is_some_and(|release| release < OLDEST_VERSION) {
            return Err(FilmError::FfmpegTooOld { version });
        }
        let encoders = ask(&program, "-encoders").await?;
        let has = |encoder: &Encoder| {
            encoders.lines().any(|line| line.split_whitespace().nth(1) == Some(encoder.as_str()))
        };
        let encoder = Encoder::ALL.into_iter().find(has).ok_or(FilmError::NoEncoder)?;
        Ok(Self { program, version, encoder })
    }

    /// The program that is started.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version, as it names it.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) const fn encoder(&self) -> Encoder {
        self.encoder
    }

    /// Runs ffmpeg to its end and reports the number of the last finished picture. A
    /// cancelled, stalled or dropped run kills the process.
    pub(super) async fn run(
        &self,
        arguments: &[OsString],
        on_picture: &mut (dyn FnMut(u64) + Send),
        cancel: &CancellationToken,
    ) -> Result<(), FilmError> {
        let mut command = Command::new(&self.program);
        command
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-progress", "pipe:1"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // In a group of its own, so that Ctrl-C reaches aida alone, which then ends ffmpeg.
        #[cfg(unix)]
        command.process_group(0);
        tracing::debug!(program = %self.program.display(), ?arguments, "starting ffmpeg");
        let mut child = command.spawn().map_err(|source| not_started(&self.program, &source))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut tail = Vec::new();
        let listened = {
            let listening =
                async { tokio::try_join!(watch(stdout, on_picture), keep_tail(stderr, &mut tail)) };
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(FilmError::Cancelled),
                listened = listening => listened.map(|_| ()),
            }
        };
        if let Err(error) = listened {
            let _ = child.kill().await;
            return Err(error);
        }
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(FilmError::Cancelled),
            ended = tokio::time::timeout(LONGEST_SILENCE, child.wait()) => match ended {
                Ok(status) => status
                    .map_err(|source| FilmError::file("read", self.program.clone(), source)),
                Err(_) => Err(FilmError::FfmpegStalled { seconds: LONGEST_SILENCE.as_secs() }),
            },
        };
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failure(status, &tail)),
            Err(error) => {
                let _ = child.kill().await;
                Err(error)
            }
        }
    }
}

/// Reads ffmpeg's `key=value` lines of progress to their end.
async fn watch(
    output: Option<impl AsyncRead + Unpin>,
    on_picture: &mut (dyn FnMut(u64) + Send),
) -> Result<(), FilmError> {
    let Some(output) = output else { return Ok(()) };
    let mut lines = BufReader::new(output).lines();
    loop {
        match tokio::time::timeout(LONGEST_SILENCE, lines.next_line()).await {
            Err(_) => {
                return Err(FilmError::FfmpegStalled { seconds: LONGEST_SILENCE.as_secs() });
            }
            // An unreadable pipe is the end of progress, not of the work.
            Ok(Ok(None) | Err(_)) => return Ok(()),
            Ok(Ok(Some(line))) => {
                if let Some(picture) = line.strip_prefix("frame=")
                    && let Ok(picture) = picture.trim().parse()
                {
                    on_picture(picture);
                }
            }
        }
    }
}

/// Reads what ffmpeg complains about and keeps the end of it.
async fn keep_tail(
    errors: Option<impl AsyncRead + Unpin>,
    tail: &mut Vec<u8>,
) -> Result<(), FilmError> {
    let Some(mut errors) = errors else { return Ok(()) };
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = errors.read(&mut chunk).await {
        tail.extend_from_slice(&chunk[..read]);
        if tail.len() > TAIL_BYTES {
            tail.drain(..tail.len() - TAIL_BYTES);
        }
    }
    Ok(())
}

fn failure(status: ExitStatus, tail: &[u8]) -> FilmError {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return FilmError::FfmpegKilled { signal };
    }
    let tail = String::from_utf8_lossy(tail);
    let lines: Vec<_> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(6)..].join("; ");
    let tail = if last.is_empty() { "it gave no reason".to_owned() } else { last };
    FilmError::FfmpegFailed { status: status.to_string(), tail }
}

fn not_started(program: &Path, source: &std::io::Error) -> FilmError {
    let program = program.display().to_string();
    match source.kind() {
        std::io::ErrorKind::NotFound => FilmError::FfmpegMissing { looked_for: program },
        _ => FilmError::FfmpegUnusable { program, reason: source.to_string() },
    }
}

/// What the program prints for one option.
async fn ask(program: &Path, option: &str) -> Result<String, FilmError> {
    let answer = Command::new(program)
        .args(["-hide_banner", option])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let unusable = |reason: String| FilmError::FfmpegUnusable {
        program: program.display().to_string(),
        reason,
    };
    let output = tokio::time::timeout(PROBE_DEADLINE, answer)
        .await
        .map_err(|_| unusable(format!("it did not answer within {} s", PROBE_DEADLINE.as_secs())))?
        .map_err(|source| not_started(program, &source))?;
    if !output.status.success() {
        return Err(unusable(format!("it ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Major and minor number of a release such as `5.1.9-0+deb12u1` or `n7.0`.
fn release(version: &str) -> Option<(u32, u32)> {
    let version = version.strip_prefix('n').unwrap_or(version);
    let mut numbers = version.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(release("5.1.9-0+deb12u1"), Some((5, 1)));
        assert_eq!(release("n7.0"), Some((7, 0)));
        assert_eq!(release("4.1"), Some((4, 1)));
        assert_eq!(release("N-109542-g2d0a4d1"), None);
    }

    #[tokio::test]
    async fn a_missing_ffmpeg_is_named() {
        let error = Ffmpeg::find(Some(PathBuf::from("/nowhere/ffmpeg"))).await.unwrap_err();
        assert!(
            matches!(&error, FilmError::FfmpegMissing { looked_for } if looked_for == "/nowhere/ffmpeg")
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn another_program_is_not_taken_for_ffmpeg() {
        let error = Ffmpeg::find(Some(PathBuf::from("/bin/echo"))).await.unwrap_err();
        assert!(matches!(error, FilmError::FfmpegUnusable { .. }), "{error}");
    }
}
