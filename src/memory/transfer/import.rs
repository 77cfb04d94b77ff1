//! Reading projects: every line is checked before the first is stored, and storing twice changes
//! nothing. The file is read twice, in bounded memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, Read as _};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::check::Defaults;
use super::export::sha256;
use super::line::{ProjectLine, VectorLine};
use crate::error::Error;
use crate::ids::ProjectId;
use crate::ledger::TillError;
use crate::memory::choice::known_width;
use crate::memory::{LARGE_BUILD, Memory, MemoryError, passages};
use crate::store::embeddings::{LoadedRow, Passage, PassageKind, VECTOR_WIDTH, index, models};
use crate::store::past::{self, CameAlong, PastProject};
use crate::store::project_texts::{ProjectText, ShotText};

/// The longest line, in bytes: eight hundred shots with their vectors. What is read of a line takes
/// several times as much memory.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;
/// Projects that are compared or stored at a time, and the bytes of their lines that end a parcel
/// earlier.
const PARCEL_PROJECTS: usize = 100;
const PARCEL_BYTES: usize = 16 * 1024 * 1024;
/// Problems that are told; the rest is counted.
const MOST_PROBLEMS: usize = 50;
/// Models whose vectors are left out that are told of; the rest is counted.
const MOST_LEFT_OUT: usize = 20;

/// What an import goes by.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// Whose the projects become.
    pub defaults: Defaults<'a>,
    /// Whether a project that is there already and differs takes on what the line says.
    pub update: bool,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Projects, each counted once.
    pub projects: u64,
    /// Those that are not there yet.
    pub new: u64,
    /// Those that are there and differ, and would be changed.
    pub changed: u64,
    /// Vectors of each model that is known here.
    pub vectors: BTreeMap<String, u64>,
    /// Vectors of each model that nothing here can compare with: they are not taken. At most twenty models.
    pub left_out: BTreeMap<String, u64>,
    /// Vectors of more models still that are not taken.
    pub more_left_out: u64,
    /// Whose projects they are.
    pub users: BTreeSet<String>,
    /// What is wrong, at most fifty things.
    pub problems: Vec<Problem>,
    /// How many things more are wrong.
    pub more_problems: u64,
    /// The first line of each project, and a fingerprint of it.
    seen: HashMap<ProjectId, (u64, u64)>,
}

/// What an import came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Projects that are new.
    pub new: u64,
    /// Projects that took on what the line says.
    pub updated: u64,
    /// Projects that were there already.
    pub unchanged: u64,
}

/// Why nothing, or not everything, was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("the projects cannot be read")]
    Unreadable(#[source] io::Error),
    /// The file differs from what was checked.
    #[error("line {line} changed while it was imported: {problem}")]
    Moved {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The memory failed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl From<crate::store::StoreError> for ImportError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Memory(error.into())
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        let message = error.to_string();
        match error {
            ImportError::Memory(error) => error.into(),
            ImportError::Unreadable(_) => Self::usage(message).because(error),
            ImportError::Moved { .. } => {
                Self::usage(message).hint("import it again: what is stored is not stored twice")
            }
        }
    }
}

/// A line that was read, or why it is no project.
type ReadLine = (u64, Result<(PastProject, Vec<VectorLine>), Vec<String>>);

/// Reads lines in parcels.
struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next lines; none at the end. Blank ones are passed over.
    fn parcel(&mut self, defaults: Defaults<'_>) -> io::Result<Vec<ReadLine>> {
        let (mut parcel, mut bytes) = (Vec::new(), 0);
        let mut line = Vec::new();
        while parcel.len() < PARCEL_PROJECTS && bytes < PARCEL_BYTES {
            line.clear();
            let mut limited = (&mut self.reader).take(LONGEST_LINE);
            let length = limited.read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            self.number += 1;
            if length as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
                let problem = format!("it is {LONGEST_LINE} bytes long or longer");
                parcel.push((self.number, Err(vec![problem])));
                self.skip_line()?;
            } else if !line.trim_ascii().is_empty() {
                bytes += length;
                parcel.push((self.number, read(&line, self.number, defaults)));
            }
        }
        Ok(parcel)
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(length);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

fn read(
    line: &[u8],
    number: u64,
    defaults: Defaults<'_>,
) -> Result<(PastProject, Vec<VectorLine>), Vec<String>> {
    // Some programs begin a file with a mark of its encoding.
    let line =
        if number == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
    let line: ProjectLine = serde_json::from_slice(line).map_err(|error| {
        // Each line is a text of its own, so its number says nothing.
        let told = error.to_string();
        vec![told.replace(" at line 1 column ", " at column ")]
    })?;
    line.into_project(defaults)
}

