//! Several servers under the same load in turn, so that whatever else the machine does
//! meets all of them: figures move from hour to hour, ratios within a round hold.

mod options;
mod plan;
mod server;
mod table;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use thiserror::Error;

use crate::load::{Measured, ParseMeasuredError};
use plan::Plan;
use server::Server;
use table::Cell;

pub use options::{CompareOptions, NamedServer, ParseServerError};

/// Why one run of one server gave no figure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A process could not be started or spoken to.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// The refusal.
        source: io::Error,
    },
    /// The server did not print `READY`.
    #[error("the server did not print READY within {seconds} s")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The load generator failed; its message says why.
    #[error("{0}")]
    Load(String),
    /// The load generator printed something else.
    #[error(transparent)]
    Parse(#[from] ParseMeasuredError),
}

impl CompareError {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// One figure: what the load generator measured, and what it cost the server.
#[derive(Debug, Clone, Copy)]
struct Run {
    measured: Measured,
    /// Processor time of the server per frame, where the system tells.
    cpu_nanos: Option<f64>,
}

/// Runs everything and prints the tables; says whether every run gave a figure.
///
/// # Errors
///
/// When nobody takes the output. A server that fails is part of the table instead.
pub fn run(options: &CompareOptions) -> io::Result<bool> {
    let plans = plan::all(options.scale());
    let chosen: Vec<&Plan> = plans
        .iter()
        .filter(|plan| options.chooses(plan.name))
        .collect();
    let mut rows = Vec::new();
    let mut complete = true;
    for plan in chosen {
        let mut cells: Vec<Cell> = options.server.iter().map(|_| Cell::default()).collect();
        for round in 0..options.rounds() {
            for (server, cell) in options.server.iter().zip(&mut cells) {
                let name = &server.name;
                let outcome = measure(options, plan, server);
                match &outcome {
                    Ok(run) => progress(plan, round, name, &run.measured)?,
                    Err(error) => progress(plan, round, name, error)?,
                }
                complete &= outcome.is_ok();
                cell.add(outcome);
            }
        }
        rows.push((plan, cells));
    }
    let names = options.server.iter().map(|server| server.name.as_str());
    table::write(
        &mut io::stdout().lock(),
        &names.collect::<Vec<_>>(),
        &rows,
        options.purpose(),
    )?;
    Ok(complete)
}

/// The figures of every run go to standard error, for those who wait.
fn progress(
    plan: &Plan,
    round: u32,
    server: &str,
    outcome: &dyn std::fmt::Display,
) -> io::Result<()> {
    let name = plan.name;
    writeln!(io::stderr(), "{name} round {round} {server}: {outcome}")
}

/// Starts a fresh server, runs the plan against it, and ends it.
fn measure(
    options: &CompareOptions,
    plan: &Plan,
    named: &NamedServer,
) -> Result<Run, CompareError> {
    let server = Server::start(named, plan, options.pin())?;
    let before = server.cpu_nanos();
    let measured = load(options, plan, &server)?;
    let spent = before.zip(server.cpu_nanos()).map(|(from, to)| to - from);
    #[expect(
        clippy::cast_precision_loss,
        reason = "nanoseconds and frames of a run stay below 2^53"
    )]
    let cpu_nanos = spent.map(|nanos| nanos as f64 / measured.total as f64);
    Ok(Run {
        measured,
        cpu_nanos,
    })
}

fn load(options: &CompareOptions, plan: &Plan, server: &Server) -> Result<Measured, CompareError> {
    let mut command = pinned(&options.load(), options.pin().map(|pin| pin.load));
    command.arg("--address").arg(server.address().to_string());
    command.args(plan.load_arguments(options.purpose()));
    if options.pin().is_some() {
        // Without a core of its own, a load that spins would take the server's.
        command.arg("--spin");
    }
    let output = command
        .output()
        .map_err(CompareError::io("starting the load generator"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(CompareError::Load(message.trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).parse()?)
}

/// A command that runs on one core only, if one is given.
fn pinned(program: &Path, core: Option<u32>) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}
