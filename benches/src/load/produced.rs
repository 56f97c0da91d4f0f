//! Push, broadcast and stream: a job on each connection, and all the frames it asks for.

use std::time::{Duration, Instant};

use super::clients::Clients;
use super::measured::Measured;
use super::replies::{Checked, Counted, Replies, Sequence};
use super::requests::Repeated;
use super::{LoadError, LoadOptions};
use crate::server::Workload;
use crate::wire::{Header, Job};

/// The id of every job.
const CORRELATION: u64 = 1;

/// After a verified run, how long a frame too many is waited for.
const QUIET: Duration = Duration::from_millis(200);

pub(crate) fn run(options: &LoadOptions) -> Result<Measured, LoadError> {
    let mut clients = connect(options)?;
    let least = options.duration().unwrap_or_default();
    let start = Instant::now();
    let mut elapsed = Duration::ZERO;
    loop {
        for client in &mut clients.list {
            client.request(1, options.count);
            client.flush()?;
        }
        let mut left = clients.expected();
        while left > 0 {
            clients.turn(|_, frames| left = left.saturating_sub(frames))?;
        }
        elapsed = elapsed.max(start.elapsed());
        if elapsed >= least {
            break;
        }
    }
    if options.verify {
        // Any frame now is one too many, which the client that gets it reports.
        while clients.turn_within(QUIET, |_, _| {})? {}
    }
    Ok(Measured::new(
        clients.received,
        elapsed,
        clients.received,
        options.size,
    ))
}

fn connect(options: &LoadOptions) -> Result<Clients, LoadError> {
    let request = request(options);
    Clients::connect(options, |_| {
        let replies: Box<dyn Replies> = if options.verify {
            Box::new(Checked::new(sequence(options), options.size))
        } else {
            Box::new(Counted::new(options.size))
        };
        (Box::new(request.clone()), replies)
    })
}

fn request(options: &LoadOptions) -> Repeated {
    let header = Header {
        route: options.workload.route(),
        correlation: CORRELATION,
        payload_len: Job::LEN,
    };
    let job = Job {
        count: options.count,
        size: options.size,
        conns: options.conns,
    };
    let frame = [header.encode(), job.encode()].concat();
    Repeated::new(&frame, frame.len())
}

fn sequence(options: &LoadOptions) -> Sequence {
    Sequence {
        route: options.workload.route(),
        // Only a streaming response answers its request.
        correlation: (options.workload == Workload::Stream).then_some(CORRELATION),
        size: options.size,
        count: options.count,
        next: 0,
    }
}
