//! How the peer writes a frame.

use alloc::{vec, vec::Vec};

use bytes::Bytes;

use super::super::{fragments::split, support::Frame};
use crate::{FragmentStrategy, LenFlag32K, LengthDelimited, Multiplexed};

/// A framing, and how the peer uses it.
pub(super) trait Wire: FragmentStrategy<Frame> + FragmentStrategy<Bytes> + Clone {
    /// The most bytes of a frame of this end, with headers.
    const LARGEST: usize;

    /// The units of the peer's `n`th frame.
    fn units(frame: &Frame, n: u32) -> Vec<Vec<u8>>;
}

impl Wire for LengthDelimited {
    const LARGEST: usize = 4 + 60;

    fn units(frame: &Frame, _: u32) -> Vec<Vec<u8>> {
        vec![frame.wire()]
    }
}

impl Wire for Multiplexed {
    /// A message of 70 in fragments of 10, the first of which says how long it is.
    const LARGEST: usize = 7 * (13 + 10) + 8;

    /// Most in fragments, of which one may be doubled or missing.
    fn units(frame: &Frame, n: u32) -> Vec<Vec<u8>> {
        let piece = if n.is_multiple_of(4) { 0 } else { 3 };
        let mut units = split(n, &frame.wire()[4..], piece);
        match frame.route {
            7 => units.insert(0, units[0].clone()),
            10 | 11 => drop(units.remove(units.len() / 2)),
            _ => {}
        }
        units
    }
}

impl Wire for LenFlag32K {
    /// A message of 70 in two fragments.
    const LARGEST: usize = 2 * 2 + 70;

    fn units(frame: &Frame, n: u32) -> Vec<Vec<u8>> {
        let wire = frame.wire();
        let piece = if n.is_multiple_of(4) { usize::MAX } else { 3 };
        let mut pieces = wire[4..].chunks(piece).peekable();
        let mut units = vec![];
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { 0x80 } else { 0 };
            let len = u8::try_from(piece.len()).unwrap();
            units.push([&[last, len], piece].concat());
        }
        units
    }
}
