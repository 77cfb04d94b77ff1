//! The Kling endpoints that are known by name. No two generations agree on their fields.
//! Source: fal's model pages (`https://fal.ai/models/<id>/llms.txt`) as of 2026-11-22.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{FalAccount, KlingModel};
use crate::providers::http::Caller;
use crate::providers::{ClipRequest, ProviderError, VideoModel};

/// What is known about a video model without asking anybody.
#[derive(Debug)]
pub struct KnownVideoModel {
    /// The name by which aida's users, settings and price book know it.
    pub name: &'static str,
    /// fal's id of the endpoint; also taken as a name.
    pub endpoint: &'static str,
    /// The lengths in seconds that it sells, rising.
    pub durations: &'static [u32],
    /// What it does about sound.
    pub audio: Audio,
    keyframe: &'static str,
    duration: DurationForm,
    fixed: Option<(&'static str, &'static str)>,
}

/// What an endpoint does about sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audio {
    /// Its clips are silent.
    Never,
    /// It is asked for with `generate_audio`, which is on (and dearer) unless it is sent.
    Asked,
    /// Its clips always have sound, at one price.
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DurationForm {
    Text,
    Integer,
}

/// The longest prompt, in characters (fal: "best kept under 2,500").
const LONGEST_PROMPT: usize = 2_500;

const FIVE_OR_TEN: &[u32] = &[5, 10];
const THREE_TO_FIFTEEN: &[u32] = &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const THREE_TO_THIRTY: &[u32] = &[
    3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 29, 30,
];

/// Versions 1.6 to 2.5: `image_url`, five or ten seconds, silent.
const fn early(name: &'static str, endpoint: &'static str) -> KnownVideoModel {
    KnownVideoModel {
        name,
        endpoint,
        durations: FIVE_OR_TEN,
        audio: Audio::Never,
        keyframe: "image_url",
        duration: DurationForm::Text,
        fixed: None,
    }
}

/// Version 3 and o3: three to fifteen seconds, with sound if asked.
const fn third(
    name: &'static str,
    endpoint: &'static str,
    keyframe: &'static str,
) -> KnownVideoModel {
    KnownVideoModel {
        name,
        endpoint,
        durations: THREE_TO_FIFTEEN,
        audio: Audio::Asked,
        keyframe,
        duration: DurationForm::Text,
        fixed: None,
    }
}

/// Version 4, whose id has no `fal-ai/` before it and whose duration is a number.
const fn fourth(name: &'static str, resolution: &'static str) -> KnownVideoModel {
    KnownVideoModel {
        name,
        endpoint: "kling/v4/image-to-video",
        durations: THREE_TO_THIRTY,
        audio: Audio::Asked,
        keyframe: "start_image_url",
        duration: DurationForm::Integer,
        fixed: Some(("resolution", resolution)),
    }
}

/// Every video model that is known by name. The first is the default.
pub static VIDEO_MODELS: [KnownVideoModel; 16] = [
    KnownVideoModel {
        name: "kling-2.6-pro",
        endpoint: "fal-ai/kling-video/v2.6/pro/image-to-video",
        durations: FIVE_OR_TEN,
        audio: Audio::Asked,
        keyframe: "start_image_url",
        duration: DurationForm::Text,
        fixed: None,
    },
    early("kling-1.6-standard", "fal-ai/kling-video/v1.6/standard/image-to-video"),
    early("kling-1.6-pro", "fal-ai/kling-video/v1.6/pro/image-to-video"),
    early("kling-2.1-standard", "fal-ai/kling-video/v2.1/standard/image-to-video"),
    early("kling-2.1-pro", "fal-ai/kling-video/v2.1/pro/image-to-video"),
    early("kling-2.1-master", "fal-ai/kling-video/v2.1/master/image-to-video"),
    early("kling-2.5-turbo-standard", "fal-ai/kling-video/v2.5-turbo/standard/image-to-video"),
    early("kling-2.5-turbo-pro", "fal-ai/kling-video/v2.5-turbo/pro/image-to-video"),
    third("kling-3-standard", "fal-ai/kling-video/v3/standard/image-to-video", "start_image_url"),
    third("kling-3-pro", "fal-ai/kling-video/v3/pro/image-to-video", "start_image_url"),
    third("kling-3-4k", "fal-ai/kling-video/v3/4k/image-to-video", "start_image_url"),
    KnownVideoModel {
        audio: Audio::Always,
        ..third(
            "kling-3-turbo-standard",
            "fal-ai/kling-video/v3/turbo/standard/image-to-video",
            "image_url",
        )
    },
    third("kling-o3-standard", "fal-ai/kling-video/o3/standard/image-to-video", "image_url"),
    third("kling-o3-pro", "fal-ai/kling-video/o3/pro/image-to-video", "image_url"),
    fourth("kling-4", "1080p"),
    fourth("kling-4-720p", "720p"),
];

impl KnownVideoModel {
    /// Whether the price that fal lists for the endpoint, which is that of its defaults, is this
    /// model's. Version 4 at 720p is sold below it.
    pub fn has_the_listed_price(&self) -> bool {
        self.fixed.is_none_or(|(_, value)| value == "1080p")
    }

    pub(super) fn check(
        &self,
        caller: &Caller,
        request: &ClipRequest,
    ) -> Result<(), ProviderError> {
        let wrong = |message: String| Err(caller.not_sent(&message));
        if !self.durations.contains(&request.seconds) {
            let sold: Vec<_> = self.durations.iter().map(ToString::to_string).collect();
            let (name, sold) = (self.name, sold.join(", "));
            return wrong(format!("{name} sells {sold} seconds, not {}", request.seconds));
        }
        if request.audio && self.audio == Audio::Never {
            return wrong(format!("the clips of {} have no sound; leave --audio out", self.name));
        }
        let length = request.prompt.chars().count();
        if request.prompt.trim().is_empty() || length > LONGEST_PROMPT {
            let name = self.name;
            return wrong(format!(
                "the motion prompt has {length} characters; {name} takes 1 to {LONGEST_PROMPT}"
            ));
        }
        Ok(())
    }

    /// The input in this endpoint's own words. Optional fields that only repeat the endpoint's
    /// defaults are left out, but for the sound, whose default costs up to twice as much.
    pub(super) fn payload(&self, request: &ClipRequest) -> Value {
        let duration = match self.duration {
            DurationForm::Text => json!(request.seconds.to_string()),
            DurationForm::Integer => json!(request.seconds),
        };
        let mut input = Map::from_iter([
            ("prompt".to_owned(), json!(request.prompt)),
            (self.keyframe.to_owned(), json!(request.keyframe_url)),
            ("duration".to_owned(), duration),
        ]);
        if self.audio == Audio::Asked {
            input.insert("generate_audio".to_owned(), json!(request.audio));
        }
        if let Some((name, value)) = self.fixed {
            input.insert(name.to_owned(), json!(value));
        }
        Value::Object(input)
    }
}

/// The video model of that name (or of fal's id for it), on `account`.
pub fn video_model(name: &str, account: &FalAccount) -> Option<Arc<dyn VideoModel>> {
    let known = VIDEO_MODELS.iter().find(|known| known.name == name || known.endpoint == name)?;
    Some(Arc::new(KlingModel::new(account.clone(), known)))
}
