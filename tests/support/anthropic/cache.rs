//! The prompt cache: which part of a request is read from it, which is written to it, which is
//! neither (providers.md 1.7).

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How many blocks a breakpoint looks at, itself included.
const LOOK_BACK: usize = 20;

/// How long an entry lives after it was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Five minutes.
    FiveMinutes,
    /// One hour.
    OneHour,
}

impl Lifetime {
    const fn duration(self) -> Duration {
        match self {
            Self::FiveMinutes => Duration::from_mins(5),
            Self::OneHour => Duration::from_hours(1),
        }
    }

    /// What a `cache_control` asks for.
    pub fn of(control: &Value) -> Result<Self, String> {
        let members = control.as_object().ok_or("cache_control: an object is wanted")?;
        if members.keys().any(|name| name != "type" && name != "ttl")
            || control["type"] != "ephemeral"
        {
            return Err(format!("cache_control: {control} is not valid"));
        }
        match members.get("ttl").map(Value::as_str) {
            None | Some(Some("5m")) => Ok(Self::FiveMinutes),
            Some(Some("1h")) => Ok(Self::OneHour),
            Some(_) => Err("cache_control.ttl: '5m' or '1h' are wanted".to_owned()),
        }
    }
}

/// One block of a prompt, in the order in which prompts are rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What the block adds to the key of the cache; the bytes count as tokens.
    pub bytes: Vec<u8>,
    /// What else the key depends on from here on.
    pub salt: Vec<u8>,
    /// Whether everything up to here shall be remembered, and for how long.
    pub breakpoint: Option<Lifetime>,
}

/// Input tokens in disjoint classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Neither read nor written.
    pub uncached: u64,
    /// Written to the cache for five minutes.
    pub written_for_5_minutes: u64,
    /// Written to the cache for one hour.
    pub written_for_1_hour: u64,
    /// Read from the cache.
    pub read: u64,
}

impl Counts {
    /// All tokens of the prompt.
    pub const fn total(self) -> u64 {
        self.uncached + self.written_for_5_minutes + self.written_for_1_hour + self.read
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    lifetime: Lifetime,
    readable: Duration,
    dies: Duration,
}

/// Who asks, when, and what the model caches.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose cache it is: none is shared between workspaces.
    pub workspace: &'a str,
    /// A shorter beginning is not cached, in tokens.
    pub least_tokens: u64,
    /// When the prompt arrives, in the service's own time.
    pub now: Duration,
    /// When its response begins: from then on it is remembered.
    pub readable: Duration,
}

/// What the service remembers of earlier prompts.
#[derive(Debug, Default)]
pub struct PromptCache(HashMap<[u8; 32], Entry>);

impl PromptCache {
    /// Counts a prompt, and remembers it.
    pub fn count(&mut self, blocks: &[Block], asked: Asked<'_>) -> Counts {
        let Asked { workspace, least_tokens, now, readable } = asked;
        let mut key = Sha256::digest(workspace).into();
        let mut bytes = 0;
        let mut prefixes = Vec::with_capacity(blocks.len());
        for block in blocks {
            let mut hash = Sha256::new();
            let before: [u8; 32] = key;
            hash.update(before);
            hash.update(block.salt.len().to_le_bytes());
            hash.update(&block.salt);
            hash.update(&block.bytes);
            key = hash.finalize().into();
            bytes += block.bytes.len();
            prefixes.push((key, tokens(bytes)));
        }
        let total = tokens(bytes);
        let breakpoints: Vec<(usize, Lifetime)> = blocks
            .iter()
            .enumerate()
            .filter_map(|(place, block)| Some((place, block.breakpoint?)))
            .filter(|&(place, _)| prefixes[place].1 >= least_tokens)
            .collect();
        let hit = breakpoints
            .iter()
            .flat_map(|&(place, _)| (0..LOOK_BACK).filter_map(move |back| place.checked_sub(back)))
            .filter(|&place| {
                self.0
                    .get(&prefixes[place].0)
                    .is_some_and(|entry| entry.readable <= now && now < entry.dies)
            })
            .max();
        let mut counts = Counts::default();
        let mut counted = 0;
        if let Some(place) = hit {
            counted = prefixes[place].1;
            counts.read = counted;
            if let Some(entry) = self.0.get_mut(&prefixes[place].0) {
                entry.dies = now + entry.lifetime.duration();
            }
        }
        for (place, lifetime) in breakpoints {
            let (key, tokens) = prefixes[place];
            if hit.is_some_and(|hit| place <= hit) {
                continue;
            }
            match lifetime {
                Lifetime::FiveMinutes => counts.written_for_5_minutes += tokens - counted,
                Lifetime::OneHour => counts.written_for_1_hour += tokens - counted,
            }
            counted = tokens;
            let dies = now + lifetime.duration();
            // Of two requests with the same prefix at once, both write; the first is readable first.
            let known = self.0.get(&key).filter(|known| now < known.dies);
            let readable = known.map_or(readable, |known| known.readable.min(readable));
            self.0.insert(key, Entry { lifetime, readable, dies });
        }
        counts.uncached = total - counted;
        counts
    }
}

