//! Reuse: kept takes of earlier films stand in for what a storyboard lacks.
//!
//! What is alike is found by the memory; here its files are looked at, each shot is given at most one, and
//! what was agreed to is linked into the project and booked before anything is bought. A take is its
//! own file in every project that uses it, so that no film breaks when another one is deleted.

mod files;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde_json::json;

use crate::ids::{FileId, ProjectId, ShotId, TakeId};
use crate::ledger::money::{Quantity, Usd};
use crate::ledger::operation::OperationKind;
use crate::ledger::till::UsedAgain;
use crate::ledger::{Component, Purpose};
use crate::memory::reuse::{Alike, Candidate, ReusePolicy, Wanted, assign, is_named, references};
use crate::providers::{ImageModel, VideoModel, sold_duration};
use crate::store::reuse::{self, KeptTake};
use crate::store::takes::Take;
use crate::studio::StudioError;
use crate::studio::claim::Claim;
use crate::studio::events::{Event, Step};
use crate::studio::plan::Plan;
use crate::studio::producer::{Media, Producer, storyboard_of};
use crate::studio::run::{Reused, RunReference};
use crate::studio::storyboard::{Reference, Shot};
use files::{is_whole, link_or_copy};

/// A film whose shots may lack something.
#[derive(Clone, Copy)]
pub struct Lacking<'a> {
    /// For whom, and for which run, if there is one already.
    pub purpose: &'a Purpose,
    /// The project; one that does not exist lacks everything.
    pub project: ProjectId,
    /// The shape of the picture, such as `9:16`.
    pub aspect: &'a str,
    /// Whether clips have sound.
    pub audio: bool,
    /// The model that would draw.
    pub image: &'a dyn ImageModel,
    /// The model that would move.
    pub video: &'a dyn VideoModel,
    /// The user's files that were given for it, by id and by name.
    pub files: &'a [(FileId, String)],
    /// What every keyframe is to look like.
    pub references: &'a [RunReference],
    /// Its shots.
    pub shots: &'a [Shot],
    /// What they would cost if all of it were bought.
    pub plan: &'a Plan,
}

/// A kept take that may serve a shot. Its files were there, and whole, when it was offered.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The shot's number, from 1.
    pub shot: u32,
    /// The keyframe; of a clip the picture that it was made from, if its file is there and the shot has
    /// no keyframe.
    pub image: Option<KeptTake>,
    /// The clip.
    pub clip: Option<KeptTake>,
    /// Whether the shot lacks its keyframe, which is not bought either if a clip serves it.
    pub lacks_image: bool,
    /// How it was found.
    pub alike: Alike,
    /// How alike it is, 0 to 100.
    pub percent: u8,
    /// What is not bought, at today's prices, USD.
    pub saved_usd: Usd,
    /// The file to look at.
    pub path: PathBuf,
}

impl Offer {
    /// The take that serves the shot: the clip if there is one.
    pub fn take(&self) -> Option<&KeptTake> {
        self.clip.as_ref().or(self.image.as_ref())
    }

    /// `clip` or `image`.
    pub fn kind(&self) -> OperationKind {
        if self.clip.is_some() { OperationKind::Clip } else { OperationKind::Image }
    }
}

/// The steps that offers spare, as [`Plan::without`] takes them.
pub fn spared(offers: &[Offer]) -> Vec<(i32, OperationKind)> {
    let number = |offer: &Offer| i32::try_from(offer.shot).unwrap_or(i32::MAX);
    let image = offers.iter().filter(|offer| offer.lacks_image);
    let image = image.map(|offer| (number(offer), OperationKind::Image));
    let clip = offers.iter().filter(|offer| offer.clip.is_some());
    image.chain(clip.map(|offer| (number(offer), OperationKind::Clip))).collect()
}

impl Producer {
    /// The kept takes that may serve a film under a policy: at most one for each shot, no file for two.
    /// `by_meaning` allows one embedding call. Under [`ReusePolicy::Never`] nothing is looked up.
    pub async fn reuse_offers(
        &self,
        lacking: Lacking<'_>,
        policy: ReusePolicy,
        by_meaning: bool,
    ) -> Result<Vec<Offer>, StudioError> {
        if policy == ReusePolicy::Never {
            return Ok(Vec::new());
        }
        let (wanted, taken) = self.wanted(lacking).await?;
        let mut lists =
            self.memory.reusable(lacking.purpose, lacking.project, &wanted, by_meaning).await?;
        if policy == ReusePolicy::Auto {
            for list in &mut lists {
                list.retain(|candidate| candidate.is_safe);
            }
        }
        let mut offers = self.whole_offers(lacking, &wanted, &lists, &taken).await?;
        if policy == ReusePolicy::Auto {
            keep_those_in_company(lacking.shots, &mut offers);
        }
        Ok(offers)
    }

