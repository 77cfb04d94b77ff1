//! What a shot's picture is to look like: the user's pictures and earlier shots, as the image model is
//! shown them.
//!
//! A storyboard names references; the user can give some to every keyframe. They are checked twice
//! before a picture is paid for: when the storyboard is submitted, where the team can mend it, and
//! when it is planned, because the model may be another one by then. They are uploaded when the
//! first shot needs them, once for each run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, watch};

use crate::ids::ShotId;
use crate::ledger::operation::OperationKind;
use crate::ledger::{Component, Purpose, TillError};
use crate::memory::files::{Vault, hexadecimal, packed};
use crate::providers::{ImageModel, ProviderError, ReferencePicture};
use crate::store::files::{self, UserFile};
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::events::{Event, Step};
use crate::studio::producer::Producer;
use crate::studio::run::RunReference;
use crate::studio::shooting::{End, Errand};
use crate::studio::storyboard::{Reference, ReferenceRules, Shot};

/// How long an upload is used. KIE deletes them after three days by one of its pages, after one by
/// another, and a job may wait.
const UPLOAD_LIFETIME: Duration = Duration::from_hours(20);
/// A picture that is larger than this, in bytes, or longer than [`LONGEST_SIDE`], is packed anew.
const LARGEST_BYTES: usize = 8_000_000;
/// The longest side of a picture that is shown, in pixels.
const LONGEST_SIDE: u32 = 2_048;

/// The most pictures that a storyboard may choose from.
const MOST_NAMES: usize = 500;

/// The pictures that a run's shots may look like.
#[derive(Debug, Clone, Default)]
pub(super) struct Pictures {
    /// Those that the user gave to every keyframe.
    for_all: Vec<RunReference>,
    /// Those that shots name, by name in lower case.
    named: HashMap<String, RunReference>,
}

/// One picture that a shot is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Likeness {
    Picture(RunReference),
    Shot(u32),
}

impl Pictures {
    /// What a shot is to look like, nothing twice; and the names that mean nothing.
    fn of<'shot>(&self, shot: &'shot Shot) -> (Vec<Likeness>, Vec<&'shot str>) {
        let mut likenesses: Vec<_> = self.for_all.iter().cloned().map(Likeness::Picture).collect();
        let mut unknown = Vec::new();
        for name in &shot.references {
            let found = match Reference::read(name) {
                Reference::Shot(number) if (1..shot.number).contains(&number) => {
                    Some(Likeness::Shot(number))
                }
                Reference::Shot(_) => None,
                Reference::Picture(name) => {
                    self.named.get(&name.to_lowercase()).cloned().map(Likeness::Picture)
                }
            };
            match found {
                Some(found) => {
                    let is_there = likenesses.iter().any(|known| match (known, &found) {
                        (Likeness::Picture(known), Likeness::Picture(found)) => {
                            known.sha256 == found.sha256
                        }
                        (known, found) => known == found,
                    });
                    if !is_there {
                        likenesses.push(found);
                    }
                }
                None => unknown.push(name.as_str()),
            }
        }
        (likenesses, unknown)
    }
}

impl Producer {
    /// The pictures that the shots of a run may look like: those given with it first, then the
    /// user's others by name.
    pub(super) async fn pictures(
        &self,
        claim: &Claim,
        shots: &[(ShotId, Shot)],
    ) -> Result<Pictures, StudioError> {
        let for_all = claim.options.references.clone();
        let mut named: HashMap<String, RunReference> =
            for_all.iter().map(|picture| (picture.name.to_lowercase(), picture.clone())).collect();
        let names: Vec<String> = shots
            .iter()
            .flat_map(|(_, shot)| &shot.references)
            .filter_map(|name| match Reference::read(name) {
                Reference::Picture(name) => Some(name.to_lowercase()),
                Reference::Shot(_) => None,
            })
            .filter(|name| !named.contains_key(name))
            .collect();
        if names.is_empty() {
            return Ok(Pictures { for_all, named });
        }
        let user_id = &claim.run.user_id;
        let given: Vec<_> = claim.options.files.iter().map(|(id, _)| *id).collect();
        let mut session = self.store.session().await?;
        let given = files::by_ids(&mut session, user_id, &given).await?;
        let others = files::pictures_named(&mut session, user_id, &names).await?;
        session.close().await;
        for picture in given.iter().filter(|file| file.is_picture()).chain(&others) {
            named.entry(picture.name.to_lowercase()).or_insert_with(|| RunReference::to(picture));
        }
        Ok(Pictures { for_all, named })
    }

