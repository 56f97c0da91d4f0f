//! What is wrong with an app is said when it is built.

use wireframe_proto::Config;

use super::{AnyHandler, Needs, StateMap};
use crate::{
    error::{BuildError, Place},
    frame::Protocol,
};

/// A time limit of zero would end every connection at once.
pub(super) fn config(config: &Config) -> Result<(), BuildError> {
    let timeouts = &config.timeouts;
    let reassembly_timeout = config.fragments.reassembly_timeout;
    let heartbeat = config.heartbeat.as_ref();
    let limits = [
        ("timeouts.preamble", Some(timeouts.preamble)),
        ("timeouts.idle", timeouts.idle),
        ("timeouts.write_stall", Some(timeouts.write_stall)),
        ("timeouts.body", Some(timeouts.body)),
        ("timeouts.frame_completion", Some(timeouts.frame_completion)),
        ("timeouts.close", Some(timeouts.close)),
        ("fragments.reassembly_timeout", Some(reassembly_timeout)),
        ("heartbeat.every", heartbeat.and_then(|h| h.every)),
        ("heartbeat.timeout", heartbeat.map(|h| h.timeout)),
        ("fairness.time_slice", config.fairness.time_slice),
    ];
    match limits
        .into_iter()
        .find(|(_, limit)| limit.is_some_and(|limit| limit.is_zero()))
    {
        Some((name, _)) => Err(BuildError::Zero(name)),
        None => Ok(()),
    }
}

/// Whether a handler takes what there is in its place.
pub(super) fn handler<P: Protocol>(
    handler: &dyn AnyHandler<P>,
    states: &StateMap,
    place: Place,
) -> Result<(), BuildError> {
    let taken = handler.frames_taken();
    let there = usize::from(place != Place::OnConnect);
    if taken > there {
        return Err(BuildError::Frame {
            place,
            taken,
            there,
        });
    }
    let taken = handler.bodies_taken();
    let there = usize::from(matches!(place, Place::Route(_) | Place::Fallback));
    if taken > there {
        return Err(BuildError::Body {
            place,
            taken,
            there,
        });
    }
    handler.check(&Needs { states, place })
}
