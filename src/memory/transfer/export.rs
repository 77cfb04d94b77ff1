//! Writing projects, the oldest first, in bounded memory. The same projects are the same bytes.

use std::collections::HashMap;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::line::{ProjectLine, VectorLine};
use crate::ids::ProjectId;
use crate::memory::{Memory, MemoryError};
use crate::store::past::{self, PastScope, PastVector};

/// Projects that are read at a time.
const PAGE: i64 = 100;

/// What is exported.
#[derive(Debug, Clone, Default)]
pub struct ExportScope {
    /// Which projects.
    pub projects: PastScope,
    /// Whether their vectors go along.
    pub with_vectors: bool,
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Projects.
    pub projects: u64,
    /// Vectors.
    pub vectors: u64,
}

impl Memory {
    /// Writes every project of `scope` as a line.
    pub async fn export(
        &self,
        scope: &ExportScope,
        to: &mut (dyn Write + Send),
    ) -> Result<Exported, MemoryError> {
        let mut exported = Exported::default();
        let mut after = None;
        loop {
            // A session for each page: nothing is held while the reader takes its time.
            let mut session = self.store.session().await?;
            let page = past::page(&mut session, &scope.projects, after, PAGE).await?;
            let ids: Vec<ProjectId> = page.iter().map(|project| project.id).collect();
            let vectors = if scope.with_vectors {
                past::vectors(&mut session, &ids).await?
            } else {
                Vec::new()
            };
            session.close().await;
            let Some(last) = page.last() else { return Ok(exported) };
            after = Some((last.created_at, last.id));
            exported.projects += page.len() as u64;
            exported.vectors += vectors.len() as u64;
            let mut of_project: HashMap<ProjectId, Vec<VectorLine>> = HashMap::new();
            for vector in vectors {
                of_project.entry(vector.project).or_default().push(vector.into());
            }
            for project in page {
                let vectors = of_project.remove(&project.id).unwrap_or_default();
                write_line(to, &ProjectLine::of(project, vectors)).map_err(MemoryError::Output)?;
            }
        }
    }
}

fn write_line(to: &mut (dyn Write + Send), line: &ProjectLine) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
    bytes.push(b'\n');
    to.write_all(&bytes)
}

impl From<PastVector> for VectorLine {
    fn from(vector: PastVector) -> Self {
        let numbers = vector.embedding.as_slice();
        let width = numbers.iter().rposition(|number| *number != 0.0).map_or(0, |last| last + 1);
        Self {
            of: vector.kind,
            shot: vector.shot,
            part: vector.part,
            sha256: sha256(&vector.content),
            model: vector.model,
            numbers: numbers[..width].to_vec(),
        }
    }
}

/// SHA-256 of a text, hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
