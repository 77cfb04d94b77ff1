//! Which words are forms of one word, in English and German.
//!
//! A word is led back to those that it may be a form of by the rules of spelling, and two words are
//! forms of one where these meet. Endings alone do not tell: "cheaper" is a form of "cheap", and
//! "corner" none of "corn". So a comparative counts where there is an adjective, an ending that
//! wants its consonant doubled counts where it is ("planned", and not "planed"), and where an
//! ending makes a word of its own there is a list. Who makes, sells or does something ("baker",
//! "planner") is another word, too.

/// Shorter words have no forms that can be told by their endings.
const SHORTEST: usize = 4;
/// The shortest word that two forms may have in common.
const SHORTEST_BASE: usize = 3;

/// Whether two words are forms of one. Both are folded.
pub(super) fn are_forms(wanted: &str, said: &str) -> bool {
    if said == wanted {
        return true;
    }
    let length = wanted.chars().count();
    if length < SHORTEST {
        // "ads" of "ad", but not "as" of "a".
        return length > 1 && said.strip_suffix('s') == Some(wanted);
    }
    let wanted = bases(wanted);
    bases(said).iter().any(|base| base.chars().count() >= SHORTEST_BASE && wanted.contains(base))
}

/// The words that a word may be a form of, and the word itself. Some are none, which does no harm.
fn bases(word: &str) -> Vec<String> {
    let mut found = vec![word.to_owned()];
    plurals(word, &mut found);
    participles(word, &mut found);
    adverbs(word, &mut found);
    comparatives(word, &mut found);
    german(word, &mut found);
    found
}

