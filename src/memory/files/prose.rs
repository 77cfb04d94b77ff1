//! Markdown and subtitles.

use super::blocks::{Place, Text};
use super::error::FileProblem;

/// The longest heading that is told as a place, in characters.
const LONGEST_HEADING: usize = 80;

/// Writes the sections of a Markdown text, each paragraph under its heading.
pub(super) fn markdown(source: &str, text: &mut Text) -> Result<(), FileProblem> {
    let (mut place, mut section) = (Place::Nowhere, String::new());
    let mut fence: Option<&str> = None;
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, Some(mark)) => fence = Some(mark),
            _ => {}
        }
        let underline = lines.peek().map(|next| next.trim_end()).unwrap_or_default();
        let is_underlined = !trimmed.is_empty()
            && underline.len() >= 3
            && (underline.bytes().all(|byte| byte == b'=')
                || underline.bytes().all(|byte| byte == b'-'));
        let heading = if fence.is_some() {
            None
        } else {
            hashed(trimmed).or_else(|| (is_underlined && !trimmed.contains('|')).then_some(trimmed))
        };
        if let Some(heading) = heading {
            text.push_paragraphs(&place, &section)?;
            section.clear();
            place = place_of(heading);
        }
        section.push_str(line);
        section.push('\n');
    }
    text.push_paragraphs(&place, &section)
}

/// The words of a heading as a place.
pub(super) fn place_of(heading: &str) -> Place {
    let heading: String =
        heading.trim().trim_matches(['#', '*', ' ']).chars().take(LONGEST_HEADING).collect();
    if heading.is_empty() { Place::Nowhere } else { Place::Heading(heading.into()) }
}

/// The words after one to six number signs.
fn hashed(line: &str) -> Option<&str> {
    let words = line.trim_start_matches('#');
    let signs = line.len() - words.len();
    ((1..=6).contains(&signs) && words.starts_with([' ', '\t'])).then(|| words.trim())
}

/// Whether a text begins as subtitles do: WebVTT by its name, SubRip by the time of its first cue.
pub(super) fn is_subtitles(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.next() {
        Some(first) if first.starts_with("WEBVTT") => true,
        Some(first) if first.bytes().all(|byte| byte.is_ascii_digit()) => {
            lines.next().and_then(cue_start).is_some()
        }
        _ => false,
    }
}

/// Writes what is said in subtitles, cue by cue: without numbers, times and marks of style.
pub(super) fn subtitles(source: &str, text: &mut Text) -> Result<(), FileProblem> {
    let mut said = String::new();
    for cue in source.split("\n\n") {
        let lines: Vec<&str> = cue.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let Some((at, start)) =
            lines.iter().enumerate().find_map(|(at, line)| Some((at, cue_start(line)?)))
        else {
            continue;
        };
        let words: Vec<String> = lines[at + 1..].iter().map(|line| without_marks(line)).collect();
        let words = words.join(" ");
        if !words.trim().is_empty() && words != said {
            text.push(Place::Second(start), &words)?;
            said = words;
        }
    }
    Ok(())
}

/// The second at which a cue begins, from its line of times.
fn cue_start(line: &str) -> Option<u32> {
    let (start, _) = line.split_once("-->")?;
    let parts: Vec<&str> = start.trim().split([':', ',', '.']).collect();
    let number = |part: &str| part.trim().parse::<u32>().ok();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes, seconds, _] => (number(hours)?, number(minutes)?, number(seconds)?),
        [minutes, seconds, _] => (0, number(minutes)?, number(seconds)?),
        _ => return None,
    };
    hours.checked_mul(3_600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(seconds)
}

/// A line without `<i>` and `{\an8}`.
fn without_marks(line: &str) -> String {
    let (mut plain, mut rest) = (String::new(), line);
    while let Some(start) = rest.find(['<', '{']) {
        let (open, close) = if rest[start..].starts_with('<') { ('<', '>') } else { ('{', '}') };
        let Some(length) = rest[start..].find(close) else { break };
        let inner = &rest[start + open.len_utf8()..start + length];
        let is_mark = if open == '<' {
            inner.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/')
        } else {
            inner.starts_with('\\')
        };
        plain.push_str(&rest[..start]);
        if !is_mark {
            plain.push_str(&rest[start..=start + length]);
        }
        rest = &rest[start + length + close.len_utf8()..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(
        source: &str,
        read: impl Fn(&str, &mut Text) -> Result<(), FileProblem>,
    ) -> Vec<(String, String)> {
        let mut text = Text::default();
        read(source, &mut text).unwrap();
        text.blocks().map(|block| (block.place.to_string(), block.text.to_owned())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(place, text)| ((*place).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn paragraphs_stand_under_their_headings() {
        let text = "Before.\n\n# Oven **care**\nClean it.\n\n```\n# no heading\n```\n\nMaterials\n---------\nSteel.\n";
        assert_eq!(
            seen(text, markdown),
            pairs(&[
                ("", "Before."),
                ("“Oven **care”", "# Oven **care**\nClean it."),
                ("“Oven **care”", "```\n# no heading\n```"),
                ("“Materials”", "Materials\n---------\nSteel."),
            ])
        );
    }

    #[test]
    fn subtitles_are_what_is_said_and_when() {
        let srt = "1\n00:00:01,000 --> 00:00:02,500\n<i>Dough</i> rises.\n\n2\n00:01:03,000 --> 00:01:05,000\n{\\an8}It is 5 < 6,\nand waits.\n";
        assert!(is_subtitles(srt));
        assert_eq!(
            seen(srt, subtitles),
            pairs(&[("00:01", "Dough rises."), ("01:03", "It is 5 < 6, and waits.")])
        );
        let vtt =
            "WEBVTT\n\nNOTE made by hand\n\nintro\n00:02.000 --> 00:03.000 align:start\nHello\n";
        assert!(is_subtitles(vtt));
        assert_eq!(seen(vtt, subtitles), pairs(&[("00:02", "Hello")]));
        assert!(!is_subtitles("1\nonly a list\n"));
        assert!(seen("99999999999:00:00,0 --> x", subtitles).is_empty());
    }
}
