//! Joining clips into one film.
//!
//! Clips that are alike in every respect and need no trimming are joined as they are. All
//! others are brought to one size and rate first, one clip at a time into a segment, and the
//! segments are joined without touching the pictures again: every picture is encoded at most
//! once, and memory does not grow with the number of clips. Finished segments stay in the
//! scratch folder until the film is there, so that a cut that was interrupted goes on.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::ffmpeg::Ffmpeg;
use super::frame::{Checked, Frame, Method, choose, fitting, pictures_of_each};
use super::inspect::inspect;
use super::place::{free_path, publish, temporary_beside};
use super::{ClipInFilm, Film, FilmError};
use crate::studio::brief::Aspect;

/// How far a film may be from the asked length, in thousandths of a second.
const TOLERANCE_MILLISECONDS: i64 = 500;
/// The share of the work that the last step, the join, stands for in the progress.
const JOIN_PERCENT: u64 = 5;

/// What is to be cut.
#[derive(Debug, Clone, Copy)]
pub struct Cut<'a> {
    /// The clips, in the film's order.
    pub clips: &'a [ClipInFilm],
    /// The film's shape.
    pub aspect: Aspect,
    /// Whether the film has sound; a clip without sound is silent in it.
    pub audio: bool,
    /// Where the film shall lie; if something lies there, the next free name is taken.
    pub destination: &'a Path,
    /// A folder for unfinished work, which is made if it is missing.
    pub scratch: &'a Path,
}

impl Ffmpeg {
    /// Cuts the film. `on_progress` gets percents from 0 to 100. The clips are only read.
    pub async fn cut(
        &self,
        cut: &Cut<'_>,
        on_progress: &mut (dyn FnMut(u8) + Send),
        cancel: &CancellationToken,
    ) -> Result<Film, FilmError> {
        if cut.clips.is_empty() {
            return Err(FilmError::NoClips);
        }
        on_progress(0);
        let clips = check(cut.clips)?;
        let method = choose(&clips, cut.aspect, cut.audio);
        tracing::info!(clips = clips.len(), ?method, "cutting the film");
        let scratch = cut.scratch.join(self.scratch_name(cut, &clips));
        fs::create_dir_all(&scratch)
            .map_err(|source| FilmError::file("create", &scratch, source))?;
        let parts = match method {
            Method::Join => clips
                .iter()
                .map(|checked| (checked.clip.path.clone(), checked.facts.seconds))
                .collect(),
            Method::Encode(frame) => {
                self.encode_segments(&clips, frame, cut.audio, &scratch, on_progress, cancel)
                    .await?
            }
        };
        let film = self.join(&parts, cut, &scratch, on_progress, cancel).await?;
        // The film is there; what is left of the scratch folder is rubbish, not trouble.
        let _ = fs::remove_dir_all(&scratch);
        on_progress(100);
        Ok(film)
    }

