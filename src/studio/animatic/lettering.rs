//! Setting text: measuring, breaking into lines, shrinking to fit, drawing.
//!
//! The built-in face is Inter (SIL Open Font License, `assets/fonts`): Latin with accents,
//! Greek, Cyrillic. There is no shaping: scripts that need it are not in the face anyway.

use std::collections::BTreeSet;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};

use super::AnimaticError;
use super::canvas::Sheet;

/// Stands for a character that the face lacks.
const REPLACEMENT: char = '□';
/// The end of a text that was cut short.
const ELLIPSIS: char = '…';

/// The built-in face in its two weights.
pub(super) struct Typeface {
    regular: FontRef<'static>,
    bold: FontRef<'static>,
}

/// A weight of the face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) weight: Weight,
    /// Size of the em, in pixels.
    pub(super) size: f32,
    /// From one baseline to the next, in ems.
    pub(super) leading: f32,
    /// Space added after each letter, in ems.
    pub(super) tracking: f32,
}

/// Limits for a text that is fitted into a box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// In pixels.
    pub(super) width: f32,
    /// In pixels.
    pub(super) height: f32,
    /// The size at which the text is cut short rather than shrunk, in pixels.
    pub(super) smallest: f32,
}

/// Text broken into lines at a size that fits.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) lines: Vec<String>,
    pub(super) style: Style,
}

impl Block {
    /// From the top of the first line's capitals to the last baseline, in pixels.
    pub(super) fn height(&self) -> f32 {
        let lines = f32::from(u16::try_from(self.lines.len()).unwrap_or(u16::MAX));
        if self.lines.is_empty() {
            0.0
        } else {
            self.style.size * (CAPITALS + (lines - 1.0) * self.style.leading)
        }
    }
}

/// Height of Inter's capitals in ems.
pub(super) const CAPITALS: f32 = 0.727;
/// How far letters hang below the baseline, in ems.
pub(super) const DESCENT: f32 = 0.22;

