//! What KIE's documents say about the bodies that its image endpoints take.

use serde_json::{Value, json};

/// A field of a request.
struct Field {
    name: &'static str,
    required: bool,
    kind: Kind,
}

enum Kind {
    /// Text of at least and at most so many characters.
    Text(usize, usize),
    Choice(&'static [&'static str]),
    /// Whole number from, to, in steps of.
    Whole(u64, u64, u64),
    Flag,
    Url,
    /// At most so many URLs.
    Urls(usize),
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, required: false, kind }
}

const BANANA_2_ASPECTS: &[&str] = &[
    "1:1", "2:3", "3:2", "1:4", "4:1", "3:4", "4:3", "4:5", "5:4", "1:8", "8:1", "9:16", "16:9",
    "21:9", "auto",
];
const BANANA_PRO_ASPECTS: &[&str] =
    &["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "auto"];
const SEEDREAM_ASPECTS: &[&str] = &["1:1", "4:3", "3:4", "16:9", "9:16", "2:3", "3:2", "21:9"];
const MIDJOURNEY_ASPECTS: &[&str] =
    &["1:2", "9:16", "2:3", "3:4", "5:6", "6:5", "4:3", "3:2", "1:1", "16:9", "2:1"];

const FLUX_ASPECTS: &[&str] = &["1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3"];
const IMAGEN_ASPECTS: &[&str] = &["1:1", "16:9", "9:16", "3:4", "4:3", "auto"];
const IMAGEN: &[Field] = &[
    must("prompt", Kind::Text(1, 5_000)),
    may("aspect_ratio", Kind::Choice(IMAGEN_ASPECTS)),
    may("negative_prompt", Kind::Text(0, 5_000)),
    may("seed", Kind::Text(0, 500)),
];
/// Its seed is a number, those of its siblings are text.
const IMAGEN_FAST: &[Field] = &[
    must("prompt", Kind::Text(1, 5_000)),
    may("aspect_ratio", Kind::Choice(IMAGEN_ASPECTS)),
    may("negative_prompt", Kind::Text(0, 5_000)),
    may("seed", Kind::Whole(0, u64::MAX, 1)),
];

/// The `input` of `POST /api/v1/jobs/createTask`, by model (kie-models.json).
const UNIFIED: &[(&str, &[Field])] = &[
    (
        "nano-banana-2",
        &[
            must("prompt", Kind::Text(1, 20_000)),
            may("aspect_ratio", Kind::Choice(BANANA_2_ASPECTS)),
            may("image_input", Kind::Urls(14)),
            may("output_format", Kind::Choice(&["png", "jpg"])),
            may("resolution", Kind::Choice(&["1K", "2K", "4K"])),
        ],
    ),
    (
        "nano-banana-2-lite",
        &[
            must("prompt", Kind::Text(1, 20_000)),
            must("aspect_ratio", Kind::Choice(BANANA_2_ASPECTS)),
            may("image_urls", Kind::Urls(10)),
        ],
    ),
    (
        "nano-banana-pro",
        &[
            must("prompt", Kind::Text(1, 10_000)),
            may("aspect_ratio", Kind::Choice(BANANA_PRO_ASPECTS)),
            may("image_input", Kind::Urls(8)),
            may("output_format", Kind::Choice(&["png", "jpg"])),
            may("resolution", Kind::Choice(&["1K", "2K", "4K"])),
        ],
    ),
    (
        "google/nano-banana",
        &[
            must("prompt", Kind::Text(1, 5_000)),
            may("aspect_ratio", Kind::Choice(BANANA_PRO_ASPECTS)),
            may("image_size", Kind::Choice(BANANA_PRO_ASPECTS)),
            may("nsfw_checker", Kind::Flag),
            may("output_format", Kind::Choice(&["png", "jpeg"])),
        ],
    ),
    (
        "seedream/4.5-text-to-image",
        &[
            must("prompt", Kind::Text(1, 3_000)),
            must("aspect_ratio", Kind::Choice(SEEDREAM_ASPECTS)),
            must("quality", Kind::Choice(&["basic", "high"])),
            may("nsfw_checker", Kind::Flag),
        ],
    ),
    (
        "flux-2/pro-text-to-image",
        &[
            must("prompt", Kind::Text(3, 5_000)),
            must("aspect_ratio", Kind::Choice(FLUX_ASPECTS)),
            must("resolution", Kind::Choice(&["1K", "2K"])),
            may("nsfw_checker", Kind::Flag),
        ],
    ),
    ("google/imagen4", IMAGEN),
    ("google/imagen4-fast", IMAGEN_FAST),
    ("google/imagen4-ultra", IMAGEN),
    (
        "seedream/5-pro-text-to-image",
        &[
            must("prompt", Kind::Text(3, 5_000)),
            must("aspect_ratio", Kind::Choice(SEEDREAM_ASPECTS)),
            must("quality", Kind::Choice(&["basic", "high"])),
            may("nsfw_checker", Kind::Flag),
            may("output_format", Kind::Choice(&["png", "jpeg"])),
        ],
    ),
];

/// The body of `POST /api/v1/mj/generate` (providers.md 3.8).
const MIDJOURNEY: &[Field] = &[
    must(
        "taskType",
        Kind::Choice(&["mj_txt2img", "mj_img2img", "mj_style_reference", "mj_omni_reference"]),
    ),
    must("prompt", Kind::Text(1, 2_000)),
    may("enableTranslation", Kind::Flag),
    may("speed", Kind::Choice(&["relaxed", "fast", "turbo"])),
    may("fileUrl", Kind::Url),
    may("fileUrls", Kind::Urls(10)),
    may("aspectRatio", Kind::Choice(MIDJOURNEY_ASPECTS)),
    may("version", Kind::Choice(&["7", "6.1", "6", "5.2", "5.1", "niji6", "niji7"])),
    may("variety", Kind::Whole(0, 100, 5)),
    may("stylization", Kind::Whole(0, 1_000, 50)),
    may("weirdness", Kind::Whole(0, 3_000, 100)),
    may("ow", Kind::Whole(1, 1_000, 1)),
    may("waterMark", Kind::Text(0, 200)),
    may("callBackUrl", Kind::Url),
];

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The model, as the bill names it.
    pub model: String,
    /// What the picture shows.
    pub prompt: String,
    /// Its shape, such as `9:16`.
    pub aspect: String,
    /// How many pictures the job yields.
    pub pictures: u32,
    /// `png` or `jpeg`.
    pub format: image::ImageFormat,
    /// What it costs. One credit is 0.005 USD.
    pub credits: u32,
    /// The URLs of the pictures that it is to look like.
    pub references: Vec<String>,
}

