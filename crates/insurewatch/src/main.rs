//! InsureWatch: a lab in which distributed traces break, and where you learn why.
//!
//! - `cli`: the commands and their options
//! - `up`: the supervisor that runs the whole lab, each service a process of its own
//! - `folder`: the folder of a running lab: whose it is, its logs
//! - `serve`, `process`: one program, in a process of its own; `program`: which there are
//! - `services`: the services of the chain: what each can be set to, what it must be told, how it starts
//! - `seat`: a service of somebody else in a seat of the chain; `contract`: what it must answer, and be told
//! - `commands`, `drill`: thin clients of the desk; `lab_file`: how they find it
//! - `echo`: an endpoint for the conformance tests of W3C Trace Context
//! - `schema`: what may be set, gathered from the crates that know it
//!
//! Everything else lives in the libraries beside this one.

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

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
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("insurewatch: {error:#}");
            ExitCode::from(EXIT_BAD_CONFIG)
        }
    }
}

#[tokio::main]
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
