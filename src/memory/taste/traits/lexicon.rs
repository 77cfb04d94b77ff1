//! The traits themselves: their names, their sentences, and the words that show them.

use super::Trait;

const ALONE: Trait = Trait {
    name: "",
    liked: "",
    disliked: "",
    shown: &[],
    shown_other: &[],
    said: &[],
    said_other: &[],
    picture: "",
    picture_other: "",
    motion: "",
    motion_other: "",
    is_manner: false,
};

/// Every trait, in the order in which they are told: light and colour, pace, camera, size, words,
/// manner, mood, and what is shown.
#[rustfmt::skip]
pub const TRAITS: &[Trait] = &[
    Trait {
        name: "light.warm",
        liked: "Prefers warm light to cold light.",
        disliked: "Prefers cool light to warm light.",
        shown: &[
            "warm", "warmth", "golden", "golden hour", "honey", "amber", "candle", "candlelight",
            "candlelit", "firelight", "ember", "embers", "sunset", "tungsten", "late sun",
            "low sun", "warmly",
        ],
        shown_other: &[
            "cold light", "cool light", "cool daylight", "cold", "icy", "ice blue", "blue hour",
            "steel blue", "bluish", "moonlight", "overcast", "grey dawn", "pale winter",
            "cool tones", "cold pre-dawn",
        ],
        said: &[
            "wärme", "warmes", "warme", "warmen", "chaud", "chaude", "chaleur", "cálido", "cálida",
            "calor",
        ],
        said_other: &[
            "cool", "chilly", "kalt", "kaltes", "kalte", "kühl", "froid", "froide", "frío", "fría",
        ],
        picture: "warm golden light",
        picture_other: "cool light, steel blue tones",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "light.bright",
        liked: "Prefers bright, airy pictures to dark ones.",
        disliked: "Prefers dark, moody pictures to bright ones.",
        shown: &[
            "bright", "brightly", "airy", "high-key", "sunny", "daylight", "sunlight", "sunlit",
            "luminous", "brightness",
        ],
        shown_other: &[
            "dark", "darkness", "near-black", "low-key", "moody", "noir", "gloomy", "deep shadow",
            "deep shadows", "dim", "unlit", "chiaroscuro", "darkly", "dark room", "black background",
        ],
        said: &["hell", "helles", "helle", "lumineux", "lumineuse", "luminoso", "clara", "claro"],
        said_other: &[
            "dunkel", "dunkler", "dunkle", "dunkles", "düster", "finster", "sombre", "obscur",
            "oscuro", "oscura", "underexposed", "murky", "shadowy",
        ],
        picture: "bright, airy light",
        picture_other: "dark, moody low-key light",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "light.soft",
        liked: "Prefers soft light to hard light.",
        disliked: "Prefers hard, contrasty light to soft light.",
        shown: &[
            "soft light", "soft window light", "soft daylight", "softbox", "diffuse", "diffused",
            "gentle light", "soft shadow", "soft shadows", "soft fill", "soft overcast",
            "softly lit",
        ],
        shown_other: &[
            "hard light", "hard key", "hard key light", "hard side light", "hard daylight",
            "hard flash", "hard top light", "harsh", "harsh light", "contrasty", "high contrast",
            "crisp shadows",
        ],
        said: &["soft", "softness", "weich", "weiches", "doux", "douce", "suave"],
        said_other: &[
            "flash", "hart", "hartes", "grell", "contrast", "contrasts", "dur", "dure", "duro",
        ],
        picture: "soft diffused light",
        picture_other: "hard light with strong contrast",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.vivid",
        liked: "Prefers vivid, saturated colours to muted ones.",
        disliked: "Prefers muted, restrained colours to vivid ones.",
        shown: &[
            "vivid", "saturated", "saturation", "vibrant", "colourful", "colorful", "bold colour",
            "bold color", "bold colours", "hot pink", "rich colours", "rich colors", "electric",
        ],
        shown_other: &[
            "muted", "pastel", "pastels", "desaturated", "faded", "subdued", "washed", "bleached",
            "neutral tones", "earthy tones", "restrained", "dusty",
        ],
        said: &[
            "bunt", "bunte", "farbig", "kräftig", "vif", "vives", "coloré", "intenso", "colours",
            "colors",
        ],
        said_other: &["gedeckt", "blass", "garish", "gaudy", "pâle", "apagado", "oversaturated"],
        picture: "vivid saturated colours",
        picture_other: "muted, restrained colours",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "pace.slow",
        liked: "Prefers a slow, calm pace with long shots to fast cutting.",
        disliked: "Prefers a fast, energetic pace to a slow one.",
        shown: &[
            "slow", "slowly", "slow pace", "slow-paced", "unhurried", "calm", "calmly", "lingering",
            "languid", "slow cuts", "long takes", "long shots", "peaceful", "serene", "leisurely",
            "patient",
        ],
        shown_other: &[
            "fast", "fast cuts", "fast-paced", "fast pace", "quick", "quick cuts", "whip", "rapid",
            "kinetic", "kinetic energy", "hectic", "frantic", "energetic", "rushed", "hurried",
            "snappy", "dynamic", "jump cuts", "high energy", "quickly",
        ],
        said: &[
            "langsam", "langsame", "langsames", "ruhig", "ruhige", "ruhiges", "lent", "lente",
            "calme", "lento", "lenta", "tranquilo", "sluggish", "dragging", "drags",
        ],
        said_other: &[
            "schnell", "schnelle", "schnelles", "hektisch", "hektische", "rapide", "rapides",
            "vite", "rápido", "rápida", "frenetic", "rush", "cuts", "speed", "hasty", "choppy",
            "busy",
        ],
        picture: "calm, unhurried stillness",
        picture_other: "kinetic energy",
        motion: "Slow, unhurried movement",
        motion_other: "Fast, energetic movement",
        is_manner: true,
    },
    Trait {
        name: "motion.slow",
        liked: "Likes slow motion.",
        disliked: "Dislikes slow motion.",
        shown: &["slow motion", "slow-motion", "slowmo", "slow-mo"],
        said: &["zeitlupe", "ralenti", "cámara lenta"],
        motion: "In slow motion",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "motion.lapse",
        liked: "Likes time-lapses.",
        disliked: "Dislikes time-lapses.",
        shown: &["time-lapse", "time-lapses", "timelapse", "timelapses", "hyperlapse"],
        said: &["zeitraffer"],
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.aerial",
        liked: "Likes drone shots and aerial views.",
        disliked: "Dislikes drone shots and aerial views.",
        shown: &[
            "drone", "drones", "drone shot", "drone shots", "aerial", "aerials", "aerial shot",
            "aerial shots", "aerial view", "aerial views", "bird's-eye", "bird's-eye view",
            "birds-eye view", "flyover", "helicopter",
        ],
        said: &[
            "drohne", "drohnen", "drohnenaufnahmen", "luftaufnahmen", "aérien", "aérienne", "aéreo",
            "dron",
        ],
        picture: "aerial view from a drone",
        motion: "Smooth drone flight",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.overhead",
        liked: "Likes overhead shots.",
        disliked: "Dislikes overhead shots.",
        shown: &[
            "top-down", "overhead", "overhead shot", "overhead shots", "from above", "flat lay",
            "high-angle", "high angle", "seen from above", "directly above",
        ],
        said: &["von oben", "vogelperspektive"],
        picture: "seen from directly above",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.handheld",
        liked: "Likes a handheld camera.",
        disliked: "Dislikes a handheld, shaky camera.",
        shown: &["handheld", "hand-held", "handheld camera", "natural sway"],
        said: &[
            "shaky", "shaky camera", "shaking", "wackelig", "verwackelt", "wackelkamera", "jittery",
        ],
        motion: "Handheld camera with natural sway",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.still",
        liked: "Likes a still camera.",
        disliked: "Dislikes a static camera.",
        shown: &[
            "static", "static camera", "static shot", "static shots", "locked-off", "tripod",
            "still camera", "fixed camera", "locked-off frame",
        ],
        said: &["statisch", "stativ", "statique"],
        motion: "Locked-off, still camera",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.tracking",
        liked: "Likes tracking shots.",
        disliked: "Dislikes tracking shots.",
        shown: &["tracking shot", "tracking shots", "dolly", "gimbal", "lateral slide", "tracking"],
        said: &["kamerafahrt", "kamerafahrten", "travelling"],
        motion: "Smooth tracking shot",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.orbit",
        liked: "Likes orbiting camera moves.",
        disliked: "Dislikes orbiting camera moves.",
        shown: &[
            "orbit", "orbits", "orbiting", "arc around", "slow arc", "quarter of a circle",
            "rotation",
        ],
        said: &["spinning", "spins", "circling"],
        motion: "Slow orbit around the subject",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.zoom",
        liked: "Likes zooms and push-ins.",
        disliked: "Dislikes zooms and push-ins.",
        shown: &["zoom", "zooms", "push-in", "push-ins", "dolly-in"],
        motion: "Slow push-in",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.low",
        liked: "Likes low angles.",
        disliked: "Dislikes low angles.",
        shown: &["low-angle", "low angle", "low angles", "from below", "low camera"],
        picture: "low angle from below",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "camera.dutch",
        liked: "Likes tilted, dutch angles.",
        disliked: "Dislikes tilted, dutch angles.",
        shown: &["dutch-angle", "dutch angle", "dutch angles", "tilted frame"],
        said: &["tilted", "crooked"],
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "size.close",
        liked: "Prefers close-ups to wide shots.",
        disliked: "Prefers wide shots to close-ups.",
        shown: &[
            "close-up", "close-ups", "closeup", "closeups", "extreme close-up", "extreme close-ups",
            "tight close-up", "macro", "insert shot", "insert shots", "detail shot", "detail shots",
            "macro shots", "close shots",
        ],
        shown_other: &[
            "wide shot", "wide shots", "wide view", "wide views", "wide-angle", "establishing",
            "establishing shot", "establishing shots", "panorama", "panoramic", "medium-wide shot",
            "low-angle wide shot", "wides",
        ],
        said: &[
            "details", "nahaufnahme", "nahaufnahmen", "großaufnahme", "detailaufnahmen",
            "gros plan", "gros plans", "primer plano", "primeros planos", "closer",
        ],
        said_other: &[
            "wide", "wider", "totale", "totalen", "weitwinkel", "plan large", "plans larges",
            "plano general",
        ],
        picture: "close-up",
        picture_other: "wide shot",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "focus.shallow",
        liked: "Likes a shallow depth of field.",
        disliked: "Dislikes a shallow depth of field.",
        shown: &[
            "shallow depth", "shallow depth of field", "bokeh", "shallow focus", "razor-thin focus",
            "foreground blur", "soft foreground blur", "blurred background", "rack focus",
            "rack-focus",
        ],
        said: &["blur", "blurry", "unscharf", "unschärfe", "flou"],
        picture: "shallow depth of field",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "light.flare",
        liked: "Likes lens flares.",
        disliked: "Dislikes lens flares.",
        shown: &["flare", "flares", "lens flare", "lens flares", "flaring", "long flare"],
        picture: "gentle lens flare",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "light.silhouette",
        liked: "Likes silhouettes.",
        disliked: "Dislikes silhouettes.",
        shown: &["silhouette", "silhouettes", "silhouetted"],
        picture: "in silhouette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "light.reflection",
        liked: "Likes reflections.",
        disliked: "Dislikes reflections.",
        shown: &["reflection", "reflections", "reflected", "mirrored", "mirror"],
        said: &["spiegelung", "spiegelungen"],
        picture: "with reflections",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "composition.symmetry",
        liked: "Likes symmetrical compositions.",
        disliked: "Dislikes symmetrical compositions.",
        shown: &[
            "symmetrical", "symmetry", "symmetric", "centred composition", "centered composition",
        ],
        said: &["symmetrisch"],
        picture: "symmetrical composition",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "words.screen",
        liked: "Likes words on the screen.",
        disliked: "Dislikes words on the screen: as little on-screen text as possible.",
        said: &[
            "text", "texts", "on-screen text", "screen text", "text on screen",
            "text on the screen", "caption", "captions", "words on screen", "words on the screen",
            "onscreen text", "subtitles", "subtitle", "lettering", "typography", "titles",
            "overlay", "overlays", "text overlays", "text overlay", "schrift", "texteinblendung",
            "texteinblendungen", "untertitel", "textes", "texte", "texto", "textos", "sous-titres",
            "subtítulos", "titelkarten", "title cards", "written words",
        ],
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "words.voice",
        liked: "Likes a narrator's voice.",
        disliked: "Dislikes narration: let the pictures speak.",
        said: &[
            "narration", "voice-over", "voice-overs", "voiceover", "voiceovers", "narrator",
            "sprecher", "sprecherin", "erzähler", "voix off", "voz en off", "narrated", "talking",
        ],
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "finish.drawn",
        liked: "Prefers drawn or animated pictures to photographic ones.",
        disliked: "Prefers photographic, realistic pictures to drawn ones.",
        shown: &[
            "animation", "animated", "cartoon", "illustration", "illustrated", "anime",
            "watercolour", "watercolor", "claymation", "comic", "hand-painted", "hand-drawn",
        ],
        shown_other: &[
            "photorealistic", "realistic", "realism", "photographic", "lifelike", "true to life",
        ],
        said: &["drawn", "gezeichnet", "zeichentrick", "dessin animé", "dibujos"],
        said_other: &["realistisch", "réaliste", "realista"],
        picture: "hand-drawn illustration style",
        picture_other: "photorealistic",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "finish.grain",
        liked: "Likes the look of old film stock, with grain.",
        disliked: "Dislikes film grain and vintage looks.",
        shown: &[
            "film grain", "35mm film grain", "grain", "grainy", "16mm", "35mm film", "analogue",
            "analog", "vintage", "retro", "halation", "super 8", "film stock", "gentle grain",
            "16mm grain",
        ],
        said: &["körnung", "korn", "körnig"],
        picture: "vintage film stock with gentle grain",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "finish.clean",
        liked: "Likes minimal, uncluttered pictures.",
        disliked: "Dislikes minimal, empty pictures.",
        shown: &[
            "minimal", "minimalist", "minimalism", "uncluttered", "negative space", "clean",
            "clean background", "clean styling", "minimal set",
        ],
        said: &[
            "simple", "simplicity", "minimalistisch", "schlicht", "aufgeräumt", "minimaliste",
            "minimalista",
        ],
        picture: "minimalist composition with generous negative space",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.cosy",
        liked: "Likes a cosy, homely mood.",
        disliked: "Dislikes a cosy, homely mood.",
        shown: &["cosy", "cozy", "homely", "intimate", "snug"],
        said: &["gemütlich", "gemütliche", "cosiness", "acogedor", "chaleureux"],
        picture: "cosy, intimate mood",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.dramatic",
        liked: "Likes a dramatic, epic mood.",
        disliked: "Dislikes a dramatic, epic mood.",
        shown: &["dramatic", "epic", "intense", "tense", "heroic", "majestic", "monumental"],
        said: &["drama", "dramatisch", "dramatique", "dramático", "bombastic"],
        picture: "epic scale, dramatic contrast",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.playful",
        liked: "Likes a playful, humorous mood.",
        disliked: "Dislikes a playful, humorous mood.",
        shown: &[
            "playful", "funny", "humour", "humor", "humorous", "joyful", "cheerful", "witty",
            "whimsical",
        ],
        said: &["fun", "jokes", "lustig", "witzig", "drôle", "divertido"],
        picture: "playful, joyful mood",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.luxury",
        liked: "Likes an elegant, luxurious mood.",
        disliked: "Dislikes an elegant, luxurious mood.",
        shown: &["luxury", "luxurious", "elegant", "elegance", "premium", "opulent", "glamorous"],
        said: &["edel", "luxuriös", "élégant", "elegante", "classy"],
        picture: "quiet luxury, restrained elegance",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.dreamy",
        liked: "Likes a dreamy, romantic mood.",
        disliked: "Dislikes a dreamy, romantic mood.",
        shown: &["dreamy", "dreamlike", "romantic", "magical", "ethereal", "poetic"],
        said: &["verträumt", "romantisch", "magie", "onírico", "romantique", "kitschy", "kitschig"],
        picture: "dreamlike softness, glowing highlights",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.nostalgic",
        liked: "Likes a nostalgic mood.",
        disliked: "Dislikes a nostalgic mood.",
        shown: &["nostalgic", "nostalgia", "melancholic", "melancholy", "wistful"],
        said: &["nostalgisch", "melancholisch", "nostalgique", "nostálgico"],
        picture: "nostalgic mood",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "mood.gritty",
        liked: "Likes a raw, gritty mood.",
        disliked: "Dislikes a raw, gritty mood.",
        shown: &["gritty", "raw texture", "raw", "rough", "grimy"],
        said: &["rau", "roh", "dreckig"],
        picture: "raw, gritty texture",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "air.haze",
        liked: "Likes steam, mist and haze.",
        disliked: "Dislikes steam, mist and haze.",
        shown: &[
            "steam", "steaming", "mist", "misty", "haze", "hazy", "fog", "foggy", "smoke", "smoky",
        ],
        said: &["dampf", "nebel", "rauch", "brume", "niebla"],
        picture: "a little steam and haze in the air",
        ..ALONE
    },
    Trait {
        name: "air.rain",
        liked: "Likes rain and wet surfaces.",
        disliked: "Dislikes rain and wet surfaces.",
        shown: &["rain", "rainy", "raindrops", "puddle", "puddles", "wet asphalt", "wet surfaces"],
        said: &["regen", "pluie", "lluvia"],
        picture: "fresh rain on the surfaces",
        ..ALONE
    },
    Trait {
        name: "air.snow",
        liked: "Likes snow and winter scenes.",
        disliked: "Dislikes snow and winter scenes.",
        shown: &["snow", "snowy", "winter", "frost", "frosty"],
        said: &["schnee", "neige", "nieve", "hiver"],
        picture: "snow",
        ..ALONE
    },
    Trait {
        name: "time.morning",
        liked: "Likes morning scenes.",
        disliked: "Dislikes morning scenes.",
        shown: &["morning", "sunrise", "dawn", "morning light", "morning sun"],
        said: &["morgen", "morgens", "morgenlicht", "matin", "amanecer"],
        picture: "morning light",
        ..ALONE
    },
    Trait {
        name: "time.night",
        liked: "Likes night scenes.",
        disliked: "Dislikes night scenes.",
        shown: &["night", "nights", "midnight", "nocturnal", "night scene", "night scenes", "neon"],
        said: &["nacht", "nachts", "nachtszenen", "nuit", "noche"],
        picture: "at night",
        ..ALONE
    },
    Trait {
        name: "shows.faces",
        liked: "Likes to see faces.",
        disliked: "Dislikes to see faces.",
        shown: &["face", "faces", "portrait", "portraits", "smile", "smiling", "eyes"],
        said: &["gesicht", "gesichter", "visage", "visages", "cara", "caras", "rostros"],
        picture: "an expressive face",
        ..ALONE
    },
    Trait {
        name: "shows.hands",
        liked: "Likes to see hands at work.",
        disliked: "Dislikes to see hands at work.",
        shown: &["hand", "hands", "fingers", "fingertips", "hands at work"],
        said: &["hände", "mains", "manos"],
        picture: "hands at work",
        ..ALONE
    },
    Trait {
        name: "shows.people",
        liked: "Likes to see people.",
        disliked: "Dislikes to see people.",
        shown: &[
            "people", "person", "woman", "man", "crowd", "family", "friends", "couple", "baker",
            "chef",
        ],
        said: &["menschen", "leute", "personen", "gens", "gente", "humans", "actors"],
        picture: "people in the scene",
        ..ALONE
    },
    Trait {
        name: "shows.children",
        liked: "Likes to see children.",
        disliked: "Dislikes to see children.",
        shown: &["child", "children", "kid", "kids", "toddler", "baby"],
        said: &["kind", "kinder", "enfants", "niños"],
        picture: "children in the scene",
        ..ALONE
    },
    Trait {
        name: "shows.animals",
        liked: "Likes to see animals.",
        disliked: "Dislikes to see animals.",
        shown: &[
            "animal", "animals", "dog", "dogs", "cat", "cats", "puppy", "kitten", "horse", "horses",
            "birds", "pets",
        ],
        said: &["tiere", "hund", "katze", "animaux", "animales"],
        picture: "an animal in the scene",
        ..ALONE
    },
    Trait {
        name: "shows.nature",
        liked: "Likes nature in the picture.",
        disliked: "Dislikes nature in the picture.",
        shown: &[
            "nature", "forest", "mountain", "mountains", "river", "meadow", "trees", "sea", "ocean",
            "beach", "flowers", "plants", "landscape", "landscapes",
        ],
        said: &["natur", "wald", "berge", "bosque", "forêt", "naturaleza"],
        picture: "nature around",
        ..ALONE
    },
    Trait {
        name: "shows.city",
        liked: "Likes city scenes.",
        disliked: "Dislikes city scenes.",
        shown: &["city", "street", "streets", "urban", "skyline", "rooftops"],
        said: &["stadt", "straße", "straßen", "ville", "ciudad"],
        picture: "city around",
        ..ALONE
    },
    Trait {
        name: "colour.monochrome",
        liked: "Likes black and white.",
        disliked: "Dislikes black and white.",
        shown: &["black and white", "black-and-white", "monochrome", "monochromatic"],
        said: &["schwarzweiß", "schwarz-weiß", "noir et blanc", "blanco y negro"],
        picture: "black and white",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.red",
        liked: "Likes red in the palette.",
        disliked: "Dislikes red in the palette.",
        shown: &["red", "crimson", "scarlet", "oxblood", "signal red", "brick red"],
        said: &["rot", "rote", "rouge", "rojo"],
        picture: "red in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.blue",
        liked: "Likes blue in the palette.",
        disliked: "Dislikes blue in the palette.",
        shown: &["blue", "ink blue", "sky blue", "navy", "petrol blue", "night blue", "denim"],
        said: &["blau", "blaue", "bleu", "azul"],
        picture: "blue in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.green",
        liked: "Likes green in the palette.",
        disliked: "Dislikes green in the palette.",
        shown: &["green", "olive green", "sage", "leaf green", "grass green", "moss"],
        said: &["grün", "grüne", "vert", "verde"],
        picture: "green in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.pink",
        liked: "Likes pink in the palette.",
        disliked: "Dislikes pink in the palette.",
        shown: &["pink", "rose", "blush", "magenta", "dusty rose"],
        said: &["rosa", "pinke"],
        picture: "pink in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.orange",
        liked: "Likes orange in the palette.",
        disliked: "Dislikes orange in the palette.",
        shown: &["orange", "terracotta", "rust", "copper", "apricot", "coral"],
        said: &["naranja"],
        picture: "orange in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.yellow",
        liked: "Likes yellow in the palette.",
        disliked: "Dislikes yellow in the palette.",
        shown: &["yellow", "lemon", "saffron", "mustard"],
        said: &["gelb", "gelbe", "jaune", "amarillo"],
        picture: "yellow in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.purple",
        liked: "Likes purple in the palette.",
        disliked: "Dislikes purple in the palette.",
        shown: &["purple", "violet", "ultraviolet", "lilac", "lavender"],
        said: &["lila", "violett"],
        picture: "purple in the palette",
        is_manner: true,
        ..ALONE
    },
    Trait {
        name: "colour.teal",
        liked: "Likes teal in the palette.",
        disliked: "Dislikes teal in the palette.",
        shown: &["teal", "turquoise", "cyan"],
        said: &["türkis"],
        picture: "teal in the palette",
        is_manner: true,
        ..ALONE
    },
];
