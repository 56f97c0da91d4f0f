//! A transport that answers of itself, and holds its answers until they are flushed.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use wireframe::{
    CloseReason, HeldOutput, MemoryBudget, Timeouts, Transport, WireframeApp, testing::Link,
};

use crate::rig::{Rig, Text, nonzero, secs, text, wire};

/// Says `pong` for whatever it reads.
struct Ponging {
    link: Link,
    /// What it reads is for itself alone.
    swallows: bool,
    held: BytesMut,
    handed_on: u64,
}

impl Ponging {
    fn over(link: Link) -> Self {
        Self {
            link,
            swallows: false,
            held: BytesMut::new(),
            handed_on: 0,
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(self.link.poll_write(cx, &[IoSlice::new(&self.held)]))?;
            self.held.advance(sent);
            self.handed_on += sent as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Ponging {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            let before = buf.len();
            let read = ready!(self.link.poll_read(cx, buf))?;
            if read != 0 {
                self.held.extend_from_slice(&wire("pong"));
            }
            if read == 0 || !self.swallows {
                return Poll::Ready(Ok(read));
            }
            buf.truncate(before);
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.send(cx))?;
        self.link.poll_write(cx, chunks)
    }

    fn held(&self) -> Option<HeldOutput> {
        Some(HeldOutput {
            bytes: self.held.len(),
            handed_on: self.handed_on,
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(cx))?;
        self.link.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(self.held.is_empty(), "there is something to be sent");
        self.link.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Over a link that holds so many bytes.
fn rig(app: WireframeApp<Text>, capacity: usize) -> Rig {
    Rig::over(app, capacity, Ponging::over)
}

#[test]
fn what_a_transport_makes_of_itself_is_sent_though_the_engine_says_nothing() {
    for capacity in [1, 5, 100] {
        let mut rig = rig(text(&Text::default()), capacity);
        for _ in 0..3 {
            assert_eq!(rig.exchange("!push"), ["pong"]);
        }
    }
}

#[test]
fn a_peer_that_does_not_take_it_stalls_from_then_on() {
    // rule: LIM-3
    let protocol = Text::default();
    let mut rig = rig(text(&protocol), 1);
    rig.advance(secs(3600));
    rig.ask("!push");
    let (stall, moment) = (Timeouts::default().write_stall, Duration::from_millis(1));
    rig.advance(stall - moment);
    assert_eq!(protocol.record.count("goodbye"), 0);
    rig.advance(moment);
    assert_eq!(protocol.record.count("goodbye"), 1);
    rig.advance(stall);
    assert_eq!(rig.driver.take(), Some(CloseReason::WriteStalled));
}

#[test]
fn what_a_transport_makes_over_input_of_its_own_goes_and_is_timed() {
    // rule: LIM-3
    let protocol = Text::default();
    let swallowing = |link| Ponging {
        swallows: true,
        ..Ponging::over(link)
    };
    let mut rig = Rig::over(text(&protocol), 1, swallowing);
    assert_eq!(rig.exchange("ping"), ["pong"]);
    rig.advance(secs(3600));
    rig.ask("ping");
    let (stall, moment) = (Timeouts::default().write_stall, Duration::from_millis(1));
    rig.advance(stall - moment);
    assert_eq!(protocol.record.count("goodbye"), 0);
    rig.advance(moment);
    assert_eq!(protocol.record.count("goodbye"), 1);
}

#[test]
fn output_ends_behind_it() {
    let mut rig = rig(text(&Text::default()), 1);
    rig.ask("!push");
    rig.peer.finish();
    rig.simulation.run();
    assert_eq!(rig.heard(), ["pong"]);
    assert_eq!(rig.reason(), Some(CloseReason::PeerClosed));
}

#[test]
fn who_lets_it_wait_is_closed_at_once_where_memory_is_short() {
    // rule: LIM-6
    let budget = MemoryBudget::new(nonzero(500));
    let mut rig = rig(text(&Text::default()).memory_budget(&budget), 1);
    for _ in 0..100 {
        rig.ask("!push");
    }
    let reason = rig.driver.take().expect("memory is short").to_string();
    assert!(reason.starts_with("memory_budget is 500"), "{reason}");
}
