//! Random programs of every call there is, in any order.

mod run;
mod wire;

use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::{
    fragments::multiplexed,
    preamble::arrow,
    programs::{Op, config, heartbeat, op},
    support::{Frame, Hook, Kind, Test},
};
use crate::{
    Config, Context, Heartbeat, LenFlag32K, LengthDelimited, Priority, Reaction, config::nonzero,
};
use run::Run;
use wire::Wire;

/// What a hook does depends on the frame or error that it is given.
fn reaction(route: u8) -> Reaction<Frame> {
    let frame = Frame::numbered(u32::from(route));
    match route {
        2 | 3 => Reaction::Send(frame),
        4 => Reaction::Send(Frame::new(Kind::Flawed, [])),
        5 => Reaction::Close(None),
        6 => Reaction::Close(Some(frame)),
        _ => Reaction::Continue,
    }
}

fn protocol<const C: bool, const B: bool>(has_preamble: bool) -> Test<C, B> {
    Test {
        preamble: has_preamble.then_some(arrow),
        on_control: |frame| reaction(frame.route),
        on_dropped: |message| reaction(u8::try_from(message.id % 8).unwrap()),
        on_error: |error| match error {
            crate::AnswerError::Protocol(code) => reaction(code),
            crate::AnswerError::Unencodable(error) => {
                reaction(if error.what.len() > 20 { 6 } else { 4 })
            }
            crate::AnswerError::Malformed(_) => reaction(2),
            crate::AnswerError::Other(_) => reaction(5),
        },
        on_unknown_route: |frame| reaction(frame.route),
        stream_end: Some(Frame::numbered(1)),
        drain_notice: Some(Frame::numbered(2)),
        ping: Some(Frame::numbered(6)),
        goodbye: Some(Frame::numbered(3)),
        in_hooks: |hook, ctx: &mut Context<'_, Test<C, B>>| match hook {
            Hook::Control(frame) if frame.route == 8 => {
                let _ = ctx.push(Priority::High, Frame::numbered(4));
            }
            Hook::Control(frame) if frame.route == 10 => {
                ctx.set_heartbeat(Some(Heartbeat::expecting(Duration::from_millis(20))));
            }
            Hook::Ping if ctx.commands_in_flight() > 1 => ctx.set_heartbeat(None),
            Hook::BeforeSend(frame) if frame.route == 9 => ctx.close(),
            Hook::CommandEnd(..) | Hook::Goodbye(_) | Hook::DrainNotice => {
                let _ = ctx.push(Priority::Low, Frame::numbered(5));
            }
            Hook::Disconnect(_) => ctx.close(),
            _ => {}
        },
    }
}

/// What a program of calls runs on.
#[derive(Clone, Debug)]
struct Setting {
    config: Config,
    preamble: Option<&'static [u8]>,
    /// The handlers end when the program has; else a drain has to end them.
    handlers_end: bool,
}

fn setting() -> impl Strategy<Value = Setting> {
    let preamble = proptest::sample::select(PREAMBLES);
    let ends = proptest::bool::weighted(0.2);
    let bounds = (any::<bool>(), ends, 1usize..4);
    (bounds, preamble, heartbeat(), any::<bool>()).prop_map(
        |((caller, ends, tiny), preamble, heartbeat, handlers_end)| {
            let mut config = config(caller, ends, tiny);
            config.heartbeat = heartbeat;
            Setting {
                config,
                preamble,
                handlers_end,
            }
        },
    )
}

fn run<const C: bool, const B: bool>(framing: impl Wire, setting: Setting, program: Vec<Op>) {
    let mut run = Run::<C, B, _>::new(setting.config, framing, setting.preamble);
    for op in program {
        run.apply(op);
        run.check();
    }
    if setting.handlers_end {
        run.settle_at_once();
    } else {
        // The drain's deadline has to end them.
        run.apply(Op::Drain(100));
        run.settle();
    }
    run.check_end();
}

/// None in most cases; else one that is taken, answered, refused, or never comes.
const PREAMBLES: &[Option<&[u8]>] = &[
    None,
    None,
    None,
    Some(b">>+"),
    Some(b">>!"),
    Some(b">>-"),
    Some(b""),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_in_any_order_are_harmless(
        order in 0..3,
        setting in setting(),
        program in proptest::collection::vec(op(), 0..120),
    ) {
        // rule: LIM-10, LIM-8, PUSH-9, RESP-4, HOOK-2, SHUT-3
        let framing = LengthDelimited::default();
        match order {
            0 => run::<false, false>(framing, setting, program),
            1 => run::<true, false>(framing, setting, program),
            _ => run::<false, true>(framing, setting, program),
        }
    }

    #[test]
    fn any_calls_over_framings_that_split_are_harmless(
        order in 0..4,
        mut setting in setting(),
        program in proptest::collection::vec(op(), 0..120),
    ) {
        // rule: LIM-10, SEL-7, REASM-3, REASM-5, PUSH-9, RESP-4, SHUT-3
        let fragments = &mut setting.config.fragments;
        fragments.max_message_size = Some(nonzero(70));
        fragments.max_partial_messages = nonzero(3);
        fragments.max_fragments_per_message = Some(nonzero(20));
        fragments.reassembly_timeout = Duration::from_millis(15);
        match order {
            0 => run::<false, false>(multiplexed(10), setting, program),
            1 => run::<true, false>(multiplexed(10), setting, program),
            2 => run::<true, false>(LenFlag32K, setting, program),
            _ => run::<false, true>(LenFlag32K, setting, program),
        }
    }
}