    /// What a run has decided before, as far as its shots still lack it and its files are still there.
    pub async fn decided_offers(
        &self,
        lacking: Lacking<'_>,
        decided: &[Reused],
    ) -> Result<Vec<Offer>, StudioError> {
        let ids: Vec<TakeId> =
            decided.iter().flat_map(|reused| [reused.image, reused.clip]).flatten().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (wanted, taken) = self.wanted(lacking).await?;
        let mut session = self.store.session().await?;
        let takes = reuse::usable(&mut session, &lacking.purpose.user_id, &ids).await?;
        session.close().await;
        let take = |id: Option<TakeId>| takes.iter().find(|take| Some(take.id) == id).cloned();
        let lists: Vec<Vec<Candidate>> = wanted
            .iter()
            .map(|wanted| {
                let of_shot = decided.iter().filter(|reused| reused.shot == wanted.shot);
                of_shot
                    .filter_map(|reused| {
                        let clip = take(reused.clip);
                        // A decision for a clip is none for its keyframe alone.
                        if reused.clip.is_some() && clip.is_none() {
                            return None;
                        }
                        let image = take(reused.image).filter(|_| wanted.keyframe.is_none());
                        if image.is_none() && clip.is_none() {
                            return None;
                        }
                        let (alike, similarity) = (reused.alike, f64::from(reused.percent) / 100.0);
                        Some(Candidate { image, clip, alike, similarity, is_safe: true })
                    })
                    .collect()
            })
            .collect();
        self.whole_offers(lacking, &wanted, &lists, &taken).await
    }

    /// Keeps with the run what was decided, so that a run that goes on does the same.
    pub async fn keep_decision(
        &self,
        claim: &mut Claim,
        offers: &[Offer],
    ) -> Result<(), StudioError> {
        let reused = offers.iter().map(|offer| Reused {
            shot: offer.shot,
            image: offer.image.as_ref().map(|take| take.id),
            clip: offer.clip.as_ref().map(|take| take.id),
            alike: offer.alike,
            percent: offer.percent,
        });
        claim.options.reused = Some(reused.collect());
        self.keep_options(claim).await
    }

    /// Has the film use what was decided: files first, then take, choice and books in one transaction
    /// for each step, so that whatever is cut off in between is done once. Says whether all of it
    /// could be used; what could not is told, and lacks a take as before.
    pub async fn use_again(
        &self,
        claim: &Claim,
        media: &Media,
        shots: &[(ShotId, Shot)],
        offers: &[Offer],
    ) -> Result<bool, StudioError> {
        let mut is_complete = true;
        for offer in offers {
            let Some((shot_id, shot)) = shots.iter().find(|(_, shot)| shot.number == offer.shot)
            else {
                continue;
            };
            if claim.cancel.is_cancelled() {
                return Err(crate::ledger::TillError::Cancelled.into());
            }
            let others = shots.iter().map(|(_, other)| other);
            let needs_image = is_looked_at(others, shot.number);
            for take in [&offer.image, &offer.clip].into_iter().flatten() {
                let is_used = self.use_one(claim, media, (*shot_id, shot), offer, take).await?;
                // A clip does without its keyframe, unless another shot is to look like it.
                let is_spared = take.kind == OperationKind::Image && offer.clip.is_some();
                if !is_used && (needs_image || !is_spared) {
                    is_complete = false;
                    break;
                }
            }
        }
        Ok(is_complete)
    }

