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
            key(
                "voyage_api_key",
                "VOYAGE_API_KEY",
                Form::Secret,
                None,
                "Voyage AI, where the embedder is one of its models.",
            ),
            key(
                "embedding_api_key",
                "EMBEDDING_API_KEY",
                Form::Secret,
                None,
                "The host of embedding_base_url, if it wants a key.",
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
                "vision_model",
                "AIDA_VISION_MODEL",
                Form::Text,
                Some("claude-haiku-5-5"),
                "The model that describes your pictures, once each, so that they can be found and told of.",
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
                 builtin, text-embedding-3-small, text-embedding-3-large, voyage-4, \
                 voyage-4-lite, voyage-4-large, or compatible for the host of \
                 embedding_base_url. After a change, `aida memory reindex` moves what is kept.",
            ),
            key(
                "embedding_model",
                "EMBEDDING_MODEL",
                Form::Text,
                None,
                "The model of a compatible host, such as nomic-embed-text. It needs a price: \
                 see [[price]] below.",
            ),
            key(
                "embedding_dimensions",
                "EMBEDDING_DIMENSIONS",
                Form::Whole(0, 1536),
                Some("0"),
                "How wide a vector a compatible host is asked for, where its model can answer \
                 several; 0 for the model's own width, which may be up to 1536.",
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
                "reuse",
                "AIDA_REUSE",
                Form::OneOf(&["auto", "ask", "never"]),
                None,
                "Whether kept images and clips are used again instead of buying new ones: auto, ask \
                 or never. Without it, ask on a terminal and never elsewhere.",
            ),
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
            key(
                "time_zone",
                "AIDA_TIME_ZONE",
                Form::Text,
                Some("auto"),
                "The zone in which days, weeks and months of costs and budgets begin, such as \
                 Europe/Berlin. auto is this machine's zone.",
            ),
        ],
    },
    Section {
        title: "How the providers are worked. KIE's limit of submits is kept without a setting.",
        keys: &[
            key(
                "fal_concurrency",
                "AIDA_FAL_CONCURRENCY",
                Form::Whole(1, 100),
                Some("20"),
                "Clips in the making at once, over all processes. fal queues what an account may \
                 not run yet.",
            ),
            key(
                "recover_seconds",
                "AIDA_RECOVER_SECONDS",
                Form::Whole(0, 3600),
                Some("60"),
                "How long fal is asked again about a job of unknown outcome that it does not \
                 list: what still waits in its queue may be listed late.",
            ),
        ],
    },
    Section {
        title: "The log.",
        keys: &[
            key(
                "log",
                "AIDA_LOG",
                Form::OneOf(LOG_LEVELS),
                Some("off"),
                "How much the log on standard error tells: off, error, warn, info, debug or trace.",
            ),
            key(
                "log_file",
                "AIDA_LOG_FILE",
                Form::Path,
                None,
                "Write the log as JSON lines here too, at least at info. Each day has a file of \
                 its own, with the day after its name.",
            ),
            key(
                "log_days",
                "AIDA_LOG_DAYS",
                Form::Whole(1, 3650),
                Some("14"),
                "How many days of log_file are kept.",
            ),
            key(
                "otlp_endpoint",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                Form::Address,
                None,
                "Send traces and metrics to this OpenTelemetry collector, over HTTP, as in \
                 http://127.0.0.1:4318. Needs a build with the feature otel.",
            ),
        ],
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
                "voyage_base_url",
                "VOYAGE_BASE_URL",
                Form::Address,
                Some("https://api.voyageai.com/v1"),
                "aida appends /embeddings. Keys that begin with al- go to \
                 https://ai.mongodb.com/v1 unless this is set.",
            ),
            key(
                "embedding_base_url",
                "EMBEDDING_BASE_URL",
                Form::Address,
                Some("http://127.0.0.1:11434/v1"),
                "A host that speaks OpenAI's interface, such as Ollama; used with embedder = \
                 \"compatible\". aida appends /embeddings and /models.",
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
    Section {
        title: "The HTTP face, `aida serve`.",
        keys: &[
            key(
                "serve.run_budget_usd",
                "AIDA_SERVE_RUN_BUDGET_USD",
                Form::Dollars,
                None,
                "What one film that is asked for over HTTP may cost: a POST is the yes up to this. \
                 Without it `aida serve` does not start.",
            ),
            key("serve.port", "AIDA_SERVE_PORT", Form::Whole(1, 65_535), Some("3003"), "The port."),
            key(
                "serve.listen",
                "AIDA_SERVE_LISTEN",
                Form::Text,
                Some("127.0.0.1, ::1"),
                "The addresses, with commas between. Any but those of this machine itself needs \
                 serve.tokens.",
            ),
            key(
                "serve.tokens",
                "AIDA_SERVE_TOKENS",
                Form::Secret,
                None,
                "Who may come in, as user:token with commas between; *:token may act for anybody. A \
                 token has at least 16 characters.",
            ),
            key(
                "serve.origins",
                "AIDA_SERVE_ORIGINS",
                Form::Text,
                None,
                "Web pages that may call it, as https://host with commas between; * for all.",
            ),
            key(
                "serve.jobs",
                "AIDA_SERVE_JOBS",
                Form::Whole(0, 200),
                Some("20"),
                "Films that it makes at once; 0 leaves them to `aida work`.",
            ),
            key(
                "serve.queue",
                "AIDA_SERVE_QUEUE",
                Form::Whole(1, 100_000),
                Some("200"),
                "Films that may wait; more are answered 429.",
            ),
            key(
                "serve.requests_per_minute",
                "AIDA_SERVE_REQUESTS_PER_MINUTE",
                Form::Whole(1, 1_000_000),
                Some("6000"),
                "Requests of one caller in a minute; more are answered 429.",
            ),
        ],
    },
];

/// Whether settings stand in a table of this name.
pub fn is_table(name: &str) -> bool {
    all().any(|key| key.name.split_once('.').is_some_and(|(table, _)| table == name))
}

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
        .map(|key| key.name)
        .chain(["price"])
        .map(|name| (strsim::jaro_winkler(&unknown, name), name))
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
    text.push_str(super::prices::EXAMPLE);
    text
}

/// `name = value` as config.toml wants it.
pub fn assignment(key: &Key, value: &str) -> String {
    match key.form {
        _ if value.is_empty() => format!("{} = \"\"", key.name),
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
        assert_eq!(nearest("prices"), Some("price"));
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
