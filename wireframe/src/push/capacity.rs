//! How much may be outstanding on one connection.

use wireframe_proto::{Priority, PushCapacity};

/// The push capacity of one connection, for each priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushLimits {
    /// Of high pushes.
    pub high: PushCapacity,
    /// Of low pushes.
    pub low: PushCapacity,
}

impl PushLimits {
    /// The default capacity for both priorities.
    #[must_use]
    pub const fn new() -> Self {
        Self::both(PushCapacity::new())
    }

    /// The same capacity for both priorities.
    #[must_use]
    pub const fn both(capacity: PushCapacity) -> Self {
        Self {
            high: capacity,
            low: capacity,
        }
    }

    /// Sets the capacity of one priority.
    #[must_use]
    pub const fn with(mut self, priority: Priority, capacity: PushCapacity) -> Self {
        match priority {
            Priority::High => self.high = capacity,
            Priority::Low => self.low = capacity,
        }
        self
    }
}