    /// Brings every clip to the film's frame. Returns the segments with their lengths.
    async fn encode_segments(
        &self,
        clips: &[Checked<'_>],
        frame: Frame,
        audio: bool,
        scratch: &Path,
        on_progress: &mut (dyn FnMut(u8) + Send),
        cancel: &CancellationToken,
    ) -> Result<Vec<(PathBuf, Decimal)>, FilmError> {
        let pictures = pictures_of_each(clips, frame.rate);
        let all: u64 = pictures.iter().sum();
        let mut finished = 0;
        let mut segments = Vec::with_capacity(clips.len());
        for (index, (checked, &pictures)) in clips.iter().zip(&pictures).enumerate() {
            let segment = scratch.join(format!("{index}.mov"));
            let seconds = frame.rate.seconds(pictures);
            if !is_segment(&segment, seconds) {
                let unfinished = scratch.join(format!("{index}.part"));
                let arguments =
                    segment_arguments(self, checked, frame, pictures, audio, &unfinished);
                let mut report = |picture: u64| {
                    on_progress(percent(finished + picture.min(pictures), all));
                };
                self.run(&arguments, &mut report, cancel)
                    .await
                    .map_err(|error| blame(error, &checked.clip.path, &unfinished))?;
                if !is_segment(&unfinished, seconds) {
                    return Err(FilmError::BadClip {
                        path: checked.clip.path.clone(),
                        reason: "its pictures cannot be decoded".to_owned(),
                    });
                }
                fs::rename(&unfinished, &segment)
                    .map_err(|source| FilmError::file("write", &segment, source))?;
            }
            finished += pictures;
            on_progress(percent(finished, all));
            segments.push((segment, seconds));
        }
        Ok(segments)
    }

    /// Joins the parts without touching their pictures and puts the film into its place.
    async fn join(
        &self,
        parts: &[(PathBuf, Decimal)],
        cut: &Cut<'_>,
        scratch: &Path,
        on_progress: &mut (dyn FnMut(u8) + Send),
        cancel: &CancellationToken,
    ) -> Result<Film, FilmError> {
        let list = scratch.join("list.txt");
        fs::write(&list, concat_list(parts)?)
            .map_err(|source| FilmError::file("write", &list, source))?;
        if let Some(folder) = cut.destination.parent().filter(|path| !path.as_os_str().is_empty()) {
            fs::create_dir_all(folder)
                .map_err(|source| FilmError::file("create", folder, source))?;
        }
        let temporary = Unfinished(temporary_beside(&free_path(cut.destination)));
        // Making the file here tells a read-only folder apart from ffmpeg's own trouble.
        fs::File::create(&temporary.0)
            .map_err(|source| FilmError::file("write", cut.destination, source))?;
        let mut arguments = Arguments::default();
        arguments.add(["-f", "concat", "-safe", "0", "-i"]).file(&list);
        arguments.add(["-map", "0:v:0", "-c:v", "copy"]);
        if cut.audio {
            arguments.add(["-map", "0:a:0", "-c:a", "aac", "-b:a", "192k"]);
        } else {
            arguments.add(["-an"]);
        }
        arguments.add(["-map_metadata", "-1", "-movflags", "+faststart", "-f", "mp4", "-y"]);
        arguments.file(&temporary.0);
        self.run(&arguments.0, &mut |_| (), cancel)
            .await
            .map_err(|error| blame_disk(error, cut.destination))?;
        let seconds = inspect(&temporary.0)
            .map_err(|error| FilmError::FfmpegFailed {
                status: "success".to_owned(),
                tail: format!("but the film {error}"),
            })?
            .seconds;
        let asked: Decimal = parts.iter().map(|(_, seconds)| *seconds).sum();
        if (seconds - asked).abs() > Decimal::new(TOLERANCE_MILLISECONDS, 3) {
            return Err(FilmError::WrongLength { seconds, asked });
        }
        on_progress(99);
        let destination = cut.destination.to_owned();
        tokio::task::spawn_blocking(move || keep(&temporary, &destination))
            .await
            .map_err(|error| FilmError::file("write", cut.destination, io::Error::other(error)))?
    }

    /// A name that is the same whenever the same cut is repeated, so that it finds its own
    /// segments and nobody else's.
    fn scratch_name(&self, cut: &Cut<'_>, clips: &[Checked<'_>]) -> String {
        let mut digest = Sha256::new();
        digest.update(format!(
            "{}|{:?}|{}|{}",
            self.version(),
            self.encoder(),
            cut.aspect,
            cut.audio
        ));
        for Checked { clip, facts } in clips {
            let changed = fs::metadata(&clip.path).and_then(|metadata| metadata.modified()).ok();
            digest.update(clip.path.as_os_str().as_encoded_bytes());
            digest.update(format!("|{}|{changed:?}|", clip.trim_seconds));
            digest.update(facts.bytes.to_be_bytes());
        }
        format!("cut-{}", &hexadecimal(&digest.finalize())[..12])
    }
}

