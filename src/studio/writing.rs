//! Writing: recall what is known, let the team converse, and keep the storyboard.

use async_trait::async_trait;

use crate::ledger::{Component, TillError};
use crate::memory::files::Vision;
use crate::memory::recall::RecallRequest;
use crate::memory::{Memory, MemoryError};
use crate::providers::{LanguageModel, LanguageReply, LanguageRequest};
use crate::studio::StudioError;
use crate::studio::agents::{self, AgentError, Assignment, Library, LibraryError, Turns};
use crate::studio::brief::Brief;
use crate::studio::claim::Claim;
use crate::studio::events::Event;
use crate::studio::outline;
use crate::studio::producer::Producer;
use crate::studio::run::{Recalled, RunState};

/// The author of what the built-in outline writer wrote.
const OUTLINE: &str = "outline";

impl Producer {
    /// Writes script and storyboard with the team, and keeps them. A team that cannot agree ends the
    /// run for good: the same questions would get the same, paid, answers.
    pub async fn write(
        &self,
        claim: &mut Claim,
        language: &dyn LanguageModel,
        video_durations: &[u32],
        most_references: usize,
    ) -> Result<(), StudioError> {
        let brief = claim.brief()?;
        let recalled = self.recall(claim, &brief, language).await?;
        let model = claim.options.language_model.clone().unwrap_or_default();
        let assignment = Assignment {
            clip_lengths: video_durations.to_vec(),
            longest_shot_seconds: video_durations.last().copied().unwrap_or(10),
            recall: recalled.work,
            preferences: recalled.preferences,
            campaign: claim.options.campaign.map(|_| recalled.campaign),
            wording: claim.options.wording(),
            model: model.clone(),
            image_model: claim.options.image_model.clone(),
            video_model: claim.options.video_model.clone(),
            audio: claim.options.audio,
            references: self.reference_rules(claim, most_references).await?,
            brief,
        };
        let team = PaidTeam { producer: self, claim, language };
        let created = agents::create(&assignment, &team, &team, claim.events()).await;
        match created {
            Ok(creation) => {
                self.keep_storyboard(claim, &creation.script, &model, &creation.storyboard).await
            }
            Err(AgentError::Till(error)) => Err(error.into()),
            Err(error) => {
                self.enter(claim, RunState::Failed).await?;
                Err(error.into())
            }
        }
    }

    /// Writes script and storyboard with the built-in outline writer, free of charge, and keeps them.
    /// `clip_lengths` are the lengths in seconds that the video model sells, so that the storyboard
    /// can be shot at no more than an even division would cost.
    pub async fn write_outline(
        &self,
        claim: &mut Claim,
        clip_lengths: &[u32],
    ) -> Result<(), StudioError> {
        let brief = claim.brief()?;
        let style = claim.options.style.clone().unwrap_or_default();
        let leaning = self.memory.leaning(&claim.run.user_id, claim.options.campaign).await?;
        self.take_in_files(claim, None).await?;
        let direction = outline::Direction {
            palette: style.palette,
            style: Some(style.look).filter(|look| !look.is_empty()),
            wording: claim.options.wording(),
            leaning,
            sold_seconds: clip_lengths.to_vec(),
            longest_shot_seconds: clip_lengths.last().copied().unwrap_or_default(),
        };
        let (script, storyboard) = outline::write(&brief, &direction);
        self.keep_storyboard(claim, &script, OUTLINE, &storyboard).await
    }

    /// What earlier work has to say to a brief: looked up once for a run, then kept with it.
    async fn recall(
        &self,
        claim: &mut Claim,
        brief: &Brief,
        language: &dyn LanguageModel,
    ) -> Result<Recalled, StudioError> {
        if let Some(recalled) = &claim.options.recalled {
            return Ok(recalled.clone());
        }
        // Before the brief is compared with them, and told with the words that stand then.
        let vision = Vision { provider: language, model: &self.vision_model, till: &self.till };
        self.take_in_files(claim, Some(&vision)).await?;
        let purpose = claim.purpose(Component::Embedding);
        let files: Vec<_> = claim.options.files.iter().map(|(id, _)| *id).collect();
        let request = RecallRequest {
            brief: brief.text.as_str(),
            project: Some(claim.project.id),
            campaign: claim.options.campaign,
            files: &files,
        };
        let recall = self.memory.recall(&purpose, &request).await?;
        let found = recall.found.projects + recall.found.files;
        claim.tell(Event::Recalled { found, embedder: recall.embedder.clone() });
        let recalled = Recalled {
            work: recall.work,
            preferences: recall.preferences,
            campaign: recall.campaign,
        };
        claim.options.recalled = Some(recalled.clone());
        self.keep_options(claim).await?;
        Ok(recalled)
    }
}

/// The team's way to paid turns and to earlier work.
struct PaidTeam<'a> {
    producer: &'a Producer,
    claim: &'a Claim,
    language: &'a dyn LanguageModel,
}

impl PaidTeam<'_> {
    const fn memory(&self) -> &Memory {
        &self.producer.memory
    }

    /// A part of what recall found: the same text however often it is asked for.
    fn recalled(&self, part: impl Fn(&Recalled) -> &String) -> String {
        self.claim.options.recalled.as_ref().map(part).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Turns for PaidTeam<'_> {
    async fn turn(
        &self,
        component: Component,
        request: &LanguageRequest,
    ) -> Result<LanguageReply, TillError> {
        let purpose = self.claim.purpose(component);
        self.producer.till.language(&purpose, self.language, request, &self.claim.cancel).await
    }
}

#[async_trait]
impl Library for PaidTeam<'_> {
    async fn search_projects(&self, query: &str) -> Result<String, LibraryError> {
        let purpose = self.claim.purpose(Component::Embedding);
        self.memory()
            .search_projects(&purpose, query, Some(self.claim.project.id))
            .await
            .map_err(look_up_failed)
    }

    async fn search_files(&self, query: &str) -> Result<String, LibraryError> {
        let purpose = self.claim.purpose(Component::Embedding);
        self.memory().search_files(&purpose, query).await.map_err(look_up_failed)
    }

    async fn read_campaign(&self) -> Result<String, LibraryError> {
        Ok(self.recalled(|recalled| &recalled.campaign))
    }

    async fn read_preferences(&self) -> Result<String, LibraryError> {
        Ok(self.recalled(|recalled| &recalled.preferences))
    }
}

/// A look-up that failed is told to the team, which can plan a film without it; trouble of the
/// till or the database ends the conversation.
fn look_up_failed(error: MemoryError) -> LibraryError {
    match error {
        MemoryError::Till(error) => error.into(),
        MemoryError::Store(error) => LibraryError::Stop(error.into()),
        other => LibraryError::Unavailable(other.to_string()),
    }
}
