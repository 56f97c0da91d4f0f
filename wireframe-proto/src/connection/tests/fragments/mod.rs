//! Messages that go and come in fragments.

mod arriving;
mod aside;
mod cut_off;
mod dropped;
mod hostile;
mod large_answer;
mod packets;
mod programs;
mod reused;
mod reviewed;
mod room;
mod round_trips;
mod taking_turns;
mod under_way;

use alloc::{vec, vec::Vec};

use bytes::Bytes;

use super::support::{Frame, Hook, Link, TestCodec};
use crate::{
    AnswerError, AnswerOrder, CloseReason, Codec, Config, Connection, ConnectionId, Context,
    CorrelationId, DroppedMessage, Event, FairnessConfig, FragmentMeta, FragmentStrategy, FrameBuf,
    Instant, Malformed, Multiplexed, Outcome, Peer, Preamble, Priority, PushTiming, Reaction, Role,
    Unencodable, View, WireframeProtocol, config::nonzero,
};

/// Payloads as they are, all of them pushes, over any framing.
pub(super) struct Raw<S>(pub(super) S);

pub(super) struct RawCodec;

impl Codec for RawCodec {
    type Frame = Bytes;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Bytes, Malformed> {
        Ok(payload)
    }

    fn encode(&mut self, frame: &Bytes, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_bytes(frame);
        Ok(())
    }

    fn encoded_len(&self, frame: &Bytes) -> usize {
        frame.len()
    }
}

impl<S: FragmentStrategy<Bytes> + Clone> WireframeProtocol for Raw<S> {
    type Frame = Bytes;
    type Error = ();
    type Codec = RawCodec;
    type Framing = S;
    type Session = ();

    const ANSWERS: AnswerOrder = AnswerOrder::Correlated;

    fn codec(&self) -> RawCodec {
        RawCodec
    }

    fn framing(&self) -> S {
        self.0.clone()
    }

    fn classify(&self, _: &Bytes, _: &View<'_, ()>) -> Role {
        Role::Push
    }
}

pub(super) type RawConnection<S> = Connection<Raw<S>>;

pub(super) fn raw<S>(framing: S, config: Config) -> RawConnection<S>
where
    S: FragmentStrategy<Bytes> + Clone,
{
    let peer = Peer::client_of(ConnectionId(1));
    Connection::new(config, Raw(framing), peer, Instant::ZERO)
}

/// What a framing finds at the front of the input.
type Header = Result<Option<(FragmentMeta, usize)>, Malformed>;

/// A framing that only reads.
#[derive(Clone)]
struct Reader<D> {
    decode: D,
    reuses_ids: fn() -> bool,
}

impl<D: FnMut(&[u8]) -> Header + Send + 'static> FragmentStrategy<Bytes> for Reader<D> {
    fn decode_header(&mut self, src: &[u8]) -> Header {
        (self.decode)(src)
    }

    fn encode_header(
        &mut self,
        _: &mut Vec<u8>,
        _: &Bytes,
        _: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        Err(Unencodable::new("only read"))
    }

    fn reuses_message_ids(&self) -> bool {
        (self.reuses_ids)()
    }
}

/// Reads units whose headers are those; ids of dropped messages are not used again.
fn reader<D>(config: Config, decode: D) -> RawConnection<Reader<D>>
where
    D: FnMut(&[u8]) -> Header + Clone + Send + 'static,
{
    let reuses_ids = || false;
    raw(Reader { decode, reuses_ids }, config)
}

/// The header of a unit of [`Multiplexed`], after a change.
fn changed(src: &[u8], change: impl FnOnce(&mut FragmentMeta)) -> Header {
    let header = FragmentStrategy::<Bytes>::decode_header(&mut Multiplexed::new(), src)?;
    Ok(header.map(|(mut meta, len)| {
        change(&mut meta);
        (meta, len)
    }))
}