    async fn use_one(
        &self,
        claim: &Claim,
        media: &Media,
        (shot_id, shot): (ShotId, &Shot),
        offer: &Offer,
        origin: &KeptTake,
    ) -> Result<bool, StudioError> {
        let is_clip = origin.kind == OperationKind::Clip;
        let folder = self
            .projects_folder
            .join(claim.project.id.to_string())
            .join(format!("shot-{:02}", shot.number));
        let Some(path) = self.place(&claim.run.user_id, origin, &folder).await? else {
            let (kind, from) = (origin.kind.as_str(), &origin.project);
            let message = format!(
                "shot {}: the kept {kind} of “{from}” is gone or damaged and is not used again",
                shot.number
            );
            claim.tell(Event::Note { message });
            return Ok(false);
        };
        let relative = path.strip_prefix(&self.projects_folder).unwrap_or(&path);
        let take = Take {
            id: TakeId::new(),
            position: 1,
            chosen: true,
            path: relative.to_string_lossy().into_owned(),
            sha256: origin.sha256.clone(),
            bytes: origin.bytes,
            width: origin.width,
            height: origin.height,
            duration_seconds: origin.duration_seconds,
        };
        let (image, video) = (&media.image, &media.video);
        let picture = ((image.provider(), image.model(), image.endpoint()), Quantity::Images(1));
        let (component, step, instead, spares) = if is_clip {
            let seconds =
                sold_duration(video.durations(), shot.duration_seconds).unwrap_or_default();
            let clip = Quantity::VideoSeconds { seconds, audio: claim.options.audio };
            let seller = (video.provider(), video.model(), video.endpoint());
            // A keyframe that is not there any more is not bought either.
            let has_lost_keyframe = offer.lacks_image && !self.has_image(shot_id).await?;
            (Component::Video, Step::Clip, (seller, clip), has_lost_keyframe.then_some(picture))
        } else {
            (Component::Image, Step::Image, picture, None)
        };
        let request = json!({ "reused": {
            "take_id": origin.id, "project_id": origin.project_id, "project": origin.project,
            "shot": origin.shot, "alike": offer.alike, "percent": offer.percent,
        }});
        let used = UsedAgain { take, origin: origin.id, request };
        let purpose = Purpose { shot: Some(shot_id), ..claim.purpose(component) };
        let saved = self.till.use_again(&purpose, origin.kind, instead, spares, &used).await?;
        if let Some(saved_usd) = saved {
            claim.tell(Event::Reused {
                shot: shot.number,
                step,
                take_id: origin.id,
                project_id: origin.project_id,
                project: origin.project.clone(),
                project_shot: origin.shot,
                alike: offer.alike.as_str(),
                percent: offer.percent,
                saved_usd,
            });
        }
        Ok(true)
    }

    async fn has_image(&self, shot: ShotId) -> Result<bool, StudioError> {
        let mut session = self.store.session().await?;
        let has = reuse::has_take(&mut session, shot, OperationKind::Image).await?;
        session.close().await;
        Ok(has)
    }

    /// The shots that lack a clip and have no job under way, and the files that the film uses already.
    async fn wanted(
        &self,
        lacking: Lacking<'_>,
    ) -> Result<(Vec<Wanted>, BTreeSet<String>), StudioError> {
        let files: Vec<FileId> = lacking.files.iter().map(|(id, _)| *id).collect();
        let mut session = self.store.session().await?;
        let there = reuse::there(&mut session, lacking.project).await?;
        let digests: HashMap<FileId, String> =
            reuse::file_digests(&mut session, &files).await?.into_iter().collect();
        session.close().await;
        let file = |name: &str| {
            let (id, _) = lacking.files.iter().find(|(_, known)| is_named(known, name))?;
            digests.get(id).cloned()
        };
        let prompt = |number: u32| {
            let shot = lacking.shots.iter().find(|shot| shot.number == number);
            shot.map(|shot| shot.image_prompt.clone())
        };
        let for_all = || lacking.references.iter().map(|picture| picture.sha256.as_str());
        let mut wanted = Vec::new();
        for shot in lacking.shots {
            let of_shot =
                || there.iter().filter(|(number, ..)| u32::try_from(*number) == Ok(shot.number));
            if of_shot().any(|(_, kind, sha256)| sha256.is_none() || kind == "clip") {
                continue;
            }
            let durations = lacking.video.durations();
            wanted.push(Wanted {
                shot: shot.number,
                image_prompt: shot.image_prompt.clone(),
                motion_prompt: shot.motion_prompt.clone(),
                seconds: shot.duration_seconds,
                bought_seconds: sold_duration(durations, shot.duration_seconds).unwrap_or_default(),
                audio: lacking.audio,
                image_model: lacking.image.model().to_owned(),
                video_model: lacking.video.model().to_owned(),
                aspect: lacking.aspect.to_owned(),
                references: references(&shot.references, for_all(), file, prompt),
                keyframe: of_shot().find_map(|(_, _, sha256)| sha256.clone()),
            });
        }
        let taken = there.into_iter().filter_map(|(_, _, sha256)| sha256).collect();
        Ok((wanted, taken))
    }

