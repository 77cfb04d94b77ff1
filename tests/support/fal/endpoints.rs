//! What fal's documents say about the Kling endpoints that make a clip from a picture
//! (providers.md 4.8): names and types of the fields, lengths sold, prices.

use rust_decimal::Decimal;
use rust_decimal_macros::dec;
use serde_json::{Value, json};

/// How an endpoint wants a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duration {
    /// `"5"`
    Text(u32, u32, u32),
    /// `5`
    Whole(u32, u32),
}

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Its id, such as `fal-ai/kling-video/v2.6/pro/image-to-video`.
    pub id: &'static str,
    image_field: &'static str,
    duration: Duration,
    /// Whether it has `generate_audio`, whose default is true.
    has_audio: bool,
    has_scale: bool,
    also: &'static [&'static str],
    /// USD per second without sound: the `unit_price` of the platform API.
    pub price: Decimal,
    price_with_audio: Decimal,
}

const OLD: Duration = Duration::Text(5, 10, 5);
const NEW: Duration = Duration::Text(3, 15, 1);

/// Up to version 2.5: five or ten seconds, silent.
const fn early(id: &'static str, price: Decimal, also: &'static [&'static str]) -> Endpoint {
    Endpoint {
        id,
        image_field: "image_url",
        duration: OLD,
        has_audio: false,
        has_scale: true,
        also,
        price,
        price_with_audio: price,
    }
}

/// Versions 3 and o3: three to fifteen seconds, with sound unless told otherwise.
const fn third(
    id: &'static str,
    image_field: &'static str,
    price: Decimal,
    price_with_audio: Decimal,
) -> Endpoint {
    Endpoint {
        id,
        image_field,
        duration: NEW,
        has_audio: true,
        has_scale: true,
        also: &["end_image_url", "elements", "shot_type", "multi_prompt"],
        price,
        price_with_audio,
    }
}

/// Stands for a price that providers.md does not know.
const UNVERIFIED: Decimal = dec!(0.09);

/// Every endpoint that this stand-in serves.
pub const ENDPOINTS: [Endpoint; 15] = [
    early("fal-ai/kling-video/v1.6/standard/image-to-video", dec!(0.045), &["aspect_ratio"]),
    early(
        "fal-ai/kling-video/v1.6/pro/image-to-video",
        UNVERIFIED,
        &["tail_image_url", "aspect_ratio"],
    ),
    early("fal-ai/kling-video/v2.1/standard/image-to-video", UNVERIFIED, &[]),
    early("fal-ai/kling-video/v2.1/pro/image-to-video", dec!(0.098), &["tail_image_url"]),
    early("fal-ai/kling-video/v2.1/master/image-to-video", UNVERIFIED, &[]),
    early("fal-ai/kling-video/v2.5-turbo/standard/image-to-video", dec!(0.042), &[]),
    early("fal-ai/kling-video/v2.5-turbo/pro/image-to-video", dec!(0.07), &["tail_image_url"]),
    Endpoint {
        id: "fal-ai/kling-video/v2.6/pro/image-to-video",
        image_field: "start_image_url",
        duration: OLD,
        has_audio: true,
        has_scale: false,
        also: &["end_image_url", "voice_ids"],
        price: dec!(0.07),
        price_with_audio: dec!(0.14),
    },
    third(
        "fal-ai/kling-video/v3/standard/image-to-video",
        "start_image_url",
        dec!(0.084),
        dec!(0.126),
    ),
    third("fal-ai/kling-video/v3/pro/image-to-video", "start_image_url", dec!(0.112), dec!(0.168)),
    third("fal-ai/kling-video/v3/4k/image-to-video", "start_image_url", dec!(0.42), dec!(0.42)),
    // It always has sound, and no field to ask for it.
    Endpoint {
        has_audio: false,
        ..third(
            "fal-ai/kling-video/v3/turbo/standard/image-to-video",
            "image_url",
            dec!(0.112),
            dec!(0.112),
        )
    },
    third("fal-ai/kling-video/o3/standard/image-to-video", "image_url", dec!(0.084), dec!(0.112)),
    third("fal-ai/kling-video/o3/pro/image-to-video", "image_url", UNVERIFIED, UNVERIFIED),
    // Sold by resolution: the price here is that of the default, 1080p.
    Endpoint {
        id: "kling/v4/image-to-video",
        image_field: "start_image_url",
        duration: Duration::Whole(3, 30),
        has_audio: true,
        has_scale: false,
        also: &["middle_image_urls", "end_image_url", "resolution", "aspect_ratio", "multi_prompt"],
        price: dec!(0.235),
        price_with_audio: dec!(0.235),
    },
];

/// A clip that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// How the picture moves.
    pub prompt: String,
    /// The keyframe.
    pub image_url: String,
    /// Seconds bought.
    pub seconds: u32,
    /// Whether it has sound.
    pub audio: bool,
    /// Price in USD.
    pub usd: Decimal,
}

