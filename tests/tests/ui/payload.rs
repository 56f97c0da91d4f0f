//! The frames of this protocol carry no bytes of their own.

use bytes::Bytes;
use wireframe::{
    Codec, FragmentMeta, Frame, FrameBuf, LengthDelimited, Malformed, Message, Role, Unencodable,
    View, WireframeProtocol, check_handler,
};

struct Number(u8);

impl Frame for Number {}

struct NumberCodec;

impl Codec for NumberCodec {
    type Frame = Number;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Number, Malformed> {
        Ok(Number(payload.len() as u8))
    }

    fn encode(&mut self, _: &Number, _: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        Ok(())
    }

    fn encoded_len(&self, _: &Number) -> usize {
        0
    }
}

struct Numbers;

impl WireframeProtocol for Numbers {
    type Frame = Number;
    type Error = std::convert::Infallible;
    type Codec = NumberCodec;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> NumberCodec {
        NumberCodec
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, frame: &Number, _: &View<'_, ()>) -> Role {
        Role::Request {
            route: frame.0.into(),
            correlation: None,
            exclusive: false,
        }
    }
}

fn echo(body: Bytes) -> Bytes {
    body
}

struct Untyped;

fn typed(_: Message<Untyped>) {}

check_handler!(Numbers, echo, 1);
check_handler!(wireframe::EnvelopeProtocol, typed, 1);

fn main() {}