impl Memory {
    /// Checks every line, by itself and beside what is there. Stores nothing, costs nothing.
    pub async fn check_import(
        &self,
        reader: impl BufRead + Send,
        import: Import<'_>,
        cancel: &CancellationToken,
    ) -> Result<Checked, ImportError> {
        let mut session = self.store.session().await?;
        let widths = models::widths(&mut session).await?;
        session.close().await;
        let mut lines = Lines { reader, number: 0 };
        let mut checked = Checked::default();
        loop {
            let parcel = lines.parcel(import.defaults).map_err(ImportError::Unreadable)?;
            if parcel.is_empty() {
                return Ok(checked);
            }
            if cancel.is_cancelled() {
                return Err(MemoryError::Till(TillError::Cancelled).into());
            }
            let mut projects = Vec::new();
            for (number, read) in parcel {
                match read {
                    Ok((project, vectors)) => {
                        if checked.is_first(number, &project) {
                            checked.projects += 1;
                            checked.users.insert(project.user_id.clone());
                            for vector in vectors {
                                let width = self.width_of(&vector.model, &widths);
                                checked.vector(number, vector, width);
                            }
                            projects.push((number, project));
                        }
                    }
                    Err(problems) => {
                        for problem in problems {
                            checked.wrong(number, problem);
                        }
                    }
                }
            }
            let kept = self.kept(projects.iter().map(|(_, project)| project.id)).await?;
            for (number, project) in projects {
                match kept.get(&project.id) {
                    None => checked.new += 1,
                    Some(kept) => checked.compare(number, &project, kept, import.update),
                }
            }
        }
    }

    /// How many numbers the vectors of a model have; none of a model that nobody here has used, that aida
    /// does not know, and that is not the one that is set: a file could name any number of such.
    fn width_of(&self, model: &str, widths: &HashMap<String, usize>) -> Option<usize> {
        let own = || (model == self.embedder()).then_some(VECTOR_WIDTH);
        widths.get(model).copied().or_else(|| known_width(model)).or_else(own)
    }

    /// The projects of these ids that are there, and whether something was made of them here.
    async fn kept(
        &self,
        ids: impl Iterator<Item = ProjectId>,
    ) -> Result<HashMap<ProjectId, (PastProject, bool)>, ImportError> {
        let ids: Vec<ProjectId> = ids.collect();
        let mut session = self.store.session().await?;
        let kept = past::by_ids(&mut session, &ids).await?;
        let made_here = past::made_here(&mut session, &ids).await?;
        session.close().await;
        Ok(kept
            .into_iter()
            .map(|project| {
                let is_made = made_here.contains(&project.id);
                (project.id, (project, is_made))
            })
            .collect())
    }

    /// Stores what was checked: words, and the vectors that came along. Nothing is embedded here.
    /// Cut off, it has stored whole projects; called again, it stores the rest.
    pub async fn import(
        &self,
        reader: impl BufRead + Send,
        import: Import<'_>,
        checked: &Checked,
        cancel: &CancellationToken,
        mut progress: impl FnMut(u64),
    ) -> Result<Imported, ImportError> {
        self.make_room(checked).await?;
        let mut lines = Lines { reader, number: 0 };
        let mut imported = Imported::default();
        loop {
            let parcel = lines.parcel(import.defaults).map_err(ImportError::Unreadable)?;
            if parcel.is_empty() {
                break;
            }
            if cancel.is_cancelled() {
                return Err(MemoryError::Till(TillError::Cancelled).into());
            }
            let mut projects = Vec::new();
            let mut vectors = HashMap::new();
            for (line, read) in parcel {
                let (project, mut its_vectors) = read.map_err(|problems| ImportError::Moved {
                    line,
                    problem: problems.join("; "),
                })?;
                if checked.seen.get(&project.id).is_some_and(|(first, _)| *first == line) {
                    its_vectors.retain(|vector| checked.vectors.contains_key(&vector.model));
                    vectors.insert(project.id, its_vectors);
                    projects.push(project);
                }
            }
            self.store_parcel(import, projects, &vectors, &mut imported).await?;
            progress(imported.new + imported.updated + imported.unchanged);
        }
        self.index_imported(checked).await?;
        Ok(imported)
    }

