//! How the world beside the engine learns of a connection, and of its end.

use wireframe_proto::{CloseReason, Escaped, Event, Fault, Shutdown, State, Stats};

use super::{Driver, burial};
use crate::{
    budget, contain,
    frame::Protocol,
    push::{DeadLetterReason, Progress},
    transport::Transport,
};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Says what the connection is at, at the end of a run.
    pub(super) fn report(&mut self) {
        let stats = self.engine.stats();
        self.publish(&stats);
        self.measure(&stats);
    }

    fn publish(&self, stats: &Stats) {
        self.mailbox.control().published().set(&Progress {
            received: stats.bytes_received,
            sent: stats.bytes_sent,
            requests: self.engine.commands_in_flight(),
            stalled_since: self
                .engine
                .output_waits_since()
                .filter(|_| self.write_blocked || self.transport_holds()),
        });
    }

    /// Enters the connection where others look for it.
    pub(super) fn register(&self) {
        if let Some(registry) = &self.app.registry {
            registry.enter(
                self.mailbox.control().id(),
                self.surroundings.push.downgrade(),
            );
        }
    }

    /// After a panic of the protocol, or a bug: ends the connection, running what the
    /// engine still has to run.
    pub(super) fn end_after_panic(&mut self) -> CloseReason {
        // It may panic again: in the hooks of what was under way, and in the last one.
        for _ in 0..3 {
            let ended = contain::run(|| self.end_engine());
            if let Some(reason) = ended {
                return reason;
            }
        }
        CloseReason::ProtocolPanicked
    }

    fn end_engine(&mut self) -> CloseReason {
        if self.engine.state() != State::Closed {
            self.engine.shutdown(self.now, Shutdown::Immediate);
        }
        while let Some(event) = self.engine.poll_event(self.now) {
            match event {
                Event::Closed(reason) => return reason,
                Event::Undelivered(undelivered) => self.undelivered(undelivered),
                _ => {}
            }
        }
        CloseReason::ProtocolPanicked
    }

    /// Ends what outlives the engine.
    ///
    /// It wakes, drops and logs, all of it foreign code: a step that panics keeps none of
    /// those behind it from being taken.
    pub(super) fn close_mailbox(&mut self, reason: &CloseReason) {
        self.is_over = true;
        if let Some(registry) = &self.app.registry {
            registry.leave(self.mailbox.control().id());
        }
        // First the reason, for calls that wait for room in the mailbox.
        if let Some(caller) = &self.caller {
            caller.note_end(reason);
        }
        let leftovers = self.mailbox.end();
        if let Some(caller) = &mut self.caller {
            contain::run(|| caller.fail_all(reason));
        }
        contain::run(|| self.drop_tasks());
        contain::run(|| self.settle());
        contain::run(|| self.lose_batch());
        if let Some(caller) = &mut self.caller {
            contain::run(|| caller.end());
        }
        contain::run(|| {
            let reason = DeadLetterReason::ConnectionClosed;
            burial::lose(&self.mailbox, leftovers, &reason);
        });
        contain::run(|| self.note_output(false));
        contain::run(|| self.log_end(reason));
        contain::run(|| self.end_measuring(reason));
        self.holding = None;
    }

    /// Says how it has ended: at a level at which peers cannot fill the log of a server.
    fn log_end(&self, reason: &CloseReason) {
        let (connection, stats) = (self.mailbox.control().id(), self.engine.stats());
        let unsent = self.mailbox.stats().unsent_at_end;
        macro_rules! log_at {
            ($level:ident) => {
                tracing::$level!(
                    %connection,
                    reason = %Escaped(reason),
                    frames_received = stats.frames_received,
                    frames_sent = stats.frames_sent,
                    bytes_received = stats.bytes_received,
                    bytes_sent = stats.bytes_sent,
                    pushes_unsent = unsent,
                    "connection ended"
                )
            };
        }
        match reason.fault() {
            Fault::Nobody => log_at!(debug),
            Fault::Peer => log_at!(info),
            // The budget warns of all of these together.
            _ if budget::has_closed(reason) => log_at!(info),
            // This end's, and what a later engine may tell from it.
            _ => log_at!(warn),
        }
    }
}