impl Typeface {
    pub(super) fn load() -> Result<Self, AnimaticError> {
        let load = |bytes: &'static [u8]| {
            FontRef::try_from_slice(bytes)
                .map_err(|error| AnimaticError::Encoder(format!("the built-in font: {error}")))
        };
        Ok(Self {
            regular: load(include_bytes!("../../../assets/fonts/Inter-Regular.otf"))?,
            bold: load(include_bytes!("../../../assets/fonts/InterDisplay-Bold.otf"))?,
        })
    }

    fn font(&self, weight: Weight) -> &FontRef<'static> {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }

    /// The text as it can be shown: white space made plain, pictographs left out, other
    /// characters that the face lacks replaced by a box and noted in `unknown`.
    pub(super) fn showable(&self, text: &str, unknown: &mut BTreeSet<char>) -> String {
        let mut shown = String::with_capacity(text.len());
        for character in text.chars() {
            if character.is_whitespace() || character.is_control() {
                shown.push(' ');
            } else if self.regular.glyph_id(character) != GlyphId(0) {
                shown.push(character);
            } else {
                unknown.insert(character);
                if !is_pictograph_or_joiner(character) {
                    shown.push(REPLACEMENT);
                }
            }
        }
        shown
    }

    /// Width of a line, in pixels.
    pub(super) fn width(&self, line: &str, style: Style) -> f32 {
        let font = self.font(style.weight);
        let scaled = font.as_scaled(em(font, style.size));
        line.chars()
            .map(|character| {
                scaled.h_advance(scaled.glyph_id(character)) + style.tracking * style.size
            })
            .sum()
    }

    /// Breaks a text into lines of at most `width` pixels: between words, and inside a word
    /// only where it alone is too wide.
    pub(super) fn wrap(&self, text: &str, style: Style, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        let mut line_width = 0.0;
        let space = self.width(" ", style);
        for word in text.split_whitespace() {
            let word_width = self.width(word, style);
            if !line.is_empty() && line_width + space + word_width <= width {
                line.push(' ');
                line.push_str(word);
                line_width += space + word_width;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                line_width = 0.0;
            }
            if word_width <= width {
                line.push_str(word);
                line_width = word_width;
                continue;
            }
            for character in word.chars() {
                let advance = self.width(character.encode_utf8(&mut [0; 4]), style);
                if !line.is_empty() && line_width + advance > width {
                    lines.push(std::mem::take(&mut line));
                    line_width = 0.0;
                }
                line.push(character);
                line_width += advance;
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// Sets a text as large as the room allows, from `style.size` down to the room's smallest
    /// size; what does not fit even then ends in an ellipsis. Lines are balanced, so that no
    /// single word is left over.
    pub(super) fn fit(&self, text: &str, style: Style, room: Room) -> Block {
        let mut style = style;
        loop {
            let lines = self.wrap(text, style, room.width);
            // A word that must be broken is worse than smaller letters.
            let is_broken =
                text.split_whitespace().any(|word| self.width(word, style) > room.width);
            let block = Block { lines, style };
            if block.height() <= room.height && !is_broken {
                return self.balanced(text, &block, room.width);
            }
            let smaller = style.size * 0.95;
            if smaller < room.smallest {
                return self.shortened(block, room);
            }
            style.size = smaller;
        }
    }

    /// The same number of lines, as even in length as possible.
    fn balanced(&self, text: &str, block: &Block, width: f32) -> Block {
        let longest_word = text
            .split_whitespace()
            .map(|word| self.width(word, block.style))
            .fold(width * 0.4, f32::max);
        let (mut narrow, mut wide) = (longest_word.min(width), width);
        // The narrowest width of all may do already.
        if self.wrap(text, block.style, narrow).len() <= block.lines.len() {
            wide = narrow;
        }
        for _ in 0..7 {
            let middle = f32::midpoint(narrow, wide);
            if self.wrap(text, block.style, middle).len() > block.lines.len() {
                narrow = middle;
            } else {
                wide = middle;
            }
        }
        Block { lines: self.wrap(text, block.style, wide), style: block.style }
    }

    fn shortened(&self, mut block: Block, room: Room) -> Block {
        let mut is_cut = false;
        while block.lines.len() > 1 && block.height() > room.height {
            block.lines.pop();
            is_cut = true;
        }
        if let Some(last) = block.lines.last_mut() {
            if is_cut {
                last.push(ELLIPSIS);
            }
            *last = self.clipped(last, block.style, room.width);
        }
        block
    }

    /// One line that is at most `width` pixels wide, with an ellipsis if it had to be cut.
    pub(super) fn clipped(&self, line: &str, style: Style, width: f32) -> String {
        let line = line.trim();
        if self.width(line, style) <= width {
            return line.to_owned();
        }
        let mut kept = line.trim_end_matches(ELLIPSIS).to_owned();
        loop {
            let shown = format!("{}{ELLIPSIS}", kept.trim_end_matches([' ', ',', ';', ':']));
            if self.width(&shown, style) <= width || kept.pop().is_none() {
                return shown;
            }
        }
    }

    /// Draws one line whose first letter's origin is at `x` on the baseline `y`.
    pub(super) fn draw(&self, sheet: &mut Sheet, line: &str, style: Style, (x, y): (f32, f32)) {
        let font = self.font(style.weight);
        let scale = em(font, style.size);
        let scaled = font.as_scaled(scale);
        let mut pen = x;
        for character in line.chars() {
            let id = scaled.glyph_id(character);
            let glyph = id.with_scale_and_position(scale, point(pen, y));
            if let Some(outline) = font.outline_glyph(glyph) {
                let bounds = outline.px_bounds();
                #[expect(clippy::cast_possible_truncation, reason = "pixels of a card")]
                let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
                outline.draw(|column, row, coverage| {
                    sheet.add(left + i64::from(column), top + i64::from(row), coverage);
                });
            }
            pen += scaled.h_advance(id) + style.tracking * style.size;
        }
    }

    /// Draws a block whose first line's capitals begin at `top`.
    pub(super) fn draw_block(&self, sheet: &mut Sheet, block: &Block, (x, top): (f32, f32)) {
        let mut baseline = top + block.style.size * CAPITALS;
        for line in &block.lines {
            self.draw(sheet, line, block.style, (x, baseline));
            baseline += block.style.size * block.style.leading;
        }
    }
}

/// The scale at which the em measures `size` pixels; `ab_glyph` scales by the line's height.
fn em(font: &FontRef<'_>, size: f32) -> PxScale {
    PxScale::from(size * font.height_unscaled() / font.units_per_em().unwrap_or(2048.0))
}

/// Emoji and other pictographs, and the invisible characters that join or vary them.
fn is_pictograph_or_joiner(character: char) -> bool {
    matches!(
        u32::from(character),
        0x1_F000..=0x1_FAFF | 0x2600..=0x27BF | 0x2B00..=0x2BFF | 0xFE00..=0xFE0F
            | 0x200B..=0x200F | 0x2060 | 0x20E3 | 0xE_0000..=0xE_007F
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STYLE: Style = Style { weight: Weight::Bold, size: 60.0, leading: 1.1, tracking: 0.0 };

    #[test]
    fn the_face_has_latin_greek_and_cyrillic() {
        let face = Typeface::load().unwrap();
        let mut unknown = BTreeSet::new();
        let text = "Žluťoučký kůň — Fußgänger «ação» Ξεσκεπάζω τὴν ψυχή Съешь ещё этих їжак №5 €";
        assert_eq!(face.showable(text, &mut unknown), text);
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn what_the_face_lacks_is_shown_as_boxes_and_told() {
        let face = Typeface::load().unwrap();
        let mut unknown = BTreeSet::new();
        assert_eq!(face.showable("美 🍜\tok", &mut unknown), "□  ok");
        assert_eq!(unknown.into_iter().collect::<Vec<_>>(), ['美', '🍜']);
        let width = face.width(&REPLACEMENT.to_string(), STYLE);
        assert!(face.regular.glyph_id(REPLACEMENT) != GlyphId(0) && width > 10.0);
    }

    #[test]
    fn short_words_are_never_broken_to_stay_large() {
        let face = Typeface::load().unwrap();
        let room = Room { width: 300.0, height: 400.0, smallest: 20.0 };
        let block = face.fit("Donaudampfschifffahrt heute", STYLE, room);
        assert_eq!(block.lines, ["Donaudampfschifffahrt", "heute"]);
        let wide = Room { width: 620.0, ..room };
        let block = face.fit("Съешь ещё этих мягких французских булок", STYLE, wide);
        assert!(block.lines.iter().any(|line| line.contains("французских")), "{block:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_text_stays_in_its_room(
            text in "[a-zА-яέ ]{0,200}|[a-z]{300}|\\PC{0,80}",
            width in 80.0_f32..700.0,
            height in 30.0_f32..500.0,
        ) {
            let face = Typeface::load().unwrap();
            let text = face.showable(&text, &mut BTreeSet::new());
            let block = face.fit(&text, STYLE, Room { width, height, smallest: 18.0 });
            prop_assert!(block.lines.len() <= 1 || block.height() <= height);
            for line in &block.lines {
                prop_assert!(face.width(line, block.style) <= width + 0.5, "{line}");
            }
        }
    }
}
