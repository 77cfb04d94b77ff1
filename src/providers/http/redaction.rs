//! Takes secrets out of every text that goes into an error or a log.

use secrecy::{ExposeSecret, SecretString};

/// What stands where a secret stood.
const REPLACEMENT: &str = "[redacted]";
/// Parts of a key shorter than this would black out innocent words.
const SHORTEST_SECRET: usize = 6;

/// `text` without the given keys, without anything that looks like a key of a known vendor,
/// and without the query strings of URLs, which carry signatures.
pub fn redact(text: &str, secrets: &[&SecretString]) -> String {
    let mut clean = text.to_owned();
    for secret in secrets {
        let secret = secret.expose_secret();
        // A fal key is `id:secret`, and some replies quote only one half.
        for part in std::iter::once(secret).chain(secret.split(':')) {
            if part.len() >= SHORTEST_SECRET {
                clean = clean.replace(part, REPLACEMENT);
            }
        }
    }
    without_key_shapes(&without_queries(&clean))
}

/// The URL without its query, fragment, user name and password: fit to be shown.
pub fn without_query(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let plain = &url[..end];
    let Some((scheme, rest)) = plain.split_once("://") else { return plain.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    format!("{scheme}://{host}{path}")
}

fn without_queries(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        // What stands before `://` is the scheme, which may stay; the URL ends where prose goes on.
        let after = start + "://".len();
        let end = rest[after..]
            .find(|character: char| {
                character.is_whitespace()
                    || matches!(character, '"' | '\'' | '<' | '>' | '`' | '\\' | ')' | '}' | ']')
            })
            .map_or(rest.len(), |length| after + length);
        let scheme_start = rest[..start]
            .rfind(|character: char| !character.is_ascii_alphanumeric())
            .map_or(0, |position| {
                position + rest[position..].chars().next().map_or(1, char::len_utf8)
            });
        clean.push_str(&rest[..scheme_start]);
        clean.push_str(&without_query(&rest[scheme_start..end]));
        rest = &rest[end..];
    }
    clean.push_str(rest);
    clean
}

/// Blacks out `sk-…` words, and the word after `Bearer` or `Key` where it is long enough to be one.
fn without_key_shapes(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut after_scheme = false;
    for piece in text.split_inclusive(|character: char| {
        character.is_whitespace() || matches!(character, '"' | '\'' | ',' | ';' | '`' | '(' | ')')
    }) {
        let word = piece.trim_end_matches(|character: char| {
            character.is_whitespace()
                || matches!(character, '"' | '\'' | ',' | ';' | '`' | '(' | ')')
        });
        let looks_like_a_key =
            (word.starts_with("sk-") && word.len() >= 10) || (after_scheme && word.len() >= 12);
        if looks_like_a_key {
            clean.push_str(REPLACEMENT);
            clean.push_str(&piece[word.len()..]);
        } else {
            clean.push_str(piece);
        }
        if !word.is_empty() {
            after_scheme = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("key");
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_signatures_and_passwords_disappear() {
        let key = SecretString::from("a1b2c3d4-0000:ffffeeeeddddcccc");
        let text = "Incorrect API key provided: sk-ant-REDACTED. Half is ffffeeeeddddcccc, \
                    Authorization: Bearer 0123456789abcdef; see https://me:word@h.example/a.png?X-Amz-Signature=0011 \
                    (\"https://h.example/b?sig=2\")";
        let clean = redact(text, &[&key]);
        for secret in ["sk-ant", "ffffeeee", "0123456789abcdef", "0011", "word", "sig=2"] {
            assert!(!clean.contains(secret), "{secret} is left in: {clean}");
        }
        assert!(clean.contains("https://h.example/a.png (\"https://h.example/b\")"), "{clean}");
    }

    #[test]
    fn prose_is_left_alone() {
        let text = "The key is missing: prompt → 'naïve://' ✓ ask sk-1 and Key words";
        assert_eq!(redact(text, &[&SecretString::from("")]), text);
    }
}
