//! Random programs of calls, and a configuration that they soon bring to its limits.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;

use super::support::{Frame, Kind};
use crate::{
    AnswerError, Config, End, HalfClose, Heartbeat, HeldOutput, Malformed, Priority, PushBound,
    PushCapacity, UnsentPushes, config::nonzero,
};

/// One call, or one thing that the outer world does.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// The peer writes a frame; it comes when it is delivered.
    Write(Frame),
    WriteGarbage(Vec<u8>),
    Deliver(usize),
    /// Whether the application holds its input.
    Hold(bool),
    /// Whether nothing is read.
    Pause(bool),
    /// What the transport says that it holds, right or wrong.
    Held(HeldOutput),
    SetHeartbeat(Option<Heartbeat>),
    Eof,
    TransportFailed,
    HalfClosed,
    Advance(u64),
    GoBack(u64),
    Timeout,
    Poll,
    Fill,
    Take(usize),
    Push(Priority, Frame),
    Accept(Priority, Vec<Frame>),
    EndPushes,
    Call(Option<u64>, Frame),
    CallStreaming(Option<u64>, Frame),
    Forget(usize),
    Respond(usize, Frame),
    Answer(usize, Frame),
    Finish(usize, Ending),
    Unrouted(usize, Frame),
    NextBody(usize),
    StopAwaiting(usize),
    DropBody(usize),
    Drain(u64),
    Abort,
    CloseOverLimit,
    SwapBuffers,
    Shrink,
}

/// What transports say, those that are mistaken included.
const HELD: [HeldOutput; 4] = [
    HeldOutput {
        bytes: 0,
        handed_on: 0,
    },
    HeldOutput {
        bytes: 1,
        handed_on: 1,
    },
    HeldOutput {
        bytes: 3,
        handed_on: 2,
    },
    HeldOutput {
        bytes: usize::MAX,
        handed_on: u64::MAX,
    },
];

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Request),
        2 => Just(Kind::Exclusive),
        4 => Just(Kind::Body),
        2 => Just(Kind::LastBody),
        3 => Just(Kind::Control),
        1 => Just(Kind::Reply),
        2 => Just(Kind::LastReply),
        1 => Just(Kind::ReplyEnd),
        1 => Just(Kind::Push),
        1 => Just(Kind::Flawed),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let body = prop_oneof![9 => 0usize..6, 1 => 6usize..80];
    (kind(), 0u8..12, proptest::option::of(1u16..5), body).prop_map(|(kind, route, id, len)| {
        Frame::new(kind, vec![route; len])
            .with_route(route)
            .with_id(id)
    })
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::High), Just(Priority::Low)]
}

/// An [`End`] that can be cloned. The last two codes of a failure stand for those that are
/// not the protocol's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Complete,
    StreamComplete,
    Failed(u8),
    Cancelled,
    Fatal,
    Panicked,
}

impl From<Ending> for End<u8> {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Complete => Self::Complete,
            Ending::StreamComplete => Self::StreamComplete,
            Ending::Failed(10) => Self::Failed(AnswerError::Malformed(Malformed::new("odd"))),
            Ending::Failed(11) => Self::Failed(AnswerError::Other("other".into())),
            Ending::Failed(code) => Self::Failed(AnswerError::Protocol(code)),
            Ending::Cancelled => Self::Cancelled,
            Ending::Fatal => Self::Fatal("io".into()),
            Ending::Panicked => Self::Panicked,
        }
    }
}

fn end() -> impl Strategy<Value = Ending> {
    prop_oneof![
        24 => Just(Ending::Complete),
        12 => Just(Ending::StreamComplete),
        12 => (0u8..12).prop_map(Ending::Failed),
        8 => Just(Ending::Cancelled),
        1 => Just(Ending::Fatal),
        1 => Just(Ending::Panicked),
    ]
}

