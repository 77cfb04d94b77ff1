//! Which characters belong to one word, in the scripts that put spaces between words and in those
//! that do not.

use unicode_normalization::char::is_combining_mark;

/// Whether a script is written without spaces between its words: Chinese characters, kana, Thai,
/// Lao, Khmer, Burmese, Tibetan and their neighbours. A word of these is found wherever its
/// characters stand.
pub(crate) const fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{0e00}'..='\u{0fff}'     // Thai, Lao, Tibetan
        | '\u{1000}'..='\u{109f}'   // Burmese
        | '\u{1780}'..='\u{17ff}'   // Khmer
        | '\u{1950}'..='\u{1aaf}'   // Tai scripts
        | '\u{1b00}'..='\u{1b7f}'   // Balinese
        | '\u{2e80}'..='\u{2fdf}'   // radicals
        | '\u{3005}'..='\u{3007}'   // 々〆〇
        | '\u{3040}'..='\u{312f}'   // kana, Bopomofo
        | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{a000}'..='\u{a4cf}'   // Yi
        | '\u{a980}'..='\u{a9df}'   // Javanese
        | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aadf}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'   // kana of half width
        | '\u{1b000}'..='\u{1b16f}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Korean puts spaces between words, and what English says with "of" and "to" at their ends.
pub(crate) const fn is_hangul(character: char) -> bool {
    matches!(character, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}')
}

/// Whether a character is part of a word. So is the line below, which joins names of machines.
pub(crate) fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || is_combining_mark(character) || character == '_'
}

/// Whether a word may begin at `first`, where `before` stands in front of it.
pub(crate) fn begins_word(before: Option<char>, first: char) -> bool {
    before.is_none_or(|before| !joins(before, first))
}

/// Whether a word may end with `last`, where `after` follows.
pub(crate) fn ends_word(last: char, after: Option<char>) -> bool {
    after.is_none_or(|after| {
        !joins(last, after) || is_hangul(last) && is_hangul(after) && !is_combining_mark(after)
    })
}

/// Whether two characters side by side are of one word.
fn joins(one: char, other: char) -> bool {
    if is_combining_mark(other) {
        return is_of_word(one);
    }
    is_of_word(one) && is_of_word(other) && !is_unspaced(one) && !is_unspaced(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_and_end_where_others_do_not_go_on() {
        assert!(
            begins_word(None, 'a') && begins_word(Some(' '), 'a') && begins_word(Some('-'), 'a')
        );
        for before in ['b', 'é', '7', '_', '\u{301}'] {
            assert!(!begins_word(Some(before), 'a'), "{before}");
        }
        assert!(ends_word('a', Some('.')) && !ends_word('a', Some('b')));
        assert!(!ends_word('e', Some('\u{301}')), "the accent is part of the letter");
        // Japanese and Thai have no such places; Latin words stand among their characters.
        assert!(begins_word(Some('の'), 'パ') && ends_word('ン', Some('を')));
        assert!(begins_word(Some('の'), 'i') && ends_word('e', Some('を')));
        assert!(!ends_word('ก', Some('\u{0e48}')), "a tone mark is part of the letter");
        // A Korean word goes on with its particle, and does not begin in another.
        assert!(ends_word('피', Some('를')) && !begins_word(Some('동'), '물'));
    }
}
