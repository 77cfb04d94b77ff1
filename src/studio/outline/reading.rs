//! Reading a brief: what it is about, where and when, in what mood, and which of its own words
//! should be seen.

/// A brief, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// The film's title, in the brief's own words.
    pub(super) title: String,
    /// What it is about, as it goes into a prompt: "a small bakery".
    pub(super) subject: String,
    /// The same without articles and in small letters: "small bakery".
    pub(super) subject_words: String,
    /// The subject without what is only said about it: of "running shoes launch" the shoes.
    pub(super) hero: String,
    /// The same without articles and in small letters.
    pub(super) hero_words: String,
    /// Whether the brief asks how something is done.
    pub(super) is_how_to: bool,
    /// Where or when, with its preposition: "in Tokyo", "at night".
    pub(super) setting: Option<String>,
    /// Whether the setting names a time rather than a place.
    pub(super) setting_is_time: bool,
    /// The time of day or the weather that the brief asks for.
    pub(super) time: Option<&'static Time>,
    /// Moods, as words for a prompt.
    pub(super) moods: Vec<&'static str>,
    /// Whether a mood asks for something drawn rather than photographed.
    pub(super) is_drawn: bool,
    /// Further wishes of a longer brief, for the image prompts.
    pub(super) details: Vec<String>,
    /// Short phrases of the brief that can stand on the screen.
    pub(super) lines: Vec<String>,
    /// The brief's first sentence.
    pub(super) first_sentence: String,
    /// Every word of the brief in small letters.
    pub(super) words: Vec<String>,
    /// Whether the brief is in English, as far as that can be told.
    pub(super) is_english: bool,
}

/// A time of day, a season or a weather.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Time {
    words: &'static [&'static str],
    /// The light at the beginning, in the middle and at the end of the film.
    pub(super) lights: [&'static str; 3],
    /// The colours that go with it.
    pub(super) palette: &'static str,
}

const TIMES: &[Time] = &[
    Time {
        words: &[
            "night",
            "nights",
            "midnight",
            "nacht",
            "nuit",
            "noche",
            "notte",
            "noite",
            "ночь",
            "ночной",
            "ночью",
            "noc",
            "noci",
            "νύχτα",
        ],
        lights: [
            "blue hour fading to night, first lights coming on",
            "deep night, neon and tungsten light mirrored on wet surfaces",
            "last hour of the night, warm lamps against a paling sky, faint haze",
        ],
        palette: "sodium orange, petrol blue and wet black",
    },
    Time {
        words: &[
            "sunrise", "dawn", "morning", "morgen", "matin", "mañana", "mattina", "утро", "ráno",
        ],
        lights: [
            "first grey-pink light of dawn, thin mist",
            "low morning sun, long shadows, dew",
            "clear warm morning light flooding in",
        ],
        palette: "rose grey, pale gold and mist blue",
    },
    Time {
        words: &[
            "sunset",
            "dusk",
            "evening",
            "golden",
            "abend",
            "soir",
            "atardecer",
            "tramonto",
            "закат",
            "вечер",
            "večer",
        ],
        lights: [
            "late afternoon sun, honey-coloured light",
            "golden hour, strong backlight and lens flare",
            "last glow after sunset, violet sky and warm lamps",
        ],
        palette: "honey, copper and violet",
    },
    Time {
        words: &[
            "winter",
            "snow",
            "christmas",
            "weihnachten",
            "noël",
            "hiver",
            "invierno",
            "зима",
            "зимний",
            "zima",
            "vánoce",
        ],
        lights: [
            "pale winter dawn, snow in the air, breath visible",
            "soft overcast snow light, muted blue shadows",
            "blue winter dusk against warm candlelight",
        ],
        palette: "snow white, ice blue and candle amber",
    },
    Time {
        words: &["rain", "rainy", "storm", "regen", "pluie", "lluvia", "дождь"],
        lights: [
            "dark clouds gathering, flat silver light",
            "steady rain, backlit drops, glossy reflections",
            "sun breaking through after rain, glowing mist",
        ],
        palette: "slate, silver and fresh green",
    },
];

