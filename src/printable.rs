//! Words that others chose, such as the names of files, as a terminal may be given them: what moves
//! the cursor, colours, or turns the direction of writing is shown instead of done.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// The text on one line, with every character that a terminal would obey written as its escape.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// The text with its line feeds and tabs as they are and everything else as in [`printable`]: for
/// words that may stand in several lines.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_obeyed(character) && !matches!(character, '\n' | '\t'))
}

/// A path as in [`printable`]; bytes that are no text are written as `\xFF`, so that no two paths
/// look the same.
pub fn printable_path(path: &Path) -> String {
    let mut shown = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        shown.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _infallible = write!(shown, "\\x{byte:02X}");
        }
    }
    shown
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_escaped(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal does something else with a character than to show it: controls, line and
/// paragraph separators, and what turns the direction of writing by force. Marks of direction, which
/// texts from right to left need, do not.
fn is_obeyed(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(printable("Größe \"5\" 夜.txt"), "Größe \"5\" 夜.txt");
        assert_eq!(printable("a\u{1b}[31m\n\r\t.txt"), "a\\u{1b}[31m\\n\\r\\t.txt");
        assert_eq!(printable("\u{9b}2J\u{202e}gnp.exe"), "\\u{9b}2J\\u{202e}gnp.exe");
        assert_eq!(printable_lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
    }

    #[cfg(unix)]
    #[test]
    fn paths_of_other_bytes_look_different() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        let shown = |bytes: &[u8]| printable_path(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(shown(b"/in/\xff\x1b.txt"), "/in/\\xFF\\u{1b}.txt");
        assert_ne!(shown(b"\xff"), shown(b"\xfe"));
    }
}
