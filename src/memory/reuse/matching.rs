//! Finding kept takes that are alike: by fingerprint and by words in the store's own indexes, by meaning
//! with the vectors that the memory has anyway.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use pgvector::Vector;
use sqlx::Connection as _;

use crate::ids::{FileId, ProjectId, TakeId};
use crate::ledger::money::Quantity;
use crate::ledger::till::Purpose;
use crate::memory::reuse::likeness::Saying;
use crate::memory::reuse::{
    Alike, Candidate, Wanted, fingerprint_of_clip, fingerprint_of_image, frame, is_named,
    references, thresholds,
};
use crate::memory::{Memory, MemoryError, passages};
use crate::providers::TextRole;
use crate::store::StoreError;
use crate::store::embeddings::{self, PassageKind, Scope};
use crate::store::reuse::{self, KeptTake, Mark, Unmarked};

/// Takes that are marked at a time.
const MARKED_AT_ONCE: i64 = 500;
/// The most images that are looked at for one shot, by words.
const MOST_IMAGES: i64 = 40;
/// The nearest passages that are looked at for one shot. One job yields up to four pictures, and each
/// of them, and its clip, has a passage.
const NEAREST: i64 = 40;
/// The most clips that are looked at for one shot.
const MOST_CLIPS: i64 = 60;
/// How much shorter than its shot a clip may be, in tenths of a second; the cut holds its last frame.
const TENTHS_TOO_SHORT: i64 = 1;

/// An image that is alike, with how and how much.
#[derive(Debug, Clone)]
struct Picture {
    /// None where the shot has its keyframe already.
    take: Option<KeptTake>,
    sha256: String,
    alike: Alike,
    similarity: f64,
    is_safe: bool,
}

impl Memory {
    /// For each shot the kept takes of the user that may stand in for what it lacks, without those of
    /// its own project and whatever the state of their files. `by_meaning` allows one embedding
    /// call for all shots together; it is made only where words alone do not find a clip and where there
    /// are vectors to compare with.
    pub async fn reusable(
        &self,
        purpose: &Purpose,
        project: ProjectId,
        wanted: &[Wanted],
        by_meaning: bool,
    ) -> Result<Vec<Vec<Candidate>>, MemoryError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let search = Search { memory: self, purpose, project, user: &purpose.user_id };
        search.mark().await?;
        let mut found = Vec::new();
        for wanted in wanted {
            let pictures = search.pictures_by_words(wanted).await?;
            let clips = search.clips(wanted, &pictures, None).await?;
            found.push((pictures, clips));
        }
        if by_meaning {
            search.add_by_meaning(wanted, &mut found).await?;
        }
        let lists = found.into_iter().zip(wanted).map(|((pictures, mut candidates), wanted)| {
            candidates.extend(pictures.into_iter().filter_map(|picture| {
                let Picture { take, alike, similarity, is_safe, .. } = picture;
                Some(Candidate { image: Some(take?), clip: None, alike, similarity, is_safe })
            }));
            if wanted.names_unknown_pictures() {
                // The same name may stand for other bytes by now: the user looks at it.
                for candidate in &mut candidates {
                    candidate.alike = candidate.alike.max(Alike::Near);
                    candidate.is_safe = false;
                }
            }
            candidates
        });
        Ok(lists.collect())
    }
}

/// One search for one user, from one project.
struct Search<'a> {
    memory: &'a Memory,
    purpose: &'a Purpose,
    project: ProjectId,
    user: &'a str,
}

