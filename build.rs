//! Has the binary rebuilt when a migration is added: the macro that embeds them only sees changes
//! in those it knows.

#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