/// Words of mood and what they mean for a picture; the last tells whether it is drawn.
const MOODS: &[(&[&str], &str, bool)] = &[
    (&["cozy", "cosy", "warm", "homely"], "cosy, intimate mood", false),
    (&["dark", "moody", "noir"], "low-key, moody contrast", false),
    (
        &["playful", "fun", "funny", "happy", "joyful", "cheerful"],
        "playful energy, saturated colour",
        false,
    ),
    (
        &["luxury", "luxurious", "premium", "elegant", "exclusive"],
        "quiet luxury, restrained elegance",
        false,
    ),
    (
        &["minimal", "minimalist", "minimalistic", "clean"],
        "minimalist composition, generous negative space",
        false,
    ),
    (
        &["vintage", "retro", "nostalgic", "1970s", "70s", "80s", "90s"],
        "vintage film stock, gentle fade and halation",
        false,
    ),
    (&["epic", "dramatic", "heroic", "powerful"], "epic scale, dramatic contrast", false),
    (
        &["calm", "peaceful", "quiet", "slow", "serene", "meditative"],
        "calm, unhurried stillness",
        false,
    ),
    (
        &["energetic", "fast", "dynamic", "intense"],
        "kinetic energy, motion blur at the edges",
        false,
    ),
    (
        &["futuristic", "cyberpunk", "sci-fi", "scifi"],
        "near-future design, holographic accents",
        false,
    ),
    (&["romantic", "dreamy", "magical"], "dreamlike softness, glowing highlights", false),
    (&["documentary", "authentic", "honest", "raw"], "honest documentary realism", false),
    (&["anime", "manga"], "hand-painted anime style, detailed backgrounds", true),
    (
        &["watercolor", "watercolour", "aquarelle"],
        "delicate watercolour illustration, visible paper grain",
        true,
    ),
    (
        &["cartoon", "animated", "animation", "pixar"],
        "stylised 3D animation, soft rounded shapes",
        true,
    ),
    (
        &["claymation", "stop-motion", "clay"],
        "claymation, fingerprints in the clay, miniature set",
        true,
    ),
];

/// What stands before the matter in a brief: "please make a short video about …".
const OPENINGS: &[&str] = &[
    "please",
    "can",
    "could",
    "you",
    "i",
    "we",
    "want",
    "need",
    "would",
    "like",
    "to",
    "make",
    "create",
    "produce",
    "generate",
    "shoot",
    "film",
    "give",
    "me",
    "us",
    "a",
    "an",
    "the",
    "short",
    "quick",
    "cinematic",
    "video",
    "videos",
    "clip",
    "reel",
    "movie",
    "ad",
    "advert",
    "commercial",
    "trailer",
    "teaser",
    "promo",
    "spot",
    "about",
    "of",
    "on",
    "for",
    "showing",
    "that",
    "shows",
    "which",
    "with",
    "featuring",
    "15",
    "30",
    "60",
    "second",
    "seconds",
    "15-second",
    "30-second",
    "60-second",
    "vertical",
    "tiktok",
    "instagram",
    "youtube",
];
/// What stands after it: "… video".
const CLOSINGS: &[&str] = &[
    "video",
    "videos",
    "clip",
    "reel",
    "film",
    "movie",
    "ad",
    "advert",
    "commercial",
    "trailer",
    "teaser",
    "promo",
    "spot",
    "vidéo",
];
const ARTICLES: &[&str] = &["a", "an", "the"];
const POSSESSIVES: &[&str] = &["my", "our", "your", "his", "her", "their"];
const PLACE_WORDS: &[&str] = &[
    "in", "at", "on", "under", "by", "near", "inside", "across", "along", "through", "during",
    "over", "beside", "after", "before",
];
/// Common small words of other languages that are written with plain letters.
const FOREIGN: &[&str] = &[
    "der", "die", "das", "und", "ein", "eine", "mit", "im", "am", "für", "fuer", "von", "el", "la",
    "los", "las", "una", "un", "de", "del", "para", "con", "en", "y", "le", "les", "des", "une",
    "du", "pour", "avec", "dans", "et", "il", "lo", "gli", "di", "della", "per", "e", "os", "um",
    "uma", "com", "do", "da", "na", "no", "w", "z", "i", "o", "se", "ve", "pro", "het", "een",
    "van", "voor", "och", "en", "att", "och", "som", "og", "til", "med",
];

