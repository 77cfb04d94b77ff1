//! Cards into H.264 in an MP4.
//!
//! The film is encoded in pieces of a few seconds that each begin with a keyframe, so that
//! several threads can work at once; each holds one piece's compressed pictures, and the
//! container writer holds the compressed film until it is whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use muxide::api::{MuxerBuilder, VideoCodec};
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, Profile, QpRange,
    RateControlMode, VuiConfig,
};
use openh264::formats::YUVSlices;
use tokio_util::sync::CancellationToken;

use super::canvas::Canvas;
use super::card::{FilmOfCards, Prepared};
use super::{AnimaticError, PICTURES_PER_SECOND};

/// The most threads; more gain nothing on a film of half a minute.
const MOST_THREADS: usize = 4;
/// The longest piece, in pictures: five seconds, so that players can seek.
const LONGEST_PIECE: u64 = 5 * PICTURES_PER_SECOND as u64;
/// The quantiser: still text stays sharp, slow gradients stay smooth.
const QUANTISER: u8 = 22;

/// A run of pictures of one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    card: usize,
    first_picture: u64,
    pictures: u64,
}

/// What the threads report.
enum Report {
    /// One more picture of that card.
    Picture(usize),
    /// A whole piece: its number, and its pictures as Annex B with their keyframe marks.
    Piece(usize, Vec<(Vec<u8>, bool)>),
    /// The thread gave up.
    Failed(AnimaticError),
}

/// Encodes the whole film and returns the MP4.
pub(super) fn encode(
    film: &FilmOfCards,
    cancel: &CancellationToken,
    on_progress: &mut dyn FnMut(u8, u32),
) -> Result<Vec<u8>, AnimaticError> {
    let pieces = pieces(film.pictures_of_cards());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let (next, is_over) = (&AtomicUsize::new(0), &AtomicBool::new(false));
    let pieces = pieces.as_slice();
    let (reports, inbox) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..threads.min(pieces.len()) {
            let reports = reports.clone();
            scope.spawn(move || work(film, pieces, next, is_over, &reports));
        }
        drop(reports);
        let result = collect(film, pieces.len(), inbox, cancel, on_progress);
        is_over.store(true, Ordering::Relaxed);
        result
    })
}

fn pieces(pictures_of_cards: impl Iterator<Item = u64>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (card, pictures) in pictures_of_cards.enumerate() {
        let mut first_picture = 0;
        while first_picture < pictures {
            // Even shares: no stub of a few pictures at the end of a card.
            let left = pictures - first_picture;
            let share = left.div_ceil(left.div_ceil(LONGEST_PIECE));
            pieces.push(Piece { card, first_picture, pictures: share });
            first_picture += share;
        }
    }
    pieces
}

/// Takes pieces until none is left.
fn work(
    film: &FilmOfCards,
    pieces: &[Piece],
    next: &AtomicUsize,
    is_over: &AtomicBool,
    reports: &mpsc::Sender<Report>,
) {
    let result = (|| {
        let mut encoder = encoder()?;
        let mut canvas = Canvas::new(film.width, film.height);
        let mut spare = canvas.clone();
        let mut prepared: Option<(usize, Prepared)> = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(number) else { return Ok(()) };
            if prepared.as_ref().is_none_or(|(card, _)| *card != piece.card) {
                prepared = film.prepare(piece.card).map(|card| (piece.card, card));
            }
            let Some((_, card)) = &prepared else { return Ok(()) };
            let mut encoded = Vec::new();
            for picture in piece.first_picture..piece.first_picture + piece.pictures {
                if is_over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                film.paint(card, picture, &mut canvas, &mut spare);
                if picture == piece.first_picture && number > 0 {
                    encoder.force_intra_frame();
                }
                encoded.push(encode_picture(&mut encoder, &canvas)?);
                // Nobody listens any more once the film has failed; then the loop ends.
                let _ = reports.send(Report::Picture(piece.card));
            }
            let _ = reports.send(Report::Piece(number, encoded));
        }
    })();
    if let Err(error) = result {
        let _ = reports.send(Report::Failed(error));
    }
}

