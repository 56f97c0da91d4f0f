//! Runs the workloads against several servers in turn, and prints medians and ratios.
//!
//! ```text
//! bench-compare --server limit=target/release/limit-server \
//!     --server framed=target/release/framed-server \
//!     --server "framed each=target/release/framed-server --flush each"
//! ```

use std::io;
use std::process::ExitCode;

use clap::Parser;
use wireframe_benches::compare::{CompareOptions, run};
use wireframe_benches::limits::raise_open_files;

#[derive(Debug, Parser)]
#[command(about = "Runs the workloads against several servers in turn")]
struct Options {
    #[command(flatten)]
    compare: CompareOptions,
}

fn main() -> io::Result<ExitCode> {
    let options = Options::parse().compare;
    // The servers and the load generator inherit it.
    raise_open_files();
    Ok(if run(&options)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
