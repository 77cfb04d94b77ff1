//! Word documents: a ZIP of XML, unpacked within bounds.

use std::collections::HashSet;
use std::io::Read as _;

use flate2::bufread::DeflateDecoder;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use rawzip::{CompressionMethod, ZipArchive};

use super::blocks::{Place, Text};
use super::error::FileProblem;
use super::prose::place_of;

/// The most that one part of a document may unpack to, in bytes.
const LARGEST_PART: u64 = 32_000_000;
/// The most entries of an archive that are looked at.
const MOST_ENTRIES: usize = 10_000;
/// The most cells of one row of a table.
const MOST_CELLS: usize = 10_000;
/// How deep tables stand inside each other: every row is copied into the cell around it.
const DEEPEST_TABLE: usize = 32;

/// What an archive turned out to be.
pub(super) enum Archive {
    /// A Word document.
    Document,
    /// Something else, in words.
    Other(&'static str),
}

/// Looks into an archive without unpacking it.
pub(super) fn look(data: &[u8]) -> Result<Archive, FileProblem> {
    let names = names(data)?;
    let has = |name: &str| names.iter().any(|known| known == name);
    Ok(if has("word/document.xml") {
        Archive::Document
    } else if has("xl/workbook.xml") {
        Archive::Other("an Excel workbook (save the sheet as CSV)")
    } else if has("ppt/presentation.xml") {
        Archive::Other("a PowerPoint presentation (save it as PDF)")
    } else if has("content.xml") && has("mimetype") {
        Archive::Other("an OpenDocument file (save it as DOCX or PDF)")
    } else {
        Archive::Other("a ZIP archive")
    })
}

/// Writes the paragraphs, tables and notes of a Word document, each under its heading.
pub(super) fn read(data: &[u8], text: &mut Text) -> Result<(), FileProblem> {
    let document = part(data, "word/document.xml")?
        .ok_or_else(|| damaged("word/document.xml is missing".to_owned()))?;
    let styles = match part(data, "word/styles.xml")? {
        Some(styles) => headings(&styles)?,
        None => HashSet::new(),
    };
    body(&document, &styles, None, text)?;
    drop(document);
    for (name, what) in [("word/footnotes.xml", "Footnotes"), ("word/endnotes.xml", "Endnotes")] {
        if let Some(notes) = part(data, name)? {
            body(&notes, &styles, Some(Place::Heading(what.into())), text)?;
        }
    }
    Ok(())
}

fn damaged(reason: String) -> FileProblem {
    FileProblem::Damaged { kind: "Word document", reason }
}

fn broken(error: &rawzip::Error) -> FileProblem {
    damaged(error.to_string())
}

fn names(data: &[u8]) -> Result<Vec<String>, FileProblem> {
    let archive = ZipArchive::from_slice(data)
        .map_err(|error| FileProblem::Damaged { kind: "ZIP archive", reason: error.to_string() })?;
    let (mut entries, mut names) = (archive.entries(), Vec::new());
    while let Some(entry) = entries.next_entry().map_err(|error| broken(&error))? {
        if names.len() == MOST_ENTRIES {
            return Err(FileProblem::Bomb);
        }
        names.push(String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned());
    }
    Ok(names)
}

/// One part, unpacked; what its head says of its size is not believed.
fn part(data: &[u8], wanted: &str) -> Result<Option<String>, FileProblem> {
    let archive = ZipArchive::from_slice(data).map_err(|error| broken(&error))?;
    let mut entries = archive.entries();
    for _ in 0..MOST_ENTRIES {
        let Some(entry) = entries.next_entry().map_err(|error| broken(&error))? else { break };
        if entry.file_path().as_bytes() != wanted.as_bytes() {
            continue;
        }
        let method = entry.compression_method();
        let packed = archive.get_entry(entry.wayfinder()).map_err(|error| broken(&error))?;
        let mut unpacked = Vec::new();
        let read = if method == CompressionMethod::DEFLATE {
            let inflated = DeflateDecoder::new(packed.data());
            packed.verifying_reader(inflated).take(LARGEST_PART + 1).read_to_end(&mut unpacked)
        } else if method == CompressionMethod::STORE {
            packed.verifying_reader(packed.data()).take(LARGEST_PART + 1).read_to_end(&mut unpacked)
        } else {
            return Err(damaged(format!("{wanted} is packed in an unknown way")));
        };
        if unpacked.len() as u64 > LARGEST_PART {
            return Err(FileProblem::Bomb);
        }
        read.map_err(|error| damaged(format!("{wanted}: {error}")))?;
        let text = String::from_utf8(unpacked);
        return text.map(Some).map_err(|_| damaged(format!("{wanted} is not in UTF-8")));
    }
    Ok(None)
}

/// The ids of the styles that are headings, whatever the language of the program that wrote them.
fn headings(styles: &str) -> Result<HashSet<String>, FileProblem> {
    let mut reader = Reader::from_str(styles);
    let (mut found, mut id) = (HashSet::new(), None);
    loop {
        match reader.read_event().map_err(|error| damaged(error.to_string()))? {
            Event::Eof => return Ok(found),
            Event::Start(tag) | Event::Empty(tag) => match tag.local_name().as_ref() {
                "style" => id = attribute(&tag, "styleId"),
                "name" => {
                    let name = attribute(&tag, "val").unwrap_or_default().to_lowercase();
                    if (name.starts_with("heading") || name == "title")
                        && let Some(id) = id.take()
                    {
                        found.insert(id);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    tag.attributes()
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .map(|attribute| attribute.value.into_owned())
}

/// What is being put together while a part is read.
struct Page<'text> {
    text: &'text mut Text,
    paragraph: String,
    is_heading: bool,
    place: Place,
    /// Whether headings leave the place as it is.
    is_one_place: bool,
    /// The cells of the row that is being read, for each table that is open.
    rows: Vec<Vec<String>>,
    /// How deep inside elements whose text does not count.
    hidden: usize,
    is_text: bool,
}

impl Page<'_> {
    fn end_paragraph(&mut self) -> Result<(), FileProblem> {
        let text = std::mem::take(&mut self.paragraph);
        let text = text.trim();
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            if !text.is_empty() {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(text);
            }
        } else if !text.is_empty() {
            if self.is_heading && !self.is_one_place {
                self.place = place_of(text);
            }
            self.text.push(self.place.clone(), text)?;
        }
        self.is_heading = false;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), FileProblem> {
        let Some(row) = self.rows.last_mut() else { return Ok(()) };
        let cells = std::mem::take(row);
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return Ok(());
        }
        let line = cells.join(" | ");
        let outer = self.rows.len().checked_sub(2).and_then(|outer| self.rows.get_mut(outer));
        if let Some(cell) = outer.and_then(|row| row.last_mut()) {
            cell.push(' ');
            cell.push_str(&line);
        } else {
            self.text.push(self.place.clone(), &line)?;
        }
        Ok(())
    }
}

/// Writes what stands in one part, all of it in one `place` if one is given.
fn body(
    xml: &str,
    styles: &HashSet<String>,
    place: Option<Place>,
    text: &mut Text,
) -> Result<(), FileProblem> {
    let mut reader = Reader::from_str(xml);
    let mut page = Page {
        text,
        paragraph: String::new(),
        is_heading: false,
        is_one_place: place.is_some(),
        place: place.unwrap_or(Place::Nowhere),
        rows: Vec::new(),
        hidden: 0,
        is_text: false,
    };
    loop {
        let event = reader.read_event().map_err(|error| damaged(error.to_string()))?;
        match event {
            Event::Eof => break,
            Event::Start(tag) => begin(&mut page, &tag, styles, true)?,
            Event::Empty(tag) => begin(&mut page, &tag, styles, false)?,
            Event::End(tag) => match tag.local_name().as_ref() {
                "Fallback" | "del" | "moveFrom" => page.hidden = page.hidden.saturating_sub(1),
                "t" => page.is_text = false,
                "p" => page.end_paragraph()?,
                "tr" => page.end_row()?,
                "tbl" => {
                    page.rows.pop();
                }
                _ => {}
            },
            Event::Text(text) if page.is_text && page.hidden == 0 => {
                page.paragraph.push_str(&text);
            }
            Event::GeneralRef(name) if page.is_text && page.hidden == 0 => {
                let character = match name.resolve_char_ref() {
                    Ok(Some(character)) => Some(character),
                    _ => named_character(&name),
                };
                page.paragraph.extend(character);
            }
            _ => {}
        }
    }
    page.end_paragraph()
}

fn begin(
    page: &mut Page<'_>,
    tag: &BytesStart<'_>,
    styles: &HashSet<String>,
    is_open: bool,
) -> Result<(), FileProblem> {
    match tag.local_name().as_ref() {
        // The same again for older programs, and what was taken out.
        "Fallback" | "del" | "moveFrom" if is_open => page.hidden += 1,
        "t" => page.is_text = is_open,
        "tab" | "ptab" if page.hidden == 0 => page.paragraph.push('\t'),
        "br" | "cr" if page.hidden == 0 => page.paragraph.push('\n'),
        "noBreakHyphen" if page.hidden == 0 => page.paragraph.push('-'),
        "pStyle" => {
            let style = attribute(tag, "val").unwrap_or_default();
            page.is_heading = styles.contains(&style) || style.starts_with("Heading");
        }
        "tbl" if is_open => {
            if page.rows.len() == DEEPEST_TABLE {
                return Err(FileProblem::Bomb);
            }
            page.rows.push(Vec::new());
        }
        "tc" if is_open => {
            if let Some(row) = page.rows.last_mut() {
                if row.len() == MOST_CELLS {
                    return Err(FileProblem::Bomb);
                }
                row.push(String::new());
            }
        }
        _ => {}
    }
    Ok(())
}

fn named_character(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use proptest::prelude::*;

    fn archive(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut archive = rawzip::ZipArchiveWriter::new(&mut packed);
        for (name, content) in parts {
            let (mut entry, config) = archive
                .new_file(*name)
                .compression_method(CompressionMethod::DEFLATE)
                .start()
                .unwrap();
            let encoder =
                flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::best());
            let mut writer = config.wrap(encoder);
            writer.write_all(content).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        packed
    }

    fn document() -> Vec<u8> {
        let body = r#"<w:document xmlns:w="w" xmlns:mc="mc"><w:body>
            <w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>Oven &amp; care</w:t></w:r></w:p>
            <w:p><w:r><w:t xml:space="preserve">Clean it </w:t></w:r><w:del><w:r><w:t>never</w:t></w:r></w:del><w:r><w:t>daily &#8211; or so.</w:t></w:r></w:p>
            <w:tbl><w:tr><w:tc><w:p><w:r><w:t>Part</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Price</w:t></w:r></w:p></w:tc></w:tr>
            <w:tr><w:tc><w:p><w:r><w:t>Door</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>40</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
            </w:body></w:document>"#;
        let styles = r#"<w:styles xmlns:w="w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>"#;
        let notes = r#"<w:footnotes xmlns:w="w"><w:footnote><w:p><w:r><w:t>Since 1904.</w:t></w:r></w:p></w:footnote></w:footnotes>"#;
        archive(&[
            ("word/document.xml", body.as_bytes()),
            ("word/styles.xml", styles.as_bytes()),
            ("word/footnotes.xml", notes.as_bytes()),
        ])
    }

    #[test]
    fn headings_tables_and_notes_are_read() {
        let mut text = Text::default();
        read(&document(), &mut text).unwrap();
        let seen: Vec<_> =
            text.blocks().map(|block| (block.place.to_string(), block.text)).collect();
        let care = "“Oven & care”".to_owned();
        assert_eq!(
            seen,
            [
                (care.clone(), "Oven & care"),
                (care.clone(), "Clean it daily – or so."),
                (care.clone(), "Part | Price"),
                (care, "Door | 40"),
                ("“Footnotes”".to_owned(), "Since 1904."),
            ]
        );
        assert!(matches!(look(&document()), Ok(Archive::Document)));
        assert!(matches!(look(&archive(&[("a.txt", b"x")])), Ok(Archive::Other("a ZIP archive"))));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let zeros = vec![b' '; usize::try_from(LARGEST_PART).unwrap() + 10];
        let bomb = archive(&[("word/document.xml", &zeros)]);
        assert!(bomb.len() < 100_000);
        assert!(matches!(read(&bomb, &mut Text::default()), Err(FileProblem::Bomb)));
        // Tables in tables, and a row of nothing but cells.
        for body in
            ["<w:tbl><w:tr><w:tc>".repeat(40), format!("<w:tbl>{}", "<w:tc>".repeat(20_000))]
        {
            let body = format!("<w:document xmlns:w=\"w\">{body}");
            let bomb = archive(&[("word/document.xml", body.as_bytes())]);
            assert!(matches!(read(&bomb, &mut Text::default()), Err(FileProblem::Bomb)));
        }
    }

    proptest! {
        #[test]
        fn damage_is_an_error_and_never_a_fall(at in 0_usize..1_200, with in any::<u8>(), cut in 0_usize..1_500) {
            let mut data = document();
            if let Some(byte) = data.get_mut(at) {
                *byte = with;
            }
            let _ = look(&data).and_then(|_| read(&data, &mut Text::default()));
            data.truncate(cut);
            let _ = look(&data).and_then(|_| read(&data, &mut Text::default()));
        }
    }
}
