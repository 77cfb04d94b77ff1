//! The image models that are known by name, and what each takes.
//! Source: KIE's pages as of 2026-08-19; Midjourney's as of 2026-05-02.

use std::sync::Arc;

use super::KieAccount;
use super::midjourney::{MidjourneyModel, Speed};
use super::unified::{InputFields, UnifiedImageModel};
use crate::providers::http::Caller;
use crate::providers::{ImageModel, ImageRequest, ProviderError};
use crate::studio::brief::Aspect;

/// What is known about an image model without asking anybody.
#[derive(Debug)]
pub struct KnownImageModel {
    /// The name by which aida's users, settings and price book know it.
    pub name: &'static str,
    /// The vendor's name for it, for the books; also taken as a name.
    pub endpoint: &'static str,
    /// The shapes that it can draw.
    pub aspects: &'static [Aspect],
    /// The longest prompt, in characters.
    pub longest_prompt: usize,
    /// The most reference pictures; 0 where it takes none.
    pub most_references: usize,
    dialect: Dialect,
}

#[derive(Debug)]
enum Dialect {
    Midjourney(Speed),
    Unified(InputFields),
}

impl KnownImageModel {
    pub(super) fn check(
        &self,
        caller: &Caller,
        request: &ImageRequest,
    ) -> Result<(), ProviderError> {
        let wrong = |message: String| Err(caller.not_sent(&message));
        if !self.aspects.contains(&request.aspect) {
            let shapes: Vec<_> = self.aspects.iter().map(|aspect| aspect.as_str()).collect();
            let (name, shapes) = (self.name, shapes.join(", "));
            return wrong(format!("{name} cannot draw {}; it draws {shapes}", request.aspect));
        }
        let length = request.prompt.chars().count();
        if length < SHORTEST_PROMPT || length > self.longest_prompt {
            return wrong(format!(
                "the image prompt has {length} characters; {} takes {SHORTEST_PROMPT} to {}",
                self.name, self.longest_prompt
            ));
        }
        if request.reference_urls.len() > self.most_references {
            return wrong(format!(
                "{} takes {} reference pictures; {} were given",
                self.name,
                self.most_references,
                request.reference_urls.len()
            ));
        }
        Ok(())
    }
}

/// Some models refuse shorter prompts, and none makes sense of them.
const SHORTEST_PROMPT: usize = 3;

/// The shapes that Google's Imagen draws.
const IMAGEN_ASPECTS: &[Aspect] = &[
    Aspect::Portrait9x16,
    Aspect::Landscape16x9,
    Aspect::Square,
    Aspect::Portrait3x4,
    Aspect::Landscape4x3,
];

const fn midjourney(name: &'static str, speed: Speed) -> KnownImageModel {
    KnownImageModel {
        name,
        endpoint: "mj/generate",
        aspects: &Aspect::ALL,
        longest_prompt: 2_000,
        most_references: 4,
        dialect: Dialect::Midjourney(speed),
    }
}

const fn imagen(name: &'static str, endpoint: &'static str) -> KnownImageModel {
    KnownImageModel {
        name,
        endpoint,
        aspects: IMAGEN_ASPECTS,
        longest_prompt: 5_000,
        most_references: 0,
        dialect: Dialect::Unified(InputFields { references: None, fixed: &[] }),
    }
}

/// Every image model that is known by name. The first is the default, the second the
/// alternative when KIE does not offer the first.
pub static IMAGE_MODELS: [KnownImageModel; 13] = [
    midjourney("midjourney-7-fast", Speed::Fast),
    KnownImageModel {
        name: "nano-banana-2",
        endpoint: "nano-banana-2",
        aspects: &Aspect::ALL,
        longest_prompt: 20_000,
        most_references: 14,
        dialect: Dialect::Unified(InputFields {
            references: Some("image_input"),
            fixed: &[("resolution", "1K"), ("output_format", "jpg")],
        }),
    },
    midjourney("midjourney-7-relaxed", Speed::Relaxed),
    midjourney("midjourney-7-turbo", Speed::Turbo),
    KnownImageModel {
        name: "nano-banana-2-lite",
        endpoint: "nano-banana-2-lite",
        aspects: &Aspect::ALL,
        longest_prompt: 20_000,
        most_references: 10,
        dialect: Dialect::Unified(InputFields { references: Some("image_urls"), fixed: &[] }),
    },
    KnownImageModel {
        name: "nano-banana-pro",
        endpoint: "nano-banana-pro",
        aspects: &Aspect::ALL,
        longest_prompt: 10_000,
        most_references: 8,
        dialect: Dialect::Unified(InputFields {
            references: Some("image_input"),
            fixed: &[("resolution", "1K"), ("output_format", "jpg")],
        }),
    },
    KnownImageModel {
        name: "nano-banana",
        endpoint: "google/nano-banana",
        aspects: &Aspect::ALL,
        longest_prompt: 5_000,
        most_references: 0,
        dialect: Dialect::Unified(InputFields {
            references: None,
            fixed: &[("output_format", "jpeg")],
        }),
    },
    imagen("imagen4", "google/imagen4"),
    imagen("imagen4-fast", "google/imagen4-fast"),
    imagen("imagen4-ultra", "google/imagen4-ultra"),
    KnownImageModel {
        name: "seedream-5-pro",
        endpoint: "seedream/5-pro-text-to-image",
        aspects: &Aspect::ALL,
        longest_prompt: 5_000,
        most_references: 0,
        dialect: Dialect::Unified(InputFields { references: None, fixed: &[("quality", "basic")] }),
    },
    KnownImageModel {
        name: "seedream-4.5",
        endpoint: "seedream/4.5-text-to-image",
        aspects: &Aspect::ALL,
        longest_prompt: 3_000,
        most_references: 0,
        dialect: Dialect::Unified(InputFields { references: None, fixed: &[("quality", "basic")] }),
    },
    KnownImageModel {
        name: "flux-2-pro",
        endpoint: "flux-2/pro-text-to-image",
        aspects: &Aspect::ALL,
        longest_prompt: 5_000,
        most_references: 0,
        dialect: Dialect::Unified(InputFields { references: None, fixed: &[("resolution", "1K")] }),
    },
];

/// Whether a model, by its name in the books, is Midjourney's.
pub(super) fn is_midjourney(model: &str) -> bool {
    IMAGE_MODELS
        .iter()
        .any(|known| known.name == model && matches!(known.dialect, Dialect::Midjourney(_)))
}

/// The image model of that name (or of the vendor's name for it), drawn on `account`.
pub fn image_model(name: &str, account: &KieAccount) -> Option<Arc<dyn ImageModel>> {
    let known = IMAGE_MODELS.iter().find(|known| known.name == name || known.endpoint == name)?;
    let account = account.clone();
    Some(match known.dialect {
        Dialect::Midjourney(speed) => Arc::new(MidjourneyModel::new(account, known, speed)),
        Dialect::Unified(fields) => Arc::new(UnifiedImageModel::new(account, known, fields)),
    })
}