impl Reading {
    pub(super) fn of(text: &str) -> Self {
        let first_sentence = sentences(text).next().unwrap_or_default();
        let first = first_sentence.as_str();
        let words: Vec<String> = words(text).map(str::to_lowercase).collect();
        let is_english = is_english(text, &words);
        let told = matter(first);
        let mut pieces = clauses(&told);
        let matter = if pieces.is_empty() { told.clone() } else { pieces.remove(0) };
        let (subject, setting) = parted(&matter, is_english);
        let subject = own(subject);
        let subject_words = without(&subject, ARTICLES).to_lowercase();
        let is_how_to = words_of(&subject).first().is_some_and(|word| word == "how");
        let hero = hero(&subject, is_how_to);
        let hero_words = without(&hero, ARTICLES).to_lowercase();
        let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        let time = TIMES.iter().find(|time| has(time.words));
        let setting_is_time = setting.as_deref().is_some_and(|setting| {
            words_of(setting)
                .iter()
                .any(|word| TIMES.iter().any(|time| time.words.contains(&word.as_str())))
                && words_of(setting).len() <= 3
        });
        let moods: Vec<_> = MOODS.iter().filter(|mood| has(mood.0)).take(3).collect();
        let title = title(&matter, first);
        let others = sentences(text).skip(1).flat_map(|sentence| clauses(&sentence));
        let details: Vec<String> = pieces
            .into_iter()
            .chain(others)
            .map(|clause| clause.trim_start_matches("and ").trim().to_owned())
            .filter(|clause| clause.chars().count() >= 3 && !is_only_mood(clause))
            .map(|clause| super::shortened(&clause, 160))
            .take(60)
            .collect();
        let lines = details
            .iter()
            .filter(|detail| detail.chars().count() <= 42 && !is_an_order(detail))
            .map(|detail| super::capitalised(detail))
            .collect();
        Self {
            title,
            subject_words,
            subject,
            hero,
            hero_words,
            is_how_to,
            setting,
            setting_is_time,
            time,
            is_drawn: moods.iter().any(|mood| mood.2),
            moods: moods.into_iter().map(|mood| mood.1).collect(),
            details,
            lines,
            first_sentence: super::shortened(&first_sentence, 200),
            words,
            is_english,
        }
    }
}

/// The brief's sentences.
fn sentences(text: &str) -> impl Iterator<Item = String> {
    text.split(['.', ';', '!', '?', '\n', '\r', '。', '！', '？', '|'])
        .map(|sentence| sentence.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|sentence| sentence.chars().any(char::is_alphanumeric))
}

/// A sentence cut at commas, colons and dashes.
fn clauses(text: &str) -> Vec<String> {
    text.split([',', ':', '—', '–', '、', '，'])
        .map(|clause| clause.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|clause| {
            clause.trim_matches(['"', '\'', '«', '»', '“', '”', '-', '*', '#', ' ']).to_owned()
        })
        .filter(|clause| clause.chars().any(char::is_alphanumeric))
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !(character.is_alphanumeric() || matches!(character, '-' | '\'')))
        .filter(|word| !word.is_empty())
}

fn words_of(text: &str) -> Vec<String> {
    words(text).map(str::to_lowercase).collect()
}