    /// What the shots of a run may name, for a model that is shown `most` pictures at once: all of the
    /// user's pictures, those that were given for the film first. Looked up once for a run, then kept
    /// with it: what is told to the team must not change when the run goes on.
    pub(super) async fn reference_rules(
        &self,
        claim: &mut Claim,
        most: usize,
    ) -> Result<ReferenceRules, StudioError> {
        let for_all: Vec<String> =
            claim.options.references.iter().map(|picture| picture.name.clone()).collect();
        if let Some(pictures) = &claim.options.pictures {
            return Ok(ReferenceRules { pictures: pictures.clone(), for_all, most });
        }
        let user_id = &claim.run.user_id;
        let given: Vec<_> = claim.options.files.iter().map(|(id, _)| *id).collect();
        let mut session = self.store.session().await?;
        let given = files::by_ids(&mut session, user_id, &given).await?;
        let all = files::list(&mut session, user_id, None, false).await?;
        session.close().await;
        let mut pictures = for_all.clone();
        let stored = given.into_iter().chain(all.into_iter().map(|listed| listed.file));
        for picture in stored.filter(UserFile::is_picture) {
            if pictures.len() < MOST_NAMES && !pictures.contains(&picture.name) {
                pictures.push(picture.name);
            }
        }
        claim.options.pictures = Some(pictures.clone());
        self.keep_options(claim).await?;
        Ok(ReferenceRules { pictures, for_all, most })
    }

    /// Whether the image model can be shown what the shots are to look like. What the user gave to
    /// every keyframe must fit; what the storyboard names and cannot be shown is told and left out.
    pub async fn check_references(
        &self,
        claim: &Claim,
        image: &dyn ImageModel,
        shots: &[(ShotId, Shot)],
    ) -> Result<(), StudioError> {
        let pictures = self.pictures(claim, shots).await?;
        let (model, most) = (image.model().to_owned(), image.most_references());
        let note = |message: String| claim.tell(Event::Note { message });
        for (_, shot) in shots {
            if claim
                .options
                .retake
                .is_some_and(|retake| !retake.buys(shot.number, OperationKind::Image))
            {
                continue;
            }
            let (likenesses, unknown) = pictures.of(shot);
            for name in unknown {
                note(format!(
                    "shot {} names '{name}' as a reference, which is no picture that aida has and no \
                     earlier shot; it is drawn without it",
                    shot.number
                ));
            }
            if likenesses.len() <= most {
                continue;
            }
            if most > 0 || !pictures.for_all.is_empty() {
                let (shot, count) = (shot.number, likenesses.len());
                return Err(StudioError::TooManyReferences { model, shot, count, most });
            }
            note(format!(
                "{model} cannot be shown reference pictures: shot {} is drawn without {}",
                shot.number,
                shot.references.join(", ")
            ));
        }
        Ok(())
    }
}

/// What became of a shot's keyframe.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keyframe {
    Awaited,
    There(PathBuf),
    Missing,
}

/// The references of a run while it shoots.
pub(super) struct References {
    pictures: Pictures,
    vault: Vault,
    /// What became of the keyframe of each shot.
    keyframes: HashMap<u32, watch::Sender<Keyframe>>,
    /// The URL of each upload, by the SHA-256 of its bytes.
    uploads: Mutex<HashMap<String, Arc<OnceCell<String>>>>,
    /// All shots, for a retake, which finds the keyframes of the others.
    shots: Vec<(ShotId, u32)>,
}

impl References {
    pub(super) fn new(pictures: Pictures, vault: Vault, shots: &[(ShotId, Shot)]) -> Self {
        Self {
            pictures,
            vault,
            keyframes: shots
                .iter()
                .map(|(_, shot)| (shot.number, watch::Sender::new(Keyframe::Awaited)))
                .collect(),
            uploads: Mutex::default(),
            shots: shots.iter().map(|(id, shot)| (*id, shot.number)).collect(),
        }
    }

    /// Tells the shots that wait for it what became of a shot's keyframe.
    pub(super) fn tell(&self, shot: u32, keyframe: Option<PathBuf>) {
        if let Some(told) = self.keyframes.get(&shot) {
            told.send_replace(keyframe.map_or(Keyframe::Missing, Keyframe::There));
        }
    }
}