/// Every URL in the fields of a body that take pictures.
fn urls(body: &Value) -> Vec<String> {
    ["fileUrl", "fileUrls", "image_input", "image_urls"]
        .iter()
        .flat_map(|name| match &body[*name] {
            Value::Array(urls) => urls.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        })
        .filter_map(|url| url.as_str().map(str::to_owned))
        .collect()
}

/// Checks the body of `POST /api/v1/mj/generate`.
pub fn midjourney(body: &Value) -> Result<Accepted, String> {
    check(body, MIDJOURNEY)?;
    let task = body["taskType"].as_str().unwrap_or_default();
    let files = urls(body);
    let has_files = !files.is_empty();
    if task == "mj_txt2img" && has_files {
        return Err("mj_txt2img takes no files".to_owned());
    }
    if task == "mj_omni_reference" && files.len() != 1 {
        return Err(format!("mj_omni_reference takes one file, not {}", files.len()));
    }
    if task != "mj_txt2img" && !has_files {
        return Err(format!("{task} needs fileUrls"));
    }
    if task == "mj_omni_reference" && body.get("speed").is_some() {
        return Err("speed is not for mj_omni_reference".to_owned());
    }
    if task != "mj_omni_reference" && body.get("ow").is_some() {
        return Err("ow is for mj_omni_reference only".to_owned());
    }
    let speed = body["speed"].as_str().unwrap_or("fast");
    Ok(Accepted {
        model: format!("midjourney {task} {speed}"),
        prompt: body["prompt"].as_str().unwrap_or_default().to_owned(),
        aspect: body["aspectRatio"].as_str().unwrap_or("1:1").to_owned(),
        pictures: 4,
        format: image::ImageFormat::Png,
        credits: match speed {
            "relaxed" => 3,
            "turbo" => 16,
            _ => 8,
        },
        references: files,
    })
}