fn is_vowel(character: char) -> bool {
    matches!(character, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

/// Whether something is left of a word when its ending is off.
fn is_word(rest: &str) -> bool {
    rest.chars().count() >= SHORTEST_BASE && rest.contains(is_vowel)
}

/// Whether a verb or adjective doubles its last consonant: one syllable, one vowel, one consonant.
fn doubles(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    let [.., before, vowel, last] = letters.as_slice() else { return false };
    let groups = letters
        .iter()
        .enumerate()
        .filter(|&(place, &letter)| {
            is_vowel(letter) && (place == 0 || !is_vowel(letters[place - 1]))
        })
        .count();
    let is_after_consonant = !is_vowel(*before) || *before == 'u' && word.contains("qu");
    groups == 1
        && is_after_consonant
        && is_vowel(*vowel)
        && !is_vowel(*last)
        && !matches!(last, 'w' | 'x')
}

/// `plann` without its last letter.
fn undoubled(rest: &str) -> Option<&str> {
    let mut letters = rest.chars().rev();
    let (last, before) = (letters.next()?, letters.next()?);
    (last == before && !is_vowel(last)).then(|| &rest[..rest.len() - last.len_utf8()])
}

fn plurals(word: &str, found: &mut Vec<String>) {
    if let Some(rest) = word.strip_suffix('s')
        && is_word(rest)
        && !rest.ends_with(['s', 'u', 'i'])
    {
        // "Paintings" is a form of what "painting" is one of.
        found.extend(bases(rest));
    }
    if let Some(rest) = word.strip_suffix("es")
        && is_word(rest)
        && ["s", "x", "z", "ch", "sh", "o"].iter().any(|end| rest.ends_with(end))
    {
        found.push(rest.to_owned());
    }
    for ending in ["ies", "ied"] {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.len() >= 2
        {
            found.push(format!("{rest}y"));
        }
    }
}

fn participles(word: &str, found: &mut Vec<String>) {
    for ending in ["ed", "ing"] {
        let Some(rest) = word.strip_suffix(ending).filter(|rest| is_word(rest)) else { continue };
        if rest.ends_with('e') && ending == "ed" {
            // "Freed" is "free" and "d".
            found.push(format!("{rest}e"));
            continue;
        }
        if !doubles(rest) && !NO_VERBS.contains(&rest) {
            found.push(rest.to_owned());
        }
        found.push(format!("{rest}e"));
        // Of "fall" or "press" both letters stay as well.
        found.extend(undoubled(rest).map(str::to_owned));
    }
    // "Shown", "given" and the like.
    if let Some(rest) = word.strip_suffix('n')
        && TAKES_N.contains(&rest)
    {
        found.push(rest.to_owned());
    }
}

fn adverbs(word: &str, found: &mut Vec<String>) {
    if let Some(rest) = word.strip_suffix("ly")
        && is_word(rest)
        && !NO_ADVERBS.contains(&rest)
    {
        found.push(rest.to_owned());
        if rest.ends_with('l') {
            // "Fully" of "full".
            found.push(format!("{rest}l"));
        } else if !rest.ends_with(is_vowel) {
            // "Simply" of "simple".
            found.push(format!("{rest}le"));
        }
        if let Some(rest) = rest.strip_suffix("al").filter(|rest| rest.ends_with("ic")) {
            found.push(rest.to_owned());
        }
    }
    if let Some(rest) = word.strip_suffix("ily") {
        found.push(format!("{rest}y"));
    }
}

fn comparatives(word: &str, found: &mut Vec<String>) {
    for ending in ["er", "est"] {
        let Some(rest) = word.strip_suffix(ending) else { continue };
        let mut is_adjective = |word: &str| {
            if ADJECTIVES.contains(&word) {
                found.push(word.to_owned());
            }
        };
        if !doubles(rest) {
            is_adjective(rest);
        }
        is_adjective(&format!("{rest}e"));
        if let Some(rest) = undoubled(rest) {
            is_adjective(rest);
        }
        if let Some(rest) = rest.strip_suffix('i')
            && !rest.ends_with(is_vowel)
            && !NO_ADJECTIVES_IN_Y.contains(&rest)
        {
            found.push(format!("{rest}y"));
        }
    }
}

fn german(word: &str, found: &mut Vec<String>) {
    let long_enough = |rest: &&str| rest.chars().count() >= SHORTEST;
    // What nouns and adjectives of many languages have.
    for ending in ["e", "en", "em", "es"] {
        if let Some(rest) = word.strip_suffix(ending).filter(long_enough)
            && !rest.ends_with('e')
            && !TAKES_NO_E.contains(&rest)
            && !(ending == "en" && TAKES_NO_EN.contains(&rest))
        {
            found.push(rest.to_owned());
        }
    }
    if let Some(rest) = word.strip_suffix('n').filter(long_enough)
        && (rest.ends_with('e') || rest.ends_with("el"))
        && !TAKES_NO_N.contains(&rest)
    {
        found.push(rest.to_owned());
    }
    for ending in GERMAN_ENDINGS {
        if let Some(rest) = word.strip_suffix(ending).filter(long_enough)
            && (is_german_adjective(rest) || *ending == "er" && GERMAN_NOUNS_IN_ER.contains(&rest))
        {
            found.push(rest.to_owned());
        }
    }
}

fn is_german_adjective(word: &str) -> bool {
    GERMAN_ADJECTIVE_ENDINGS.iter().any(|ending| word.ends_with(ending))
        || GERMAN_ADJECTIVES.contains(&word)
}

/// What only German adjectives are inflected by, compared ones included.
const GERMAN_ENDINGS: &[&str] = &[
    "er", "ere", "eren", "erem", "erer", "eres", "st", "ste", "sten", "stem", "ster", "stes",
    "est", "este", "esten", "estem", "ester", "estes",
];
const GERMAN_ADJECTIVE_ENDINGS: &[&str] =
    &["ig", "lich", "isch", "haft", "los", "voll", "sam", "bar", "reich", "frei", "wert"];
/// Folded, so that `schön` is `schon`.
const GERMAN_ADJECTIVES: &[&str] = &[
    "blau", "breit", "bunt", "dick", "direkt", "dunn", "echt", "edel", "exakt", "exklusiv", "fein",
    "fest", "fett", "frisch", "ganz", "gesund", "glatt", "gross", "grun", "hart", "heiss", "hell",
    "herb", "hoch", "jung", "kalt", "klar", "klein", "krank", "kuhl", "kurz", "lang", "laut",
    "lecker", "leer", "leicht", "lieb", "locker", "mild", "modern", "nass", "nett", "perfekt",
    "rasch", "rein", "reif", "rund", "sanft", "sauber", "scharf", "schlank", "schlecht",
    "schlicht", "schmal", "schnell", "schon", "schwach", "schwarz", "schwer", "sicher", "stark",
    "steil", "still", "stolz", "suss", "tief", "toll", "treu", "wahr", "warm", "weich", "weiss",
    "wild", "zart",
];
const GERMAN_NOUNS_IN_ER: &[&str] = &[
    "bild", "blatt", "brett", "buch", "dorf", "feld", "geld", "glas", "haus", "kind", "kleid",
    "land", "licht", "lied", "schild", "volk", "wort",
];

/// English adjectives that are compared by endings. Those that end in a consonant and y need no list.
const ADJECTIVES: &[&str] = &[
    "bare", "black", "bland", "blank", "bleak", "blue", "blunt", "bold", "brave", "brief",
    "bright", "brisk", "broad", "brown", "calm", "cheap", "clean", "clear", "clever", "close",
    "coarse", "cold", "cool", "crisp", "crude", "cruel", "cute", "damp", "dark", "dear", "deep",
    "dense", "dull", "faint", "fair", "fast", "fierce", "fine", "firm", "flat", "fond", "frail",
    "free", "fresh", "full", "gentle", "grand", "great", "green", "grey", "grim", "hard", "harsh",
    "high", "hollow", "huge", "humble", "keen", "kind", "lame", "large", "late", "lean", "light",
    "long", "loose", "loud", "lush", "mean", "mellow", "mild", "moist", "narrow", "near", "neat",
    "nice", "nimble", "noble", "pale", "plain", "plump", "poor", "posh", "proud", "pure", "quaint",
    "quick", "quiet", "rare", "rich", "ripe", "rough", "rude", "safe", "sane", "scarce", "severe",
    "shallow", "sharp", "short", "shrewd", "sick", "simple", "sincere", "sleek", "slick", "slight",
    "slim", "slow", "small", "smart", "smooth", "soft", "sore", "sour", "stale", "stark", "steep",
    "stern", "stiff", "stout", "strange", "strict", "strong", "subtle", "supple", "sure", "sweet",
    "swift", "tall", "tame", "tart", "tense", "thick", "thin", "tight", "tough", "trim", "vague",
    "vast", "warm", "weak", "weird", "white", "wide", "wild", "wise", "young",
];
/// What is no adjective before an "ier": "carrier" is another word than "carry".
const NO_ADJECTIVES_IN_Y: &[&str] = &[
    "barr", "carr", "cop", "courr", "coll", "farr", "fronti", "glaz", "harr", "hos", "occup",
    "pann", "supp", "terr",
];

/// What is no verb, though what it would make as one is a word.
const NO_VERBS: &[&str] = &[
    "corps", "even", "fring", "hast", "hing", "hors", "human", "local", "lung", "moral", "morn",
    "past", "plung", "rang", "tens", "urban",
];
/// What "early", "apply" and the like are no adverbs of.
const NO_ADVERBS: &[&str] = &["app", "comp", "ear", "fami", "imp", "rep", "sup"];
/// Verbs whose participle is their own form and an n.
const TAKES_N: &[&str] = &[
    "arise", "blow", "drive", "forgive", "give", "grow", "know", "prove", "rise", "shake", "show",
    "take", "throw",
];
/// An e behind these makes another word, so none of the endings that begin with one makes a form.
const TAKES_NO_E: &[&str] = &[
    "advers", "artist", "bath", "bing", "born", "breath", "brut", "carp", "cart", "cast", "chid",
    "chin", "cloth", "complet", "corn", "corps", "cours", "cran", "crud", "curs", "dens",
    "develop", "divers", "divin", "envelop", "fals", "form", "fort", "fring", "germ", "german",
    "glad", "glob", "grad", "grim", "grip", "hast", "hing", "hors", "human", "invers", "laps",
    "lath", "loath", "local", "lung", "mast", "medicin", "minut", "moral", "mors", "opposit",
    "past", "paus", "pest", "plan", "plat", "pleas", "plum", "plung", "port", "premier", "prim",
    "prob", "pros", "puls", "purs", "quit", "rang", "scal", "scan", "scar", "secret", "sens",
    "shad", "shar", "sheath", "shin", "sing", "skat", "slat", "slid", "slim", "slop", "snar",
    "snip", "sooth", "spad", "spar", "spic", "spin", "spit", "stag", "star", "stat", "strip",
    "suit", "swath", "swing", "teas", "teeth", "temp", "tens", "them", "thin", "ting", "travers",
    "trip", "twin", "univers", "urban", "vers", "wast", "whin", "whit", "wing", "wreath", "writ",
];
/// The same for "en": a chicken is no chick.
const TAKES_NO_EN: &[&str] =
    &["chick", "fast", "glut", "hast", "heath", "list", "maid", "mart", "tung", "ward"];
/// And for an n behind an e: a raven does not rave.
const TAKES_NO_N: &[&str] =
    &["cove", "doze", "have", "line", "live", "mave", "rave", "scree", "seve", "sire"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_word_are_told_from_other_words() {
        for forms in [
            "cheap cheaper cheapest cheaply",
            "billig billige billigen billigem billiger billiges billigste billigsten",
            "bake bakes baked baking",
            "plan plans planned planning",
            "plane planes planed planing",
            "happy happier happiest happily",
            "simple simpler simplest simply",
            "nice nicer nicest nicely",
            "thin thinner thinnest thinly",
            "full fuller fullest fully",
            "city cities",
            "glass glasses",
            "box boxes",
            "carry carries carried carrying",
            "paint painting paintings painted",
            "free freed freeing freely",
            "show shows showed shown showing",
            "paste pastes pasted pasting",
            "open opens opened opening",
            "basic basically",
            "preis preise preisen",
            "angebot angebote angeboten",
            "blume blumen",
            "frisch frische frischer frischesten",
            "bild bilder",
            "schon schoner schonsten",
            "press pressed pressing presses",
            "fall falling falls fallen",
        ] {
            for one in forms.split(' ').filter(|word| word.len() >= SHORTEST) {
                for other in forms.split(' ') {
                    assert!(are_forms(one, other), "{one} / {other}");
                }
            }
        }
        for (one, other) in [
            ("corn", "corner"),
            ("flow", "flower"),
            ("plan", "plane"),
            ("plan", "planes"),
            ("plan", "planed"),
            ("show", "shower"),
            ("past", "paste"),
            ("past", "pasted"),
            ("numb", "number"),
            ("mast", "master"),
            ("post", "poster"),
            ("temp", "temper"),
            ("temp", "tempest"),
            ("quart", "quarter"),
            ("tend", "tender"),
            ("mode", "modest"),
            ("hone", "honest"),
            ("fore", "forest"),
            ("rive", "river"),
            ("cove", "cover"),
            ("cove", "coven"),
            ("pape", "paper"),
            ("bear", "beard"),
            ("boar", "board"),
            ("bran", "brand"),
            ("list", "listen"),
            ("chick", "chicken"),
            ("glut", "gluten"),
            ("rave", "raven"),
            ("star", "stare"),
            ("star", "stared"),
            ("stag", "stage"),
            ("strip", "stripe"),
            ("strip", "striped"),
            ("spin", "spine"),
            ("cloth", "clothes"),
            ("suit", "suite"),
            ("bath", "bathe"),
            ("form", "forme"),
            ("even", "evening"),
            ("glas", "glass"),
            ("bras", "brass"),
            ("plant", "planet"),
            ("carry", "carrier"),
            ("cheap", "cheapskate"),
            ("bill", "billion"),
            ("bake", "baker"),
            ("farm", "farmer"),
            ("ad", "add"),
            ("ad", "added"),
            ("as", "a"),
            ("a", "as"),
        ] {
            assert!(!are_forms(one, other), "{one} / {other}");
            assert!(other.len() < SHORTEST || !are_forms(other, one), "{other} / {one}");
        }
    }

    #[test]
    fn no_word_is_listed_twice() {
        for list in [ADJECTIVES, TAKES_NO_E, TAKES_NO_EN, TAKES_NO_N, GERMAN_ADJECTIVES, NO_VERBS] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len());
        }
    }
}