impl Search<'_> {
    /// Marks the takes that came since the last time.
    async fn mark(&self) -> Result<(), StoreError> {
        loop {
            let mut session = self.memory.store.session().await?;
            let takes = reuse::unmarked(&mut session, self.user, MARKED_AT_ONCE).await?;
            if takes.is_empty() {
                session.close().await;
                return Ok(());
            }
            let files = files(&takes);
            let ids: Vec<FileId> = files.values().flatten().map(|(id, _)| *id).collect();
            let digests: HashMap<FileId, String> =
                reuse::file_digests(&mut session, &ids).await?.into_iter().collect();
            let refers = takes.iter().filter(|take| {
                take.references.as_array().is_some_and(|references| !references.is_empty())
            });
            let projects: HashSet<ProjectId> = refers.map(|take| take.project_id).collect();
            let projects: Vec<ProjectId> = projects.into_iter().collect();
            let prompts: HashMap<(ProjectId, i32), String> =
                reuse::image_prompts(&mut session, &projects)
                    .await?
                    .into_iter()
                    .map(|(project, number, prompt)| ((project, number), prompt))
                    .collect();
            let marks: Vec<Mark> = takes
                .iter()
                .map(|take| {
                    let given = files.get(&take.id).map(Vec::as_slice).unwrap_or_default();
                    let file = |name: &str| {
                        let (id, _) = given.iter().find(|(_, known)| is_named(known, name))?;
                        digests.get(id).cloned()
                    };
                    let shot = |number: u32| {
                        let number = i32::try_from(number).ok()?;
                        prompts.get(&(take.project_id, number)).cloned()
                    };
                    mark_of(self.user, take, file, shot)
                })
                .collect();
            reuse::mark(&mut session, &marks).await?;
            session.close().await;
        }
    }

    /// The images whose prompt is the same or nearly so.
    async fn pictures_by_words(&self, wanted: &Wanted) -> Result<Vec<Picture>, StoreError> {
        if let Some(sha256) = &wanted.keyframe {
            let (alike, similarity) = (Alike::Exact, 1.0);
            let sha256 = sha256.clone();
            return Ok(vec![Picture { take: None, sha256, alike, similarity, is_safe: true }]);
        }
        let saying = Saying::of(&wanted.image_prompt);
        let frame = frame(&wanted.aspect, &wanted.references);
        let sketch = saying.sketch(&owner(self.user, &frame));
        if sketch.is_empty() {
            return Ok(Vec::new());
        }
        let fingerprint = fingerprint_of_image(
            &wanted.image_model,
            &wanted.image_prompt,
            &wanted.aspect,
            &wanted.references,
        );
        let mut session = self.memory.store.session().await?;
        let images = reuse::images_like(
            &mut session,
            self.user,
            self.project,
            &sketch,
            &fingerprint,
            MOST_IMAGES,
        )
        .await?;
        session.close().await;
        let picture = |take: KeptTake| {
            let is_exact = take.fingerprint.as_ref() == Some(&fingerprint);
            let (alike, similarity) = if is_exact {
                (Alike::Exact, 1.0)
            } else {
                (Alike::Near, saying.nearness(&Saying::of(&take.image_prompt))?)
            };
            let is_safe = is_trusted(&take, &wanted.image_model);
            Some(Picture {
                sha256: take.sha256.clone(),
                take: Some(take),
                alike,
                similarity,
                is_safe,
            })
        };
        Ok(images.into_iter().filter_map(picture).collect())
    }

    /// The clips that were made from these pictures and move as asked. `by_meaning` holds the cosines
    /// of clips, where those count.
    async fn clips(
        &self,
        wanted: &Wanted,
        pictures: &[Picture],
        by_meaning: Option<&Vector>,
    ) -> Result<Vec<Candidate>, StoreError> {
        let keyframes: BTreeSet<&str> =
            pictures.iter().map(|picture| picture.sha256.as_str()).collect();
        if keyframes.is_empty() {
            return Ok(Vec::new());
        }
        let keyframes: Vec<&str> = keyframes.into_iter().collect();
        let mut session = self.memory.store.session().await?;
        let clips =
            reuse::clips_of(&mut session, self.user, self.project, &keyframes, MOST_CLIPS).await?;
        let cosines: HashMap<TakeId, f64> = match by_meaning {
            Some(vector) => {
                let ids: Vec<TakeId> = clips.iter().map(|clip| clip.id).collect();
                let model = self.memory.embedder();
                reuse::cosines(&mut session, model, &ids, vector).await?.into_iter().collect()
            }
            None => HashMap::new(),
        };
        session.close().await;
        let motion = Saying::of(&wanted.motion_prompt);
        let mut candidates = Vec::new();
        for clip in clips.into_iter().filter(|clip| is_long_enough(clip, wanted)) {
            let Some(keyframe) = clip.keyframe_sha256.as_deref() else { continue };
            let fingerprint = fingerprint_of_clip(
                &wanted.video_model,
                keyframe,
                &wanted.motion_prompt,
                wanted.bought_seconds,
                wanted.audio,
            );
            let saying = Saying::of(&clip.motion_prompt);
            let moves = if clip.fingerprint.as_ref() == Some(&fingerprint) {
                Some((Alike::Exact, 1.0, true))
            } else if let Some(nearness) = motion.nearness(&saying) {
                Some((Alike::Near, nearness, true))
            } else {
                let least = thresholds(self.memory.embedder());
                let cosine = cosines.get(&clip.id).filter(|cosine| **cosine >= least.ask);
                cosine.filter(|_| !motion.contradicts(&saying)).map(|cosine| {
                    let is_safe = least.auto.is_some_and(|auto| *cosine >= auto);
                    (Alike::Meaning, *cosine, is_safe)
                })
            };
            let Some((alike, similarity, moves_safely)) = moves else { continue };
            let is_trusted = is_trusted(&clip, &wanted.video_model);
            for picture in pictures.iter().filter(|picture| picture.sha256 == keyframe) {
                candidates.push(Candidate {
                    image: picture.take.clone(),
                    clip: Some(clip.clone()),
                    alike: alike.max(picture.alike),
                    similarity: similarity.min(picture.similarity),
                    is_safe: moves_safely && is_trusted && picture.is_safe,
                });
            }
        }
        Ok(candidates)
    }

    /// Looks by meaning for what words did not find a clip for.
    async fn add_by_meaning(
        &self,
        wanted: &[Wanted],
        found: &mut [(Vec<Picture>, Vec<Candidate>)],
    ) -> Result<(), MemoryError> {
        let open = (0..wanted.len()).filter(|at| found[*at].1.is_empty());
        let open: Vec<usize> = self.one_call(wanted, open);
        let model = self.memory.embedder().to_owned();
        let mut session = self.memory.store.session().await?;
        let has_vectors = reuse::has_vectors(&mut session, self.user, &model).await?;
        session.close().await;
        if open.is_empty() || !has_vectors {
            return Ok(());
        }
        let texts = Texts::of(open.iter().map(|at| &wanted[*at]));
        let vectors = match self.memory.embed(self.purpose, &texts.all, TextRole::Document).await {
            Ok(vectors) => vectors,
            // Nothing is lost but an offer: what is alike by words stands.
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "kept takes could not be looked for by meaning");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for at in open {
            let (pictures, candidates) = &mut found[at];
            let wanted = &wanted[at];
            if pictures.is_empty()
                && let Some(vector) = texts.vector(&vectors, &image_text(wanted))
            {
                *pictures = self.pictures_by_meaning(wanted, vector, &model).await?;
            }
            let vector = texts.vector(&vectors, &clip_text(wanted));
            *candidates = self.clips(wanted, pictures, vector).await?;
        }
        Ok(())
    }

    /// As many of the shots as one embedding call takes.
    fn one_call(&self, wanted: &[Wanted], shots: impl Iterator<Item = usize>) -> Vec<usize> {
        let (most_texts, most_bytes) = self.memory.batch_limits();
        let mut bytes = 0_usize;
        shots
            .take(most_texts / 2)
            .take_while(|at| {
                let wanted = &wanted[*at];
                bytes += image_text(wanted).len() + clip_text(wanted).len();
                bytes <= most_bytes
            })
            .collect()
    }

    async fn pictures_by_meaning(
        &self,
        wanted: &Wanted,
        vector: &Vector,
        model: &str,
    ) -> Result<Vec<Picture>, StoreError> {
        let least = thresholds(model);
        let scope = Scope {
            user_id: self.user.to_owned(),
            kinds: vec![PassageKind::Take],
            without_project: Some(self.project),
            ..Scope::default()
        };
        let mut session = self.memory.store.session().await?;
        let mut transaction = session.begin().await?;
        let near = embeddings::by_vector(&mut transaction, &scope, model, vector, NEAREST).await?;
        transaction.commit().await?;
        let cosines: HashMap<_, f64> = near
            .into_iter()
            .filter(|found| found.score >= least.ask)
            .map(|found| (found.id, found.score))
            .collect();
        let passages: Vec<_> = cosines.keys().copied().collect();
        let takes: BTreeMap<TakeId, f64> = reuse::takes_of_passages(&mut session, &passages)
            .await?
            .into_iter()
            .filter_map(|(passage, take)| Some((take, *cosines.get(&passage)?)))
            .collect();
        let ids: Vec<TakeId> = takes.keys().copied().collect();
        let frame = frame(&wanted.aspect, &wanted.references);
        let images =
            reuse::images_in_frame(&mut session, self.user, self.project, &frame, &ids).await?;
        session.close().await;
        let saying = Saying::of(&wanted.image_prompt);
        let picture = |take: KeptTake| {
            let similarity = takes.get(&take.id).copied()?;
            if saying.contradicts(&Saying::of(&take.image_prompt)) {
                return None;
            }
            let is_safe = least.auto.is_some_and(|auto| similarity >= auto)
                && is_trusted(&take, &wanted.image_model);
            let (sha256, alike) = (take.sha256.clone(), Alike::Meaning);
            Some(Picture { take: Some(take), sha256, alike, similarity, is_safe })
        };
        Ok(images.into_iter().filter_map(picture).collect())
    }
}

