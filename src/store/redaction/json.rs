//! Changing the words of a JSON text and nothing else of it: keys, numbers, order and white space
//! stay byte for byte, which a value read and written again would not.

use serde::de::IgnoredAny;

/// How deep JSON may stand in strings of JSON: a reply in a row in a line of the journal, with
/// JSON of a tool in it.
const DEEPEST: usize = 6;

/// What becomes of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Becomes {
    /// Another one.
    Words(String),
    /// Null.
    Nothing,
}

/// What becomes of the string at the end of some keys; none where it stays. Elements of a list
/// have the key of the list.
pub(super) type Change<'a> = dyn FnMut(&[&str], &str) -> Option<Becomes> + 'a;

/// The text with its string values changed; none where nothing changes, and where it is no JSON.
/// Strings that are JSON themselves are looked into.
pub(super) fn changed(text: &str, change: &mut Change<'_>) -> Option<String> {
    inside(text, &[], DEEPEST, change)
}

enum Level<'a> {
    List,
    Object { key: Option<std::borrow::Cow<'a, str>>, is_key_next: bool },
}

fn inside(text: &str, above: &[&str], deepest: usize, change: &mut Change<'_>) -> Option<String> {
    if deepest == 0 || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let bytes = text.as_bytes();
    let mut levels: Vec<Level<'_>> = Vec::new();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' => levels.push(Level::Object { key: None, is_key_next: true }),
            b'[' => levels.push(Level::List),
            b'}' | b']' => drop(levels.pop()),
            b',' | b':' => {
                if let Some(Level::Object { is_key_next, .. }) = levels.last_mut() {
                    *is_key_next = byte == b',';
                }
            }
            b'"' => {
                let end = end_of_string(bytes, at);
                let raw = &text[at..end];
                // What JSON allows and Rust's strings do not (half a surrogate) is no word.
                let string: Option<String> = serde_json::from_str(raw).ok();
                if let Some(Level::Object { key, is_key_next: true }) = levels.last_mut() {
                    *key = Some(string.map_or(raw.into(), Into::into));
                } else {
                    let keys = levels.iter().filter_map(|level| match level {
                        Level::Object { key, .. } => key.as_deref(),
                        Level::List => None,
                    });
                    let keys: Vec<&str> = above.iter().copied().chain(keys).collect();
                    let new =
                        string.and_then(|string| string_becomes(&string, &keys, deepest, change));
                    if let Some(new) = new {
                        out.push_str(&text[copied..at]);
                        out.push_str(&new);
                        copied = end;
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

/// The JSON that a string becomes.
fn string_becomes(
    string: &str,
    keys: &[&str],
    deepest: usize,
    change: &mut Change<'_>,
) -> Option<String> {
    let is_json = string.trim_start().starts_with(['{', '[', '"'])
        && serde_json::from_str::<IgnoredAny>(string).is_ok();
    if is_json && deepest > 1 {
        return inside(string, keys, deepest - 1, change).map(|json| quoted(&json));
    }
    change(keys, string).map(|becomes| match becomes {
        Becomes::Words(words) => quoted(&words),
        Becomes::Nothing => "null".to_owned(),
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where the string ends that begins at `start`, behind its quotation mark. The text is JSON.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shouted(text: &str) -> Option<String> {
        changed(text, &mut |keys, string| match keys.last() {
            Some(&"id") => None,
            Some(&"gone") => Some(Becomes::Nothing),
            _ => (string.contains("hey")).then(|| Becomes::Words(string.replace("hey", "HEY"))),
        })
    }

    #[test]
    fn strings_change_and_nothing_else() {
        for (text, expected) in [
            (
                r#"{ "hey":"hey" , "n": 1.50, "m":1e400 }"#,
                Some(r#"{ "hey":"HEY" , "n": 1.50, "m":1e400 }"#),
            ),
            (
                r#"["hey",{"hey":["a","hey \" \u00e9"]}]"#,
                Some(r#"["HEY",{"hey":["a","HEY \" é"]}]"#),
            ),
            (
                r#"{"id":"hey","a":{"id":["hey",{"b":"hey"}]}}"#,
                Some(r#"{"id":"hey","a":{"id":["hey",{"b":"HEY"}]}}"#),
            ),
            (r#"{"a":{"b":1},"id":"hey"}"#, None),
            (r#""hey""#, Some(r#""HEY""#)),
            (r#"{"gone":"x","b":"hey"}"#, Some(r#"{"gone":null,"b":"HEY"}"#)),
            (r#"{"a":"\ud800 hey"}"#, None),
            (r#"{"a":"hey"#, None),
            ("hey", None),
        ] {
            assert_eq!(shouted(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn json_in_strings_is_looked_into() {
        let inner = r#"{"id":"hey","hey":["hey",1.10]}"#;
        let once = serde_json::json!({ "result": inner }).to_string();
        let twice = serde_json::json!({ "line": once }).to_string();
        let new = shouted(&twice).unwrap();
        let line: serde_json::Value = serde_json::from_str(&new).unwrap();
        let result: serde_json::Value =
            serde_json::from_str(line["line"].as_str().unwrap()).unwrap();
        assert_eq!(result["result"], r#"{"id":"hey","hey":["HEY",1.10]}"#);
        // Nested as deep as anybody likes: it is only read, never called upon again and again.
        let deep = format!("{}\"hey\"{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(shouted(&deep), Some(deep.replace("hey", "HEY")));
    }
}
