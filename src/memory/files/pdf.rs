//! PDFs, read in a process of their own: what reads them may break down, hang or eat memory over a
//! hostile file, and must then take nothing along.

use std::io::{self, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pdf_extract::{Document, PlainTextOutput, output_doc_page};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization as _;

use super::blocks::{Place, Text};
use super::error::FileProblem;
use super::{LARGEST_PACKED_BYTES, LONGEST_TEXT};

/// The name of the hidden command that reads one PDF from standard input.
pub const READER_COMMAND: &str = "__read-pdf";
/// The most pages that are read.
const MOST_PAGES: usize = 3_000;
/// How long one PDF may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// Room for deep nesting, in bytes of stack.
const STACK_BYTES: usize = 64 << 20;
/// The most memory that the reading process may take, in bytes.
#[cfg(unix)]
const MOST_MEMORY: u64 = 2 << 30;
/// The longest answer of the reading process, in bytes: every character at its longest in JSON.
const LONGEST_ANSWER: u64 = 6 * LONGEST_TEXT as u64 + 1_000_000;

/// What the reading process says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The text of each page; nothing for a page that cannot be read.
    Pages(Vec<Option<String>>),
    Locked,
    TooLong,
    Damaged(String),
}

/// What a PDF holds.
pub(super) struct Pdf {
    pub(super) pages: u32,
    /// Pages whose text cannot be read.
    pub(super) unreadable: u32,
}

/// Has a process of its own read a PDF into `text`. `executable` is this program. The process is ended
/// when the work is to stop.
pub(super) async fn read(
    executable: &Path,
    data: Vec<u8>,
    text: &mut Text,
    cancel: &CancellationToken,
) -> Result<Pdf, FileProblem> {
    let answer = tokio::select! {
        answer = tokio::time::timeout(PATIENCE, ask(executable, data)) => answer,
        () = cancel.cancelled() => return Err(FileProblem::Stopped),
    };
    let answer = answer.map_err(|_| FileProblem::TooSlow)??;
    let pages = match answer {
        Answer::Pages(pages) => pages,
        Answer::Locked => return Err(FileProblem::Locked),
        Answer::TooLong => return Err(FileProblem::TooLong),
        Answer::Damaged(reason) => return Err(damaged(reason)),
    };
    let unreadable = pages.iter().filter(|page| page.is_none()).count();
    if unreadable == pages.len() {
        return Err(damaged("none of its pages can be read".to_owned()));
    }
    for (number, page) in (1..).zip(&pages) {
        text.push_paragraphs(&Place::Page(number), &tidy(page.as_deref().unwrap_or_default()))?;
    }
    if !text.content().contains(char::is_alphanumeric) {
        return Err(FileProblem::NoText);
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Pdf { pages: count(pages.len()), unreadable: count(unreadable) })
}

fn damaged(reason: String) -> FileProblem {
    FileProblem::Damaged { kind: "PDF", reason }
}

async fn ask(executable: &Path, data: Vec<u8>) -> Result<Answer, FileProblem> {
    let failed =
        |error: io::Error| damaged(format!("the process that reads PDFs did not work: {error}"));
    // It gets the bytes and nothing else: no environment, and so no keys.
    let mut child = Command::new(executable)
        .arg(READER_COMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let give = async move {
        if let Some(stdin) = &mut stdin {
            // A reader that has seen enough closes its end.
            let _ = stdin.write_all(&data).await;
        }
        drop(stdin);
    };
    let take = async move {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        }
        Ok(answer)
    };
    let ((), answer) = tokio::join!(give, take);
    let answer = answer.map_err(failed)?;
    let status = child.wait().await.map_err(failed)?;
    if !status.success() {
        return Err(damaged("its structure is broken".to_owned()));
    }
    serde_json::from_slice(&answer).map_err(|_| damaged("its structure is broken".to_owned()))
}

/// Reads one PDF from standard input and answers on standard output: the whole work of the reading
/// process.
pub fn reader_main() -> io::Result<()> {
    limit_memory();
    let mut data = Vec::new();
    io::stdin().lock().take(LARGEST_PACKED_BYTES).read_to_end(&mut data)?;
    // What the parser breaks down over is told in the answer.
    std::panic::set_hook(Box::new(|_| {}));
    let reading = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || catch_unwind(AssertUnwindSafe(|| pages_of(&data))))?;
    let answer = reading.join().ok().and_then(Result::ok);
    let answer = answer.unwrap_or_else(|| Answer::Damaged("its structure is broken".to_owned()));
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, &answer)?;
    stdout.flush()
}

#[cfg(unix)]
fn limit_memory() {
    use rlimit::{Resource, setrlimit};
    // Where the system knows no such limit, the parent's patience is what is left.
    let _ = setrlimit(Resource::AS, MOST_MEMORY, MOST_MEMORY);
    let _ = setrlimit(Resource::CORE, 0, 0);
}

#[cfg(not(unix))]
fn limit_memory() {}

