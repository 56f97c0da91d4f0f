//! Load generator: runs one workload against a server and prints what it measured.
//!
//! ```text
//! bench-load --address 127.0.0.1:7000 --workload echo --conns 64 --depth 64 --size 32
//! bench-load --address 127.0.0.1:7000 --workload push --count 1000000 --size 64 --verify
//! ```

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use wireframe_benches::limits::raise_open_files;
use wireframe_benches::load::{LoadOptions, run};

#[derive(Debug, Parser)]
#[command(about = "Runs one workload against a server and prints what it measured")]
struct Options {
    #[command(flatten)]
    load: LoadOptions,
}

fn main() -> io::Result<ExitCode> {
    let options = Options::parse().load;
    raise_open_files();
    match run(&options) {
        Ok(measured) => {
            let verified = if options.verify { "verified " } else { "" };
            writeln!(io::stdout(), "{verified}{measured}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let name = options.workload.name();
            writeln!(io::stderr(), "bench-load: {name}: {error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}
