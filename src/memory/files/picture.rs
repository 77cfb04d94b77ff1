//! Pictures: what they are, what colours they have, and how they are made to fit a vendor's bounds.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use super::MOST_PIXELS;
use super::error::FileProblem;

/// The most memory that decoding one picture may take, in bytes.
const MOST_MEMORY: u64 = 800_000_000;
/// Quality of pictures that are packed anew, out of 100.
const QUALITY: u8 = 90;
/// How many colours are told.
const MOST_COLOURS: usize = 3;
/// A colour is told from this share of the picture on.
const LEAST_SHARE: f64 = 0.08;

/// The colours that people have words for, and where each lies.
const COLOURS: [(&str, [u8; 3]); 22] = [
    ("black", [0, 0, 0]),
    ("dark grey", [64, 64, 64]),
    ("grey", [128, 128, 128]),
    ("light grey", [200, 200, 200]),
    ("white", [255, 255, 255]),
    ("red", [220, 30, 30]),
    ("dark red", [120, 15, 20]),
    ("orange", [240, 130, 30]),
    ("brown", [120, 75, 40]),
    ("beige", [225, 205, 165]),
    ("yellow", [245, 220, 50]),
    ("olive", [115, 115, 40]),
    ("green", [50, 160, 60]),
    ("dark green", [20, 70, 35]),
    ("light green", [150, 215, 130]),
    ("teal", [20, 130, 130]),
    ("light blue", [140, 195, 235]),
    ("blue", [40, 95, 215]),
    ("dark blue", [20, 30, 90]),
    ("purple", [120, 50, 160]),
    ("magenta", [215, 40, 150]),
    ("pink", [245, 170, 190]),
];

/// What is known of a picture without understanding it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Such as `dark green (#143c1e)`, the most frequent first.
    pub(super) colours: Vec<String>,
}

/// Looks at a whole picture, upright.
pub(super) fn look(data: &[u8], format: ImageFormat) -> Result<Look, FileProblem> {
    let picture = decode(data, format)?;
    Ok(Look { width: picture.width(), height: picture.height(), colours: colours(&picture) })
}

/// The picture, turned the way its camera was held.
fn decode(data: &[u8], format: ImageFormat) -> Result<DynamicImage, FileProblem> {
    let damaged = |error: image::ImageError| FileProblem::Damaged {
        kind: kind_name(format),
        reason: error.to_string(),
    };
    let mut reader = ImageReader::with_format(Cursor::new(data), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(FileProblem::TooManyPixels);
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// A format in the words of an error.
pub(super) const fn kind_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG picture",
        ImageFormat::Jpeg => "JPEG picture",
        ImageFormat::WebP => "WebP picture",
        _ => "picture",
    }
}

/// A picture as a JPEG on white whose sides are at most `longest_side` pixels long.
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Packs a picture of any format that aida takes anew, made smaller where it is too large.
pub(crate) fn packed(data: &[u8], longest_side: u32) -> Result<Packed, FileProblem> {
    let format = image::guess_format(data)
        .map_err(|error| FileProblem::Damaged { kind: "picture", reason: error.to_string() })?;
    let mut picture = decode(data, format)?;
    if picture.width().max(picture.height()) > longest_side {
        picture = picture.resize(longest_side, longest_side, FilterType::Triangle);
    }
    let flat = on_white(&picture);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(&flat)
        .map_err(|error| FileProblem::Damaged { kind: "picture", reason: error.to_string() })?;
    Ok(Packed { bytes, media_type: "image/jpeg", width: flat.width(), height: flat.height() })
}

fn on_white(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        let mix =
            |part: u32| u8::try_from((part * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX);
        Rgb([mix(red), mix(green), mix(blue)])
    })
}

/// The most frequent colours, by name and by value; what can be seen through does not count.
fn colours(picture: &DynamicImage) -> Vec<String> {
    let small = picture.thumbnail(96, 96).to_rgba8();
    let mut shares = [(0_u32, [0_u64; 3]); COLOURS.len()];
    let mut all = 0_u32;
    for pixel in small.pixels() {
        let [red, green, blue, alpha] = pixel.0;
        if alpha < 128 {
            continue;
        }
        let colour = [red, green, blue];
        let (count, sums) = &mut shares[nearest(colour)];
        *count += 1;
        all += 1;
        for (sum, part) in sums.iter_mut().zip(colour) {
            *sum += u64::from(part);
        }
    }
    let mut ranked: Vec<_> = shares
        .iter()
        .zip(COLOURS)
        .filter(|((count, _), _)| *count > 0 && f64::from(*count) >= LEAST_SHARE * f64::from(all))
        .collect();
    ranked.sort_by_key(|((count, _), _)| std::cmp::Reverse(*count));
    let value = |(count, sums): &(u32, [u64; 3])| {
        sums.map(|sum| format!("{:02x}", sum / u64::from(*count))).concat()
    };
    ranked
        .into_iter()
        .take(MOST_COLOURS)
        .map(|(share, (name, _))| format!("{name} (#{})", value(share)))
        .collect()
}

fn nearest(colour: [u8; 3]) -> usize {
    let distance = |other: [u8; 3]| -> u32 {
        // Eyes tell greens apart best and blues worst.
        [2, 4, 3]
            .iter()
            .zip(colour.iter().zip(other))
            .map(|(weight, (a, b))| weight * u32::from(a.abs_diff(b)).pow(2))
            .sum()
    };
    let ranked = COLOURS.iter().enumerate().min_by_key(|(_, (_, other))| distance(*other));
    ranked.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgba, RgbaImage};

    fn png(picture: &RgbaImage) -> Vec<u8> {
        let mut data = Cursor::new(Vec::new());
        picture.write_to(&mut data, ImageFormat::Png).unwrap();
        data.into_inner()
    }

    #[test]
    fn colours_are_named_and_what_is_clear_has_none() {
        let logo = RgbaImage::from_fn(100, 50, |x, _| match x {
            0..=49 => Rgba([210, 35, 30, 255]),
            50..=74 => Rgba([255, 255, 255, 255]),
            _ => Rgba([0, 0, 0, 0]),
        });
        let look = look(&png(&logo), ImageFormat::Png).unwrap();
        assert_eq!((look.width, look.height), (100, 50));
        assert_eq!(look.colours, ["red (#d2231e)", "white (#ffffff)"]);
    }

    #[test]
    fn a_picture_is_made_to_fit_and_stands_on_white() {
        let clear = RgbaImage::from_pixel(300, 100, Rgba([0, 0, 0, 0]));
        let packed = packed(&png(&clear), 150).unwrap();
        assert_eq!((packed.width, packed.height), (150, 50));
        let seen = image::load_from_memory(&packed.bytes).unwrap().to_rgb8();
        assert!(seen.get_pixel(10, 10).0.iter().all(|part| *part > 250));
    }

    #[test]
    fn a_picture_that_is_cut_off_is_refused() {
        let whole = png(&RgbaImage::from_fn(64, 64, |x, y| {
            Rgba([u8::try_from(x * y % 256).unwrap(), 7, 9, 255])
        }));
        assert!(look(&whole, ImageFormat::Png).is_ok());
        let half = &whole[..whole.len() / 2];
        assert!(matches!(look(half, ImageFormat::Png), Err(FileProblem::Damaged { .. })));
        assert!(matches!(
            look(b"not a picture", ImageFormat::Jpeg),
            Err(FileProblem::Damaged { .. })
        ));
    }
}
