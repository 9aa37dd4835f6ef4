//! InsureWatch: a lab where distributed traces break, and you learn why.
//!
//! - `cli`: the commands and their options
//! - `up`: the supervisor that runs the complete lab, each service in its own process
//! - `folder`: the folder of a running lab: whose it is, its logs
//! - `serve`, `process`: one program, in its own process; `program`: which there are
//! - `services`: the services of the chain: the settings of each, what it needs, how it starts
//! - `seat`: your own service in a seat of the chain; `contract`: its HTTP contract and its environment
//! - `commands`, `drill`: thin clients of the desk; `lab_file`: how they find it
//! - `echo`: an endpoint for the conformance tests of W3C Trace Context
//! - `schema`: what may be set, gathered from the crates that know it
//!
//! Everything else is in the library crates.

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Command, Serve};
use crate::program::Program;

mod cli;
mod commands;
mod contract;
mod drill;
mod echo;
mod folder;
mod lab_file;
mod process;
mod program;
mod seat;
mod serve;
mod services;
mod up;

/// The exit code for bad input and bad configuration: the same again would not help.
pub(crate) const EXIT_BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match runtime(&cli.command).and_then(|runtime| runtime.block_on(run(cli))) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("insurewatch: {error:#}");
            ExitCode::from(EXIT_BAD_CONFIG)
        }
    }
}

/// A service of the chain has little to do between its waits: to hand that from thread to thread costs more than it gains.
/// The trace store and the desk have long work beside short one.
fn runtime(command: &Command) -> anyhow::Result<Runtime> {
    let mut builder = match command {
        Command::Serve(Serve { service: Program::Service(_), .. }) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    Ok(builder.enable_all().build()?)
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Up(options) => up::up(&cli.lab.data_dir, options).await,
        Command::Serve(options) => serve::serve(options).await,
        Command::Scenario(command) => commands::scenario(&cli.lab, command).await,
        Command::Claim(options) => commands::claim(&cli.lab, options).await,
        Command::Trace(options) => commands::trace(&cli.lab, options).await,
        Command::Check(options) => commands::check(&cli.lab, options).await,
        Command::Diagnose(options) => commands::diagnose(&cli.lab, options).await,
        Command::Drill(command) => drill::drill(&cli.lab, command).await,
        Command::Hint(json) => commands::hint(&cli.lab, json).await,
        Command::Reveal(json) => commands::reveal(&cli.lab, json).await,
        Command::Seat(options) => contract::print(&cli.lab, &options),
        Command::Healthcheck(options) => commands::healthcheck(options).await,
    }
}
