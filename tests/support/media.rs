//! Real pictures and clips, small and cheap to make. Every prompt has a colour of its own, which
//! its keyframe and the clip made from that keyframe carry, so that a test can tell from the
//! frames of a film which shot it is looking at.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use bytes::Bytes;
use image::{ImageFormat, Rgb, RgbImage};

/// A colour: red, green, blue.
pub type Colour = [u8; 3];

/// Frames per second of every clip.
pub const FRAMES_PER_SECOND: u32 = 24;

/// Colours for prompts, handed out in the order in which the prompts arrive. The first sixty
/// differ by at least 60 in one channel.
#[derive(Debug, Default)]
pub struct Palette(Mutex<Vec<String>>);

impl Palette {
    /// The colour of a prompt, now and from now on.
    pub fn colour_of(&self, prompt: &str) -> Colour {
        let mut prompts = self.0.lock().unwrap();
        let place = prompts.iter().position(|known| known == prompt).unwrap_or_else(|| {
            prompts.push(prompt.to_owned());
            prompts.len() - 1
        });
        colour(place)
    }
}

/// The colour with this number; greys are left out, they are too easily met by accident.
fn colour(number: usize) -> Colour {
    const STEPS: [u8; 4] = [40, 100, 160, 220];
    let colours: Vec<Colour> = (0..64)
        .map(|index| [STEPS[index / 16], STEPS[index / 4 % 4], STEPS[index % 4]])
        .filter(|[red, green, blue]| red != green || green != blue)
        .collect();
    // The stride has no divisor in common with 60, so neighbours are far apart and all are used.
    colours[number * 23 % colours.len()]
}

/// Width and height of a picture whose shape is written as `9:16`: its long side is `long_side`,
/// both sides are even.
pub fn pixels(aspect: &str, long_side: u32) -> Option<(u32, u32)> {
    let (across, down) = aspect.split_once(':')?;
    let (across, down) = (across.parse::<u32>().ok()?, down.parse::<u32>().ok()?);
    Some(fit(across, down, long_side))
}

fn fit(across: u32, down: u32, long_side: u32) -> (u32, u32) {
    let longer = across.max(down);
    let side = |length: u32| (length * long_side / longer) & !1;
    (side(across), side(down))
}

/// A picture in one colour with `marks` white squares in its upper left corner.
pub fn picture(size: (u32, u32), colour: Colour, marks: u32, format: ImageFormat) -> Bytes {
    let mut picture = RgbImage::from_pixel(size.0, size.1, Rgb(colour));
    for mark in 0..marks {
        for (x, y) in (0..24).flat_map(|x| (0..24).map(move |y| (x, y))) {
            picture.put_pixel(16 + mark * 40 + x, 16 + y, Rgb([255, 255, 255]));
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner().into()
}

/// What a service sees when it looks at a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The colour in its middle.
    pub colour: Colour,
}

/// Looks at a picture; an error says why it cannot be decoded.
pub fn look(bytes: &[u8]) -> Result<Look, String> {
    let picture = image::load_from_memory(bytes).map_err(|error| error.to_string())?.to_rgb8();
    let (width, height) = picture.dimensions();
    Ok(Look { width, height, colour: picture.get_pixel(width / 2, height / 2).0 })
}

/// Whether a colour that went through an encoder is the one it was: the palette's colours differ
/// by 60 in one channel, encoders change a channel by a few.
pub fn is_near(seen: Colour, meant: Colour) -> bool {
    seen.iter().zip(meant).all(|(seen, meant)| seen.abs_diff(meant) <= 20)
}

/// A clip to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clip {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// Length in seconds.
    pub seconds: u32,
    /// Its colour.
    pub colour: Colour,
    /// Whether it has a sound track.
    pub audio: bool,
}

impl Clip {
    /// A clip in the shape and colour of a keyframe, 720 pixels long.
    pub fn of(keyframe: Look, seconds: u32, audio: bool) -> Self {
        let (width, height) = fit(keyframe.width, keyframe.height, 720);
        Self { width, height, seconds, colour: keyframe.colour, audio }
    }

