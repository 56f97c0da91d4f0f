//! The budget for the memory of all connections, and who pays when it is used up.

mod hostile;
mod random;
mod shortage;

use bytes::Bytes;
use wireframe::{
    App, CloseReason, Codec, Config, Context, Driver, FragmentMeta, FragmentStrategy, Frame,
    FrameBuf, Malformed, MemoryBudget, PayloadFrame, PushHandle, Role, Unencodable, View,
    WireframeApp, WireframeProtocol,
    proto::{LimitExceeded, Multiplexed},
    testing::{Link, Simulation, Spawned, link},
};

use crate::rig::nonzero;

/// A frame is its payload. What begins with `?` is a request to be echoed, with `*` one for
/// route 2, and everything else is a push. It may come in fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blob(Bytes);

fn blob(len: usize) -> Blob {
    Blob(vec![b'.'; len].into())
}

impl Frame for Blob {}

impl PayloadFrame for Blob {
    fn into_payload(self) -> Bytes {
        self.0
    }

    fn answering(_: u32, payload: Bytes) -> Self {
        Self(payload)
    }
}

struct Uploads;
struct BlobCodec;

impl Codec for BlobCodec {
    type Frame = Blob;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Blob, Malformed> {
        assert!(&payload[..] != b"panic", "told to");
        Ok(Blob(payload))
    }

    fn encode(&mut self, frame: &Blob, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_bytes(&frame.0);
        Ok(())
    }

    fn encoded_len(&self, frame: &Blob) -> usize {
        frame.0.len()
    }
}

impl WireframeProtocol for Uploads {
    type Frame = Blob;
    type Error = std::convert::Infallible;
    type Codec = BlobCodec;
    type Framing = Multiplexed;
    type Session = ();

    fn codec(&self) -> BlobCodec {
        BlobCodec
    }

    fn framing(&self) -> Multiplexed {
        Multiplexed::new()
    }

    fn classify(&self, frame: &Blob, _: &View<'_, ()>) -> Role {
        match frame.0.first() {
            Some(first @ (b'?' | b'*')) => Role::Request {
                route: if *first == b'?' { 1 } else { 2 },
                correlation: None,
                exclusive: false,
            },
            _ => Role::Push,
        }
    }

    fn goodbye(&self, reason: &CloseReason, _: &mut Context<'_, Self>) -> Option<Blob> {
        Some(Blob(reason.to_string().into()))
    }
}

/// A unit on the wire: a fragment if it is one of several.
fn unit(id: u64, seq: u32, total: Option<u64>, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut meta = FragmentMeta::whole(payload.len() as u64);
    if seq > 0 || total.is_some() {
        meta.msg_id = Some(id);
        meta.seq = Some(seq);
        meta.total_message_len = total;
        meta.is_final = is_final;
    }
    let mut unit = Vec::new();
    let mut framing = Multiplexed::new();
    FragmentStrategy::<Blob>::encode_header(&mut framing, &mut unit, &blob(0), &meta).unwrap();
    unit.extend_from_slice(payload);
    unit
}

fn whole(payload: &[u8]) -> Vec<u8> {
    unit(0, 0, None, true, payload)
}

/// The first fragment of a message of that length.
fn begins(total: usize, payload: &[u8]) -> Vec<u8> {
    unit(1, 0, Some(total as u64), false, payload)
}

/// The payloads of whole units.
fn payloads(mut wire: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = vec![];
    while let Some((len, rest)) = wire.split_first_chunk::<4>() {
        let (payload, rest) = rest[1..].split_at(u32::from_be_bytes(*len) as usize);
        payloads.push(payload.to_vec());
        wire = rest;
    }
    payloads
}

/// What is charged for the account of one message that is not whole, beside its bytes.
fn account() -> usize {
    let world = World::new(1 << 20);
    let mut one = world.open();
    world.send(&mut one, &begins(9, &[1; 6]));
    world.budget.used() - 9
}

/// Several connections of an app that share a budget.
struct World {
    simulation: Simulation,
    budget: MemoryBudget,
    app: App<Uploads>,
}

/// A server's end of one connection, and its peer.
struct One {
    peer: Link,
    push: PushHandle<Blob>,
    driver: Spawned<CloseReason>,
}

impl World {
    fn new(limit: usize) -> Self {
        Self::with(limit, |app| app)
    }

    fn with(
        limit: usize,
        change: impl FnOnce(WireframeApp<Uploads>) -> WireframeApp<Uploads>,
    ) -> Self {
        let budget = MemoryBudget::new(nonzero(limit));
        let mut config = Config::default();
        config.limits.read_buffer = nonzero(16 << 10);
        let app = WireframeApp::with_protocol(Uploads)
            .config(config)
            .memory_budget(&budget)
            .route(1, async |body: Bytes| body);
        Self {
            simulation: Simulation::new(),
            budget,
            app: change(app).build().unwrap(),
        }
    }

    /// A connection over a link that holds so many bytes.
    fn connect(&self, capacity: usize) -> One {
        let (near, peer) = link(capacity);
        let driver = Driver::server(&self.app, near, None, &self.simulation.environment());
        let one = One {
            push: driver.push_handle(),
            driver: self.simulation.spawn(driver),
            peer,
        };
        self.simulation.run();
        one
    }

    /// One whose peer takes everything.
    fn open(&self) -> One {
        self.connect(1 << 24)
    }

    /// The peer sends bytes, and all who have something to do do it.
    fn send(&self, one: &mut One, bytes: &[u8]) {
        one.peer.send(bytes);
        self.simulation.run();
    }

    /// Whether the connection answers.
    fn echoes(&self, one: &mut One) -> bool {
        self.send(one, &whole(b"?echo"));
        one.heard() == [b"?echo"]
    }

    fn exceeded(&self, got: u64) -> CloseReason {
        CloseReason::Limit(LimitExceeded {
            limit: "memory_budget",
            value: self.budget.limit() as u64,
            got,
        })
    }
}

impl One {
    /// The payloads that its peer has received.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        payloads(&self.peer.receive())
    }

    /// How it ended, if it has; its peer closes, too.
    fn reason(&mut self, world: &World) -> Option<CloseReason> {
        self.peer.finish();
        world.simulation.run();
        self.driver.take()
    }

    #[track_caller]
    fn check_account(&self) {
        let s = self.push.stats();
        let lost = s.lost_policy + s.lost_unencodable + s.lost_closed;
        assert_eq!(
            s.accepted,
            s.sent + s.dead_lettered + lost + s.queued,
            "{s:?}"
        );
    }
}
