//! What a downloaded picture really is, and whether all of it is there.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use image::{ImageFormat, ImageReader};

use super::inspect::{ImageFacts, ImageFileFormat, InspectError};

/// Reads format and size of a picture, and whether all of it is there: half a picture has a whole
/// header, and would be moved into a clip that is paid for. Blocking: the picture is decoded.
pub fn inspect_image(path: &Path) -> Result<ImageFacts, InspectError> {
    // By its first bytes alone: `ImageReader::open` would believe the name.
    let reader = ImageReader::new(io::BufReader::new(File::open(path)?)).with_guessed_format()?;
    let format = match reader.format() {
        Some(ImageFormat::Png) => ImageFileFormat::Png,
        Some(ImageFormat::Jpeg) => ImageFileFormat::Jpeg,
        Some(ImageFormat::WebP) => ImageFileFormat::Webp,
        _ => return Err(InspectError::NotAnImage),
    };
    let picture = reader.decode().map_err(|error| InspectError::Damaged(error.to_string()))?;
    let (width, height) = (picture.width(), picture.height());
    if width == 0 || height == 0 {
        return Err(InspectError::Damaged("the picture has no size".to_owned()));
    }
    if format == ImageFileFormat::Jpeg && !ends_with(path, &JPEG_END)? {
        return Err(InspectError::Damaged("the end of the picture is missing".to_owned()));
    }
    Ok(ImageFacts { format, width, height })
}

/// The marker at the end of every JPEG; its decoder fills what is missing with grey.
const JPEG_END: [u8; 2] = [0xFF, 0xD9];

/// Whether a file's last bytes, but for what may be appended to a picture, hold a marker.
fn ends_with(path: &Path, marker: &[u8]) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
    let mut tail = Vec::with_capacity(4096);
    file.read_to_end(&mut tail)?;
    Ok(tail.windows(marker.len()).any(|window| window == marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyframe.jpg");
        image::RgbImage::new(9, 16).save_with_format(&path, ImageFormat::Png).unwrap();
        let facts = ImageFacts { format: ImageFileFormat::Png, width: 9, height: 16 };
        assert_eq!(inspect_image(&path).unwrap(), facts);
        std::fs::write(&path, "<html>").unwrap();
        assert!(matches!(inspect_image(&path), Err(InspectError::NotAnImage)));
    }

    #[test]
    fn half_a_picture_is_damaged_in_every_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyframe");
        let picture = image::RgbImage::from_fn(90, 160, |x, y| {
            image::Rgb([x, y, x * y].map(|part| u8::try_from(part % 251).unwrap_or_default()))
        });
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            picture.save_with_format(&path, format).unwrap();
            let whole = std::fs::read(&path).unwrap();
            assert!(inspect_image(&path).is_ok(), "{format:?}");
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let half = inspect_image(&path);
            assert!(matches!(half, Err(InspectError::Damaged(_))), "{format:?}: {half:?}");
        }
    }
}
