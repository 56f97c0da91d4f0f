//! What a transport with buffers of its own says of them.

/// What a transport with buffers of its own, such as TLS, has taken and not handed on, and how
/// much it has handed on.
///
/// The two are told apart because neither follows from the other: what is handed on may be
/// longer than what was taken, as ciphertext is, or shorter, and part of it may be of the
/// transport's own making.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldOutput {
    /// Bytes that wait in the transport's buffers, about, and 0 only if none do. They count as
    /// the connection's memory.
    pub bytes: usize,
    /// Bytes that the transport has handed on in all, to the system or to a transport beneath
    /// that has no buffers. Never less than it was: that it is more is how the engine
    /// learns that the peer takes output.
    pub handed_on: u64,
}

impl HeldOutput {
    /// The same for this transport over another, of which `beneath` is told if it has buffers
    /// as well. What goes from the buffers of the one to those of the other is not handed on.
    #[must_use]
    pub const fn over(self, beneath: Option<Self>) -> Self {
        match beneath {
            None => self,
            Some(beneath) => Self {
                bytes: self.bytes.saturating_add(beneath.bytes),
                handed_on: beneath.handed_on,
            },
        }
    }

    /// How many bytes have been handed on at most when all that is held now has been.
    pub(crate) const fn end(self) -> u64 {
        self.handed_on.saturating_add(self.bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::HeldOutput;

    #[test]
    fn of_two_transports_with_buffers_both_hold_and_the_lower_one_hands_on() {
        // rule: LIM-3, LIM-6
        let [upper, lower] =
            [(7, 100), (5, 30)].map(|(bytes, handed_on)| HeldOutput { bytes, handed_on });
        assert_eq!(upper.over(None), upper);
        let both = HeldOutput {
            bytes: 12,
            handed_on: 30,
        };
        assert_eq!(upper.over(Some(lower)), both);
    }
}
