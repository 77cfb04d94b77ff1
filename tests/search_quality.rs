//! How well the search ranks, on a labelled set: recall@5, nDCG@10 and the mean reciprocal rank of
//! the vectors alone, the words alone, plain reciprocal ranks, and the ranking that aida uses.
//!
//! Every second query of each type is held out: nothing was tuned on it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::cast_precision_loss, reason = "counts of a small set")]

#[path = "support/database.rs"]
mod support;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use aida::clock::{FixedClock, SharedClock};
use aida::ids::ProjectId;
use aida::ledger::till::{Component, Purpose};
use aida::memory::fusion::{Evidence, Weighing, fuse};
use aida::memory::{BUILTIN_MODEL, Embedding, Memory, SearchFilter, lexical};
use aida::store::embeddings::{self, Owner, Passage, PassageKind};
use serde::Deserialize;
use support::{TestDatabase, say};
use uuid::Uuid;

#[derive(Deserialize)]
struct Film {
    #[serde(rename = "film")]
    name: String,
    title: String,
    brief: String,
    logline: String,
    shots: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "file")]
    label: String,
    name: String,
    text: String,
}

#[derive(Deserialize)]
struct Query {
    r#type: String,
    #[serde(rename = "query")]
    text: String,
    /// 3 for what was meant, 2 for what is of use, 1 for what is near it.
    want: HashMap<String, u8>,
}

/// A document of the set: what the labels call it, and what is stored of it.
struct Document {
    name: String,
    kind: PassageKind,
    content: String,
}

fn lines<Line: for<'line> Deserialize<'line>>(text: &str) -> Vec<Line> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn documents() -> Vec<Document> {
    let mut documents = Vec::new();
    for film in lines::<Film>(include_str!("search_quality/films.jsonl")) {
        let script = format!("{}\n{}\n{}", film.title, film.logline, film.shots.join("\n"));
        for (kind, content) in [
            (PassageKind::Project, format!("{}\n{}", film.title, film.brief)),
            (PassageKind::Script, script),
        ] {
            documents.push(Document { name: film.name.clone(), kind, content });
        }
        for (number, content) in (1..).zip(film.shots) {
            let name = format!("{}/{number}", film.name);
            documents.push(Document { name, kind: PassageKind::Shot, content });
        }
    }
    for file in lines::<File>(include_str!("search_quality/files.jsonl")) {
        documents.push(Document {
            name: format!("file:{}", file.label),
            kind: PassageKind::File,
            content: format!("{}\n{}", file.name, file.text),
        });
    }
    documents
}

fn purpose() -> Purpose {
    Purpose {
        user_id: "ada".to_owned(),
        project: None,
        run: None,
        shot: None,
        component: Component::Embedding,
        owner: None,
    }
}

/// What makes the vectors that a ranking is judged with.
struct Embedder {
    name: &'static str,
    weighing: Weighing,
    /// The cosine of each query and each document.
    similarities: Vec<Vec<f64>>,
}

impl Embedder {
    fn new(
        name: &'static str,
        weighing: Weighing,
        set: &Set,
        embed: impl Fn(&[String]) -> Vec<Vec<f32>>,
    ) -> Self {
        let documents = embed(&set.texts());
        let queries: Vec<String> = set.queries.iter().map(|query| query.text.clone()).collect();
        let similarities = embed(&queries)
            .iter()
            .map(|query| documents.iter().map(|document| cosine(document, query)).collect())
            .collect();
        Self { name, weighing, similarities }
    }

    /// An embedder with the cosines of OpenAI's that sees what was meant through a mist: a model
    /// as good as that is too large to be part of a test.
    fn like_openai(set: &Set, other: &Self) -> Self {
        let similarities = set
            .queries
            .iter()
            .zip(&other.similarities)
            .enumerate()
            .map(|(row, (query, similarities))| {
                set.documents
                    .iter()
                    .zip(similarities)
                    .enumerate()
                    .map(|(column, (document, similarity))| {
                        let grade = f64::from(query.grade(document));
                        let mist = noise((row * 1_000 + column) as u64) * 0.06;
                        0.14 + 0.35 * similarity.max(0.0) + 0.06 * grade + mist
                    })
                    .collect()
            })
            .collect();
        Self { name: "like OpenAI", weighing: Weighing::PAID, similarities }
    }
}

