//! What a program is made of.

use proptest::prelude::*;
use wireframe::Priority;

use super::{
    handlers::{CONVERSING, HARMLESS},
    protocol::{PUSH, UNENCODABLE},
};

/// One step of a program.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Request {
        route: u32,
        id: Option<u64>,
        exclusive: bool,
    },
    /// A frame of a body, or its last.
    Body {
        of: Option<u64>,
        last: bool,
    },
    Control,
    PeerPush,
    TryPush(Priority, u32),
    PushOrDrop(Priority, u32),
    /// Waits for room.
    Push(Priority, u32),
    /// Gives up the n-th of those that wait.
    CancelPush(usize),
    Reserve(Priority),
    UsePermit(u32),
    DropPermit,
    Take(usize),
    Wait(u64),
    WriteSizes(Vec<usize>),
    ReadSizes(Vec<usize>),
    Stall(usize),
    Release,
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::High), Just(Priority::Low)]
}

fn pushed() -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(PUSH), 1 => Just(UNENCODABLE)]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(1..40usize, 0..4);
    let route = prop_oneof![60 => 1..=HARMLESS, 30 => CONVERSING, 1 => 10..=14u32, 3 => Just(50)];
    let request = (route, prop::option::of(1..4u64), prop::bool::weighted(0.1)).prop_map(
        |(route, id, exclusive)| Step::Request {
            route,
            id,
            exclusive,
        },
    );
    prop_oneof![
        12 => request,
        6 => (prop::option::of(1..4u64), prop::bool::weighted(0.3))
            .prop_map(|(of, last)| Step::Body { of, last }),
        1 => Just(Step::Control),
        1 => Just(Step::PeerPush),
        3 => (priority(), pushed()).prop_map(|(p, f)| Step::TryPush(p, f)),
        3 => (priority(), pushed()).prop_map(|(p, f)| Step::PushOrDrop(p, f)),
        4 => (priority(), pushed()).prop_map(|(p, f)| Step::Push(p, f)),
        2 => (0..4usize).prop_map(Step::CancelPush),
        1 => priority().prop_map(Step::Reserve),
        1 => pushed().prop_map(Step::UsePermit),
        1 => Just(Step::DropPermit),
        6 => (1..200usize).prop_map(Step::Take),
        4 => (0..40u64).prop_map(Step::Wait),
        1 => sizes().prop_map(Step::WriteSizes),
        1 => sizes().prop_map(Step::ReadSizes),
        1 => (0..40usize).prop_map(Step::Stall),
        2 => Just(Step::Release),
    ]
}

/// How the connection ends after the program, if it has not.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Drain,
    PeerFinishes,
    Reset,
    PeerGone,
    Abort,
    DropDriver,
    /// Nobody does anything, for long.
    Silence,
}

pub(super) fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Drain),
        Just(End::PeerFinishes),
        Just(End::Reset),
        Just(End::PeerGone),
        Just(End::Abort),
        Just(End::DropDriver),
        Just(End::Silence),
    ]
}

/// What an app may have besides.
#[derive(Clone, Debug)]
pub(super) struct Extras {
    /// So many dead letters find room, if there is a queue for them.
    pub(super) dead_letters: Option<usize>,
    /// Pushes in a second, and at once.
    pub(super) rate: Option<(u32, u32)>,
    pub(super) heartbeat: bool,
}

pub(super) fn extras() -> impl Strategy<Value = Extras> {
    let dead_letters = prop_oneof![Just(None), Just(Some(1)), Just(Some(1000))];
    let rate = prop::option::of((1..100u32, 1..4u32));
    (dead_letters, rate, any::<bool>()).prop_map(|(dead_letters, rate, heartbeat)| Extras {
        dead_letters,
        rate,
        heartbeat,
    })
}
