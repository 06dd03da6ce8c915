//! The program: reads the command line and runs what it asks for.

use std::process::ExitCode;

use clap::Parser;
use fanfare::cli::Cli;

fn main() -> ExitCode {
    match fanfare::cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare: {error:#}");
            ExitCode::FAILURE
        }
    }
}
