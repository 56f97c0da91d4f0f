//! A slot taken ahead of its frame.

use std::fmt;

use wireframe_proto::Priority;

use super::{error::PushError, mailbox::Mailbox};
use crate::sync::Arc;

/// The right to push one frame without waiting.
///
/// It holds one frame slot until it is used or dropped, and a token where the rate of
/// pushes is limited; the frame's bytes are charged when it is used, so each outstanding
/// permit may pass the byte bound by one frame.
///
/// ```
/// use wireframe::{PushError, PushHandle};
/// use wireframe_proto::Priority;
///
/// async fn next_line(push: &PushHandle<String>, lines: &mut Vec<String>) -> Result<(), PushError<()>> {
///     // Dropped here, the future has not taken a line yet.
///     let permit = push.reserve(Priority::Low).await?;
///     if let Some(line) = lines.pop()
///         && let Err(refused) = permit.send(line)
///     {
///         lines.push(refused.into_frame());
///     }
///     Ok(())
/// }
/// ```
#[must_use = "an unused permit gives back what it holds"]
pub struct Permit<F> {
    mailbox: Arc<Mailbox<F>>,
    priority: Priority,
    holds_slot: bool,
}

impl<F> Permit<F> {
    pub(super) fn new(mailbox: Arc<Mailbox<F>>, priority: Priority) -> Self {
        Self {
            mailbox,
            priority,
            holds_slot: true,
        }
    }

    /// Pushes the frame, at once.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] with the frame if the connection has ended since, or drains
    /// and takes nothing new.
    pub fn send(mut self, frame: F) -> Result<(), PushError<F>> {
        self.mailbox.enter_reserved(self.priority, frame)?;
        self.holds_slot = false;
        Ok(())
    }
}

impl<F> Drop for Permit<F> {
    fn drop(&mut self) {
        if self.holds_slot {
            self.mailbox.unreserve(self.priority);
        }
    }
}

impl<F> fmt::Debug for Permit<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("connection", &self.mailbox.control().id())
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}