/// One entry of the `detail` array of a 422.
fn problem(field: &str, message: &str, kind: &str) -> Value {
    json!({"loc": ["body", field], "msg": message, "type": kind})
}

impl Endpoint {
    /// The endpoint with this id.
    pub fn find(id: &str) -> Option<Self> {
        ENDPOINTS.into_iter().find(|endpoint| endpoint.id == id)
    }

    /// The units that are billed, in multiples of [`Endpoint::price`].
    pub fn units(&self, order: &Order) -> Decimal {
        (order.usd / self.price).normalize()
    }

    /// Reads a request body; an error is the `detail` array of the 422.
    pub fn read(&self, body: &Value) -> Result<Order, Vec<Value>> {
        let Some(members) = body.as_object() else {
            return Err(vec![problem("", "Input should be an object", "model_attributes_type")]);
        };
        let mut problems = Vec::new();
        for name in members.keys() {
            let is_known = ["prompt", "duration", "negative_prompt", self.image_field]
                .contains(&name.as_str())
                || (self.has_audio && name == "generate_audio")
                || (self.has_scale && name == "cfg_scale")
                || self.also.contains(&name.as_str());
            if !is_known {
                problems.push(problem(name, "Extra inputs are not permitted", "extra_forbidden"));
            }
        }
        let mut text = |field: &str| match members.get(field) {
            None => {
                problems.push(problem(field, "Field required", "missing"));
                String::new()
            }
            Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
            Some(_) => {
                problems.push(problem(field, "Input should be a valid string", "string_type"));
                String::new()
            }
        };
        let (prompt, image_url) = (text("prompt"), text(self.image_field));
        if prompt.chars().count() > 2_500 {
            problems.push(problem(
                "prompt",
                "String should have at most 2500 characters",
                "string_too_long",
            ));
        }
        if members.get("resolution").is_some_and(|size| size != "720p" && size != "1080p") {
            problems.push(problem(
                "resolution",
                "Input should be '720p' or '1080p'",
                "literal_error",
            ));
        }
        let seconds = match members.get("duration") {
            None => Some(5),
            Some(duration) => self.seconds(duration),
        };
        if seconds.is_none() {
            problems.push(problem(
                "duration",
                "Input should be a length that is sold",
                "literal_error",
            ));
        }
        let audio = match members.get("generate_audio") {
            None if self.has_audio => {
                // The vendor would take it and charge for sound. No caller of ours means that.
                problems.push(problem(
                    "generate_audio",
                    "Left out: sound would be billed",
                    "missing",
                ));
                true
            }
            None => false,
            Some(Value::Bool(audio)) => *audio,
            Some(_) => {
                problems.push(problem(
                    "generate_audio",
                    "Input should be a valid boolean",
                    "bool_type",
                ));
                false
            }
        };
        match seconds {
            Some(seconds) if problems.is_empty() => {
                let price = match members.get("resolution").and_then(Value::as_str) {
                    Some("720p") => dec!(0.157),
                    _ if audio => self.price_with_audio,
                    _ => self.price,
                };
                Ok(Order { prompt, image_url, seconds, audio, usd: price * Decimal::from(seconds) })
            }
            _ => Err(problems),
        }
    }

    fn seconds(&self, duration: &Value) -> Option<u32> {
        match self.duration {
            Duration::Text(least, most, step) => duration
                .as_str()
                .filter(|text| !text.starts_with('0'))
                .and_then(|text| text.parse().ok())
                .filter(|seconds| (least..=most).contains(seconds) && seconds % step == 0),
            Duration::Whole(least, most) => u32::try_from(duration.as_u64()?)
                .ok()
                .filter(|seconds| (least..=most).contains(seconds)),
        }
    }
}
