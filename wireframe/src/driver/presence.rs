//! How the world beside the engine learns of a connection, and of its end.

use std::panic::AssertUnwindSafe;

use wireframe_proto::{CloseReason, Event, Shutdown, State};

use super::{Driver, burial};
use crate::{frame::Protocol, push::DeadLetterReason, transport::Transport};

impl<P: Protocol, T: Transport> Driver<P, T> {
    /// Enters the connection where others look for it.
    pub(super) fn register(&self) {
        if let Some(registry) = &self.app.registry {
            registry.enter(self.control.id(), self.surroundings.push.downgrade());
        }
    }

    /// After a panic of the protocol, or a bug: ends the connection, running what the
    /// engine still has to run.
    pub(super) fn end_after_panic(&mut self) -> CloseReason {
        // It may panic again: in the hooks of what was under way, and in the last one.
        for _ in 0..3 {
            let ended = std::panic::catch_unwind(AssertUnwindSafe(|| self.end_engine()));
            if let Ok(reason) = ended {
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
    pub(super) fn close_mailbox(&mut self, reason: &CloseReason) {
        if let Some(registry) = &self.app.registry {
            registry.leave(self.control.id());
        }
        self.drop_tasks();
        self.settle();
        if let Some(caller) = &mut self.caller {
            caller.fail_all(reason);
        }
        self.lose_batch();
        let leftovers = self.mailbox.end();
        if let Some(caller) = &mut self.caller {
            caller.end();
        }
        burial::lose(
            &self.mailbox,
            leftovers,
            &DeadLetterReason::ConnectionClosed,
        );
        self.log_losses(reason);
    }
}