/// Takes all output there is.
pub(super) fn output<P: WireframeProtocol>(connection: &mut Connection<P>) -> Vec<u8> {
    let mut output = Vec::new();
    loop {
        let _ = connection.fill(Instant::ZERO);
        let Some(transmit) = connection.transmit() else {
            return output;
        };
        let before = output.len();
        transmit
            .chunks()
            .for_each(|chunk| output.extend_from_slice(chunk));
        transmit.advance(output.len() - before);
    }
}

/// Gives the connection these bytes at once.
pub(super) fn feed<P: WireframeProtocol>(connection: &mut Connection<P>, bytes: &[u8]) {
    connection.receive_buffer().extend_from_slice(bytes);
    connection.handle_received(Instant::ZERO);
}

/// Takes all events there are, also those behind a flaw.
pub(super) fn events<P: WireframeProtocol>(connection: &mut Connection<P>) -> Vec<Event<P::Frame>> {
    let mut events = vec![];
    while connection.wants().event {
        events.extend(connection.poll_event(Instant::ZERO));
    }
    events
}

/// What a connection over that framing sends for these messages.
pub(super) fn encoded<S>(framing: S, config: Config, messages: &[Bytes]) -> Vec<u8>
where
    S: FragmentStrategy<Bytes> + Clone,
{
    let mut sender = raw(framing, config);
    let mut wire = Vec::new();
    for message in messages {
        sender.push(Priority::Low, message.clone()).unwrap();
        wire.extend(output(&mut sender));
    }
    wire
}

/// A unit of [`Multiplexed`] that is a fragment.
pub(super) fn fragment(id: u32, seq: u32, total: Option<u64>, last: bool, body: &[u8]) -> Vec<u8> {
    let mut meta = FragmentMeta::whole(body.len() as u64);
    meta.msg_id = Some(id.into());
    meta.seq = Some(seq);
    meta.total_message_len = total;
    meta.is_final = last;
    let mut unit = Vec::new();
    let mut framing = Multiplexed::new();
    framing.encode_header(&mut unit, &(), &meta).unwrap();
    unit.extend_from_slice(body);
    unit
}

/// A unit of [`Multiplexed`] that is a whole message.
pub(super) fn whole(body: &[u8]) -> Vec<u8> {
    let mut unit = Vec::new();
    let meta = FragmentMeta::whole(body.len() as u64);
    let mut framing = Multiplexed::new();
    framing.encode_header(&mut unit, &(), &meta).unwrap();
    unit.extend_from_slice(body);
    unit
}

/// The units of a message in fragments of `piece` bytes; one whole unit if that is 0.
pub(super) fn split(id: u32, message: &[u8], piece: usize) -> Vec<Vec<u8>> {
    if piece == 0 {
        return alloc::vec![whole(message)];
    }
    let pieces: Vec<_> = message.chunks(piece).collect();
    let unit = |(seq, body): (u32, &&[u8])| {
        let last = seq as usize + 1 == pieces.len();
        let total = (seq == 0 && !last).then_some(message.len() as u64);
        fragment(id, seq, total, last, body)
    };
    (0..).zip(&pieces).map(unit).collect()
}

/// A unit as it stands in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) meta: FragmentMeta,
    pub(super) payload: Vec<u8>,
}

/// The units of some output, which must be whole.
pub(super) fn units<F>(mut framing: impl FragmentStrategy<F>, mut wire: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    while !wire.is_empty() {
        let (meta, header_len) = framing.decode_header(wire).unwrap().unwrap();
        let (payload, rest) = wire[header_len..].split_at(meta.payload_len.try_into().unwrap());
        units.push(Unit {
            meta,
            payload: payload.into(),
        });
        wire = rest;
    }
    units
}

/// A frame with this body has a longer one when it is sent.
pub(super) const GROWS: &[u8] = b"grow";

/// A frame with this body has a longer one when it is correlated.
pub(super) const MARKED: &[u8] = b"mark";

/// The protocol of the other tests, over any framing.
pub(super) struct Framed<P, S> {
    pub(super) inner: P,
    pub(super) framing: S,
}

