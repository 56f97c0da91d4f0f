//! A protocol of our own, as a user would write one.
//!
//! On the wire: `u32` big-endian length of what follows, then `u32` route, `u64`
//! correlation id, both big-endian, and the payload.

use std::{collections::VecDeque, fmt};

use bytes::{Buf, Bytes};
use wireframe::{
    AnswerError, AnswerOrder, CloseReason, Codec, Context, CorrelationId, DroppedMessage,
    FragmentMeta, FragmentStrategy, Frame, FrameBuf, Malformed, PayloadFrame, Priority,
    ProtocolError, Reaction, Role, Unencodable, View, WireframeProtocol,
};

/// The route of a record that its sender sends of its own accord.
pub const NOTICE: u32 = 0;
/// Set in the route of every answer.
pub const ANSWER: u32 = 0x8000_0000;
/// The route of an answer that says what went wrong.
pub const ERROR: u32 = ANSWER | 0x7FFF_FFFF;
/// The route of an answer that ends a streamed one.
pub const END: u32 = ANSWER | 0x7FFF_FFFE;
/// The route of a record that says why the connection closes.
pub const GOODBYE: u32 = 0x7FFF_FFFF;

/// What both ends send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub route: u32,
    /// Ties an answer to its request; 0 in a protocol that answers in order.
    pub correlation: u64,
    /// What it carries.
    pub payload: Bytes,
}

impl Record {
    /// A record without a correlation id.
    pub fn new(route: u32, payload: impl Into<Bytes>) -> Self {
        Self {
            route,
            correlation: 0,
            payload: payload.into(),
        }
    }

    /// The same with a correlation id.
    #[must_use]
    pub fn with_correlation(self, correlation: u64) -> Self {
        Self {
            correlation,
            ..self
        }
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// What follows the length, for a peer that is a bare socket.
    pub fn to_body(&self) -> Vec<u8> {
        let (route, correlation) = (self.route.to_be_bytes(), self.correlation.to_be_bytes());
        [&route[..], &correlation, &self.payload].concat()
    }

    /// The record in what follows the length.
    pub fn from_body(mut body: &[u8]) -> Self {
        Self {
            route: body.get_u32(),
            correlation: body.get_u64(),
            payload: Bytes::copy_from_slice(body),
        }
    }
}

impl Frame for Record {}

impl PayloadFrame for Record {
    fn into_payload(self) -> Bytes {
        self.payload
    }

    fn answering(route: u32, payload: Bytes) -> Self {
        Self::new(route | ANSWER, payload)
    }
}

/// Reads and writes the length.
#[derive(Clone, Copy, Debug)]
pub struct RecordFraming;

impl FragmentStrategy<Record> for RecordFraming {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        Ok(src.first_chunk().map(|length| {
            let length = u32::from_be_bytes(*length);
            (
                FragmentMeta::whole(u64::from(length)),
                length.to_be_bytes().len(),
            )
        }))
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        _frame: &Record,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        let length = u32::try_from(meta.payload_len)
            .map_err(|_| Unencodable::new("longer than 32 bits can say"))?;
        dst.extend_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// Bytes of a record before its payload.
const HEAD: usize = 12;

/// Reads and writes what follows the length.
#[derive(Clone, Copy, Debug)]
pub struct RecordCodec;

impl Codec for RecordCodec {
    type Frame = Record;

    fn decode(&mut self, _: &FragmentMeta, mut body: Bytes) -> Result<Record, Malformed> {
        if body.len() < HEAD {
            let there = body.len();
            let what = format!("a record has {HEAD} bytes or more, this one {there}");
            return Err(Malformed::with_code(7, what));
        }
        Ok(Record {
            route: body.get_u32(),
            correlation: body.get_u64(),
            payload: body,
        })
    }

    fn encode(&mut self, record: &Record, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_slice(&record.route.to_be_bytes());
        dst.put_slice(&record.correlation.to_be_bytes());
        dst.put_bytes(&record.payload);
        Ok(())
    }

    fn encoded_len(&self, record: &Record) -> usize {
        HEAD + record.payload.len()
    }
}

/// A request that a handler refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}
impl ProtocolError for Refused {}

/// The protocol. Its answers are correlated by id, or go in order.
#[derive(Clone, Debug, Default)]
pub struct Records<const CORRELATED: bool> {
    greeting: VecDeque<Record>,
}

/// Answers go in order.
pub type InOrderRecords = Records<false>;
/// Answers carry the id of their request.
pub type CorrelatedRecords = Records<true>;

impl<const CORRELATED: bool> Records<CORRELATED> {
    /// The protocol, in which a server speaks first.
    pub fn greeting(greeting: impl IntoIterator<Item = Record>) -> Self {
        Self {
            greeting: greeting.into_iter().collect(),
        }
    }
}

impl<const CORRELATED: bool> WireframeProtocol for Records<CORRELATED> {
    type Frame = Record;
    type Error = Refused;
    type Codec = RecordCodec;
    type Framing = RecordFraming;
    type Session = ();

    const ANSWERS: AnswerOrder = if CORRELATED {
        AnswerOrder::Correlated
    } else {
        AnswerOrder::InOrder
    };

    fn codec(&self) -> RecordCodec {
        RecordCodec
    }

    fn framing(&self) -> RecordFraming {
        RecordFraming
    }

    fn classify(&self, record: &Record, view: &View<'_, ()>) -> Role {
        let id = CORRELATED.then_some(CorrelationId(record.correlation));
        match record.route {
            NOTICE | GOODBYE => Role::Push,
            route if route & ANSWER == 0 => Role::Request {
                route,
                correlation: id,
                exclusive: false,
            },
            // An answer to a request that was pushed rather than called.
            _ if id.is_some_and(|id| !view.is_pending(id)) => Role::Push,
            _ => Role::Reply { to: id, last: true },
        }
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        for record in &self.greeting {
            ctx.push(Priority::High, record.clone())
                .expect("a greeting fits into the queue");
        }
    }

    fn correlate(&self, record: &mut Record, id: CorrelationId) {
        record.correlation = id.0;
    }

    fn on_message_dropped(
        &self,
        message: &DroppedMessage,
        _: &mut Context<'_, Self>,
    ) -> Reaction<Record> {
        Reaction::Send(Record::new(NOTICE, message.to_string()))
    }

    fn handle_error(
        &self,
        error: AnswerError<Refused>,
        _: &mut Context<'_, Self>,
    ) -> Reaction<Record> {
        Reaction::Send(Record::new(ERROR, error.to_string()))
    }

    fn unknown_route(&self, record: Record, _: &mut Context<'_, Self>) -> Reaction<Record> {
        Reaction::Send(Record::new(ERROR, format!("no route {}", record.route)))
    }

    fn stream_end_frame(&self, _: &mut Context<'_, Self>) -> Option<Record> {
        Some(Record::new(END, ""))
    }

    fn goodbye(&self, reason: &CloseReason, _: &mut Context<'_, Self>) -> Option<Record> {
        Some(Record::new(GOODBYE, reason.to_string()))
    }
}