/// The unfinished film, which is removed unless it was moved to its place.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Moves the finished film to its place. Blocking.
fn keep(temporary: &Unfinished, destination: &Path) -> Result<Film, FilmError> {
    let broken =
        |error: super::InspectError| FilmError::file("read", destination, io::Error::other(error));
    let facts = inspect(&temporary.0).map_err(broken)?;
    let sha256 =
        hash(&temporary.0).map_err(|source| FilmError::file("read", destination, source))?;
    let path = publish(&temporary.0, destination)
        .map_err(|source| FilmError::file("write", destination, source))?;
    Ok(Film {
        path,
        seconds: facts.seconds,
        width: facts.width,
        height: facts.height,
        bytes: facts.bytes,
        sha256,
    })
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            read => digest.update(&chunk[..read]),
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check(clips: &[ClipInFilm]) -> Result<Vec<Checked<'_>>, FilmError> {
    clips
        .iter()
        .map(|clip| {
            let bad = |reason: String| FilmError::BadClip { path: clip.path.clone(), reason };
            if clip.trim_seconds <= Decimal::ZERO {
                return Err(bad(format!("it shall last {} s", clip.trim_seconds)));
            }
            let facts = inspect(&clip.path).map_err(|error| bad(format!("it {error}")))?;
            Ok(Checked { clip, facts })
        })
        .collect()
}

fn percent(done: u64, all: u64) -> u8 {
    let percent = done * (100 - JOIN_PERCENT) / all.max(1);
    u8::try_from(percent.min(100 - JOIN_PERCENT)).unwrap_or(0)
}

/// Whether a whole segment of that length lies there.
fn is_segment(path: &Path, seconds: Decimal) -> bool {
    inspect(path).is_ok_and(|facts| (facts.seconds - seconds).abs() <= Decimal::new(20, 3))
}

/// An argument list under construction.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<const COUNT: usize>(&mut self, arguments: [&str; COUNT]) -> &mut Self {
        self.0.extend(arguments.map(OsString::from));
        self
    }

    /// A file as a URL, so that no name is taken for an option or a protocol.
    fn file(&mut self, path: &Path) -> &mut Self {
        let mut url = OsString::from("file:");
        url.push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        self.0.push(url);
        self
    }
}

fn segment_arguments(
    ffmpeg: &Ffmpeg,
    checked: &Checked<'_>,
    frame: Frame,
    pictures: u64,
    audio: bool,
    segment: &Path,
) -> Vec<OsString> {
    let rate = format!("{}/{}", frame.rate.pictures, frame.rate.seconds);
    let seconds = frame.rate.seconds(pictures).round_dp(6);
    let mut arguments = Arguments::default();
    // The format is named because it was checked: a playlist posing as a clip is not followed.
    arguments.add(["-f", "mov", "-i"]).file(&checked.clip.path);
    let mut graph = format!(
        "[0:v:0]setpts=PTS-STARTPTS,fps={rate},{},setsar=1,format=yuv420p,\
         setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709,\
         tpad=stop=-1:stop_mode=clone,trim=end_frame={pictures}[video]",
        fitting(&checked.facts, frame)
    );
    if audio {
        let source = if checked.facts.has_audio {
            "[0:a:0]asetpts=PTS-STARTPTS,"
        } else {
            "anullsrc=r=48000:cl=stereo,"
        };
        let _ = write!(
            graph,
            ";{source}aresample=48000,aformat=sample_fmts=s16:channel_layouts=stereo,\
             apad,atrim=end={seconds}[audio]"
        );
    }
    arguments.add(["-filter_complex", &graph, "-map", "[video]"]);
    arguments.add(["-frames:v", &pictures.to_string()]);
    arguments.add(["-c:v", ffmpeg.encoder().as_str()]);
    arguments.0.extend(ffmpeg.encoder().quality().iter().map(OsString::from));
    // A keyframe every two seconds lets players seek.
    let group = (frame.rate.per_second() * 2.0).round();
    arguments.add(["-g", &group.to_string(), "-pix_fmt", "yuv420p"]);
    arguments.add(["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"]);
    if audio {
        // Uncompressed until the join: joined AAC would click where segments meet.
        arguments.add(["-map", "[audio]", "-c:a", "pcm_s16le"]);
    }
    arguments.add(["-map_metadata", "-1", "-f", "mov", "-y"]).file(segment);
    arguments.0
}