/// Whether the brief is English: plain letters, and fewer small words of other languages than
/// English ones.
fn is_english(text: &str, words: &[String]) -> bool {
    const ENGLISH: &[&str] = &[
        "the", "a", "an", "of", "and", "in", "at", "on", "for", "with", "to", "my", "our", "is",
        "that", "about", "video",
    ];
    let plain = text
        .chars()
        .filter(|character| character.is_alphabetic())
        .all(|letter| letter.is_ascii() || letter == 'é');
    let count = |known: &[&str]| words.iter().filter(|word| known.contains(&word.as_str())).count();
    plain && count(FOREIGN) <= count(ENGLISH)
}

/// The clause without "please make a short video about" and without a closing "video".
fn matter(clause: &str) -> String {
    let all: Vec<&str> = clause.split_whitespace().collect();
    let lowered: Vec<String> = all.iter().map(|word| word.to_lowercase()).collect();
    // "A dark, moody film about a lighthouse": what follows "film about" is the matter.
    let told = lowered.windows(2).take(12).position(|pair| {
        CLOSINGS.contains(&pair[0].as_str())
            && ["about", "of", "on", "for", "showing", "featuring", "with"]
                .contains(&pair[1].as_str())
    });
    if let Some(position) = told.filter(|position| position + 2 < all.len()) {
        return all[position + 2..].join(" ");
    }
    let is_opening = |word: &String| OPENINGS.contains(&word.as_str());
    let opening = lowered.iter().take_while(|word| is_opening(word)).count();
    // "a city" keeps its article; only a real order ("make a video about") is taken away.
    let orders = lowered[..opening]
        .iter()
        .rposition(|word| !ARTICLES.contains(&word.as_str()))
        .map_or(0, |last| last + 1);
    let mut begin = if orders < all.len() { orders } else { 0 };
    // An order ends in a word such as "about" or "video"; "a short walk" is no order.
    if !lowered[..begin].iter().any(|word| {
        CLOSINGS.contains(&word.as_str())
            || ["make", "create", "produce", "generate", "shoot", "show"].contains(&word.as_str())
    }) {
        begin = 0;
    }
    let mut end = all.len();
    while end > begin + 1 && CLOSINGS.contains(&lowered[end - 1].as_str()) {
        end -= 1;
    }
    all[begin..end].join(" ")
}

/// The matter as subject and setting: "a city at night" is "a city" and "at night".
fn parted(matter: &str, is_english: bool) -> (String, Option<String>) {
    let all: Vec<&str> = matter.split_whitespace().collect();
    let place = all
        .iter()
        .position(|word| PLACE_WORDS.contains(&word.to_lowercase().as_str()))
        .filter(|&position| is_english && position > 0 && position + 1 < all.len());
    let (subject, setting) = match place {
        Some(position) => (&all[..position], Some(all[position..].join(" "))),
        None => (&all[..], None),
    };
    let subject = super::shortened(&subject.join(" "), 80);
    (subject, setting.map(|setting| super::shortened(&setting, 80)))
}

/// "my dog Bruno" is "the dog Bruno" in a prompt.
fn own(subject: String) -> String {
    match subject.split_once(' ') {
        Some((first, rest)) if POSSESSIVES.contains(&first.to_lowercase().as_str()) => {
            format!("the {rest}")
        }
        _ => {
            // A capital that only begins the sentence is no name.
            let mut words = subject.splitn(2, ' ');
            match (words.next(), words.next()) {
                (Some(first), rest) if ARTICLES.contains(&first.to_lowercase().as_str()) => {
                    [first.to_lowercase().as_str(), rest.unwrap_or_default()]
                        .join(" ")
                        .trim()
                        .to_owned()
                }
                _ => subject,
            }
        }
    }
}