/// Checks the body of `POST /api/v1/jobs/createTask`.
pub fn unified(body: &Value) -> Result<Accepted, String> {
    for name in body.as_object().ok_or("the body is not an object")?.keys() {
        if !["model", "input", "callBackUrl"].contains(&name.as_str()) {
            return Err(format!("unknown field '{name}'"));
        }
    }
    let model = body["model"].as_str().ok_or("model is required")?;
    let Some((_, fields)) = UNIFIED.iter().find(|(name, _)| *name == model) else {
        return Err(format!("the model name you specified is not supported: {model}"));
    };
    let input = &body["input"];
    check(input, fields)?;
    let text = |name: &str, default: &str| input[name].as_str().unwrap_or(default).to_owned();
    let resolution = text("resolution", "1K");
    let aspect = text("aspect_ratio", "1:1");
    Ok(Accepted {
        model: format!("{model} {resolution}"),
        prompt: text("prompt", ""),
        aspect: if aspect == "auto" { "1:1".to_owned() } else { aspect },
        pictures: 1,
        format: if text("output_format", "jpg") == "png" {
            image::ImageFormat::Png
        } else {
            image::ImageFormat::Jpeg
        },
        // Providers.md 3.5; the other models have no price there and stand for
        // any model whose price aida does not know.
        credits: match (model, resolution.as_str()) {
            ("nano-banana-2", "1K") => 8,
            ("nano-banana-2", "2K") => 12,
            ("nano-banana-pro", "4K") => 24,
            ("nano-banana-2" | "nano-banana-pro", _) => 18,
            ("nano-banana-2-lite" | "google/nano-banana", _) => 4,
            _ => 6,
        },
        references: urls(input),
    })
}

fn check(body: &Value, fields: &[Field]) -> Result<(), String> {
    let members = body.as_object().ok_or("an object is missing")?;
    for name in members.keys() {
        if !fields.iter().any(|field| field.name == name) {
            return Err(format!("unknown field '{name}'"));
        }
    }
    for field in fields {
        match members.get(field.name) {
            None if field.required => return Err(format!("{} is required", field.name)),
            None => {}
            Some(value) => check_value(value, &field.kind)
                .map_err(|problem| format!("{}: {value} {problem}", field.name))?,
        }
    }
    Ok(())
}

fn check_value(value: &Value, kind: &Kind) -> Result<(), String> {
    let is_url = |value: &Value| value.as_str().is_some_and(|text| url::Url::parse(text).is_ok());
    let is_good = match kind {
        Kind::Text(least, most) => value
            .as_str()
            .is_some_and(|text| (*least..=*most).contains(&text.trim().chars().count())),
        Kind::Choice(choices) => choices.iter().any(|choice| value == &json!(choice)),
        Kind::Whole(least, most, step) => value
            .as_u64()
            .is_some_and(|number| (*least..=*most).contains(&number) && number % step == 0),
        Kind::Flag => value.is_boolean(),
        Kind::Url => is_url(value),
        Kind::Urls(most) => {
            value.as_array().is_some_and(|urls| urls.len() <= *most && urls.iter().all(is_url))
        }
    };
    if is_good { Ok(()) } else { Err("is not what the documents allow".to_owned()) }
}