/// The concat demuxer's list. The lengths are given because headers round them, and the
/// errors of sixty clips would add up.
fn concat_list(parts: &[(PathBuf, Decimal)]) -> Result<String, FilmError> {
    let mut list = String::from("ffconcat version 1.0\n");
    for (path, seconds) in parts {
        let path =
            std::path::absolute(path).map_err(|source| FilmError::file("read", path, source))?;
        let name = path.to_str().ok_or_else(|| FilmError::BadClip {
            path: path.clone(),
            reason: "the name of its folder is not valid Unicode".to_owned(),
        })?;
        let name = name.replace('\'', r"'\''");
        let _ = writeln!(list, "file 'file:{name}'\nduration {}", seconds.round_dp(6));
    }
    Ok(list)
}

/// Tells a clip's fault from ffmpeg's and the disk's.
fn blame(error: FilmError, clip: &Path, written: &Path) -> FilmError {
    const SIGNS: [&str; 5] = [
        "Invalid data found",
        "moov atom not found",
        "Could not find codec parameters",
        "matches no streams",
        "Cannot determine format of input",
    ];
    match blame_disk(error, written) {
        FilmError::FfmpegFailed { tail, .. } if SIGNS.iter().any(|sign| tail.contains(sign)) => {
            FilmError::BadClip { path: clip.to_owned(), reason: tail }
        }
        FilmError::FfmpegFailed { status, tail } => {
            FilmError::FfmpegFailed { status, tail: format!("{} ({})", tail, clip.display()) }
        }
        other => other,
    }
}

