//! What came before malformed input is answered, however both were cut into reads.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::{
    fragments,
    preamble::arrow,
    support::{Frame, Hook, Kind, Link, OVERHEAD, TakePreamble, Test, ends, numbers},
};
use crate::{
    AnswerError, CloseReason, Config, Context, End, Event, Limits, Multiplexed, Outcome, Preamble,
    Priority, Reaction, RequestId, State, UnexpectedEof, config::nonzero,
};

/// What the application does with a request, as its route says.
mod route {
    /// Answers with one frame.
    pub(super) const FRAME: u8 = 0;
    /// Answers with three, which are there already.
    pub(super) const FRAMES: u8 = 1;
    /// Fails.
    pub(super) const FAILS: u8 = 2;
    /// Answers when all that has come is known.
    pub(super) const LATE: u8 = 3;
    /// Does not answer.
    pub(super) const NEVER: u8 = 4;
}

/// What was sent, and why the connection closed.
type Seen = (Vec<Frame>, Option<CloseReason>);

/// A driver that takes all events before it sends anything, and its application.
struct Driver<const C: bool> {
    link: Link<Test<C>>,
    /// The peer takes what is sent.
    takes: bool,
    late: Vec<RequestId>,
    sent: Vec<u8>,
    closing: Option<CloseReason>,
}

const GOODBYE: u32 = 2_000;
const ERROR: u32 = 3_000;

fn protocol<const C: bool>() -> Test<C> {
    Test {
        on_control: |frame| Reaction::Send(Frame::numbered(u32::from(frame.route))),
        on_error: |_| Reaction::Send(Frame::numbered(ERROR)),
        goodbye: Some(Frame::numbered(GOODBYE)),
        ..Test::default()
    }
}

fn tight() -> Config {
    let mut config = Config::default();
    config.limits.max_in_flight = Some(nonzero(3));
    config.limits.max_held_back = nonzero(4);
    config.limits.max_frame_len = nonzero(100);
    config.limits.high_water = nonzero(2 * OVERHEAD);
    config
}