    async fn store_parcel(
        &self,
        import: Import<'_>,
        projects: Vec<PastProject>,
        vectors: &HashMap<ProjectId, Vec<VectorLine>>,
        imported: &mut Imported,
    ) -> Result<(), ImportError> {
        let kept = self.kept(projects.iter().map(|project| project.id)).await?;
        let (there, new): (Vec<_>, Vec<_>) =
            projects.into_iter().partition(|project| kept.contains_key(&project.id));
        let now = self.clock.now();
        if !new.is_empty() {
            let passages: Vec<(&PastProject, Vec<Passage>)> =
                new.iter().map(|project| (project, passages_of(project))).collect();
            let rows: Vec<LoadedRow<'_>> = passages
                .iter()
                .flat_map(|(project, passages)| {
                    passages.iter().map(|passage| LoadedRow {
                        id: Uuid::now_v7(),
                        user_id: &project.user_id,
                        project: Some(project.id),
                        kind: passage.kind,
                        subject: passage.subject,
                        part: passage.part,
                        content: &passage.content,
                        vector: vector_of(project, passage, vectors.get(&project.id)),
                        created_at: project.created_at,
                    })
                })
                .collect();
            let mut session = self.store.session().await?;
            let stored = past::insert(&mut session, &new, &rows, now).await?;
            session.close().await;
            imported.new += stored.len() as u64;
            imported.unchanged += (new.len() - stored.len()) as u64;
        }
        for project in &there {
            let differs =
                kept.get(&project.id).is_some_and(|(kept, _)| difference(project, kept).is_some());
            let mut session = self.store.session().await?;
            if differs && import.update {
                let passages = passages_of(project);
                let came: Vec<_> = passages
                    .iter()
                    .map(|passage| vector_of(project, passage, vectors.get(&project.id)))
                    .collect();
                let model = self.embedder();
                past::update(&mut session, project, &passages, &came, model, now).await?;
                imported.updated += 1;
            } else {
                past::add_remarks(&mut session, &[project], now).await?;
                imported.unchanged += 1;
            }
            session.close().await;
        }
        Ok(())
    }

    /// Before many more vectors of a model come than are there, its index is taken away: it is built
    /// afterwards.
    async fn make_room(&self, checked: &Checked) -> Result<(), ImportError> {
        if checked.new == 0 {
            return Ok(());
        }
        for (model, count) in &checked.vectors {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            if count < LARGE_BUILD {
                continue;
            }
            let mut session = self.store.session().await?;
            if !models::has_at_least(&mut session, model, count).await? {
                index::remove(&mut session, model, self.store.index_place()).await?;
            }
            session.close().await;
        }
        Ok(())
    }

    async fn index_imported(&self, checked: &Checked) -> Result<(), ImportError> {
        for model in checked.vectors.keys() {
            let mut session = self.store.session().await?;
            if models::has_at_least(&mut session, model, 1).await? {
                index::ensure(&mut session, model, self.store.index_place()).await?;
            }
            session.close().await;
        }
        Ok(())
    }
}

impl Checked {
    /// Whether everything can be stored.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn wrong(&mut self, line: u64, problem: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { line, problem });
        } else {
            self.more_problems += 1;
        }
    }

    /// Counts a vector, or says what is wrong with it. Zeros at its end may be left out, so that only one
    /// that is too wide is known to be of another model under the same name.
    fn vector(&mut self, line: u64, vector: VectorLine, width: Option<usize>) {
        let VectorLine { model, numbers, .. } = vector;
        match width {
            Some(width) if numbers.len() > width => {
                let length = numbers.len();
                self.wrong(
                    line,
                    format!("vectors: {length} numbers of {model}, which makes {width}"),
                );
            }
            Some(_) => *self.vectors.entry(model).or_default() += 1,
            None if self.left_out.contains_key(&model) || self.left_out.len() < MOST_LEFT_OUT => {
                *self.left_out.entry(model).or_default() += 1;
            }
            None => self.more_left_out += 1,
        }
    }

    /// Whether a project has not been met in this file; twice the same is once.
    fn is_first(&mut self, line: u64, project: &PastProject) -> bool {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        format!("{project:?}").hash(&mut hasher);
        let fingerprint = hasher.finish();
        match self.seen.get(&project.id).copied() {
            None => {
                self.seen.insert(project.id, (line, fingerprint));
                true
            }
            Some((_, same)) if same == fingerprint => false,
            Some((first, _)) => {
                self.wrong(
                    line,
                    format!("project {} stands in line {first} already, and differs", project.id),
                );
                false
            }
        }
    }

    fn compare(
        &mut self,
        line: u64,
        project: &PastProject,
        (kept, made_here): &(PastProject, bool),
        update: bool,
    ) {
        let Some(field) = difference(project, kept) else { return };
        let id = project.id;
        if field == "user" {
            self.wrong(line, format!("project {id} is there and belongs to somebody else"));
        } else if !update {
            self.wrong(
                line,
                format!("project {id} is there with another {field}; --update takes on what the line says"),
            );
        } else if *made_here {
            self.wrong(
                line,
                format!("project {id} is there with another {field}, and films were made of it here: it stays as it is"),
            );
        } else {
            self.changed += 1;
        }
    }
}

