//! `aida __database`: hosts the embedded database. Started by aida itself, never by people.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;

/// Arguments of the hidden host command.
#[derive(Debug, Args)]
#[command(about = "Host the embedded database; started by aida itself")]
pub struct DatabaseArgs {
    /// aida's data folder
    pub data_dir: PathBuf,
}

/// Hosts the embedded database until it has had no clients for some seconds. It makes its own
/// runtime, and reads no settings.
pub fn run(arguments: &DatabaseArgs) -> Result<(), Error> {
    Ok(crate::store::embedded::host_main(&arguments.data_dir)?)
}