impl Errand<'_> {
    /// The URLs of what this shot's picture is to look like, uploaded where they are not yet. The
    /// inner error is the provider's, before anything is paid for.
    pub(super) async fn reference_urls(&self) -> Result<Result<Vec<String>, ProviderError>, End> {
        let mut urls = Vec::new();
        if self.media.image.most_references() == 0 {
            return Ok(Ok(urls));
        }
        for likeness in self.references.pictures.of(self.shot).0 {
            let picture = match likeness {
                Likeness::Picture(picture) => self.kept_picture(picture).await?,
                Likeness::Shot(number) => {
                    let keyframe = self.keyframe_of(number).await?;
                    let named = format!("shot {number}");
                    presentable(named, move || {
                        std::fs::read(&keyframe).map_err(|error| error.to_string())
                    })
                    .await?
                }
            };
            match self.uploaded(&picture).await {
                Ok(url) => urls.push(url),
                Err(TillError::Provider(failure)) => return Ok(Err(failure)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ok(urls))
    }

    async fn kept_picture(&self, picture: RunReference) -> Result<ReferencePicture, End> {
        let vault = self.references.vault.clone();
        let read =
            move || vault.read(&picture.sha256, &picture.path).map_err(|error| error.to_string());
        presentable(picture.name, read).await
    }

    async fn uploaded(&self, picture: &ReferencePicture) -> Result<String, TillError> {
        let sha256 = hexadecimal(&Sha256::digest(&picture.bytes));
        let cell = {
            let mut uploads =
                self.references.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(uploads.entry(sha256.clone()).or_default())
        };
        let model = &self.media.image;
        let purpose = Purpose { component: Component::Upload, ..self.purpose() };
        let upload = || async {
            self.producer
                .till
                .upload_once(
                    &purpose,
                    (model.provider(), model.model()),
                    &sha256,
                    UPLOAD_LIFETIME,
                    model.upload(picture),
                )
                .await
        };
        cell.get_or_try_init(upload).await.cloned()
    }

    /// The keyframe of an earlier shot, once that is there.
    async fn keyframe_of(&self, number: u32) -> Result<PathBuf, End> {
        let missing =
            || End::Failed(format!("it is to look like shot {number}, whose picture is not there"));
        if self.claim.options.retake.is_some() {
            let found = self.references.shots.iter().find(|(_, known)| *known == number);
            let (shot_id, _) = *found.ok_or_else(missing)?;
            let other =
                Errand { shot_id, kind: OperationKind::Image, step: Step::Image, ..self.clone() };
            return other.found().await.map_err(|end| match end {
                End::Failed(_) => missing(),
                other => other,
            });
        }
        let mut told = self.references.keyframes.get(&number).ok_or_else(missing)?.subscribe();
        let decided = told.wait_for(|keyframe| *keyframe != Keyframe::Awaited);
        let stopped = || End::Stopped(TillError::Cancelled.into());
        let keyframe = tokio::select! {
            keyframe = decided => keyframe.map_or(Keyframe::Missing, |told| told.clone()),
            () = self.halt.cancelled() => return Err(stopped()),
            () = self.claim.cancel.cancelled() => return Err(stopped()),
        };
        match keyframe {
            Keyframe::There(path) => Ok(path),
            Keyframe::Awaited | Keyframe::Missing => Err(missing()),
        }
    }
}

/// A picture in a form that every model takes: PNG and JPEG as they are, unless they are very large;
/// anything else packed anew.
async fn presentable(
    name: String,
    read: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<ReferencePicture, End> {
    let work = tokio::task::spawn_blocking(move || {
        let data = read()?;
        let size = image::ImageReader::new(std::io::Cursor::new(&data)).with_guessed_format();
        let format = size.as_ref().ok().and_then(image::ImageReader::format);
        let sides = size.ok().and_then(|size| size.into_dimensions().ok());
        let fits = data.len() <= LARGEST_BYTES
            && sides.is_some_and(|(width, height)| width.max(height) <= 2 * LONGEST_SIDE);
        let (bytes, media_type, ending) = match format {
            Some(image::ImageFormat::Png) if fits => (data, "image/png", "png"),
            Some(image::ImageFormat::Jpeg) if fits => (data, "image/jpeg", "jpg"),
            _ => {
                let packed =
                    packed(&data, LONGEST_SIDE).map_err(|problem| format!("it {problem}"))?;
                (packed.bytes, packed.media_type, "jpg")
            }
        };
        let name = format!("{}.{ending}", hexadecimal(&Sha256::digest(&bytes)));
        Ok(ReferencePicture { name, media_type, bytes: Bytes::from(bytes) })
    });
    match work.await {
        Ok(Ok(picture)) => Ok(picture),
        Ok(Err(reason)) => {
            Err(End::Stopped(StudioError::LostReference { reference: name, reason }))
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FileId;
    use rust_decimal::Decimal;

    fn picture(name: &str) -> RunReference {
        RunReference {
            file: FileId::new(),
            name: name.to_owned(),
            sha256: name.to_owned(),
            path: PathBuf::from(name),
        }
    }

    #[test]
    fn a_shot_looks_like_what_it_names_and_what_all_look_like_and_nothing_twice() {
        let logo = picture("Logo.png");
        let named = [logo.clone(), picture("cup.jpg")];
        let pictures = Pictures {
            for_all: vec![logo.clone()],
            named: named.into_iter().map(|one| (one.name.to_lowercase(), one)).collect(),
        };
        let shot = Shot {
            number: 3,
            image_prompt: String::new(),
            motion_prompt: String::new(),
            duration_seconds: Decimal::ONE,
            on_screen_text: String::new(),
            narration: String::new(),
            references: [
                "LOGO.png",
                "Shot 1",
                "\"cup.jpg\"",
                "shot #1",
                "shot 3",
                "shot 9",
                "no.png",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let (likenesses, unknown) = pictures.of(&shot);
        let cup = pictures.named["cup.jpg"].clone();
        assert_eq!(
            likenesses,
            [Likeness::Picture(logo), Likeness::Shot(1), Likeness::Picture(cup)]
        );
        assert_eq!(unknown, ["shot 3", "shot 9", "no.png"]);
    }
}