/// The first field in which a line differs from what is kept. Campaigns and feedback only ever grow.
fn difference(line: &PastProject, kept: &PastProject) -> Option<&'static str> {
    let differs = [
        ("user", line.user_id != kept.user_id),
        ("brief", line.brief != kept.brief),
        ("title", line.title != kept.title),
        ("slug", line.slug != kept.slug),
        ("script", line.script != kept.script),
        ("script_author", line.script_author != kept.script_author),
        ("aspect", line.aspect != kept.aspect),
        ("duration_seconds", line.duration_seconds != kept.duration_seconds),
        ("shot_count", line.shot_count != kept.shot_count),
        ("created_at", line.created_at != kept.created_at),
        ("storyboard", line.shots != kept.shots),
    ];
    differs.into_iter().find_map(|(field, differs)| differs.then_some(field))
}

fn passages_of(project: &PastProject) -> Vec<Passage> {
    let text = ProjectText {
        user_id: project.user_id.clone(),
        brief: project.brief.clone(),
        title: project.title.clone(),
        script: project.script.clone(),
        shots: project
            .shots
            .iter()
            .map(|shot| ShotText {
                id: past::shot_id(project.id, shot.number),
                number: i32::try_from(shot.number).unwrap_or(i32::MAX),
                image_prompt: shot.image_prompt.clone(),
                motion_prompt: shot.motion_prompt.clone(),
                on_screen_text: shot.on_screen_text.clone(),
                narration: shot.narration.clone(),
            })
            .collect(),
        takes: Vec::new(),
    };
    passages::of_project(project.id, &text)
}

/// The vector that came along for a passage, if it is one of this very text.
fn vector_of<'a>(
    project: &PastProject,
    passage: &Passage,
    vectors: Option<&'a Vec<VectorLine>>,
) -> CameAlong<'a> {
    let vectors = vectors.filter(|vectors| !vectors.is_empty())?;
    let is_of_passage = |vector: &&VectorLine| {
        vector.of == passage.kind
            && vector.part == passage.part
            && match vector.shot {
                None => passage.kind != PassageKind::Shot,
                Some(number) => past::shot_id(project.id, number).uuid() == passage.subject,
            }
    };
    let vector = vectors.iter().find(is_of_passage)?;
    (vector.sha256 == sha256(&passage.content)).then_some((&vector.model, &vector.numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_blank_ones_passed_over() {
        let text = "\u{feff}{\"format\":1,\"created_at\":\"2025-03-01\",\"brief\":\"a\"}\n\n  \nnonsense\n{\"format\":1,\"created_at\":\"2025-03-01\",\"brief\":\"b\"}";
        let mut lines = Lines { reader: text.as_bytes(), number: 0 };
        let defaults = Defaults { user: "ada", user_map: &[], slug_of: str::to_owned };
        let parcel = lines.parcel(defaults).unwrap();
        let numbers: Vec<_> = parcel.iter().map(|(number, read)| (*number, read.is_ok())).collect();
        assert_eq!(numbers, [(1, true), (4, false), (5, true)]);
        assert!(lines.parcel(defaults).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_passed_over() {
        let least = "{\"format\":1,\"created_at\":\"2025-03-01\",\"brief\":\"a\"}\n";
        let long = "x".repeat(usize::try_from(LONGEST_LINE).unwrap() + 10);
        let text = format!("{least}{long}\n{}", least.replace("\"a\"", "\"b\""));
        let mut lines = Lines { reader: text.as_bytes(), number: 0 };
        let defaults = Defaults { user: "ada", user_map: &[], slug_of: str::to_owned };
        let mut read = Vec::new();
        loop {
            let parcel = lines.parcel(defaults).unwrap();
            if parcel.is_empty() {
                break;
            }
            read.extend(parcel);
        }
        let numbers: Vec<_> = read.iter().map(|(number, read)| (*number, read.is_ok())).collect();
        assert_eq!(numbers, [(1, true), (2, false), (3, true)]);
        let problems = read[1].1.as_ref().unwrap_err();
        assert_eq!(problems, &["it is 16777216 bytes long or longer"]);
    }
}
