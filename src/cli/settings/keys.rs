//! The catalogue of settings: every name, where it is read from, what it may hold, and what it
//! is when nobody says anything. The reader of config.toml, the environment, `config show` and
//! `config.example.toml` all follow it.

use crate::cli::tables::wrap;

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Words that are never shown again.
    Secret,
    /// Words.
    Text,
    /// A file or folder; `~/` stands for the home folder.
    Path,
    /// An http or https address.
    Address,
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds, both included.
    Whole(u32, u32),
    /// A number of seconds, above 0 and at most this.
    Seconds(u32),
    /// US dollars, not negative.
    Dollars,
    /// A part of one, 0 to 1.
    Share,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in config.toml.
    pub name: &'static str,
    /// Its name in the environment.
    pub variable: &'static str,
    /// What it holds.
    pub form: Form,
    /// What it is when nobody says anything, as one would write it in the environment.
    pub default: Option<&'static str>,
    /// What it does, in one or two sentences.
    pub about: &'static str,
}

/// Settings that belong together, under a heading in `config.example.toml`.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// The settings.
    pub keys: &'static [Key],
}

/// How much the log tells.
pub const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

const fn key(
    name: &'static str,
    variable: &'static str,
    form: Form,
    default: Option<&'static str>,
    about: &'static str,
) -> Key {
    Key { name, variable, form, default, about }
}

/// Every setting.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Keys of the services. create-video needs the first three.",
        keys: &[
            key(
                "anthropic_api_key",
                "ANTHROPIC_API_KEY",
                Form::Secret,
                None,
                "Claude, which writes and directs (platform.claude.com).",
            ),
            key(
                "kie_api_key",
                "KIE_API_KEY",
                Form::Secret,
                None,
                "KIE.AI, which draws the keyframes (kie.ai).",
            ),
            key("fal_key", "FAL_KEY", Form::Secret, None, "fal.ai, which moves them (fal.ai)."),
            key(
                "openai_api_key",
                "OPENAI_API_KEY",
                Form::Secret,
                None,
                "OpenAI, for search by meaning. Without it the built-in embedder is used.",
            ),
        ],
    },
    Section {
        title: "Where things are kept.",
        keys: &[
            key(
                "database_url",
                "DATABASE_URL",
                Form::Secret,
                None,
                "Postgres 15 or newer with pgvector 0.8 or newer, as \
                 postgres://user:password@host/name. Without it aida runs a Postgres of its own \
                 in data_dir.",
            ),
            key(
                "data_dir",
                "AIDA_DATA_DIR",
                Form::Path,
                None,
                "Working files, takes and the embedded database. Without it, the usual place for \
                 data of this system.",
            ),
            key(
                "videos_dir",
                "AIDA_VIDEOS_DIR",
                Form::Path,
                None,
                "Where finished films go. Without it, the folder that aida is called in.",
            ),
            key(
                "ffmpeg",
                "AIDA_FFMPEG",
                Form::Path,
                None,
                "The ffmpeg program. Without it, the one on the PATH.",
            ),
            key("user", "AIDA_USER", Form::Text, Some("local"), "Who owns what is written."),
        ],
    },
    Section {
        title: "What a video is unless a flag says otherwise.",
        keys: &[
            key(
                "language_model",
                "AIDA_LANGUAGE_MODEL",
                Form::Text,
                Some("claude-sonnet-5-5"),
                "The model of the Orchestrator, the Writer and the Director.",
            ),
            key(
                "image_model",
                "AIDA_IMAGE_MODEL",
                Form::Text,
                Some("midjourney-7-fast"),
                "The model that draws keyframes; another one is nano-banana-2.",
            ),
            key(
                "video_model",
                "AIDA_VIDEO_MODEL",
                Form::Text,
                Some("kling-2.6-pro"),
                "The model that moves them.",
            ),
            key(
                "embedder",
                "AIDA_EMBEDDER",
                Form::Text,
                Some("auto"),
                "What turns text into vectors: auto (OpenAI where a key is, else builtin), \
                 builtin, text-embedding-3-small or text-embedding-3-large.",
            ),
            key(
                "aspect",
                "AIDA_ASPECT",
                Form::OneOf(&["9:16", "16:9", "1:1", "3:4", "4:3", "2:3", "3:2"]),
                Some("9:16"),
                "The shape of the picture: 9:16, 16:9, 1:1, 3:4, 4:3, 2:3 or 3:2.",
            ),
            key(
                "duration_seconds",
                "AIDA_DURATION_SECONDS",
                Form::Seconds(600),
                Some("30"),
                "The length of the film in seconds; one shot for each 5 s.",
            ),
            key(
                "audio",
                "AIDA_AUDIO",
                Form::Switch,
                Some("false"),
                "Whether the clips have sound, which costs more.",
            ),
        ],
    },
    Section {
        title: "Money. Amounts are US dollars.",
        keys: &[
            key(
                "language_budget_usd",
                "AIDA_LANGUAGE_BUDGET_USD",
                Form::Dollars,
                Some("0.50"),
                "The most that writing and directing one video may cost.",
            ),
            key(
                "ask_above_usd",
                "AIDA_ASK_ABOVE_USD",
                Form::Dollars,
                Some("0.05"),
                "Small commands that pay, such as search, ask above this.",
            ),
            key(
                "cache_hit_target",
                "AIDA_CACHE_HIT_TARGET",
                Form::Share,
                Some("0.60"),
                "The share of input tokens that should come from the prompt cache.",
            ),
        ],
    },
    Section {
        title: "How hard fal is worked. KIE's limit of submits is kept without a setting.",
        keys: &[key(
            "fal_concurrency",
            "AIDA_FAL_CONCURRENCY",
            Form::Whole(1, 100),
            Some("20"),
            "Clips in the making at once, over all processes. fal queues what an account may not \
             run yet.",
        )],
    },
    Section {
        title: "The terminal.",
        keys: &[key(
            "log",
            "AIDA_LOG",
            Form::OneOf(LOG_LEVELS),
            Some("off"),
            "How much the log on standard error tells: off, error, warn, info, debug or trace.",
        )],
    },
    Section {
        title: "Hosts, for gateways and tests. Each may carry a path of its own.",
        keys: &[
            key(
                "anthropic_base_url",
                "ANTHROPIC_BASE_URL",
                Form::Address,
                Some("https://api.anthropic.com"),
                "aida appends /v1/messages and /v1/models.",
            ),
            key(
                "openai_base_url",
                "OPENAI_BASE_URL",
                Form::Address,
                Some("https://api.openai.com/v1"),
                "aida appends /embeddings and /models.",
            ),
            key(
                "kie_base_url",
                "KIE_BASE_URL",
                Form::Address,
                Some("https://api.kie.ai"),
                "aida appends /api/v1/….",
            ),
            key(
                "kie_upload_url",
                "KIE_UPLOAD_URL",
                Form::Address,
                Some("https://kieai.redpandaai.co"),
                "aida appends /api/file-…-upload.",
            ),
            key(
                "fal_queue_url",
                "FAL_QUEUE_URL",
                Form::Address,
                Some("https://queue.fal.run"),
                "aida appends the endpoint's id.",
            ),
            key(
                "fal_api_url",
                "FAL_API_URL",
                Form::Address,
                Some("https://api.fal.ai/v1"),
                "aida appends /models/… and /account/….",
            ),
            key(
                "fal_storage_url",
                "FAL_STORAGE_URL",
                Form::Address,
                Some("https://rest.fal.ai"),
                "aida appends /storage/upload/initiate.",
            ),
        ],
    },
];

