//! Command line of the comparison.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;

use clap::Args;
use thiserror::Error;

use super::plan::{Purpose, Scale};

/// What to compare, and how thoroughly.
#[derive(Debug, Args)]
pub struct CompareOptions {
    /// A server as `name=path`, or `"name=path with arguments"`; repeated. Ratios are
    /// against the first.
    #[arg(long, required = true)]
    pub server: Vec<NamedServer>,
    /// Runs only these workloads, such as `W1,W2b`.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Rounds over all servers for each workload: 5, or 3 with `--short`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Half a second for each run rather than two, and shorter jobs.
    #[arg(long)]
    pub short: bool,
    /// Checks every byte, id and order instead of measuring; one round.
    #[arg(long)]
    pub verify: bool,
    /// The load generator; without it, `bench-load` beside this program.
    #[arg(long)]
    load: Option<PathBuf>,
    /// Core of the servers.
    #[arg(long, default_value_t = 0)]
    server_core: u32,
    /// Core of the load generator, which then polls without sleeping.
    #[arg(long, default_value_t = 1)]
    load_core: u32,
    /// Leaves both wherever the system puts them, as without `taskset`.
    #[arg(long)]
    no_pin: bool,
}

/// Cores that the two sides are bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pin {
    pub(crate) server: u32,
    pub(crate) load: u32,
}

impl CompareOptions {
    pub(crate) fn rounds(&self) -> u32 {
        match (self.rounds, self.purpose(), self.scale()) {
            (Some(rounds), _, _) => rounds,
            (None, Purpose::Verify, _) => 1,
            (None, Purpose::Measure, Scale::Short) => 3,
            (None, Purpose::Measure, Scale::Full) => 5,
        }
    }

    pub(crate) fn scale(&self) -> Scale {
        // A verifying run gains nothing from length.
        if self.short || self.verify {
            Scale::Short
        } else {
            Scale::Full
        }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        if self.verify {
            Purpose::Verify
        } else {
            Purpose::Measure
        }
    }

    pub(crate) fn chooses(&self, workload: &str) -> bool {
        let named = |only: &String| only.eq_ignore_ascii_case(workload);
        self.only.is_empty() || self.only.iter().any(named)
    }

    pub(crate) fn pin(&self) -> Option<Pin> {
        let pin = Pin {
            server: self.server_core,
            load: self.load_core,
        };
        (!self.no_pin && taskset_works(pin)).then_some(pin)
    }

    pub(crate) fn load(&self) -> PathBuf {
        if let Some(load) = &self.load {
            return load.clone();
        }
        let this = std::env::current_exe().unwrap_or_default();
        this.with_file_name("bench-load")
    }
}

/// Whether `taskset` is there and both cores are ours to use.
fn taskset_works(pin: Pin) -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        Command::new("taskset")
            .arg("-c")
            .arg(pin.server.to_string())
            .args(["taskset", "-c"])
            .arg(pin.load.to_string())
            .arg("true")
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// A server binary with the name it has in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedServer {
    /// Heading of its column.
    pub name: String,
    /// Where the binary is.
    pub path: PathBuf,
    /// Arguments besides those that every server takes.
    pub arguments: Vec<String>,
}

/// A server that is not given as `name=path`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected name=path with optional arguments, came {0:?}")]
pub struct ParseServerError(String);

impl FromStr for NamedServer {
    type Err = ParseServerError;

    fn from_str(text: &str) -> Result<Self, ParseServerError> {
        let parse = || {
            let (name, command) = text.split_once('=')?;
            let mut words = command.split_whitespace();
            let path = words.next()?;
            (!name.is_empty()).then(|| Self {
                name: name.to_owned(),
                path: PathBuf::from(path),
                arguments: words.map(str::to_owned).collect(),
            })
        };
        parse().ok_or_else(|| ParseServerError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::NamedServer;

    #[test]
    fn a_server_has_a_name_a_path_and_arguments() {
        let server: NamedServer = "framed each=bin/framed --flush each".parse().unwrap();
        assert_eq!(server.name, "framed each");
        assert_eq!(server.path, PathBuf::from("bin/framed"));
        assert_eq!(server.arguments, ["--flush", "each"]);
    }

    #[test]
    fn a_server_without_name_or_path_is_refused() {
        for text in ["bin/framed", "=bin/framed", "framed=", "framed= "] {
            assert!(text.parse::<NamedServer>().is_err(), "{text}");
        }
    }
}
