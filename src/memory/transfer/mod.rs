//! Projects carried from one database to another, as JSONL: one project a line.

mod check;
mod export;
mod import;
mod line;

pub use check::Defaults;
pub use export::{ExportScope, Exported};
pub use import::{Checked, Import, ImportError, Imported, Problem};
pub use line::{FORMAT, ProjectLine};