/// What a picture adds: about one token for 750 pixels, whatever its bytes weigh.
fn picture(block: &Value) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let data = block["source"]["data"].as_str()?;
    let bytes = base64::prelude::BASE64_STANDARD.decode(data).ok()?;
    let look = crate::support::media::look(&bytes).ok()?;
    let tokens = usize::try_from((look.width * look.height).div_ceil(750)).ok()?;
    let hash = Sha256::digest(&bytes);
    Some(hash.iter().copied().cycle().take(tokens * 4).collect())
}

/// About four bytes make a token.
pub fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap()
}

/// Whether there is a picture in a content, be it in the result of a tool.
fn has_picture(content: &Value) -> bool {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    blocks.iter().any(|block| block["type"] == "image" || has_picture(&block["content"]))
}

/// The blocks of a request, in the order in which prompts are rendered: tools, system,
/// messages. The model and `output_config` are part of every key; tool choice, thinking and
/// whether there are pictures of those of the messages.
pub fn render(body: &Value) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let root = json!([body["model"], body["output_config"], body["speed"]]).to_string();
    let mut salt = root.into_bytes();
    let mut push = |value: &Value, salt: Vec<u8>| -> Result<(), String> {
        let mut value = value.clone();
        let control =
            value.as_object_mut().and_then(|members| members.shift_remove("cache_control"));
        let breakpoint =
            control.filter(|control| !control.is_null()).map(|control| Lifetime::of(&control));
        blocks.push(Block {
            bytes: picture(&value).unwrap_or_else(|| value.to_string().into_bytes()),
            salt,
            breakpoint: breakpoint.transpose()?,
        });
        Ok(())
    };
    for tool in body["tools"].as_array().into_iter().flatten() {
        push(tool, std::mem::take(&mut salt))?;
    }
    match &body["system"] {
        Value::Array(parts) => {
            for part in parts {
                push(part, std::mem::take(&mut salt))?;
            }
        }
        Value::String(text) => {
            push(&json!({"type": "text", "text": text}), std::mem::take(&mut salt))?;
        }
        _ => {}
    }
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_pictures = messages.iter().any(|message| has_picture(&message["content"]));
    let settings = json!([body["tool_choice"], body["thinking"], has_pictures]);
    salt.extend(settings.to_string().into_bytes());
    for message in messages {
        salt.extend(message["role"].as_str().unwrap_or_default().bytes());
        match &message["content"] {
            Value::Array(content) => {
                for block in content {
                    push(block, std::mem::take(&mut salt))?;
                }
            }
            text => push(&json!({"type": "text", "text": text}), std::mem::take(&mut salt))?,
        }
    }
    if let Some(control) = body.get("cache_control")
        && let Some(last) = blocks.last_mut()
    {
        last.breakpoint = Some(Lifetime::of(control)?);
    }
    let lifetimes: Vec<Lifetime> = blocks.iter().filter_map(|block| block.breakpoint).collect();
    if lifetimes.len() > 4 {
        return Err(format!("at most 4 blocks with cache_control; found {}", lifetimes.len()));
    }
    let is_rising = lifetimes
        .windows(2)
        .any(|pair| pair[0] == Lifetime::FiveMinutes && pair[1] == Lifetime::OneHour);
    if is_rising {
        return Err(
            "a cache_control with ttl='1h' must not come after one with ttl='5m'".to_owned()
        );
    }
    Ok(blocks)
}