/// None, one that pings, or one that only listens; soon due.
pub(super) fn heartbeat() -> impl Strategy<Value = Option<Heartbeat>> {
    let millis = || (0u64..25).prop_map(Duration::from_millis);
    let pings = (millis(), millis()).prop_map(|(every, timeout)| {
        let heartbeat = Heartbeat::pinging(every, timeout);
        Some(heartbeat)
    });
    prop_oneof![
        4 => Just(None),
        3 => pings,
        1 => millis().prop_map(|timeout| Some(Heartbeat::expecting(timeout))),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let which = 0usize..8;
    prop_oneof![
        48 => frame().prop_map(Op::Write),
        1 => proptest::collection::vec(any::<u8>(), 0..9).prop_map(Op::WriteGarbage),
        40 => (1usize..60).prop_map(Op::Deliver),
        4 => proptest::bool::weighted(0.3).prop_map(Op::Hold),
        2 => proptest::bool::weighted(0.3).prop_map(Op::Pause),
        1 => (0usize..4).prop_map(|n| Op::Held(HELD[n])),
        2 => heartbeat().prop_map(Op::SetHeartbeat),
        1 => Just(Op::Eof),
        1 => Just(Op::TransportFailed),
        1 => Just(Op::HalfClosed),
        6 => (0u64..12).prop_map(Op::Advance),
        2 => (0u64..12).prop_map(Op::GoBack),
        6 => Just(Op::Timeout),
        100 => Just(Op::Poll),
        40 => Just(Op::Fill),
        40 => (0usize..40).prop_map(Op::Take),
        16 => (priority(), frame()).prop_map(|(p, f)| Op::Push(p, f)),
        6 => (priority(), proptest::collection::vec(frame(), 0..3))
            .prop_map(|(p, f)| Op::Accept(p, f)),
        1 => Just(Op::EndPushes),
        8 => (proptest::option::of(1u64..5), frame()).prop_map(|(id, f)| Op::Call(id, f)),
        4 => (proptest::option::of(1u64..5), frame()).prop_map(|(id, f)| Op::CallStreaming(id, f)),
        4 => which.clone().prop_map(Op::Forget),
        24 => (which.clone(), frame()).prop_map(|(n, f)| Op::Respond(n, f)),
        16 => (which.clone(), frame()).prop_map(|(n, f)| Op::Answer(n, f)),
        16 => (which.clone(), end()).prop_map(|(n, e)| Op::Finish(n, e)),
        4 => (which.clone(), frame()).prop_map(|(n, f)| Op::Unrouted(n, f)),
        24 => which.clone().prop_map(Op::NextBody),
        4 => which.clone().prop_map(Op::StopAwaiting),
        8 => which.prop_map(Op::DropBody),
        1 => (0u64..40).prop_map(Op::Drain),
        1 => Just(Op::Abort),
        1 => Just(Op::CloseOverLimit),
        4 => Just(Op::SwapBuffers),
        4 => Just(Op::Shrink),
    ]
}

/// Everything as small as it gets.
pub(super) fn config(caller: bool, ends: bool, tiny: usize) -> Config {
    let mut config = Config::default();
    let limits = &mut config.limits;
    limits.max_frame_len = nonzero(60);
    limits.max_in_flight = (tiny != 3).then(|| nonzero(tiny));
    limits.max_held_back = nonzero(2);
    limits.max_body_frames = nonzero(tiny);
    limits.max_body_bytes = Some(nonzero(9 * tiny));
    limits.response_slot = nonzero(tiny);
    limits.max_control = nonzero(2);
    limits.high_water = nonzero(30);
    limits.read_buffer = nonzero(16 * tiny);
    limits.max_preamble = nonzero(5);
    config.timeouts.preamble = Duration::from_millis(40);
    config.timeouts.idle = Some(Duration::from_millis(50));
    config.timeouts.write_stall = Duration::from_millis(30);
    config.timeouts.body = Duration::from_millis(20);
    config.timeouts.frame_completion = Duration::from_millis(25);
    config.timeouts.close = Duration::from_millis(10);
    if ends {
        config.half_close = HalfClose::Ends;
        config.unsent_pushes = UnsentPushes::Returned;
    }
    config.push_bound = match caller {
        true => PushBound::Caller,
        false => PushBound::Engine(PushCapacity {
            frames: nonzero(3),
            bytes: nonzero(100),
        }),
    };
    config
}
