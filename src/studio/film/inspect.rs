//! What a downloaded file really is, read from its header without any outside program.
//!
//! The MP4 reader walks the box tree of ISO/IEC 14496-12 with bounded reads: a hostile or a
//! truncated file is an error, never a panic, a hang or a large allocation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

/// The most boxes looked at in one file. A clip has about fifty.
const MOST_BOXES: u32 = 20_000;
/// The most bytes read of one box's payload.
const LONGEST_PAYLOAD: u64 = 64 * 1024;
/// The most fragment runs' entries looked at, where a file is fragmented.
const MOST_FRAGMENT_SAMPLES: u32 = 1_000_000;

/// What the header of an MP4 says.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipFacts {
    /// Length of the video in seconds, to a thousandth.
    pub seconds: Decimal,
    /// Width as shown, in pixels.
    pub width: u32,
    /// Height as shown, in pixels.
    pub height: u32,
    /// The video's sample entry, such as `avc1`, `hvc1` or `av01`.
    pub codec: String,
    /// Pictures per second, on the average; 0 where the header does not tell.
    pub frames_per_second: f64,
    /// Whether there is a sound track.
    pub has_audio: bool,
    /// Size of the file.
    pub bytes: u64,
    /// Digest of everything that a decoder must know beforehand, together with the time base
    /// and the rotation: clips in which it is equal can be joined without encoding anew.
    pub(super) joint: [u8; 32],
    /// See [`ClipFacts::plays_everywhere`].
    pub(super) plays_everywhere: bool,
}

impl ClipFacts {
    /// Whether the video is upright 8-bit 4:2:0 H.264, which every browser and player shows.
    pub const fn plays_everywhere(&self) -> bool {
        self.plays_everywhere
    }
}

/// What the header of a picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its format, by its first bytes and not by its name.
    pub format: ImageFileFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// The picture formats that aida keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFileFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
}

impl ImageFileFormat {
    /// The usual extension, without a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }
}

/// Why a file was not taken for a clip or a picture.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is no MP4.
    #[error("is not an MP4 file ({0})")]
    NotMp4(String),
    /// It ends too early.
    #[error("is cut off: it ends inside the box '{0}'")]
    Truncated(String),
    /// Its boxes contradict each other.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It has no video track.
    #[error("holds no video")]
    NoVideo,
    /// It is no PNG, JPEG or WebP.
    #[error("is not a PNG, JPEG or WebP picture")]
    NotAnImage,
}

/// Reads the header of an MP4 and checks that the file is whole. Blocking, and quick: a few
/// kilobytes are read.
pub fn inspect(path: &Path) -> Result<ClipFacts, InspectError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    read_clip(io::BufReader::new(file), bytes)
}

/// One box: its name and where its payload lies, in bytes from the start of the file.
#[derive(Debug, Clone, Copy)]
struct Mp4Box {
    name: [u8; 4],
    start: u64,
    end: u64,
}

impl Mp4Box {
    fn label(&self) -> String {
        self.name.escape_ascii().to_string()
    }
}

/// One track, as far as it matters here.
#[derive(Debug, Default)]
struct Track {
    id: u32,
    handler: [u8; 4],
    timescale: u32,
    duration: u64,
    samples: u32,
    width: u32,
    height: u32,
    is_turned: bool,
    is_upright: bool,
    entry: Vec<u8>,
}

struct BoxReader<R> {
    input: R,
    boxes_left: u32,
}