fn pages_of(data: &[u8]) -> Answer {
    let mut document = match Document::load_mem(data) {
        Ok(document) => document,
        Err(pdf_extract::Error::Decryption(_)) => return Answer::Locked,
        Err(error) => return Answer::Damaged(error.to_string()),
    };
    // Many are locked against changes only, with an empty password for reading.
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Answer::Locked;
    }
    let numbers: Vec<u32> = document.get_pages().into_keys().collect();
    if numbers.is_empty() {
        return Answer::Damaged("it has no pages".to_owned());
    }
    if numbers.len() > MOST_PAGES {
        return Answer::TooLong;
    }
    let (mut pages, mut characters) = (Vec::new(), 0);
    for number in numbers {
        let text = catch_unwind(AssertUnwindSafe(|| {
            let mut text = String::new();
            let mut output = PlainTextOutput::new(&mut text);
            output_doc_page(&document, &mut output, number).ok()?;
            Some(text)
        }));
        let text = text.ok().flatten();
        characters += text.as_ref().map_or(0, |text| text.chars().count());
        if characters > LONGEST_TEXT {
            return Answer::TooLong;
        }
        pages.push(text);
    }
    Answer::Pages(pages)
}

/// The text of a page with its words whole again: ligatures opened, words joined that a line's end
/// divides, no blanks where there is nothing.
fn tidy(page: &str) -> String {
    let opened: String = page
        .chars()
        .flat_map(|character| match character {
            '\u{fb00}'..='\u{fb06}' => character.to_string().nfkc().collect::<Vec<_>>(),
            '\u{ad}' => Vec::new(),
            other => vec![other],
        })
        .collect();
    let mut text = String::new();
    for line in opened.lines().map(str::trim) {
        let divides = text.ends_with("-\n")
            && text.chars().rev().nth(2).is_some_and(char::is_lowercase)
            && line.starts_with(char::is_lowercase);
        if divides {
            text.truncate(text.len() - 2);
        }
        if !(line.is_empty() && (text.is_empty() || text.ends_with("\n\n"))) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A PDF with one page for each text.
    fn pdf(pages: &[&str]) -> Vec<u8> {
        let mut objects = vec![
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            String::new(),
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        ];
        let mut kids = Vec::new();
        for text in pages {
            let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
            objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
            objects.push(format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
                objects.len()
            ));
            kids.push(format!("{} 0 R", objects.len()));
        }
        objects[1] = format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), kids.len());
        let mut data = b"%PDF-1.4\n".to_vec();
        let mut places = Vec::new();
        for (number, object) in (1..).zip(&objects) {
            places.push(data.len());
            data.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
        }
        let start = data.len();
        data.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
        for place in places {
            data.extend(format!("{place:010} 00000 n \n").bytes());
        }
        data.extend(
            format!(
                "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
                objects.len() + 1
            )
            .bytes(),
        );
        data
    }

    #[test]
    fn the_text_of_each_page_is_read() {
        let Answer::Pages(pages) = pages_of(&pdf(&["Oven care", "Clean it daily"])) else {
            panic!("not read");
        };
        let pages: Vec<_> = pages.iter().map(|page| tidy(page.as_deref().unwrap())).collect();
        assert_eq!(pages, ["Oven care", "Clean it daily"]);
    }

    /// A PDF that is locked with these passwords for changing and for reading.
    fn locked(owner_password: &str, user_password: &str) -> Vec<u8> {
        use pdf_extract::{EncryptionState, EncryptionVersion, Object, Permissions};
        let mut document = Document::load_mem(&pdf(&["Oven care"])).unwrap();
        let id = Object::string_literal("0123456789abcdef");
        document.trailer.set("ID", Object::Array(vec![id.clone(), id]));
        let version = EncryptionVersion::V2 {
            document: &document,
            owner_password,
            user_password,
            key_length: 128,
            permissions: Permissions::all(),
        };
        let state = EncryptionState::try_from(version).unwrap();
        document.encrypt(&state).unwrap();
        let mut data = Vec::new();
        document.save_to(&mut data).unwrap();
        data
    }

    #[test]
    fn a_locked_pdf_is_told_and_one_that_may_be_read_is_read() {
        assert_eq!(pages_of(&locked("owner", "reader")), Answer::Locked);
        let Answer::Pages(pages) = pages_of(&locked("owner", "")) else { panic!("not read") };
        assert_eq!(tidy(pages[0].as_deref().unwrap()), "Oven care");
    }

    #[test]
    fn words_are_made_whole() {
        assert_eq!(
            tidy("\n\n e\u{fb03}cient bak-\ning at 5-\nStar\n\n\n\nhomes "),
            "efficient baking at 5-\nStar\n\nhomes"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_is_an_answer(at in 0_usize..900, with in any::<u8>(), cut in 0_usize..1_200) {
            let mut data = pdf(&["Oven care"]);
            if let Some(byte) = data.get_mut(at) {
                *byte = with;
            }
            let _ = catch_unwind(|| pages_of(&data));
            data.truncate(cut);
            let _ = catch_unwind(|| pages_of(&data));
        }
    }
}
