//! Moving bytes between engine and transport.

use std::{
    io::IoSlice,
    task::{Context, Poll},
};

use wireframe_proto::HalfClose;

use super::{Driver, pool};
use crate::{clock::Clock, frame::Protocol, transport::Transport};

/// Chunks offered to one write.
const CHUNKS: usize = 32;

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Sends what the engine lends until there is nothing more or the transport takes
    /// no more; says whether the transport took anything.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let progress = self.offer(cx);
        self.tell_held();
        progress
    }

    /// The engine learns what the transport holds.
    fn tell_held(&mut self) {
        if let Some(held) = self.transport.held() {
            self.engine.handle_held(self.now, held);
        }
    }

    /// Whether the transport has output in buffers of its own.
    pub(super) fn transport_holds(&self) -> bool {
        self.transport.held().is_some_and(|held| held.bytes != 0)
    }

    /// Whether the transport may hold back what it has taken, or holds what it has made itself.
    pub(super) fn has_to_flush(&self) -> bool {
        self.unflushed || self.transport_holds()
    }

    fn offer(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Some(transmit) = self.engine.transmit() {
            let mut chunks = [IoSlice::new(&[]); CHUNKS];
            let at_once = if self.transport.is_write_vectored() {
                CHUNKS
            } else {
                1
            };
            let mut count = 0;
            let places = chunks.iter_mut().take(at_once);
            for (place, chunk) in places.zip(transmit.chunks()) {
                *place = IoSlice::new(chunk);
                count += 1;
            }
            let offered = chunks.get(..count).unwrap_or_default();
            match self.transport.poll_write(cx, offered) {
                Poll::Ready(Ok(0)) => {
                    self.fail("write", "the transport takes no more bytes");
                    return progress;
                }
                Poll::Ready(Ok(n)) => {
                    transmit.advance(n);
                    self.unflushed = true;
                    progress = true;
                }
                Poll::Ready(Err(error)) => {
                    self.fail("write", &error.to_string());
                    return progress;
                }
                Poll::Pending => {
                    self.write_blocked = true;
                    if self.engine.is_at_high_water() {
                        self.note_output(true);
                    }
                    return progress;
                }
            }
        }
        self.write_blocked = false;
        self.note_output(false);
        self.flush(cx);
        progress
    }

    /// Logs it when answers and pushes begin to wait because the peer takes no more output,
    /// and when it has taken all there is.
    #[inline]
    pub(super) fn note_output(&mut self, waits: bool) {
        if self.output_waits != waits {
            self.output_waits = waits;
            let (connection, cause) = (self.mailbox.control().id(), "high_water");
            match waits {
                true => tracing::debug!(%connection, cause, "back-pressure applied"),
                false => tracing::debug!(%connection, cause, "back-pressure lifted"),
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        if !self.has_to_flush() {
            return;
        }
        match self.transport.poll_flush(cx) {
            Poll::Ready(Ok(())) => self.unflushed = false,
            Poll::Ready(Err(error)) => self.fail("flush", &error.to_string()),
            Poll::Pending => {}
        }
    }

    /// There will be output: spares the engine the growth of a buffer.
    pub(super) fn lend_write_buffer(&mut self) {
        if self.engine.lacks_transmit_buffer()
            && let Some(buffer) = pool::take_write()
        {
            self.engine.give_transmit_buffer(buffer);
        }
    }

    /// Ends our output once everything has been sent; says whether that is new.
    pub(super) fn half_close(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.engine.wants().half_close || self.has_to_flush() {
            return false;
        }
        match self.transport.poll_close(cx) {
            Poll::Ready(Ok(())) => self.engine.handle_half_closed(self.now),
            Poll::Ready(Err(error)) => self.fail("close", &error.to_string()),
            Poll::Pending => return false,
        }
        true
    }

    /// Reads once, if the engine wants it; says whether anything came.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.engine.wants().read {
            return false;
        }
        if self.engine.lacks_receive_buffer()
            && let Some(buffer) = pool::take_read()
        {
            self.engine.give_receive_buffer(buffer);
        }
        let held = self.transport.held();
        match self.transport.poll_read(cx, self.engine.receive_buffer()) {
            Poll::Ready(Ok(0)) => {
                self.peer_gone = self.app.config.half_close == HalfClose::Ends;
                self.engine.handle_eof(self.now);
            }
            Poll::Ready(Ok(_)) => self.engine.handle_received(self.now),
            Poll::Ready(Err(error)) => self.fail("read", &error.to_string()),
            Poll::Pending => {
                if self.transport.held() != held {
                    // It has made an answer of its own to what it has read.
                    self.flush(cx);
                    self.tell_held();
                }
                return false;
            }
        }
        true
    }

    fn fail(&mut self, what: &'static str, error: &str) {
        let text = format!("{what}: {error}");
        self.engine.handle_transport_failed(self.now, text);
        // The peer is gone: nobody is left to work for.
        self.drop_tasks();
    }

    /// Gives back what only a busy connection needs.
    pub(super) fn rest(&mut self) {
        if let Some(buffer) = self.engine.take_receive_buffer() {
            pool::put_read(buffer);
        }
        if let Some(buffer) = self.engine.take_transmit_buffer() {
            pool::put_write(buffer);
        }
        if self.engine.commands_in_flight() == 0 {
            self.engine.shrink();
            self.rest_from_work();
            self.batch = None;
            self.conversations = None;
            self.tell_latencies(Clock::now);
            self.meter.rest();
        }
    }
}
