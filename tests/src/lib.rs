//! What the tests share: servers on loopback, bare sockets, protocols of our own,
//! and the runtimes that all of it must be the same on.

mod authority;
mod bare;
mod flavour;
mod gauge;
mod lines;
mod outside;
mod process;
mod raw;
mod records;
mod running;
mod scratch;
mod time;
mod warnings;

pub use authority::{Authority, Identity};
pub use bare::BareCodec;
pub use flavour::{AsyncStd, Flavour, Serving, Smol, Spawned, TokioMany, TokioOne, conform, spawn};
pub use gauge::{Gauge, Gauged};
pub use lines::{Line, Lines, Notes, Oops, line, lines, wire};
pub use outside::{Outsider, aside};
pub use process::{Process, Work, allow_open_files};
pub use raw::{Raw, envelope, open_envelope};
pub use records::{
    ANSWER, CorrelatedRecords, END, ERROR, GOODBYE, InOrderRecords, NOTICE, Record, Records,
    Refused,
};
pub use running::{Handles, Lone, Running, ended, handing_out, narrow, single, start, timed};
pub use scratch::Scratch;
pub use time::{on_each_runtime, on_many_threads, on_one_thread, soon};
pub use warnings::{count_warnings, warnings};