fn encoder() -> Result<Encoder, AnimaticError> {
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let rate = FrameRate::from_hz(PICTURES_PER_SECOND as f32);
    let config = EncoderConfig::new()
        .max_frame_rate(rate)
        .rate_control_mode(RateControlMode::Quality)
        .bitrate(BitRate::from_bps(14_000_000))
        .qp(QpRange::new(QUANTISER, QUANTISER))
        // The quantiser is fixed and the rate far below its cap, so no picture is ever left out;
        // switched off, the encoder complains about it on standard error.
        .skip_frames(true)
        .profile(Profile::Baseline)
        .complexity(Complexity::Low)
        .scene_change_detect(false)
        .adaptive_quantization(false)
        .background_detection(false)
        .num_threads(1)
        .vui(VuiConfig::bt709());
    Encoder::with_api_config(OpenH264API::from_source(), config).map_err(failed)
}

fn encode_picture(
    encoder: &mut Encoder,
    canvas: &Canvas,
) -> Result<(Vec<u8>, bool), AnimaticError> {
    let Canvas { width, height, y, u, v } = canvas;
    let source = YUVSlices::new((y, u, v), (*width, *height), (*width, width / 2, width / 2));
    let encoded = encoder.encode(&source).map_err(failed)?;
    let bytes = encoded.to_vec();
    if bytes.is_empty() {
        return Err(failed("the encoder left a picture out"));
    }
    Ok((bytes, encoded.frame_type() == FrameType::IDR))
}

/// Puts the pieces in order and into the container.
fn collect(
    film: &FilmOfCards,
    pieces: usize,
    inbox: mpsc::Receiver<Report>,
    cancel: &CancellationToken,
    on_progress: &mut dyn FnMut(u8, u32),
) -> Result<Vec<u8>, AnimaticError> {
    let side = |side: usize| u32::try_from(side).unwrap_or(0);
    let mut file = Vec::new();
    let mut muxer = MuxerBuilder::new(&mut file)
        .video(
            VideoCodec::H264,
            side(film.width),
            side(film.height),
            f64::from(PICTURES_PER_SECOND),
        )
        .with_fast_start(true)
        .build()
        .map_err(failed)?;
    let all = film.pictures().max(1);
    let mut painted = 0;
    let mut shown_percent = 0;
    let mut written = 0_u32;
    let mut waiting = BTreeMap::new();
    let mut next_piece = 0;
    for report in inbox {
        if cancel.is_cancelled() {
            return Err(AnimaticError::Cancelled);
        }
        match report {
            Report::Picture(card) => {
                painted += 1;
                let percent = u8::try_from(painted * 99 / all).unwrap_or(99);
                if percent > shown_percent {
                    shown_percent = percent;
                    on_progress(percent, u32::try_from(card + 1).unwrap_or(u32::MAX));
                }
            }
            Report::Piece(number, pictures) => {
                waiting.insert(number, pictures);
                while let Some(pictures) = waiting.remove(&next_piece) {
                    for (bytes, is_keyframe) in pictures {
                        let seconds = f64::from(written) / f64::from(PICTURES_PER_SECOND);
                        muxer.write_video(seconds, &bytes, is_keyframe).map_err(failed)?;
                        written += 1;
                    }
                    next_piece += 1;
                }
            }
            Report::Failed(error) => return Err(error),
        }
    }
    if next_piece < pieces {
        return Err(failed("a thread of the encoder ended early"));
    }
    muxer.finish().map_err(failed)?;
    Ok(file)
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn failed(error: impl ToString) -> AnimaticError {
    AnimaticError::Encoder(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_picture_once() {
        let cards = [1, 24, 120, 121, 14_400];
        let pieces = pieces(cards.into_iter());
        for (card, pictures) in cards.into_iter().enumerate() {
            let mut next = 0;
            for piece in pieces.iter().filter(|piece| piece.card == card) {
                assert_eq!(piece.first_picture, next);
                assert!((1..=LONGEST_PIECE).contains(&piece.pictures));
                next += piece.pictures;
            }
            assert_eq!(next, pictures);
        }
    }
}