    /// Gives the candidates to the shots, and looks at the files of what is given; for what is damaged
    /// or gone the next best is tried.
    async fn whole_offers(
        &self,
        lacking: Lacking<'_>,
        wanted: &[Wanted],
        lists: &[Vec<Candidate>],
        taken: &BTreeSet<String>,
    ) -> Result<Vec<Offer>, StudioError> {
        let numbers: Vec<u32> = wanted.iter().map(|wanted| wanted.shot).collect();
        let user = &lacking.purpose.user_id;
        let (mut seen, mut refused) = (HashMap::new(), BTreeSet::new());
        loop {
            let assigned = assign(lists, &numbers, taken, &refused);
            let before = refused.len();
            let mut offers = Vec::new();
            for given in assigned {
                let (wanted, candidate) =
                    (&wanted[given.shot], &lists[given.shot][given.candidate]);
                let image = match &candidate.image {
                    Some(take) => self.whole_file(&mut seen, user, take, wanted).await?,
                    None => None,
                };
                let clip = match &candidate.clip {
                    Some(take) => self.whole_file(&mut seen, user, take, wanted).await?,
                    None => None,
                };
                let lacks_image = wanted.keyframe.is_none();
                let path = if candidate.clip.is_some() { clip } else { image.clone() };
                // A shot that another one is to look like must have its picture.
                let is_blind = lacks_image && image.is_none();
                let Some(path) =
                    path.filter(|_| !is_blind || !is_looked_at(lacking.shots, wanted.shot))
                else {
                    refused.insert((given.shot, given.candidate));
                    continue;
                };
                let planned =
                    lacking.plan.shots.iter().find(|planned| planned.number == wanted.shot);
                let price = |of: fn(&crate::studio::plan::PlannedShot) -> Usd| {
                    planned.map(of).unwrap_or_default()
                };
                let (image_usd, clip_usd) =
                    (price(|planned| planned.image_usd), price(|planned| planned.clip_usd));
                let mut saved_usd = Usd::ZERO;
                saved_usd += if lacks_image { image_usd } else { Usd::ZERO };
                saved_usd += if candidate.clip.is_some() { clip_usd } else { Usd::ZERO };
                offers.push(Offer {
                    shot: wanted.shot,
                    image: candidate.image.clone().filter(|_| image.is_some() && lacks_image),
                    clip: candidate.clip.clone(),
                    lacks_image,
                    alike: candidate.alike,
                    percent: candidate.percent(),
                    saved_usd,
                    path,
                });
            }
            if refused.len() == before {
                return Ok(offers);
            }
        }
    }

    /// Where a take's file, or a copy of it, lies whole. Each file is looked at once for one length.
    async fn whole_file(
        &self,
        seen: &mut HashMap<(TakeId, Decimal), Option<PathBuf>>,
        user: &str,
        take: &KeptTake,
        wanted: &Wanted,
    ) -> Result<Option<PathBuf>, StudioError> {
        let key = (take.id, wanted.seconds);
        if let Some(known) = seen.get(&key) {
            return Ok(known.clone());
        }
        let mut session = self.store.session().await?;
        let copies = reuse::copies(&mut session, user, take.id, &take.sha256).await?;
        session.close().await;
        let paths: Vec<PathBuf> =
            copies.iter().map(|path| self.projects_folder.join(path)).collect();
        let (take, needs) = (take.clone(), (wanted.audio, wanted.seconds));
        let looking = tokio::task::spawn_blocking(move || {
            paths.into_iter().find(|path| is_whole(path, &take, needs))
        });
        let found = looking.await.map_err(|error| StudioError::Damaged(error.to_string()))?;
        seen.insert(key, found.clone());
        Ok(found)
    }

    /// Links a take's file, or a copy of it, into a shot's folder; copies it where links are not
    /// possible. Nothing where no whole file is left. Doing it twice yields the same file.
    async fn place(
        &self,
        user: &str,
        origin: &KeptTake,
        folder: &Path,
    ) -> Result<Option<PathBuf>, StudioError> {
        let mut session = self.store.session().await?;
        let copies = reuse::copies(&mut session, user, origin.id, &origin.sha256).await?;
        session.close().await;
        let sources: Vec<PathBuf> =
            copies.iter().map(|path| self.projects_folder.join(path)).collect();
        let extension = Path::new(&origin.path).extension().unwrap_or_default().to_owned();
        let name = format!("{}-reused-{}", origin.kind.as_str(), origin.id.short());
        let destination = folder.join(name).with_extension(extension);
        let (folder, sha256, path) =
            (folder.to_owned(), origin.sha256.clone(), destination.clone());
        let placing = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&folder)?;
            for source in sources {
                if link_or_copy(&source, &path, &sha256)? {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        let placed = placing.await.map_err(|error| StudioError::Damaged(error.to_string()))?;
        let is_placed = placed.map_err(|source: std::io::Error| StudioError::Folder {
            path: destination.clone(),
            source,
        })?;
        Ok(is_placed.then_some(destination))
    }
}

/// The shots that a shot is to look like.
fn looks_like(shot: &Shot) -> impl Iterator<Item = u32> {
    shot.references.iter().filter_map(|name| match Reference::read(name) {
        Reference::Shot(number) => Some(number),
        Reference::Picture(_) => None,
    })
}

/// Whether another shot is to look like this one.
fn is_looked_at<'a>(shots: impl IntoIterator<Item = &'a Shot>, number: u32) -> bool {
    shots.into_iter().any(|shot| looks_like(shot).any(|other| other == number))
}

