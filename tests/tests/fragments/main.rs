//! Messages in fragments, over sockets.

mod dead_letters;
mod hostile;
mod memory;
mod mismatched;
mod overtaking;
mod round_trips;
mod slow;
mod wire;

use std::num::NonZeroUsize;

use wireframe::{
    Config, FragmentLimits, LenFlag32K, LenSeq16M, Multiplexed, Protocol, WireframeApp,
};

use self::wire::Wire;

const fn nonzero(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("a limit of a test is not zero")
}

/// The app over that wire, with room for messages of 128 MiB.
fn over<P: Protocol>(app: WireframeApp<P>, wire: Wire) -> WireframeApp<P> {
    let mut limits = FragmentLimits::default();
    limits.max_message_size = Some(nonzero(128 << 20));
    within(app, wire, limits)
}

fn within<P: Protocol>(
    app: WireframeApp<P>,
    wire: Wire,
    limits: FragmentLimits,
) -> WireframeApp<P> {
    match wire {
        Wire::LenFlag => app.fragmentation(LenFlag32K, limits),
        Wire::Multiplexed => app.fragmentation(Multiplexed::new(), limits),
        Wire::LenSeq => {
            let mut config = Config::default();
            config.limits.max_frame_len = nonzero(wire.most());
            app.fragmentation(LenSeq16M::default(), limits)
                .config(config)
        }
    }
}

/// Bytes of which no piece is like the next.
fn bytes(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n ^ n >> 8 ^ n >> 16).to_le_bytes()[0])
        .collect()
}
