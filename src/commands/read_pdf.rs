//! `aida __read-pdf`: reads one PDF in a process of its own. Started by aida itself, never by people.

use clap::Args;

use crate::error::Error;

/// Arguments of the hidden reader.
#[derive(Debug, Args)]
#[command(about = "Read a PDF from standard input; started by aida itself")]
pub struct ReadPdfArgs {}

/// Reads a PDF from standard input and answers its text on standard output. It reads no settings.
pub fn run(_: &ReadPdfArgs) -> Result<(), Error> {
    crate::memory::files::reader_main()
        .map_err(|error| Error::internal("the PDF reader did not work").because(error))
}