impl<P, S> WireframeProtocol for Framed<P, S>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + Clone,
{
    type Frame = Frame;
    type Error = u8;
    type Codec = TestCodec;
    type Framing = S;
    type Session = Vec<Hook>;

    const ANSWERS: AnswerOrder = P::ANSWERS;
    const PUSHES: PushTiming = P::PUSHES;

    fn codec(&self) -> TestCodec {
        self.inner.codec()
    }

    fn framing(&self) -> S {
        self.framing.clone()
    }

    fn classify(&self, frame: &Frame, view: &View<'_, Vec<Hook>>) -> Role {
        self.inner.classify(frame, view)
    }

    fn correlate(&self, frame: &mut Frame, id: CorrelationId) {
        self.inner.correlate(frame, id);
        if frame.body == MARKED {
            frame.body = Bytes::from_static(b"marked");
        }
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        self.inner.on_connection_setup(ctx);
    }

    fn preamble(&self, received: &[u8], ctx: &mut Context<'_, Self>) -> Preamble<Frame> {
        self.inner.preamble(received, ctx)
    }

    fn before_send(&self, frame: &mut Frame, ctx: &mut Context<'_, Self>) {
        self.inner.before_send(frame, ctx);
        if frame.body == GROWS {
            frame.body = Bytes::from_static(&[b'g'; 40]);
        }
    }

    fn on_control(&self, frame: Frame, ctx: &mut Context<'_, Self>) -> Reaction<Frame> {
        self.inner.on_control(frame, ctx)
    }

    fn on_message_dropped(
        &self,
        message: &DroppedMessage,
        ctx: &mut Context<'_, Self>,
    ) -> Reaction<Frame> {
        self.inner.on_message_dropped(message, ctx)
    }

    fn handle_error(&self, error: AnswerError<u8>, ctx: &mut Context<'_, Self>) -> Reaction<Frame> {
        self.inner.handle_error(error, ctx)
    }

    fn unknown_route(&self, frame: Frame, ctx: &mut Context<'_, Self>) -> Reaction<Frame> {
        self.inner.unknown_route(frame, ctx)
    }

    fn stream_end_frame(&self, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.inner.stream_end_frame(ctx)
    }

    fn on_command_end(&self, outcome: Outcome, ctx: &mut Context<'_, Self>) {
        self.inner.on_command_end(outcome, ctx);
    }

    fn drain_notice(&self, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.inner.drain_notice(ctx)
    }

    fn ping(&self, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.inner.ping(ctx)
    }

    fn goodbye(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        self.inner.goodbye(reason, ctx)
    }

    fn on_disconnect(&self, reason: &CloseReason, ctx: &mut Context<'_, Self>) {
        self.inner.on_disconnect(reason, ctx);
    }
}

/// [`Multiplexed`] with fragments of `n` bytes.
pub(super) fn multiplexed(n: usize) -> Multiplexed {
    Multiplexed::new().with_fragment_payload(nonzero(n))
}

/// A connection over [`Multiplexed`] with fragments of 8 bytes, which encodes one unit at
/// a time.
pub(super) fn unit_by_unit<P>(inner: P) -> Link<Framed<P, Multiplexed>>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
{
    over(multiplexed(8), inner)
}

pub(super) fn over<P, S>(framing: S, inner: P) -> Link<Framed<P, S>>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + Clone,
{
    with_fairness(FairnessConfig::default(), framing, inner)
}

pub(super) fn with_fairness<P, S>(
    fairness: FairnessConfig,
    framing: S,
    inner: P,
) -> Link<Framed<P, S>>
where
    P: WireframeProtocol<Frame = Frame, Error = u8, Codec = TestCodec, Session = Vec<Hook>>,
    S: FragmentStrategy<Frame> + Clone,
{
    let mut config = Config::default();
    config.limits.high_water = nonzero(1);
    config.fairness = fairness;
    Link::new(config, Framed { inner, framing })
}
