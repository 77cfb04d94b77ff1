//! A palette in words: image models know colours by their names, and hardly by their digits.

/// Colours with names that image models and people agree on, in red, green and blue.
const NAMES: &[(&str, [i32; 3])] = &[
    ("black", [0x10, 0x10, 0x10]),
    ("charcoal", [0x36, 0x3b, 0x40]),
    ("grey", [0x80, 0x80, 0x80]),
    ("silver", [0xbf, 0xc3, 0xc7]),
    ("white", [0xff, 0xff, 0xff]),
    ("cream", [0xf5, 0xe9, 0xd6]),
    ("beige", [0xd9, 0xc5, 0xa3]),
    ("brown", [0x6b, 0x44, 0x23]),
    ("rust", [0xb3, 0x4a, 0x1e]),
    ("terracotta", [0xc9, 0x65, 0x4a]),
    ("red", [0xd8, 0x1e, 0x2c]),
    ("crimson", [0x9b, 0x11, 0x2e]),
    ("coral", [0xff, 0x7f, 0x66]),
    ("orange", [0xf5, 0x82, 0x20]),
    ("amber", [0xff, 0xb3, 0x1a]),
    ("yellow", [0xff, 0xdd, 0x33]),
    ("olive green", [0x70, 0x74, 0x2e]),
    ("lime green", [0x9a, 0xcd, 0x32]),
    ("green", [0x22, 0x8b, 0x45]),
    ("forest green", [0x1d, 0x4d, 0x33]),
    ("sage", [0xa8, 0xb8, 0x9a]),
    ("teal", [0x0f, 0x7c, 0x80]),
    ("turquoise", [0x40, 0xc8, 0xc0]),
    ("sky blue", [0x87, 0xc3, 0xeb]),
    ("blue", [0x1f, 0x5f, 0xd0]),
    ("navy", [0x12, 0x22, 0x4f]),
    ("violet", [0x6f, 0x3f, 0xb5]),
    ("lilac", [0xc3, 0xa6, 0xdf]),
    ("magenta", [0xd0, 0x2a, 0x8c]),
    ("pink", [0xf4, 0x9a, 0xb8]),
    ("blush", [0xf3, 0xd3, 0xcb]),
];

/// The colours as a prompt names them: digits get the name of the colour nearest to them, and
/// stay beside it.
pub fn palette_text(palette: &[String]) -> String {
    let named = palette.iter().map(|colour| match name_of(colour) {
        Some(name) => format!("{name} ({colour})"),
        None => colour.clone(),
    });
    named.collect::<Vec<_>>().join(", ")
}

/// The colours by name alone.
pub fn palette_names(palette: &[String]) -> Vec<String> {
    palette
        .iter()
        .map(|colour| name_of(colour).map_or_else(|| colour.clone(), str::to_owned))
        .collect()
}

/// The name of the colour nearest to `#RRGGBB`, weighing green most, as eyes do.
fn name_of(colour: &str) -> Option<&'static str> {
    let digits =
        colour.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
    let part = |at: usize| i32::from_str_radix(&digits[at..at + 2], 16).ok();
    let (red, green, blue) = (part(0)?, part(2)?, part(4)?);
    let distance = |known: &[i32; 3]| {
        let [r, g, b] = [known[0] - red, known[1] - green, known[2] - blue];
        3 * r * r + 4 * g * g + 2 * b * b
    };
    NAMES.iter().min_by_key(|(_, known)| distance(known)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_get_the_nearest_name() {
        let palette = ["#C8553D", "cream", "#0A0A0C", "#FFD700"].map(str::to_owned);
        assert_eq!(
            palette_text(&palette),
            "terracotta (#C8553D), cream, black (#0A0A0C), yellow (#FFD700)"
        );
        assert_eq!(palette_names(&palette), ["terracotta", "cream", "black", "yellow"]);
    }
}
