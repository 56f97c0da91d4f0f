//! What the server is told when it starts: `NAME=VALUE`, in any order.

use std::{
    env,
    num::{NonZeroU64, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

#[derive(Debug)]
pub(crate) struct Options {
    /// `tokio`, `async-std` or `smol`.
    pub(crate) runtime: String,
    /// How many files it may open.
    pub(crate) files: Option<u64>,
    /// Most connections.
    pub(crate) connections: Option<NonZeroUsize>,
    /// How long a frame may take to come, in milliseconds on the command line.
    pub(crate) frame: Option<Duration>,
    /// How long a shutdown may take, in milliseconds on the command line.
    pub(crate) close: Option<Duration>,
    /// What it pushes on each connection.
    pub(crate) load: Option<LoadOptions>,
}

#[derive(Debug)]
pub(crate) struct LoadOptions {
    /// Tells one load from others.
    pub(crate) seed: u64,
    /// The server shuts down when so many pushes have been tried, and aborts if this is odd.
    pub(crate) pushes: NonZeroU64,
    /// Frames that may wait, of each priority.
    pub(crate) slots: NonZeroUsize,
    /// Dead letters that are kept; without it there is no queue for them.
    pub(crate) letters: Option<NonZeroUsize>,
}

impl Options {
    pub(crate) fn from_command_line() -> Self {
        let given: Vec<_> = env::args().skip(1).collect();
        let millis = |name| value(&given, name).map(Duration::from_millis);
        let load = value(&given, "seed").map(|seed| LoadOptions {
            seed,
            pushes: value(&given, "pushes").expect("pushes=N"),
            slots: value(&given, "slots").expect("slots=N"),
            letters: value(&given, "letters"),
        });
        Self {
            runtime: value(&given, "runtime").expect("runtime=NAME"),
            files: value(&given, "files"),
            connections: value(&given, "connections"),
            frame: millis("frame"),
            close: millis("close"),
            load,
        }
    }
}

fn value<T: FromStr>(given: &[String], name: &str) -> Option<T> {
    let of_that_name = |given: &String| {
        let (given, value) = given.split_once('=')?;
        (given == name).then(|| value.to_owned())
    };
    let text = given.iter().find_map(of_that_name)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => panic!("{name} cannot be {text}"),
    }
}