impl<const C: bool> Driver<C> {
    fn new(config: Config, takes: bool) -> Self {
        Self {
            link: Link::new(config, protocol()),
            takes,
            late: vec![],
            sent: vec![],
            closing: None,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.link.receive_bytes(bytes);
        self.run();
    }

    /// Reads these bytes, and the peer's end with them.
    fn read_last(&mut self, bytes: &[u8]) {
        self.link.receive_bytes(bytes);
        self.link.eof();
        self.run();
    }

    fn run(&mut self) {
        loop {
            for event in self.link.events() {
                self.serve(&event);
            }
            for id in core::mem::take(&mut self.late) {
                let _ = self.link.connection.answer(id, Frame::numbered(1));
            }
            let _ = self.link.fill();
            if self.takes {
                self.sent.extend(self.link.sent_bytes());
            }
            if !self.link.connection.wants().event {
                return;
            }
        }
    }

    fn serve(&mut self, event: &Event<Frame>) {
        let engine = &mut self.link.connection;
        match event {
            Event::Request { info, frame } => match frame.route {
                route::FRAME => engine.answer(info.id, Frame::numbered(1)).unwrap(),
                route::FRAMES => {
                    for n in 1..=3 {
                        engine.accept_response(info.id, Frame::numbered(n)).unwrap();
                    }
                    engine.finish(info.id, End::Complete).unwrap();
                }
                route::FAILS => {
                    let end = End::Failed(AnswerError::Protocol(1));
                    engine.finish(info.id, end).unwrap();
                }
                route::LATE => self.late.push(info.id),
                _ => {}
            },
            Event::Push(frame) => engine.push(Priority::Low, frame.clone()).unwrap(),
            Event::Closing(reason) => self.closing = Some(reason.clone()),
            _ => {}
        }
    }

    /// The peer takes what there is.
    fn end(mut self) -> Seen {
        self.takes = true;
        self.run();
        (Frame::parse_all(&self.sent), self.closing)
    }
}

/// What is seen if these bytes come in these reads, and the peer's end with the last.
fn seen<const C: bool>(config: &Config, takes: bool, reads: &[&[u8]]) -> Seen {
    let mut driver = Driver::<C>::new(config.clone(), takes);
    let (last, others) = reads.split_last().unwrap();
    others.iter().for_each(|read| driver.read(read));
    driver.read_last(last);
    driver.end()
}

/// The same for every way to cut the bytes in two, and for each byte by itself.
fn seen_for_every_cut<const C: bool>(wire: &[u8]) -> Seen {
    let whole = seen::<C>(&tight(), true, &[wire]);
    for takes in [true, false] {
        for at in 0..=wire.len() {
            let (front, back) = wire.split_at(at);
            let cut = seen::<C>(&tight(), takes, &[front, back]);
            assert_eq!(cut, whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(seen::<C>(&tight(), takes, &bytes), whole, "byte by byte");
    }
    whole
}

fn request(route: u8, id: u16) -> Frame {
    Frame::request(id).with_route(route)
}

fn wire(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::wire).collect()
}

/// Bytes that no connection survives, or of which not all come.
fn flaws() -> [Vec<u8>; 3] {
    let mut cut_off = Frame::request(99).wire();
    cut_off.pop();
    let too_long = 101u32.to_be_bytes().to_vec();
    [Frame::new(Kind::Flawed, []).wire(), too_long, cut_off]
}

/// The numbers of an answer, with the id of its request.
fn outline(frames: &[Frame]) -> Vec<(u32, u16)> {
    let outline = frames.iter().map(|f| (f.number(), f.id.unwrap_or(0)));
    outline.collect()
}

#[test]
fn every_kind_of_answer_survives_a_flaw_behind_its_request() {
    // rule: FRAME-5, SEL-8
    for flaw in flaws() {
        for (route, answer) in [
            (route::FRAME, &[1][..]),
            (route::FRAMES, &[1, 2, 3]),
            (route::FAILS, &[ERROR]),
            (route::LATE, &[1]),
            (route::NEVER, &[]),
        ] {
            let wire = [wire(&[request(route, 1)]), flaw.clone()].concat();
            let mut expected: Vec<_> = answer.iter().map(|&n| (n, 1)).collect();
            expected.push((GOODBYE, 0));
            let (frames, _) = seen_for_every_cut::<false>(&wire);
            assert_eq!(outline(&frames), expected, "{route}");
            let (frames, _) = seen_for_every_cut::<true>(&wire);
            assert_eq!(outline(&frames), expected, "{route}");
        }
    }
}

#[test]
fn commands_that_were_held_back_are_served_as_those_before_them_end() {
    // rule: FRAME-5, RESP-7
    let routes = [route::LATE, route::FRAMES, route::LATE, route::FAILS];
    let requests: Vec<_> = (1..).zip(routes).map(|(id, r)| request(r, id)).collect();
    let answers = [
        (1, 1),
        (1, 2),
        (2, 2),
        (3, 2),
        (1, 3),
        (ERROR, 4),
        (GOODBYE, 0),
    ];
    for flaw in flaws() {
        let wire = [wire(&requests), flaw].concat();
        let mut config = tight();
        config.limits.max_in_flight = None;
        let (whole, _) = seen::<false>(&config, true, &[&wire]);
        assert_eq!(outline(&whole), answers);
        let (whole, _) = seen_for_every_cut::<false>(&wire);
        assert_eq!(outline(&whole), answers);
    }
}

#[test]
fn the_reason_is_the_flaw_and_not_what_follows_it() {
    // rule: FRAME-5, SHUT-6
    let [flawed, too_long, cut_off] = flaws();
    let request = request(route::LATE, 1).wire();
    let reason = |flaw: &[u8]| {
        let wire = [&request, flaw].concat();
        seen_for_every_cut::<false>(&wire).1.unwrap()
    };
    let behind = [flawed.clone(), too_long.clone()].concat();
    assert!(matches!(reason(&behind), CloseReason::Malformed(m) if m.code == 7));
    let behind = [too_long, flawed].concat();
    assert!(matches!(reason(&behind), CloseReason::Limit(l) if l.limit == "max_frame_len"));
    let eof = UnexpectedEof {
        received: 3,
        missing: Some(1),
    };
    assert_eq!(reason(&cut_off), CloseReason::UnexpectedEof(eof));
}

#[test]
fn control_frames_and_pushes_before_a_flaw_are_served() {
    // rule: FRAME-5
    let frames = [
        Frame::new(Kind::Control, []).with_route(5),
        Frame::numbered(6),
        Frame::new(Kind::Flawed, []),
    ];
    let (frames, _) = seen_for_every_cut::<true>(&wire(&frames));
    assert_eq!(numbers(&frames), [5, 6, GOODBYE]);
}

#[test]
fn a_flaw_waits_one_turn_for_handlers_and_not_for_those_that_never_answer() {
    // rule: FRAME-5
    let mut link = Link::new(tight(), protocol::<false>());
    link.receive(&[request(route::NEVER, 1), Frame::new(Kind::Flawed, [])]);
    assert!(matches!(link.events()[..], [Event::Request { .. }]));
    assert_eq!(link.connection.state(), State::Active);
    assert!(link.connection.wants().event, "after one turn");
    assert!(matches!(link.events()[..], [Event::Closing(_)]));
    assert_eq!(ends(&link.hooks()), [(Outcome::Disconnected, Some(1))]);
}

#[test]
fn a_flaw_that_comes_alone_waits_for_nothing() {
    // rule: FRAME-5
    let mut link = Link::new(tight(), protocol::<false>());
    link.requests(&[1]);
    link.receive(&[Frame::new(Kind::Flawed, [])]);
    assert!(matches!(link.events()[..], [Event::Closing(_)]));
}

#[test]
fn what_is_read_behind_a_flaw_is_dropped_while_what_came_before_is_served() {
    // rule: FRAME-5
    let mut link = Link::new(tight(), protocol::<false>());
    link.receive(&[request(route::NEVER, 1), Frame::new(Kind::Flawed, [])]);
    link.events();
    link.receive(&[request(route::FRAME, 2)]);
    link.eof();
    assert!(matches!(
        link.events()[..],
        [Event::Closing(CloseReason::Malformed(_))]
    ));
    let hooks = link.hooks();
    assert!(!hooks.contains(&Hook::CommandEnd(Outcome::Disconnected, Some(2))));
}

#[test]
fn what_is_encoded_past_the_high_water_mark_is_bounded_by_the_requests_that_may_wait() {
    // rule: FRAME-5, SEL-8, RESP-7
    let Limits { high_water, .. } = tight().limits;
    let answer = OVERHEAD + 4;
    // Two reach the mark, three are at work and three are held back.
    let few: Vec<_> = (1..=8).map(|id| request(route::FRAME, id)).collect();
    let mut driver = Driver::<false>::new(tight(), false);
    driver.read(&[wire(&few), flaws()[0].clone()].concat());
    assert_eq!(driver.link.connection.state(), State::Closing);
    assert_eq!(driver.link.connection.transmit.len(), 8 * answer);
    assert!(8 * answer > high_water.get());

    let many: Vec<_> = (1..=1_000).map(|id| request(route::FRAME, id)).collect();
    let mut driver = Driver::<false>::new(tight(), false);
    driver.read(&[wire(&many), flaws()[0].clone()].concat());
    // The flaw is not found before there is room for what comes before it.
    assert_eq!(driver.link.connection.state(), State::Active);
    assert!(driver.link.connection.transmit.len() < high_water.get() + answer);
    assert_eq!(driver.link.connection.commands_in_flight(), 3 + 4);
    let (frames, _) = driver.end();
    assert_eq!(frames.len(), 1_000 + 1);
}

#[test]
fn a_flawed_message_in_fragments_is_a_flaw_like_any_other() {
    // rule: FRAME-5, REASM-3
    let request = fragments::whole(&Frame::request(1).wire()[4..]);
    let mut too_long = fragments::fragment(1, 0, Some(u64::MAX), false, b"begins");
    too_long.truncate(too_long.len() - 1);
    let gap = fragments::fragment(1, 1, None, false, b"goes on");
    for flaw in [too_long, gap] {
        let mut link = fragments::over(Multiplexed::new(), protocol::<false>());
        link.receive_bytes(&[request.clone(), flaw].concat());
        let id = link.started()[0].id;
        link.connection.answer(id, Frame::numbered(1)).unwrap();
        assert!(matches!(link.events()[..], [Event::Closing(_)]));
        assert_eq!(ends(&link.hooks()), [(Outcome::Done, Some(1))]);
    }
}

#[test]
fn what_the_setup_has_pushed_goes_before_the_goodbye_to_a_flawed_preamble() {
    // rule: FRAME-5, REQ-5
    let greet = |hook: &Hook, ctx: &mut Context<'_, Test<true>>| {
        if matches!(hook, Hook::Setup) {
            ctx.push(Priority::Low, Frame::numbered(1)).unwrap();
        }
    };
    let longer = |received: &[u8]| Preamble::Done {
        len: received.len() + 1,
        reaction: Reaction::Continue,
    };
    let cases: [(TakePreamble, &[u8], bool); 4] = [
        (arrow, b">x", false),
        (arrow, b">", true),
        (|_| Preamble::Incomplete, &[0; 1024], false),
        (longer, b">", false),
    ];
    for (preamble, bytes, ends) in cases {
        let protocol = Test {
            preamble: Some(preamble),
            in_hooks: greet,
            ..protocol::<true>()
        };
        let mut link = Link::new(tight(), protocol);
        link.receive_bytes(bytes);
        if ends {
            link.eof();
        }
        link.events();
        assert_eq!(numbers(&link.sent()), [1, GOODBYE], "{bytes:?}");
    }
}

fn any_frame() -> impl Strategy<Value = (Kind, u8)> {
    let kinds = vec![
        Kind::Request,
        Kind::Request,
        Kind::Request,
        Kind::Exclusive,
        Kind::Control,
        Kind::Push,
    ];
    let kind = proptest::sample::select(kinds);
    let route = proptest::sample::select(vec![
        route::FRAME,
        route::FRAMES,
        route::FAILS,
        route::LATE,
        route::LATE,
    ]);
    (kind, route)
}

/// Each frame with a name of its own.
fn named(frames: &[(Kind, u8)]) -> Vec<Frame> {
    let named = (1..).zip(frames).map(|(id, &(kind, route))| match kind {
        Kind::Push => Frame::numbered(u32::from(id)),
        kind => Frame::new(kind, []).with_route(route).with_id(id),
    });
    named.collect()
}

/// Answers may take turns, and control frames overtake them; but inside an answer there is
/// an order, and the goodbye is the last.
fn in_order_of_requests(mut seen: Seen) -> (Vec<(u16, u32)>, bool) {
    assert_eq!(seen.0.pop().map(|frame| frame.number()), Some(GOODBYE));
    let mut frames: Vec<_> = outline(&seen.0).iter().map(|&(n, id)| (id, n)).collect();
    frames.sort_by_key(|&(id, n)| (id, (id == 0).then_some(n)));
    (frames, seen.1.is_some())
}

proptest! {
    #[test]
    fn whatever_came_before_a_flaw_is_answered_for_any_cuts(
        frames in proptest::collection::vec(any_frame(), 0..16),
        flaw in proptest::sample::select(flaws().to_vec()),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        takes: bool,
    ) {
        // rule: FRAME-5
        let wire = [wire(&named(&frames)), flaw].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let reads: Vec<&[u8]> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
        let requests = frames.iter().filter(|(kind, _)| *kind != Kind::Push);
        let answers = requests.map(|(kind, route)| match (kind, *route) {
            (Kind::Request | Kind::Exclusive, route::FRAMES) => 3,
            _ => 1,
        });
        let pushes = frames.iter().filter(|(kind, _)| *kind == Kind::Push);
        let expected = answers.sum::<usize>() + pushes.count();
        let whole = in_order_of_requests(seen::<false>(&tight(), true, &[&wire]));
        prop_assert_eq!(whole.0.len(), expected);
        let cut = seen::<false>(&tight(), takes, &reads);
        prop_assert_eq!(in_order_of_requests(cut), whole);
        let whole = in_order_of_requests(seen::<true>(&tight(), true, &[&wire]));
        prop_assert_eq!(whole.0.len(), expected);
        let cut = seen::<true>(&tight(), takes, &reads);
        prop_assert_eq!(in_order_of_requests(cut), whole);
    }
}