/// The texts of one embedding call, each once.
struct Texts {
    all: Vec<String>,
}

impl Texts {
    fn of<'a>(wanted: impl Iterator<Item = &'a Wanted>) -> Self {
        let mut all: Vec<String> =
            wanted.flat_map(|wanted| [image_text(wanted), clip_text(wanted)]).collect();
        all.retain(|text| !text.is_empty());
        all.sort_unstable();
        all.dedup();
        Self { all }
    }

    fn vector<'v>(&self, vectors: &'v [Vector], text: &str) -> Option<&'v Vector> {
        let place = self.all.binary_search_by(|known| known.as_str().cmp(text)).ok()?;
        vectors.get(place)
    }
}

/// The text of an image's first passage.
fn image_text(wanted: &Wanted) -> String {
    passages::first(&wanted.image_prompt)
}

/// The text of a clip's first passage.
fn clip_text(wanted: &Wanted) -> String {
    passages::first(&passages::clip_text(&wanted.motion_prompt, &wanted.image_prompt))
}

/// Whether a take may be used without asking, as far as it is its own: made by the model that would be
/// bought from, the one that its film uses, and of no film that the user disliked.
fn is_trusted(take: &KeptTake, model: &str) -> bool {
    take.chosen && take.model == model && take.rating.is_none_or(|rating| rating > 2)
}