fn read_clip(input: impl Read + Seek, bytes: u64) -> Result<ClipFacts, InspectError> {
    let mut reader = BoxReader { input, boxes_left: MOST_BOXES };
    let top = reader.children(Mp4Box { name: *b"file", start: 0, end: bytes })?;
    match top.first() {
        None => return Err(InspectError::NotMp4("it is empty".to_owned())),
        Some(first) if matches!(&first.name, b"ftyp" | b"styp" | b"moov" | b"wide" | b"free") => {}
        Some(first) => {
            return Err(InspectError::NotMp4(format!("it begins with '{}'", first.label())));
        }
    }
    let Some(movie) = find(&top, *b"moov") else {
        return Err(InspectError::Damaged("it has no header (moov)".to_owned()));
    };
    let movie_boxes = reader.children(movie)?;
    let mut tracks = Vec::new();
    for track in movie_boxes.iter().filter(|child| &child.name == b"trak") {
        tracks.push(reader.track(*track)?);
    }
    let has_audio = tracks.iter().any(|track| &track.handler == b"soun");
    let mut video =
        tracks.into_iter().find(|track| &track.handler == b"vide").ok_or(InspectError::NoVideo)?;
    if let Some(extends) = find(&movie_boxes, *b"mvex") {
        let defaults = reader.fragment_default(extends, video.id)?;
        for fragment in top.iter().filter(|child| &child.name == b"moof") {
            reader.add_fragment(*fragment, defaults, &mut video)?;
        }
    } else if find(&top, *b"mdat").is_none() {
        return Err(InspectError::Damaged("it has a header but no pictures (mdat)".to_owned()));
    }
    facts(&video, has_audio, bytes)
}

fn facts(video: &Track, has_audio: bool, bytes: u64) -> Result<ClipFacts, InspectError> {
    let damaged = |what: &str| Err(InspectError::Damaged(what.to_owned()));
    if video.timescale == 0 || video.duration == 0 || video.duration == u64::from(u32::MAX) {
        return damaged("its video has no length");
    }
    if video.width == 0 || video.height == 0 {
        return damaged("its video has no size");
    }
    let milliseconds = u128::from(video.duration) * 1000 / u128::from(video.timescale);
    let Ok(milliseconds) = i64::try_from(milliseconds) else {
        return damaged("its video claims an impossible length");
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate, of which three digits matter")]
    let frames_per_second =
        f64::from(video.samples) * f64::from(video.timescale) / video.duration as f64;
    let name = video.entry.get(4..8).unwrap_or_default();
    let codec = String::from_utf8_lossy(name).trim().to_owned();
    let plays_everywhere =
        matches!(name, b"avc1" | b"avc3") && is_8_bit_420(&video.entry) && video.is_upright;
    let mut joint = Sha256::new();
    for part in decoder_parts(&video.entry) {
        joint.update(part);
    }
    joint.update(video.timescale.to_be_bytes());
    joint.update([u8::from(video.is_upright)]);
    let (width, height) =
        if video.is_turned { (video.height, video.width) } else { (video.width, video.height) };
    Ok(ClipFacts {
        seconds: Decimal::new(milliseconds, 3),
        width,
        height,
        codec,
        frames_per_second,
        has_audio,
        bytes,
        joint: joint.finalize().into(),
        plays_everywhere,
    })
}

/// The bytes of an H.264 sample entry, as one piece and its child boxes, that a decoder depends on:
/// without the box of bit rates (`btrt`), which tells of the file and differs from clip to clip.
/// Source: ISO/IEC 14496-12, VisualSampleEntry: 86 bytes with its header, then child boxes.
fn decoder_parts(entry: &[u8]) -> Vec<&[u8]> {
    const FIXED: usize = 86;
    let Some((fixed, mut boxes)) = entry.split_at_checked(FIXED) else { return vec![entry] };
    // The entry's own length counts the bit rates, so it is left out too.
    let mut parts = vec![&fixed[4..]];
    while let Some((length, _)) = boxes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((child, rest)) = boxes.split_at_checked(length.max(8)) else { break };
        if &child[4..8] != b"btrt" {
            parts.push(child);
        }
        boxes = rest;
    }
    parts.push(boxes);
    parts
}

/// Whether the profile in the sample entry's `avcC` box is one that allows 8-bit 4:2:0 only:
/// Baseline (66), Main (77), Extended (88), High (100).
fn is_8_bit_420(entry: &[u8]) -> bool {
    entry
        .windows(4)
        .position(|window| window == b"avcC")
        .and_then(|position| entry.get(position + 5))
        .is_some_and(|profile| matches!(profile, 66 | 77 | 88 | 100))
}

fn find(boxes: &[Mp4Box], name: [u8; 4]) -> Option<Mp4Box> {
    boxes.iter().copied().find(|candidate| candidate.name == name)
}