    /// The clip as an MP4: H.264 at 24 frames a second with a keyframe every two seconds, a
    /// white square moving below the middle. Takes a second or so the first time; afterwards it
    /// comes from a folder of clips made before.
    pub fn make(self) -> Bytes {
        let folder =
            option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = folder.join("stand-in-clips-1");
        let [red, green, blue] = self.colour;
        let sound = if self.audio { "-sound" } else { "" };
        let path = folder.join(format!(
            "{}x{}-{}s-{red:02x}{green:02x}{blue:02x}{sound}.mp4",
            self.width, self.height, self.seconds
        ));
        if let Ok(bytes) = std::fs::read(&path) {
            return bytes.into();
        }
        std::fs::create_dir_all(&folder).unwrap();
        // Several tests may make the same clip at once: each writes its own file and renames it.
        let draft = tempfile::Builder::new().suffix(".mp4").tempfile_in(&folder).unwrap();
        if !self.make_with_ffmpeg(draft.path()) {
            std::fs::write(draft.path(), self.make_in_process()).unwrap();
        }
        let bytes = std::fs::read(draft.path()).unwrap();
        draft.persist(&path).unwrap();
        bytes.into()
    }

    /// Answers whether ffmpeg is there and made it.
    fn make_with_ffmpeg(self, path: &Path) -> bool {
        let Self { width, height, seconds, colour: [red, green, blue], audio } = self;
        let rate = FRAMES_PER_SECOND;
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y", "-f", "lavfi", "-i"]);
        command
            .arg(format!("color=c=0x{red:02x}{green:02x}{blue:02x}:s={width}x{height}:r={rate}"));
        command.args(["-f", "lavfi", "-i", &format!("color=c=white:s=40x40:r={rate}")]);
        if audio {
            command.args(["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=44100"]);
        }
        command.args([
            "-filter_complex",
            "[0][1]overlay=x='mod(t*80,W-40)':y='H*3/4',format=yuv420p[picture]",
            "-map",
            "[picture]",
        ]);
        if audio {
            command.args(["-map", "2:a", "-c:a", "aac", "-b:a", "64k"]);
        }
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "48", "-threads", "1"]);
        command.args(["-t", &seconds.to_string(), "-movflags", "+faststart"]);
        command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// The clip without ffmpeg; it is silent even where sound was asked for.
    #[cfg(feature = "render")]
    pub fn make_in_process(self) -> Vec<u8> {
        use muxide::api::{MuxerBuilder, VideoCodec};
        use openh264::encoder::{Encoder, EncoderConfig, FrameRate, IntraFramePeriod};
        use openh264::formats::{RgbSliceU8, YUVBuffer};
        use openh264::{OpenH264API, encoder::RateControlMode};

        let (width, height) =
            (usize::try_from(self.width).unwrap(), usize::try_from(self.height).unwrap());
        let configuration = EncoderConfig::new()
            .max_frame_rate(FrameRate::from_hz(24.0))
            .rate_control_mode(RateControlMode::Off)
            .intra_frame_period(IntraFramePeriod::from_num_frames(48));
        let mut encoder =
            Encoder::with_api_config(OpenH264API::from_source(), configuration).unwrap();
        let rate = f64::from(FRAMES_PER_SECOND);
        let mut film = MuxerBuilder::new(Vec::new())
            .video(VideoCodec::H264, self.width, self.height, rate)
            .build()
            .unwrap();
        for frame in 0..self.seconds * FRAMES_PER_SECOND {
            let left = frame * 80 / FRAMES_PER_SECOND % (self.width - 40);
            let mut picture = RgbImage::from_pixel(self.width, self.height, Rgb(self.colour));
            for (x, y) in (0..40).flat_map(|x| (0..40).map(move |y| (x, y))) {
                picture.put_pixel(left + x, self.height * 3 / 4 + y, Rgb([255, 255, 255]));
            }
            let source = YUVBuffer::from_rgb8_source(RgbSliceU8::new(&picture, (width, height)));
            let encoded = encoder.encode(&source).unwrap();
            let is_keyframe = frame % 48 == 0;
            film.write_video(f64::from(frame) / rate, &encoded.to_vec(), is_keyframe).unwrap();
        }
        film.finish_in_place().unwrap();
        film.into_writer()
    }

    #[cfg(not(feature = "render"))]
    pub fn make_in_process(self) -> Vec<u8> {
        panic!("clips need ffmpeg, or the feature `render`")
    }
}
