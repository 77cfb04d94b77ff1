//! What a film is given beside its brief: documents, pictures, and pictures that every keyframe is to
//! look like.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commands::Context;
use crate::commands::files::find_file;
use crate::error::Error;
use crate::ids::FileId;
use crate::memory::files::{FileError, FileProblem, ReadFile, Shelf};
use crate::printable::printable;
use crate::providers::ImageModel;
use crate::store::files::UserFile;
use crate::studio::run::RunReference;

/// What was given with `--file` and `--reference`, read and checked. Nothing of it is stored yet.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The files that were given by their paths.
    pub(super) read: Vec<Arc<ReadFile>>,
    /// Those of them that every keyframe is to look like, by the SHA-256 of their bytes.
    pub(super) for_all: Vec<String>,
    /// The user's kept pictures that every keyframe is to look like.
    kept: Vec<UserFile>,
}

impl Given {
    /// Reads what lies at paths and not on the shelf, and looks up what is named.
    pub(super) async fn gather(
        files: &[PathBuf],
        references: &[PathBuf],
        shelf: &mut Shelf,
        context: &Context,
    ) -> Result<Self, Error> {
        let (paths, names): (Vec<&PathBuf>, Vec<&PathBuf>) =
            references.iter().partition(|reference| reference.exists());
        let reader = context.reader();
        let all: Vec<PathBuf> = files.iter().chain(paths.iter().copied()).cloned().collect();
        let mut given = Self { read: reader.read(&all, shelf).await?, ..Self::default() };
        for path in paths {
            for picture in reader.read(std::slice::from_ref(path), shelf).await? {
                if !picture.is_picture() {
                    let problem = FileProblem::NotAPicture;
                    return Err(FileError::Refused { path: path.clone(), problem }.into());
                }
                if !given.for_all.contains(&picture.sha256) {
                    given.for_all.push(picture.sha256.clone());
                }
            }
        }
        for name in names {
            let picture = kept_picture(name, context).await?;
            let is_known = given.for_all.contains(&picture.sha256)
                || given.kept.iter().any(|known| known.id == picture.id);
            if !is_known {
                given.kept.push(picture);
            }
        }
        Ok(given)
    }

    /// Whether the model can be shown what every keyframe is to look like.
    pub(super) fn fits(&self, image: &dyn ImageModel) -> Result<(), Error> {
        let (count, most) = (self.for_all.len() + self.kept.len(), image.most_references());
        if count <= most {
            return Ok(());
        }
        let (pictures, shown) = (
            if count == 1 { "1 picture was".to_owned() } else { format!("{count} pictures were") },
            if most == 0 { "none".to_owned() } else { format!("at most {most}") },
        );
        Err(Error::usage(format!(
            "{pictures} given with --reference; {} can be shown {shown}",
            image.model()
        ))
        .hint("choose an --image-model that takes more, such as nano-banana-2, or give fewer"))
    }

    /// Copies the pictures, so that they are there when the run goes on.
    pub(super) async fn copy(&self, context: &Context) -> Result<(), Error> {
        let vault = context.vault();
        for file in &self.read {
            vault.keep_soon(file).await?;
        }
        Ok(())
    }

    /// The kept files by id and name, for the run.
    pub(super) fn kept_files(&self) -> Vec<(FileId, String)> {
        self.kept.iter().map(|file| (file.id, file.name.clone())).collect()
    }

    /// What every keyframe is to look like, also what is not kept yet.
    pub(super) fn references(&self) -> Vec<RunReference> {
        let new = self.read.iter().filter(|file| self.for_all.contains(&file.sha256));
        let new = new.map(|file| RunReference {
            file: FileId::new(),
            name: file.name.clone(),
            sha256: file.sha256.clone(),
            path: file.path.clone(),
        });
        self.kept_references().into_iter().chain(new).collect()
    }

    /// The kept pictures as references, for the run.
    pub(super) fn kept_references(&self) -> Vec<RunReference> {
        self.kept.iter().map(RunReference::to).collect()
    }
}

/// The user's kept picture that is meant by what is no path.
async fn kept_picture(name: &Path, context: &Context) -> Result<UserFile, Error> {
    let Some(name) = name.to_str() else {
        let problem = FileProblem::Unnameable;
        return Err(FileError::Refused { path: name.to_owned(), problem }.into());
    };
    if !context.has_database() {
        return Err(Error::usage(format!(
            "there is no picture at '{}', and no file is kept yet",
            printable(name)
        ))
        .hint("check the path"));
    }
    let mut session = context.store().await?.session().await?;
    let found = find_file(&mut session, &context.settings.user, name).await;
    session.close().await;
    let picture = found?;
    if picture.is_picture() {
        Ok(picture)
    } else {
        let path = PathBuf::from(&picture.name);
        Err(FileError::Refused { path, problem: FileProblem::NotAPicture }.into())
    }
}