fn number_32(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

fn number_64(payload: &[u8], at: usize) -> Option<u64> {
    payload.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
}

impl<R: Read + Seek> BoxReader<R> {
    /// The boxes inside `parent`, in their order.
    fn children(&mut self, parent: Mp4Box) -> Result<Vec<Mp4Box>, InspectError> {
        let mut children = Vec::new();
        let mut position = parent.start;
        // Fewer than eight bytes at the end are padding, which some writers leave.
        while parent.end.saturating_sub(position) >= 8 {
            self.boxes_left = self
                .boxes_left
                .checked_sub(1)
                .ok_or_else(|| InspectError::Damaged("it has too many boxes".to_owned()))?;
            self.input.seek(SeekFrom::Start(position))?;
            let mut head = [0; 8];
            self.input.read_exact(&mut head)?;
            let name = [head[4], head[5], head[6], head[7]];
            let short = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            let truncated = || InspectError::Truncated(name.escape_ascii().to_string());
            let (header, length) = match short {
                0 => (8, parent.end - position),
                1 => {
                    let mut long = [0; 8];
                    if parent.end - position < 16 {
                        return Err(truncated());
                    }
                    self.input.read_exact(&mut long)?;
                    (16, u64::from_be_bytes(long))
                }
                length => (8, u64::from(length)),
            };
            if length < header {
                let label = name.escape_ascii();
                return Err(if parent.start == 0 && position == 0 {
                    InspectError::NotMp4(format!("it begins with '{label}'"))
                } else {
                    InspectError::Damaged(format!("the box '{label}' is shorter than its head"))
                });
            }
            let end =
                position.checked_add(length).filter(|end| *end <= parent.end).ok_or_else(|| {
                    // A text or a web page also "ends inside its first box".
                    if position == 0 && &name != b"ftyp" {
                        InspectError::NotMp4(format!("it begins with '{}'", name.escape_ascii()))
                    } else {
                        truncated()
                    }
                })?;
            children.push(Mp4Box { name, start: position + header, end });
            position = end;
        }
        Ok(children)
    }

    /// The payload, at most [`LONGEST_PAYLOAD`] bytes of it.
    fn payload(&mut self, of: Mp4Box) -> Result<Vec<u8>, InspectError> {
        let length = (of.end - of.start).min(LONGEST_PAYLOAD);
        self.input.seek(SeekFrom::Start(of.start))?;
        let mut payload = Vec::new();
        self.input.by_ref().take(length).read_to_end(&mut payload)?;
        if payload.len() as u64 == length {
            Ok(payload)
        } else {
            Err(InspectError::Truncated(of.label()))
        }
    }

    fn track(&mut self, track: Mp4Box) -> Result<Track, InspectError> {
        let mut found = Track::default();
        let children = self.children(track)?;
        if let Some(header) = find(&children, *b"tkhd") {
            read_track_header(&self.payload(header)?, &mut found);
        }
        let Some(media) = find(&children, *b"mdia") else { return Ok(found) };
        let media = self.children(media)?;
        if let Some(header) = find(&media, *b"mdhd") {
            let payload = self.payload(header)?;
            let (timescale, duration) = if payload.first() == Some(&1) {
                (number_32(&payload, 20), number_64(&payload, 24))
            } else {
                (number_32(&payload, 12), number_32(&payload, 16).map(u64::from))
            };
            found.timescale = timescale.unwrap_or(0);
            found.duration = duration.unwrap_or(0);
        }
        if let Some(handler) = find(&media, *b"hdlr") {
            let payload = self.payload(handler)?;
            found.handler = number_32(&payload, 8).unwrap_or(0).to_be_bytes();
        }
        let Some(information) = find(&media, *b"minf") else { return Ok(found) };
        let information = self.children(information)?;
        let Some(table) = find(&information, *b"stbl") else { return Ok(found) };
        let table = self.children(table)?;
        if let Some(sizes) = find(&table, *b"stsz").or_else(|| find(&table, *b"stz2")) {
            found.samples = number_32(&self.payload(sizes)?, 8).unwrap_or(0);
        }
        if let Some(descriptions) = find(&table, *b"stsd") {
            // The entries follow four bytes of version and flags and four of their number.
            found.entry = self.payload(descriptions)?.get(8..).unwrap_or_default().to_vec();
            // A video entry carries its coded size 32 bytes in (14496-12, 12.1.3).
            if &found.handler == b"vide"
                && (found.width == 0 || found.height == 0)
                && let Some(size) = number_32(&found.entry, 32)
            {
                (found.width, found.height) = (size >> 16, size & 0xffff);
            }
        }
        Ok(found)
    }

    /// The default length of a sample in the fragments of the track, from `trex`.
    fn fragment_default(&mut self, extends: Mp4Box, track: u32) -> Result<u32, InspectError> {
        for child in self.children(extends)?.iter().filter(|child| &child.name == b"trex") {
            let payload = self.payload(*child)?;
            if number_32(&payload, 4) == Some(track) {
                return Ok(number_32(&payload, 12).unwrap_or(0));
            }
        }
        Ok(0)
    }

    /// Adds the samples of one fragment (`moof`) to the video track's length.
    fn add_fragment(
        &mut self,
        fragment: Mp4Box,
        default_length: u32,
        video: &mut Track,
    ) -> Result<(), InspectError> {
        for track in self.children(fragment)?.iter().filter(|child| &child.name == b"traf") {
            let children = self.children(*track)?;
            let Some(header) = find(&children, *b"tfhd") else { continue };
            let header = self.payload(header)?;
            if number_32(&header, 4) != Some(video.id) {
                continue;
            }
            let flags = number_32(&header, 0).unwrap_or(0);
            // The optional fields before the default duration: base offset (8), description (4).
            let skipped = usize::from(flags & 0x1 != 0) * 8 + usize::from(flags & 0x2 != 0) * 4;
            let default_length = if flags & 0x8 != 0 {
                number_32(&header, 8 + skipped).unwrap_or(0)
            } else {
                default_length
            };
            for run in children.iter().filter(|child| &child.name == b"trun") {
                let payload = self.payload(*run)?;
                let flags = number_32(&payload, 0).unwrap_or(0);
                let count = number_32(&payload, 4).unwrap_or(0).min(MOST_FRAGMENT_SAMPLES);
                let first =
                    8 + usize::from(flags & 0x1 != 0) * 4 + usize::from(flags & 0x4 != 0) * 4;
                let fields = (flags & 0xf00).count_ones() as usize * 4;
                let length = if flags & 0x100 == 0 {
                    u64::from(default_length) * u64::from(count)
                } else {
                    (0..count as usize)
                        .map_while(|sample| number_32(&payload, first + sample * fields))
                        .map(u64::from)
                        .sum()
                };
                video.duration = video.duration.saturating_add(length);
                video.samples = video.samples.saturating_add(count);
            }
        }
        Ok(())
    }
}

/// Takes identity, rotation and shown size out of a `tkhd` payload.
fn read_track_header(payload: &[u8], track: &mut Track) {
    let (id_at, matrix_at) = if payload.first() == Some(&1) { (20, 52) } else { (12, 40) };
    track.id = number_32(payload, id_at).unwrap_or(0);
    let matrix = |index: usize| number_32(payload, matrix_at + index * 4).unwrap_or(0);
    // The matrix is a b u c d v x y w in 16.16 fixed point; a quarter turn has a = d = 0.
    track.is_turned = matrix(0) == 0 && matrix(4) == 0 && matrix(1) != 0;
    track.is_upright =
        matrix(0) == 0x1_0000 && matrix(4) == 0x1_0000 && matrix(1) == 0 && matrix(3) == 0;
    track.width = number_32(payload, matrix_at + 36).unwrap_or(0) >> 16;
    track.height = number_32(payload, matrix_at + 40).unwrap_or(0) >> 16;
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn mp4_box(name: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len() + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend(name);
        bytes.extend(payload);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A track of 150 samples at 30 a second, 1080 × 1920, turned by `matrix`.
    fn track(handler: &[u8], matrix: [u32; 9]) -> Vec<u8> {
        let mut header = words(&[0, 0, 0, 1, 0, 5000, 0, 0, 0, 0]);
        header.extend(words(&matrix));
        header.extend(words(&[1080 << 16, 1920 << 16]));
        let media_header = words(&[0, 0, 0, 15_360, 76_800, 0]);
        let mut handler_box = words(&[0, 0]);
        handler_box.extend(handler);
        handler_box.extend([0; 12]);
        let mut entry = words(&[0, 1]);
        let mut avc1 = vec![0; 78];
        avc1.extend(mp4_box(b"avcC", &[1, 100, 0, 40]));
        entry.extend(mp4_box(b"avc1", &avc1));
        let mut table = mp4_box(b"stsd", &entry);
        table.extend(mp4_box(b"stsz", &words(&[0, 0, 150])));
        let mut media = mp4_box(b"mdhd", &media_header);
        media.extend(mp4_box(b"hdlr", &handler_box));
        media.extend(mp4_box(b"minf", &mp4_box(b"stbl", &table)));
        let mut track = mp4_box(b"tkhd", &header);
        track.extend(mp4_box(b"mdia", &media));
        mp4_box(b"trak", &track)
    }

    const UPRIGHT: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    const TURNED: [u32; 9] = [0, 0x1_0000, 0, 0xffff_0000, 0, 0, 0, 0, 0x4000_0000];

    fn clip(tracks: &[Vec<u8>]) -> Vec<u8> {
        let mut file = mp4_box(b"ftyp", b"isomiso2");
        file.extend(mp4_box(b"moov", &tracks.concat()));
        file.extend(mp4_box(b"mdat", &[7; 1000]));
        file
    }

    fn read(bytes: &[u8]) -> Result<ClipFacts, InspectError> {
        read_clip(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn a_clip_tells_its_facts() {
        let facts = read(&clip(&[track(b"soun", UPRIGHT), track(b"vide", UPRIGHT)])).unwrap();
        assert_eq!(facts.seconds, Decimal::new(5, 0));
        assert_eq!((facts.width, facts.height), (1080, 1920));
        assert_eq!(facts.codec, "avc1");
        assert!(facts.has_audio && facts.plays_everywhere);
        assert!((facts.frames_per_second - 30.0).abs() < 1e-9);
    }

    #[test]
    fn a_turned_clip_is_measured_as_shown() {
        let facts = read(&clip(&[track(b"vide", TURNED)])).unwrap();
        assert_eq!((facts.width, facts.height), (1920, 1080));
        assert!(!facts.has_audio && !facts.plays_everywhere);
    }

    #[test]
    fn what_is_no_clip_is_named() {
        assert!(matches!(read(b""), Err(InspectError::NotMp4(_))));
        assert!(matches!(read(b"<!DOCTYPE html><html>"), Err(InspectError::NotMp4(_))));
        assert!(matches!(read(br#"{"detail":"expired"}"#), Err(InspectError::NotMp4(_))));
        assert!(matches!(read(&clip(&[track(b"soun", UPRIGHT)])), Err(InspectError::NoVideo)));
        let headless = [mp4_box(b"ftyp", b"isom"), mp4_box(b"mdat", &[0; 9])].concat();
        assert!(matches!(read(&headless), Err(InspectError::Damaged(_))));
    }

    #[test]
    fn every_truncation_is_noticed() {
        let whole = clip(&[track(b"vide", UPRIGHT)]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn fragments_add_up() {
        let mut file = mp4_box(b"ftyp", b"iso5");
        let mut unmeasured = track(b"vide", UPRIGHT);
        let position = unmeasured.windows(4).position(|window| window == 76_800_u32.to_be_bytes());
        unmeasured[position.unwrap()..][..4].fill(0);
        let extends = mp4_box(b"mvex", &mp4_box(b"trex", &words(&[0, 1, 1, 512, 0, 0])));
        file.extend(mp4_box(b"moov", &[unmeasured, extends].concat()));
        for run in [words(&[0, 30]), words(&[0x100, 2, 1000, 24])] {
            let fragment = [mp4_box(b"tfhd", &words(&[0, 1])), mp4_box(b"trun", &run)].concat();
            file.extend(mp4_box(b"moof", &mp4_box(b"traf", &fragment)));
        }
        // 30 × 512 + 1000 + 24 units of 1/15360 s.
        assert_eq!(read(&file).unwrap().seconds, Decimal::new(1066, 3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&bytes);
        }

        #[test]
        fn any_damage_is_survived(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
        ) {
            let mut bytes = clip(&[track(b"vide", UPRIGHT), track(b"soun", UPRIGHT)]);
            for (index, value) in damage {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            let _ = read(&bytes);
        }
    }
}
