//! Echo: a number of requests in flight on each connection, replaced as replies come in.

use std::time::{Duration, Instant};

use super::client::Client;
use super::clients::Clients;
use super::measured::Measured;
use super::replies::{Checked, Counted, Echoes};
use super::requests::{Patterned, Repeated};
use super::{LoadError, LoadOptions};

pub(crate) fn run(options: &LoadOptions) -> Result<Measured, LoadError> {
    let mut clients = connect(options)?;
    let span = Span::starting_now(options.duration());
    for (client, share) in clients.list.iter_mut().zip(shares(options)) {
        client.budget = share;
        client.requested_at = span.start;
        client.request(options.depth, 1);
        client.flush()?;
    }
    let mut latencies = Vec::new();
    let mut run = Run::new(options, span);
    while run.goes_on(&clients) {
        let now = Instant::now();
        run.note(now, clients.received);
        let phase = run.phase;
        let timed = options.depth == 1 && phase == Phase::Measures;
        clients.turn(|client: &mut Client, frames| {
            if options.depth == 1 {
                let now = Instant::now();
                if timed {
                    latencies.push(now - client.requested_at);
                }
                client.requested_at = now;
            }
            if phase != Phase::Drains {
                client.request(frames, 1);
            }
        })?;
    }
    Ok(run.measured(options, &clients, &mut latencies))
}

fn connect(options: &LoadOptions) -> Result<Clients, LoadError> {
    let size = options.size;
    if options.verify {
        return Clients::connect(options, |connection| {
            let expected = Echoes {
                connection,
                size,
                next: 0,
            };
            (
                Box::new(Patterned::new(connection, size)),
                Box::new(Checked::new(expected, size)),
            )
        });
    }
    let requests = Repeated::echo(options.depth, size);
    Clients::connect(options, |_| {
        (Box::new(requests.clone()), Box::new(Counted::new(size)))
    })
}

/// What each connection may ask for, when the requests are counted.
fn shares(options: &LoadOptions) -> impl Iterator<Item = Option<u64>> {
    let conns = u64::from(options.conns);
    let requests = options.requests;
    (0..conns).map(move |number| {
        let requests = requests?;
        Some(requests / conns + u64::from(number < requests % conns))
    })
}

/// When a timed run warms up, measures and ends.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: Instant,
    /// Warm-up and measurement; nothing for a run that is bounded by its requests.
    until: Option<(Instant, Instant)>,
}

impl Span {
    fn starting_now(length: Option<Duration>) -> Self {
        let start = Instant::now();
        Self {
            start,
            until: length.map(|length| (start + length / 10, start + length / 10 + length)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmsUp,
    Measures,
    /// No more requests; the replies that are under way must still come, and be right.
    Drains,
}

struct Run {
    span: Span,
    phase: Phase,
    from: (Instant, u64),
    to: (Instant, u64),
}

impl Run {
    fn new(options: &LoadOptions, span: Span) -> Self {
        let phase = match options.requests {
            Some(_) => Phase::Measures,
            None => Phase::WarmsUp,
        };
        Self {
            span,
            phase,
            from: (span.start, 0),
            to: (span.start, 0),
        }
    }

    fn goes_on(&self, clients: &Clients) -> bool {
        match (self.phase, self.span.until) {
            (Phase::Drains, _) | (_, None) => clients.expected() > 0,
            _ => true,
        }
    }

    fn note(&mut self, now: Instant, received: u64) {
        let Some((warm, end)) = self.span.until else {
            return;
        };
        if self.phase == Phase::WarmsUp && now >= warm {
            self.phase = Phase::Measures;
            self.from = (now, received);
        }
        if self.phase == Phase::Measures && now >= end {
            self.phase = Phase::Drains;
            self.to = (now, received);
        }
    }

    fn measured(
        self,
        options: &LoadOptions,
        clients: &Clients,
        latencies: &mut [Duration],
    ) -> Measured {
        let to = match self.phase {
            Phase::Drains => self.to,
            Phase::WarmsUp | Phase::Measures => (Instant::now(), clients.received),
        };
        Measured::new(
            to.1 - self.from.1,
            to.0 - self.from.0,
            clients.received,
            options.size,
        )
        .with_latencies(latencies)
    }
}
