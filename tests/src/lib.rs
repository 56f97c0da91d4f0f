//! What the tests share: servers on loopback, bare sockets, a protocol of our own.

mod gauge;
mod raw;
mod records;
mod running;
mod time;

pub use gauge::{Gauge, Gauged};
pub use raw::{Raw, envelope, open_envelope};
pub use records::{
    ANSWER, CorrelatedRecords, END, ERROR, GOODBYE, InOrderRecords, NOTICE, Record, Records,
    Refused,
};
pub use running::{Handles, Lone, Running, ended, handing_out, narrow, single, start, timed};
pub use time::{on_each_runtime, on_many_threads, on_one_thread, soon};