/// Every setting, in the order of the sections.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The setting of this name in config.toml.
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// The known name that is nearest to an unknown one, if any is near.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let unknown = unknown.to_ascii_lowercase().replace('-', "_");
    all()
        .map(|key| (strsim::jaro_winkler(&unknown, key.name), key.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}

/// The text of `config.example.toml`: every setting with its default, all of them commented out,
/// so that a copy of it changes nothing until a line is made one's own.
pub fn example() -> String {
    let mut text = String::from(
        "# Settings of aida. Copy this file to the place that `aida config path` prints, take the\n\
         # leading `#` from the lines you want to change, and keep it to yourself (chmod 600) if it\n\
         # holds keys. A flag beats an environment variable, which beats this file; the variable's\n\
         # name stands after each description. `aida config show` says what is in force and why.\n",
    );
    for section in SECTIONS {
        text.push_str("\n# ");
        text.push_str(&"-".repeat(70));
        text.push_str("\n# ");
        text.push_str(section.title);
        text.push('\n');
        for key in section.keys {
            text.push('\n');
            let about = format!("{} ({})", key.about, key.variable);
            for line in wrap(&about, 76) {
                text.push_str("# ");
                text.push_str(&line);
                text.push('\n');
            }
            text.push('#');
            text.push_str(&assignment(key, key.default.unwrap_or_default()));
            text.push('\n');
        }
    }
    text
}

/// `name = value` as config.toml wants it.
pub fn assignment(key: &Key, value: &str) -> String {
    match key.form {
        Form::Switch | Form::Whole(..) | Form::Seconds(_) | Form::Dollars | Form::Share => {
            format!("{} = {value}", key.name)
        }
        Form::Secret | Form::Text | Form::Path | Form::Address | Form::OneOf(_) => {
            format!("{} = {}", key.name, toml::Value::from(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_settings_share_a_name() {
        let names: BTreeSet<_> = all().map(|key| key.name).collect();
        let variables: BTreeSet<_> = all().map(|key| key.variable).collect();
        assert_eq!(names.len(), all().count());
        assert_eq!(variables.len(), all().count());
    }

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        assert_eq!(nearest("langauge_model"), Some("language_model"));
        assert_eq!(nearest("Video-Model"), Some("video_model"));
        assert_eq!(nearest("antropic_key"), Some("anthropic_api_key"));
        assert_eq!(nearest("zzz"), None);
    }

    #[test]
    fn the_shipped_example_is_up_to_date() {
        let shipped = include_str!("../../../config.example.toml");
        assert!(
            shipped == example(),
            "config.example.toml differs from the catalogue; it must read:\n{}",
            example()
        );
    }
}
