//! What a run tells while it works. Bars, JSON lines and logs consume these; none of them
//! can affect the run.

use std::path::PathBuf;

use rust_decimal::Decimal;
use serde::Serialize;

use crate::ids::{ProjectId, RunId, TakeId};
use crate::ledger::money::Usd;

/// Where events go.
pub type EventSink = tokio::sync::mpsc::UnboundedSender<Event>;

/// One thing that happened. Serialised with the name of the event in the field `event`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A run began or went on.
    RunStarted {
        /// The video.
        project_id: ProjectId,
        /// The run.
        run_id: RunId,
        /// Whether it goes on with earlier work.
        resumed: bool,
    },
    /// What it may cost, before any paid call.
    Quoted {
        /// Lower end, USD.
        low_usd: Usd,
        /// Upper end, USD.
        high_usd: Usd,
    },
    /// Earlier work was looked up.
    Recalled {
        /// Similar things found.
        found: usize,
        /// The embedder that was used.
        embedder: String,
    },
    /// A role of the team finished a turn.
    Turn {
        /// `conversation`, `writer` or `director`.
        component: String,
        /// Turns of this role so far.
        turn: u32,
        /// What it did, in a few words.
        note: String,
    },
    /// The storyboard is written and kept.
    StoryboardReady {
        /// The film's title.
        title: String,
        /// Number of shots.
        shots: u32,
        /// Length in seconds.
        #[serde(with = "rust_decimal::serde::float")]
        duration_seconds: Decimal,
        /// Who wrote it: a model's id, or `outline` for the built-in writer.
        author: String,
    },
    /// The exact plan has a price.
    Planned {
        /// Price of the images and clips still to be bought, USD.
        plan_usd: Usd,
    },
    /// A kept take of an earlier film is used instead of buying a new one.
    Reused {
        /// The shot's number, from 1.
        shot: u32,
        /// Which step it serves.
        step: Step,
        /// The take.
        take_id: TakeId,
        /// Its project.
        project_id: ProjectId,
        /// The project's title, else its brief.
        project: String,
        /// The number of its shot there.
        project_shot: i32,
        /// How it was found: `exact`, `near` or `meaning`.
        alike: &'static str,
        /// How alike it is, 0 to 100.
        percent: u8,
        /// What was not spent, USD.
        saved_usd: Usd,
    },
    /// A step of a shot changed.
    Shot {
        /// The shot's number, from 1.
        shot: u32,
        /// Which step.
        step: Step,
        /// Where it stands.
        progress: Progress,
    },
    /// The film is being cut or encoded.
    Film {
        /// 0 to 100.
        percent: u8,
    },
    /// Something worth knowing that did not stop the work.
    Note {
        /// One sentence.
        message: String,
    },
    /// The film is there.
    FilmReady {
        /// Where it lies.
        video: PathBuf,
        /// Its length in seconds.
        #[serde(with = "rust_decimal::serde::float")]
        duration_seconds: Decimal,
    },
}

/// A step of one shot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The keyframe.
    Image,
    /// The moving picture.
    Clip,
    /// The card of a preview.
    Card,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Progress {
    /// Waiting for its turn at the provider.
    Waiting,
    /// The provider has accepted the job.
    Submitted,
    /// The provider is working.
    Running {
        /// 0 to 100, where the provider tells.
        percent: Option<u8>,
    },
    /// The result is being fetched.
    Downloading {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// The result is kept.
    Done {
        /// Whether it had been bought by an earlier run.
        already: bool,
    },
    /// It failed for good.
    Failed {
        /// Why.
        message: String,
    },
}
