//! Apps that have put another framing in the place of their protocol's.

use std::num::NonZeroUsize;

use wireframe::{
    FragmentLimits, FragmentMeta, FragmentStrategy, Heartbeat, Inbound, LenFlag32K, Malformed,
    Multiplexed, Priority::Low, PushPolicy, SessionRegistry, Unencodable, WireframeApp,
    testing::Simulation,
};

use crate::rig::{Line, Record, Rig, Text, config, line, nonzero, secs, text, wire};

/// Two fragments of the message that answers, and who says so.
const ECHOED: &[u8] = b"\0\x041-on\x80\x01e";

async fn echo(Inbound(frame): Inbound<Line>) -> Line {
    frame
}

/// `LenFlag32K` with fragments of four bytes, which numbers its clones.
#[derive(Default)]
struct Small {
    clones: Record,
}

impl Clone for Small {
    fn clone(&self) -> Self {
        self.clones.note("clone");
        Self {
            clones: self.clones.clone(),
        }
    }
}

impl FragmentStrategy<Line> for Small {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        FragmentStrategy::<Line>::decode_header(&mut LenFlag32K, src)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Line,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        LenFlag32K.encode_header(dst, frame, meta)
    }

    fn max_fragment_payload(&self, _: &Line) -> Option<NonZeroUsize> {
        Some(nonzero(4))
    }
}

fn received(rig: &mut Rig) -> Vec<u8> {
    rig.simulation.run();
    rig.peer.receive()
}

#[test]
fn a_replaced_framing_serves_each_connection_with_a_clone() {
    // rule: APP-2
    let small = Small::default();
    let app = text(&Text::default())
        .route(1, echo)
        .fragmentation(small.clone(), FragmentLimits::default());
    small.clones.take();
    let app = app.build().unwrap();
    assert_eq!(small.clones.count("clone"), 0);
    let simulation = Simulation::new();
    for connections in 1..3 {
        let mut rig = Rig::idle(&app, &simulation, 1000);
        rig.peer.send(b"\0\x021-\x80\x03one");
        assert_eq!(received(&mut rig), ECHOED);
        assert_eq!(small.clones.count("clone"), connections);
    }
}

#[test]
fn a_replaced_framing_commutes_with_what_else_is_set() {
    // rule: APP-2
    type Step = fn(WireframeApp<Text>) -> WireframeApp<Text>;
    let steps: [Step; 3] = [
        |app| app.route(1, echo),
        |app| {
            let mut limits = FragmentLimits::default();
            limits.max_message_size = Some(nonzero(5));
            app.fragmentation(Small::default(), limits)
        },
        |app| {
            app.config(config(|c| {
                c.fragments.max_message_size = Some(nonzero(100));
                c.timeouts.idle = Some(secs(5));
            }))
        },
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let app = || {
            let steps = order.iter().map(|&n| steps[n]);
            steps.fold(text(&Text::default()), |app, step| step(app))
        };
        let mut rig = Rig::new(app());
        rig.peer.send(b"\0\x041-on\x80\x01e");
        assert_eq!(received(&mut rig), ECHOED);
        rig.advance(secs(6));
        assert_eq!(rig.reason().unwrap().to_string(), "idle");
        let mut rig = Rig::new(app());
        rig.peer.send(b"\0\x041-on\x80\x02es");
        let reason = "max_message_size is 5, got 6";
        assert_eq!(rig.reason().unwrap().to_string(), reason);
    }
}

#[test]
fn what_is_broadcast_has_the_header_of_each_apps_framing() {
    // rule: REG-3, APP-2
    let registry = SessionRegistry::new();
    let protocol = Text {
        shares: true,
        ..Text::default()
    };
    let app = || text(&protocol).registry(&registry);
    let mut own = Rig::new(app());
    let mut replaced = Rig::new(app().fragmentation(Small::default(), FragmentLimits::default()));
    let fanout = registry.broadcast(line("!words"), Low, PushPolicy::DropIfFull);
    assert_eq!(fanout.queued, 2);
    assert_eq!(received(&mut own), wire("!words"));
    assert_eq!(received(&mut replaced), b"\0\x04!wor\x80\x02ds");
}

#[test]
fn a_ping_overtakes_a_large_answer_where_the_framing_lets_it() {
    // rule: SEL-7, HB-2
    let protocol = Text {
        ping: Some("~ping"),
        ..Text::default()
    };
    let small = Multiplexed::new().with_fragment_payload(nonzero(10));
    let app = text(&protocol)
        .route(1, || line("x".repeat(100)))
        .fragmentation(small, FragmentLimits::default())
        .config(config(|c| {
            c.heartbeat = Some(Heartbeat::pinging(secs(1), secs(9)));
            c.limits.high_water = nonzero(1);
        }));
    let mut rig = Rig::with_capacity(app, 30);
    rig.peer.send(b"\0\0\0\x01\x021");
    rig.simulation.run();
    rig.advance(secs(1));
    let mut bytes = Vec::new();
    loop {
        let more = received(&mut rig);
        if more.is_empty() {
            break;
        }
        bytes.extend(more);
    }
    let at = bytes.windows(5).position(|w| w == b"~ping").unwrap();
    let before = bytes[..at].iter().filter(|&&b| b == b'x').count();
    let all = bytes.iter().filter(|&&b| b == b'x').count();
    assert_eq!((before, all), (10, 100));
}