/// About normal, with a deviation of 1; the same for the same seed.
fn noise(seed: u64) -> f64 {
    let uniform = |turn: u64| {
        let mut state = (seed * 12 + turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((state ^ (state >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..12).map(uniform).sum::<f64>() - 6.0
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from(one * other)).sum()
}

#[cfg(feature = "semantic")]
fn builtin(texts: &[String]) -> Vec<Vec<f32>> {
    aida::memory::semantic::embed(texts).unwrap()
}

#[cfg(not(feature = "semantic"))]
fn builtin(texts: &[String]) -> Vec<Vec<f32>> {
    hashed(texts)
}

fn hashed(texts: &[String]) -> Vec<Vec<f32>> {
    texts.iter().map(|text| lexical::embed(text)).collect()
}

/// The labelled set.
struct Set {
    documents: Vec<Document>,
    queries: Vec<Query>,
    /// Whether a query is held out.
    held_out: Vec<bool>,
}

impl Set {
    fn read() -> Self {
        let documents = documents();
        let queries: Vec<Query> = lines(include_str!("search_quality/queries.jsonl"));
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let held_out = queries
            .iter()
            .map(|query| {
                let count = seen.entry(&query.r#type).or_default();
                *count += 1;
                count.is_multiple_of(2)
            })
            .collect();
        for label in queries.iter().flat_map(|query| query.want.keys()) {
            assert!(documents.iter().any(|document| document.name == *label), "{label}");
        }
        Self { documents, queries, held_out }
    }

    fn texts(&self) -> Vec<String> {
        self.documents.iter().map(|document| document.content.clone()).collect()
    }
}

impl Query {
    fn grade(&self, document: &Document) -> u8 {
        self.want.get(&document.name).copied().unwrap_or(0)
    }
}

/// How good rankings are, each between 0 and 1.
#[derive(Debug, Clone, Copy, Default)]
struct Quality {
    /// Which part of what is of use stands among the first five.
    recall: f64,
    /// How near the first ten are to the best order of them.
    gain: f64,
    /// One over the place of the first that is of use.
    reciprocal: f64,
}

impl Quality {
    fn of(query: &Query, documents: &[Document], ranking: &[usize]) -> Self {
        let grades: Vec<u8> = ranking.iter().map(|index| query.grade(&documents[*index])).collect();
        let mut ideal: Vec<u8> = documents.iter().map(|document| query.grade(document)).collect();
        ideal.sort_unstable_by(|one, other| other.cmp(one));
        let gain = |grades: &[u8]| -> f64 {
            let places = (2_u32..).map(|place| f64::from(place).log2());
            grades
                .iter()
                .take(10)
                .zip(places)
                .map(|(grade, place)| (f64::from(*grade).exp2() - 1.0) / place)
                .sum()
        };
        let useful = ideal.iter().filter(|grade| **grade >= 2).count();
        let found = grades.iter().take(5).filter(|grade| **grade >= 2).count();
        Self {
            recall: found as f64 / useful.min(5) as f64,
            gain: gain(&grades) / gain(&ideal),
            reciprocal: grades
                .iter()
                .position(|grade| *grade >= 2)
                .map_or(0.0, |place| 1.0 / (place + 1) as f64),
        }
    }

    fn mean(all: &[Self]) -> Self {
        let count = all.len() as f64;
        Self {
            recall: all.iter().map(|one| one.recall).sum::<f64>() / count,
            gain: all.iter().map(|one| one.gain).sum::<f64>() / count,
            reciprocal: all.iter().map(|one| one.reciprocal).sum::<f64>() / count,
        }
    }
}

/// How candidates are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Vectors,
    Words,
    ReciprocalRanks,
    Fused,
}

impl Way {
    const ALL: [Self; 4] = [Self::Vectors, Self::Words, Self::ReciprocalRanks, Self::Fused];

    fn rank(self, similarities: &[f64], words: &[f64], weighing: Weighing) -> Vec<usize> {
        let by = |scores: &[f64]| {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
            order
        };
        // As many as the search looks at for ten hits.
        let near: Vec<usize> = by(similarities).into_iter().take(80).collect();
        let worded: Vec<usize> =
            by(words).into_iter().filter(|index| words[*index] > 0.0).take(80).collect();
        match self {
            Self::Vectors => near,
            Self::Words => worded,
            Self::ReciprocalRanks => {
                let mut scores = vec![0.0; words.len()];
                for ranking in [near, worded] {
                    for (rank, index) in ranking.into_iter().enumerate() {
                        scores[index] += 1.0 / (61 + rank) as f64;
                    }
                }
                by(&scores)
            }
            Self::Fused => {
                let evidence: Vec<Evidence> = (0..words.len())
                    .filter(|index| near.contains(index) || words[*index] > 0.0)
                    .map(|index| Evidence {
                        id: Uuid::from_u128(index as u128),
                        similarity: Some(similarities[index]),
                        words: Some(words[index]).filter(|words| *words > 0.0),
                    })
                    .collect();
                fuse(&evidence, weighing)
                    .into_iter()
                    .map(|fused| usize::try_from(fused.id.as_u128()).unwrap())
                    .collect()
            }
        }
    }
}

/// Stores the set and asks the search for the words' score of each query and each document.
async fn words_of(set: &Set) -> Vec<Vec<f64>> {
    let database = TestDatabase::fresh().await;
    let store = database.open().await;
    let clock: SharedClock = Arc::new(FixedClock("2026-11-22T12:00:00Z".parse().unwrap()));
    let passages: Vec<Passage> = (1_u128..)
        .zip(&set.documents)
        .map(|(number, document)| Passage {
            project: None,
            kind: document.kind,
            subject: Uuid::from_u128(number),
            part: 0,
            place: String::new(),
            content: document.content.clone(),
        })
        .collect();
    // Without a vector, because only the words are asked for here.
    let changed: Vec<_> = passages.iter().map(|passage| (passage, None)).collect();
    let owner = Owner::Project(ProjectId::new());
    let mut session = store.session().await.unwrap();
    embeddings::keep(&mut session, "ada", owner, &passages, &changed, BUILTIN_MODEL, clock.now())
        .await
        .unwrap();
    session.close().await;
    let memory = Memory::new(store, Embedding::Builtin, clock);
    let mut all = Vec::new();
    for query in &set.queries {
        let mut words = vec![0.0; set.documents.len()];
        let filter = SearchFilter::default();
        for found in memory.candidates(&purpose(), &query.text, &filter).await.unwrap().passages {
            let index = usize::try_from(found.details.subject.as_u128() - 1).unwrap();
            words[index] = found.evidence.words.unwrap_or(0.0);
        }
        all.push(words);
    }
    all
}

#[tokio::test]
async fn the_fusion_beats_both_of_its_parts() {
    let set = Set::read();
    let words = words_of(&set).await;
    let hashed = Embedder::new("hashed", LEXICAL, &set, hashed);
    let builtin = Embedder::new("built-in", Weighing::BUILTIN, &set, builtin);
    let openai = Embedder::like_openai(&set, &builtin);
    #[cfg(feature = "semantic")]
    let encoder = Embedder::new("encoder", Weighing::BUILTIN, &set, |texts| {
        pocket_encoder::Encoder::new().unwrap().embed(texts).unwrap()
    });
    let embedders = [
        hashed,
        #[cfg(feature = "semantic")]
        encoder,
        builtin,
        openai,
    ];
    let mut table = format!(
        "{:<12} {:<10} | {:>6} {:>6} {:>6} | {:>6} {:>6} {:>6}\n",
        "embedder", "ranking", "rec@5", "nDCG", "MRR", "rec@5", "nDCG", "MRR"
    );
    let mut by_type = String::new();
    let mut wrong = Vec::new();
    for embedder in &embedders {
        let mut seen: Vec<[Quality; 2]> = Vec::new();
        for way in Way::ALL {
            let qualities: Vec<Quality> = set
                .queries
                .iter()
                .zip(&embedder.similarities)
                .zip(&words)
                .map(|((query, similarities), words)| {
                    let ranking = way.rank(similarities, words, embedder.weighing);
                    Quality::of(query, &set.documents, &ranking)
                })
                .collect();
            let half = |held_out: bool| {
                let of_half: Vec<Quality> = qualities
                    .iter()
                    .zip(&set.held_out)
                    .filter(|(_, is_held_out)| **is_held_out == held_out)
                    .map(|(quality, _)| *quality)
                    .collect();
                Quality::mean(&of_half)
            };
            let halves = [half(false), half(true)];
            let [tuned, held] = halves;
            let _infallible = writeln!(
                table,
                "{:<12} {:<10} | {:>6.3} {:>6.3} {:>6.3} | {:>6.3} {:>6.3} {:>6.3}",
                embedder.name,
                format!("{way:?}").chars().take(10).collect::<String>(),
                tuned.recall,
                tuned.gain,
                tuned.reciprocal,
                held.recall,
                held.gain,
                held.reciprocal
            );
            by_type += &types(&set, &qualities, embedder.name, way);
            seen.push(halves);
        }
        let [vectors, words, ranks, fused] = seen[..] else { unreachable!("four ways") };
        for (half, name) in ["development", "held out"].into_iter().enumerate() {
            // Hashed words are words once more: with them the fusion must lose nothing.
            let knows_meaning = embedder.name != "hashed";
            let margin = if knows_meaning { MARGIN } else { 0.0 };
            for (other, part) in [(vectors, "vectors"), (words, "words"), (ranks, "ranks")] {
                let (fused, other) = (fused[half], other[half]);
                let is_better = fused.gain >= other.gain + margin
                    && (!knows_meaning || fused.recall >= other.recall);
                if !is_better {
                    wrong.push(format!("{} {name}: not better than the {part}", embedder.name));
                }
            }
        }
        if embedder.name == "built-in" {
            let least = fused.map(|half| half.gain).into_iter().fold(1.0, f64::min);
            if least < FLOOR {
                wrong.push(format!("nDCG@10 of the built-in embedder fell to {least:.3}"));
            }
        }
    }
    say(&format!("development half | held-out half\n{table}\nnDCG@10 by type\n{by_type}"));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// By how much the fusion must be better than each of its parts, and than plain reciprocal ranks.
const MARGIN: f64 = 0.01;
/// What nDCG@10 must not fall under with the built-in embedder.
const FLOOR: f64 = 0.8;
/// The hashed n-grams are weighed as in a build that has nothing else.
const LEXICAL: Weighing =
    Weighing { meaning: 0.4, least_similarity: 0.12, full_span: 0.4, least_span: 0.4 };

/// The nDCG@10 of each type of query, on one line.
fn types(set: &Set, qualities: &[Quality], name: &str, way: Way) -> String {
    let mut types: BTreeMap<&str, Vec<Quality>> = BTreeMap::new();
    for (query, quality) in set.queries.iter().zip(qualities) {
        types.entry(&query.r#type).or_default().push(*quality);
    }
    let cells: Vec<String> = types
        .into_iter()
        .map(|(name, of_type)| format!("{name} {:.2}", Quality::mean(&of_type).gain))
        .collect();
    format!("{name:<10} {:<10.10} {}\n", format!("{way:?}"), cells.join(" "))
}
