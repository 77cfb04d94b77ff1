//! `aida man`: the manual pages.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;

use crate::cli::args;
use crate::cli::output::Output;
use crate::error::{Error, Kind};

/// Arguments of `aida man`.
#[derive(Debug, Args)]
#[command(
    about = "Print the manual pages",
    after_help = "\
Examples:
  aida man | man -l -
  aida man --dir ~/.local/share/man/man1"
)]
pub struct ManArgs {
    /// Write one page for each subcommand into this folder instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints the page of aida, or writes all pages.
pub fn run(arguments: &ManArgs, output: &Output) -> Result<(), Error> {
    let mut root = args::command();
    root.build();
    let Some(folder) = &arguments.dir else {
        let page = page(root)
            .map_err(|error| Error::internal("the manual page cannot be written").because(error))?;
        output.bytes(&page);
        return Ok(());
    };
    let written = write_all(folder, &root).map_err(|error| {
        Error::new(Kind::Usage, format!("the pages cannot be written to {}", folder.display()))
            .because(error)
            .hint("--dir wants a folder that you may write to")
    })?;
    for path in written {
        output.data(path.display().to_string());
    }
    Ok(())
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

/// Writes the page of a command and of each visible command below it.
fn write_all(folder: &Path, command: &clap::Command) -> io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut written = vec![Man::new(command.clone()).generate_to(folder)?];
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        written.extend(write_all(folder, subcommand)?);
    }
    Ok(written)
}