fn blame_disk(error: FilmError, written: &Path) -> FilmError {
    match error {
        FilmError::FfmpegFailed { tail, .. }
            if tail.contains("No space left on device") || tail.contains("Disk quota exceeded") =>
        {
            FilmError::DiskFull { path: written.to_owned() }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The machine's ffmpeg; `None` if it has none and the run does not require it.
    async fn ffmpeg() -> Option<Ffmpeg> {
        match Ffmpeg::find(None).await {
            Ok(ffmpeg) => Some(ffmpeg),
            Err(error)
                if std::env::var_os("AIDA_TEST_REQUIRE_ALL").is_some_and(|all| all == "1") =>
            {
                panic!("{error}")
            }
            Err(error) => {
                eprintln!("SKIPPED: ffmpeg is missing ({error})");
                None
            }
        }
    }

    struct Studio {
        folder: tempfile::TempDir,
        clips: Vec<ClipInFilm>,
    }

    impl Studio {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), clips: Vec::new() }
        }

        /// Adds a clip of one colour.
        fn clip(
            &mut self,
            color: &str,
            size: &str,
            rate: u32,
            seconds: &str,
            sound: bool,
            trim: i64,
        ) {
            let path = self.folder.path().join(format!("it's clip {}.mp4", self.clips.len()));
            let source = format!("color={color}:s={size}:r={rate}:d={seconds}");
            let mut command = Command::new("ffmpeg");
            command.args(["-loglevel", "error", "-f", "lavfi", "-i", &source]);
            if sound {
                let tone = format!("sine=440:d={seconds}");
                command.args(["-f", "lavfi", "-i", &tone]);
            }
            command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
            assert!(command.arg(&path).status().unwrap().success());
            self.clips.push(ClipInFilm { path, trim_seconds: Decimal::new(trim, 3) });
        }

        async fn cut(&self, ffmpeg: &Ffmpeg, audio: bool) -> Result<Film, FilmError> {
            let mut percents = Vec::new();
            let result = ffmpeg
                .cut(
                    &self.order(audio),
                    &mut |percent| percents.push(percent),
                    &CancellationToken::new(),
                )
                .await;
            assert!(percents.is_sorted(), "{percents:?}");
            assert_eq!(percents.last() == Some(&100), result.is_ok());
            result
        }

        fn order(&self, audio: bool) -> Cut<'_> {
            Cut {
                clips: &self.clips,
                aspect: Aspect::Portrait9x16,
                audio,
                destination: Box::leak(self.folder.path().join("out/film.mp4").into_boxed_path()),
                scratch: Box::leak(self.folder.path().join("scratch").into_boxed_path()),
            }
        }

        fn unfinished(&self) -> usize {
            let count =
                |name: &str| fs::read_dir(self.folder.path().join(name)).map_or(0, Iterator::count);
            count("scratch")
                + fs::read_dir(self.folder.path().join("out")).map_or(0, |files| {
                    files
                        .filter(|file| {
                            file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part")
                        })
                        .count()
                })
        }
    }

    /// The colour in the middle of a film's picture, as red, green and blue.
    fn color_at(film: &Path, seconds: &str) -> [u8; 3] {
        let output = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-ss", seconds, "-i"])
            .arg(film)
            .args(["-frames:v", "1", "-vf", "crop=8:8,scale=1:1", "-f", "rawvideo"])
            .args(["-pix_fmt", "rgb24", "-"])
            .output()
            .unwrap();
        output.stdout[..3].try_into().unwrap()
    }

    fn has_sound(film: &Path) -> bool {
        inspect(film).unwrap().has_audio
    }

    #[tokio::test]
    async fn mixed_clips_become_one_film_in_order() {
        let Some(ffmpeg) = ffmpeg().await else { return };
        let mut studio = Studio::new();
        studio.clip("red", "216x384", 30, "2", true, 1500);
        studio.clip("lime", "384x216", 24, "2", false, 2000);
        // Shorter than it shall stand: the last picture is held.
        studio.clip("blue", "216x384", 30, "1", true, 2500);
        let film = studio.cut(&ffmpeg, true).await.unwrap();
        assert!((film.seconds - Decimal::new(6, 0)).abs() < Decimal::new(1, 1), "{film:?}");
        assert_eq!((film.width, film.height), (540, 960));
        assert!(has_sound(&film.path));
        let is = |at: &str, channel: usize| {
            let color = color_at(&film.path, at);
            assert!(
                color[channel] > 150 && color.iter().filter(|&&part| part > 100).count() == 1,
                "{at} s: {color:?}"
            );
        };
        is("0", 0);
        is("1.40", 0);
        is("1.60", 1);
        is("3.40", 1);
        is("3.60", 2);
        is("5.80", 2);
        assert_eq!(studio.unfinished(), 0);
        assert_eq!(hash(&film.path).unwrap(), film.sha256);

        let second = studio.cut(&ffmpeg, false).await.unwrap();
        assert_eq!(second.path.file_name().unwrap(), "film-2.mp4");
        assert!(!has_sound(&second.path) && has_sound(&film.path));
    }

    #[tokio::test]
    async fn clips_alike_are_not_encoded_again() {
        let Some(ffmpeg) = ffmpeg().await else { return };
        let mut studio = Studio::new();
        for color in ["red", "lime", "blue"] {
            studio.clip(color, "216x384", 30, "2", true, 2000);
        }
        let clips = check(&studio.clips).unwrap();
        assert_eq!(choose(&clips, Aspect::Portrait9x16, true), Method::Join);
        let film = studio.cut(&ffmpeg, true).await.unwrap();
        assert!((film.seconds - Decimal::new(6, 0)).abs() < Decimal::new(1, 1), "{film:?}");
        assert!(color_at(&film.path, "1.9")[0] > 200);
        assert!(color_at(&film.path, "2.1")[1] > 200);
        assert!(color_at(&film.path, "4.1")[2] > 200);
        assert_eq!((film.width, film.height), (216, 384));
    }

    #[tokio::test]
    async fn a_bad_clip_is_named_and_leaves_nothing() {
        let Some(ffmpeg) = ffmpeg().await else { return };
        let mut studio = Studio::new();
        studio.clip("red", "216x384", 30, "1", false, 1000);
        studio.clip("blue", "216x384", 30, "2", false, 1000);
        let bad = studio.clips[1].path.clone();
        // A whole container whose pictures are noise.
        let mut bytes = fs::read(&bad).unwrap();
        let data = bytes.windows(4).position(|name| name == b"mdat").unwrap() + 4;
        let header = bytes.windows(4).position(|name| name == b"moov").unwrap() - 4;
        bytes[data..header].fill(0xa5);
        fs::write(&bad, bytes).unwrap();
        let error = studio.cut(&ffmpeg, false).await.unwrap_err();
        assert!(matches!(&error, FilmError::BadClip { path, .. } if *path == bad), "{error}");
        fs::write(&bad, "<html>gone</html>").unwrap();
        let error = studio.cut(&ffmpeg, false).await.unwrap_err();
        assert!(matches!(&error, FilmError::BadClip { path, .. } if *path == bad), "{error}");
        assert!(!studio.folder.path().join("out/film.mp4").exists());
    }

    #[tokio::test]
    async fn a_cancelled_cut_ends_at_once_and_can_be_repeated() {
        let Some(ffmpeg) = ffmpeg().await else { return };
        let mut studio = Studio::new();
        studio.clip("red", "216x384", 30, "1", false, 900);
        studio.clip("blue", "216x384", 30, "2", false, 600_000);
        let cancel = CancellationToken::new();
        let mut seen = 0;
        let mut on_progress = |percent: u8| {
            seen = percent;
            if percent > 0 {
                cancel.cancel();
            }
        };
        let order = studio.order(false);
        let error = ffmpeg.cut(&order, &mut on_progress, &cancel).await.unwrap_err();
        assert!(matches!(error, FilmError::Cancelled), "{error}");
        assert!(seen < 100 && !order.destination.exists());
        studio.clips[1].trim_seconds = Decimal::ONE;
        studio.cut(&ffmpeg, false).await.unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_killed_ffmpeg_is_told_from_a_failed_one() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("ffmpeg");
        let script = "#!/bin/sh\ncase \"$2\" in\n-version) echo 'ffmpeg version 6.0';;\n\
            -encoders) echo ' V....D libx264 H.264';;\n\
            *) case \"$*\" in *kill*) kill -9 $$;; *) echo 'No space left on device' >&2; exit 1;; esac;;\nesac\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let ffmpeg = Ffmpeg::find(Some(program)).await.unwrap();
        let run = async |argument: &str| {
            ffmpeg
                .run(&[argument.into()], &mut |_| (), &CancellationToken::new())
                .await
                .map_err(|error| blame_disk(error, Path::new("film.mp4")))
                .unwrap_err()
        };
        assert!(matches!(run("kill").await, FilmError::FfmpegKilled { signal: 9 }));
        assert!(matches!(run("fill").await, FilmError::DiskFull { .. }));
    }

    #[tokio::test]
    async fn a_cut_can_be_spawned() {
        fn can_be_spawned(_: impl Future<Output = Result<Film, FilmError>> + Send) {}
        let Some(ffmpeg) = ffmpeg().await else { return };
        let studio = Studio::new();
        can_be_spawned(ffmpeg.cut(&studio.order(true), &mut |_| (), &CancellationToken::new()));
    }

    #[tokio::test]
    async fn nothing_to_cut_is_an_error() {
        let Some(ffmpeg) = ffmpeg().await else { return };
        assert!(matches!(Studio::new().cut(&ffmpeg, false).await, Err(FilmError::NoClips)));
    }
}