/// Leaves out what looks like a shot that is drawn anew or comes from another film: it would show the
/// other film's face. What is left out may have been the company of another.
fn keep_those_in_company(shots: &[Shot], offers: &mut Vec<Offer>) {
    loop {
        let from: HashMap<u32, ProjectId> = offers
            .iter()
            .filter_map(|offer| Some((offer.shot, offer.take()?.project_id)))
            .collect();
        let before = offers.len();
        offers.retain(|offer| {
            let shot = shots.iter().find(|shot| shot.number == offer.shot);
            shot.is_none_or(|shot| {
                looks_like(shot).all(|other| from.get(&other) == from.get(&offer.shot))
            })
        });
        if offers.len() == before {
            return;
        }
    }
}

impl Claim {
    /// What this run's film may lack.
    pub fn lacking<'a>(
        &'a self,
        purpose: &'a Purpose,
        media: &'a Media,
        shots: &'a [Shot],
        plan: &'a Plan,
    ) -> Lacking<'a> {
        Lacking {
            purpose,
            project: self.project.id,
            aspect: self.aspect.as_str(),
            audio: self.options.audio,
            image: media.image.as_ref(),
            video: media.video.as_ref(),
            files: &self.options.files,
            references: &self.options.references,
            shots,
            plan,
        }
    }
}

impl Producer {
    /// What a claim's storyboard costs if all of it is bought.
    pub fn whole_plan(
        &self,
        claim: &Claim,
        media: &Media,
        shots: &[(ShotId, Shot)],
    ) -> Result<Plan, StudioError> {
        let tariff =
            self.tariff(media.image.as_ref(), media.video.as_ref(), claim.options.audio)?;
        Ok(Plan::new(&storyboard_of(&claim.project.title, shots), tariff)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(number: u32, references: &[&str]) -> Shot {
        Shot {
            number,
            image_prompt: String::new(),
            motion_prompt: String::new(),
            duration_seconds: Decimal::ONE,
            on_screen_text: String::new(),
            narration: String::new(),
            references: references.iter().map(ToString::to_string).collect(),
        }
    }

    fn offer(shot: u32, project_id: ProjectId) -> Offer {
        let take = KeptTake {
            id: TakeId::new(),
            kind: OperationKind::Image,
            project_id,
            project: String::new(),
            shot: 1,
            path: String::new(),
            sha256: String::new(),
            bytes: 1,
            width: None,
            height: None,
            duration_seconds: None,
            model: String::new(),
            chosen: true,
            rating: None,
            keyframe_sha256: None,
            fingerprint: None,
            frame: None,
            sketch: None,
            image_prompt: String::new(),
            motion_prompt: String::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        Offer {
            shot,
            image: Some(take),
            clip: None,
            lacks_image: true,
            alike: Alike::Exact,
            percent: 100,
            saved_usd: Usd::ZERO,
            path: PathBuf::new(),
        }
    }

    #[test]
    fn what_looks_like_another_shot_is_taken_in_its_company_alone() {
        let shots =
            [shot(1, &[]), shot(2, &["shot 1"]), shot(3, &["Shot #2", "logo.png"]), shot(4, &[])];
        assert!(is_looked_at(&shots, 1) && is_looked_at(&shots, 2) && !is_looked_at(&shots, 3));
        let (one, other) = (ProjectId::new(), ProjectId::new());
        let left = |origins: &[(u32, ProjectId)]| {
            let mut offers: Vec<_> =
                origins.iter().map(|(shot, project)| offer(*shot, *project)).collect();
            keep_those_in_company(&shots, &mut offers);
            offers.iter().map(|offer| offer.shot).collect::<Vec<_>>()
        };
        assert_eq!(left(&[(1, one), (2, one), (3, one), (4, other)]), [1, 2, 3, 4]);
        assert_eq!(left(&[(2, one), (3, one), (4, one)]), [4], "shot 1 is drawn anew");
        assert_eq!(left(&[(1, other), (2, one), (3, one)]), [1]);
    }
}