/// The thing itself: of "how to repot a fern" the fern, of "running shoes launch" the shoes.
fn hero(subject: &str, is_how_to: bool) -> String {
    const SAID_ABOUT: &[&str] = &[
        "launch",
        "release",
        "campaign",
        "promo",
        "promotion",
        "reveal",
        "announcement",
        "unboxing",
        "review",
        "tutorial",
        "guide",
        "recipe",
        "showcase",
        "presentation",
        "story",
        "tour",
        "sale",
        "demo",
        "intro",
        "highlights",
    ];
    let mut words: Vec<&str> = subject.split_whitespace().collect();
    if is_how_to {
        // "how to" and its verb.
        let verb =
            words.iter().position(|word| word.eq_ignore_ascii_case("to")).map_or(1, |to| to + 2);
        words.drain(..verb.min(words.len()));
    }
    while words.len() > 1
        && words.last().is_some_and(|last| SAID_ABOUT.contains(&last.to_lowercase().as_str()))
    {
        words.pop();
    }
    words.join(" ")
}

/// Whether a phrase names nothing but a mood, which is heard elsewhere.
fn is_only_mood(phrase: &str) -> bool {
    words_of(phrase)
        .iter()
        .all(|word| word == "and" || MOODS.iter().any(|(words, ..)| words.contains(&word.as_str())))
}

fn without(subject: &str, leading: &[&str]) -> String {
    match subject.split_once(' ') {
        Some((first, rest)) if leading.contains(&first.to_lowercase().as_str()) => rest.to_owned(),
        _ => subject.to_owned(),
    }
}

/// The title: the matter with a large first letter, short enough for a card.
fn title(matter: &str, clause: &str) -> String {
    let title = if matter.is_empty() { clause } else { matter };
    let title = if title.chars().any(char::is_alphanumeric) { title } else { "Untitled" };
    super::capitalised(&super::shortened(title, super::LONGEST_TITLE))
}

/// Whether a phrase tells the maker what to do rather than the viewer something.
fn is_an_order(phrase: &str) -> bool {
    const ORDERS: &[&str] = &[
        "use", "show", "make", "keep", "add", "include", "start", "end", "avoid", "no", "with",
        "we", "i", "please", "then", "open", "close", "style", "mood", "tone", "music", "should",
        "shot", "camera", "vertical",
    ];
    words_of(phrase).iter().any(|word| ORDERS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_from_the_matter() {
        let subject = |text| {
            let reading = Reading::of(text);
            (reading.title, reading.subject_words, reading.setting)
        };
        let told = |title: &str, words: &str, setting: Option<&str>| {
            (title.to_owned(), words.to_owned(), setting.map(ToOwned::to_owned))
        };
        assert_eq!(subject("food video"), told("Food", "food", None));
        assert_eq!(subject("A city at night"), told("A city at night", "city", Some("at night")));
        assert_eq!(
            subject("Please make a 30 second video about my small bakery in Lisbon, cosy"),
            told("My small bakery in Lisbon", "small bakery", Some("in Lisbon"))
        );
        assert_eq!(subject("a short walk").1, "short walk");
        assert_eq!(subject("video").0, "Video");
        assert_eq!(subject("Ночной рынок"), told("Ночной рынок", "ночной рынок", None));
    }

    #[test]
    fn times_moods_and_details_are_heard() {
        let reading = Reading::of(
            "A dark, moody film about a lighthouse at night. The keeper writes a letter, waves break",
        );
        assert!(reading.time.is_some_and(|time| time.lights[1].contains("night")));
        assert!(reading.moods.contains(&"low-key, moody contrast"));
        assert!(reading.details.iter().any(|detail| detail == "The keeper writes a letter"));
    }

    #[test]
    fn english_is_told_from_other_languages() {
        assert!(Reading::of("café opening on Main Street").is_english);
        for text in
            ["Werbung für die neue Bäckerei", "un video de cocina para la familia", "美食", "город"]
        {
            assert!(!Reading::of(text).is_english, "{text}");
        }
    }
}