fn is_long_enough(clip: &KeptTake, wanted: &Wanted) -> bool {
    let slack = rust_decimal::Decimal::new(TENTHS_TOO_SHORT, 1);
    clip.duration_seconds.is_some_and(|seconds| seconds + slack >= wanted.seconds)
}

/// Who may share a sketch: takes of one user with one frame.
fn owner(user: &str, frame: &str) -> String {
    format!("{user}\n{frame}")
}

/// The files that were given for the runs of takes, as their options name them.
fn files(takes: &[Unmarked]) -> HashMap<TakeId, Vec<(FileId, String)>> {
    takes
        .iter()
        .filter_map(|take| {
            let files = serde_json::from_value(take.files.clone()?).ok()?;
            Some((take.id, files))
        })
        .collect()
}

fn mark_of(
    user: &str,
    take: &Unmarked,
    file: impl Fn(&str) -> Option<String>,
    shot: impl Fn(u32) -> Option<String>,
) -> Mark {
    let names: Vec<String> = serde_json::from_value(take.references.clone()).unwrap_or_default();
    let pictures = take.for_all.as_ref().and_then(|pictures| pictures.as_array());
    let for_all = pictures.into_iter().flatten().filter_map(|picture| picture["sha256"].as_str());
    let references = references(&names, for_all, file, shot);
    let frame = frame(&take.aspect, &references);
    if take.is_clip {
        // A clip of an unknown picture is like no other.
        let keyframe = take.keyframe_sha256.clone().unwrap_or_else(|| take.id.to_string());
        let (seconds, audio) = match serde_json::from_value(take.quantity.clone()) {
            Ok(Quantity::VideoSeconds { seconds, audio }) => (seconds, audio),
            _ => (0, false),
        };
        let motion = &take.motion_prompt;
        let fingerprint = fingerprint_of_clip(&take.model, &keyframe, motion, seconds, audio);
        return Mark { id: take.id, fingerprint, frame, sketch: None };
    }
    let prompt = &take.image_prompt;
    Mark {
        id: take.id,
        fingerprint: fingerprint_of_image(&take.model, prompt, &take.aspect, &references),
        sketch: Some(Saying::of(prompt).sketch(&owner(user, &frame))),
        frame,
    }
}
