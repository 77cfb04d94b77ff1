//! Dotenv files: `NAME=value` lines with quotes, comments and the `export` prefix. Nothing is
//! expanded and nothing is run: a `$` in a password is a `$`.

use std::path::Path;

use crate::error::Error;

/// Reads the file and answers its variables in their order. A wrong line is named by its number
/// only, because it may hold a secret.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::settings(format!("the env file {} cannot be read", path.display()))
            .because(error)
            .hint("--env-file wants a text file of NAME=value lines")
    })?;
    parse(&text).map_err(|(line, problem)| {
        Error::settings(format!("{}, line {line}: {problem}", path.display()))
            .hint("each line is NAME=value; quote a value that holds spaces or #")
    })
}

/// The variables of a dotenv text, or the number of the first wrong line and what is wrong.
fn parse(text: &str) -> Result<Vec<(String, String)>, (usize, &'static str)> {
    let mut variables = Vec::new();
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line
            .strip_prefix("export")
            .filter(|rest| rest.starts_with(char::is_whitespace))
            .map_or(line, str::trim_start);
        let Some((name, value)) = line.split_once('=') else {
            return Err((number, "there is no '='"));
        };
        let name = name.trim_end();
        if !is_name(name) {
            return Err((number, "the part before '=' is not a variable's name"));
        }
        let value = value.trim_start();
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // A quoted value may go on over several lines, as private keys do.
                let mut body = value[1..].to_owned();
                loop {
                    if let Some((value, rest)) = unquote(&body, quote) {
                        let rest = rest.trim_start();
                        if !rest.is_empty() && !rest.starts_with('#') {
                            return Err((number, "something follows the closing quote"));
                        }
                        break value;
                    }
                    let Some((_, next)) = lines.next() else {
                        return Err((number, "the quote is not closed"));
                    };
                    body.push('\n');
                    body.push_str(next);
                }
            }
            _ => without_comment(value).to_owned(),
        };
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_.".contains(character))
}

/// What stands before a comment, which begins with a `#` after white space.
fn without_comment(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let end = value
        .char_indices()
        .zip(value.chars().skip(1))
        .find(|((_, first), second)| first.is_whitespace() && *second == '#')
        .map_or(value.len(), |((position, _), _)| position);
    value[..end].trim_end()
}

/// The value up to the closing quote, and what follows it. Double quotes know the escapes
/// `\n`, `\r`, `\t`, `\"`, `\\` and `\$`; single quotes know none.
fn unquote(body: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            _ if character == quote => return Some((value, &body[position + 1..])),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => {
                    value.push('\\');
                    value.push(other);
                }
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> String {
        let variables = parse(line).unwrap();
        assert_eq!(variables.len(), 1, "{variables:?}");
        variables[0].1.clone()
    }

    #[test]
    fn values_are_read_as_shells_write_them() {
        assert_eq!(value("A=b"), "b");
        assert_eq!(value("  export A = b c  # note"), "b c");
        assert_eq!(value("A=b#c"), "b#c");
        assert_eq!(value("A=\"b # c\" # note"), "b # c");
        assert_eq!(value("A='b\\n'"), "b\\n");
        assert_eq!(value("A=\"b\\n$c\\\"\""), "b\n$c\"");
        assert_eq!(value("A=\"one\ntwo\""), "one\ntwo");
        assert_eq!(value("A="), "");
        assert_eq!(value("A= # nothing"), "");
        assert_eq!(value("\u{feff}A=b\r"), "b");
        assert_eq!(value("exporter=b"), "b");
        assert_eq!(
            value("A=postgres://u:p@h/d?sslmode=require"),
            "postgres://u:p@h/d?sslmode=require"
        );
    }

    #[test]
    fn wrong_lines_are_named_by_number() {
        assert_eq!(parse("A=b\n\nnonsense").unwrap_err().0, 3);
        assert_eq!(parse("1A=b").unwrap_err().0, 1);
        assert_eq!(parse("A=\"b").unwrap_err().0, 1);
        assert_eq!(parse("A=\"b\" c").unwrap_err().0, 1);
    }
}
