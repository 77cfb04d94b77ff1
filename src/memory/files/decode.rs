//! From bytes to text, where the encoding can be told for certain.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::error::FileProblem;

/// A text and the encoding that it was written in.
pub(super) struct Decoded {
    /// With plain line ends and without a byte order mark.
    pub(super) text: String,
    /// Its name in the WHATWG's list.
    pub(super) encoding: &'static str,
}

/// Reads a text: UTF-8, UTF-16 with a byte order mark, or Windows-1252 where nothing else fits.
pub(super) fn decode(data: &[u8]) -> Result<Decoded, FileProblem> {
    let encoding = match Encoding::for_bom(data) {
        Some((marked, _)) if marked == UTF_16LE || marked == UTF_16BE => marked,
        _ => UTF_8,
    };
    if encoding != UTF_8 {
        let (text, _, is_broken) = encoding.decode(data);
        if is_broken {
            return Err(FileProblem::NotText { position: 0 });
        }
        return finish(&text, encoding, 0);
    }
    match std::str::from_utf8(data) {
        Ok(text) => finish(text.trim_start_matches('\u{feff}'), UTF_8, 0),
        Err(error) if is_western(data) => {
            let (text, _, _) = WINDOWS_1252.decode(data);
            finish(&text, WINDOWS_1252, error.valid_up_to())
        }
        Err(error) => Err(FileProblem::NotText { position: error.valid_up_to() }),
    }
}

fn finish(text: &str, encoding: &'static Encoding, suspect: usize) -> Result<Decoded, FileProblem> {
    let is_binary = |character: char| {
        character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{85}')
    };
    if let Some((position, _)) = text.char_indices().find(|&(_, character)| is_binary(character)) {
        return Err(FileProblem::NotText { position: position.max(suspect) });
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    if text.trim().is_empty() {
        return Err(FileProblem::Empty);
    }
    Ok(Decoded { text, encoding: encoding.name() })
}

/// Whether bytes that are not UTF-8 are text of a western language for certain: mostly ASCII, with
/// single accented letters inside words and the signs of that code page. Text of another code page
/// (Cyrillic, Japanese) is full of such bytes, and broken UTF-8 shows whole characters beside the
/// broken ones.
fn is_western(data: &[u8]) -> bool {
    let high = data.iter().filter(|byte| **byte >= 0x80).count();
    // A character of two bytes whose second one was cut off looks like an accented capital.
    let is_cut_off = matches!(data.last(), Some(0xC2 | 0xC3));
    if high == 0 || high * 3 > data.len() || has_whole_characters(data) || is_cut_off {
        return false;
    }
    let mut letters_together = 0;
    for (index, byte) in data.iter().enumerate() {
        match byte {
            // Letters with accents, and those that the code page adds to Latin-1.
            0xC0..=0xD6
            | 0xD8..=0xF6
            | 0xF8..=0xFF
            | 0x8A
            | 0x8C
            | 0x8E
            | 0x9A
            | 0x9C
            | 0x9E
            | 0x9F => {
                let beside = |place: Option<usize>| {
                    place.and_then(|place| data.get(place)).is_some_and(u8::is_ascii_alphabetic)
                };
                letters_together += 1;
                let stands_in_a_word = beside(index.checked_sub(1)) || beside(Some(index + 1));
                if letters_together > 2 || !(stands_in_a_word || letters_together == 2) {
                    return false;
                }
            }
            // Quotation marks, dashes, currencies, degrees, fractions.
            0x80 | 0x82 | 0x84 | 0x85 | 0x8B | 0x91..=0x97 | 0x99 | 0x9B | 0xA0..=0xBF => {
                letters_together = 0;
            }
            0x80..=0xFF => return false,
            _ => letters_together = 0,
        }
    }
    true
}

/// Whether a character of two bytes or more stands somewhere among the bytes, as UTF-8 writes it.
fn has_whole_characters(data: &[u8]) -> bool {
    data.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(data: &[u8]) -> Option<(String, &'static str)> {
        decode(data).ok().map(|decoded| (decoded.text, decoded.encoding))
    }

    #[test]
    fn encodings_are_told_apart() {
        assert_eq!(text("\u{feff}Café\r\nCrème".as_bytes()), Some(("Café\nCrème".into(), "UTF-8")));
        let wide: Vec<u8> =
            [0xFEFF].into_iter().chain("Käse".encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(text(&wide), Some(("Käse".into(), "UTF-16LE")));
        let wide: Vec<u8> =
            [0xFEFF].into_iter().chain("Käse".encode_utf16()).flat_map(u16::to_be_bytes).collect();
        assert_eq!(text(&wide), Some(("Käse".into(), "UTF-16BE")));
        assert_eq!(
            text(b"Men\xfc f\xfcr 12 \x80 \x96 \x84sch\xf6n\x93, caf\xe9"),
            Some(("Menü für 12 € – „schön“, café".into(), "windows-1252"))
        );
    }

    #[test]
    fn what_is_not_certain_is_refused() {
        let (cyrillic, _, _) =
            encoding_rs::WINDOWS_1251.encode("Прогулка по ночному городу, and more");
        let (japanese, _, _) = encoding_rs::SHIFT_JIS.encode("夜の街を歩く the city at night");
        let mut broken = "Crème brûlée, and then it goes on in plain words".as_bytes().to_vec();
        broken.push(0xE9);
        for data in [
            &cyrillic[..],
            &japanese[..],
            &broken,
            b"ab\0cd",
            b"\xff\xfe\x00",
            b"\xc3\x28",
            b"gr\xc3",
            b"\x89\x80",
        ] {
            assert!(text(data).is_none(), "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_refused(data in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(decoded) = decode(&data) {
                prop_assert!(!decoded.text.contains(['\0', '\r']));
            }
        }
    }
}
