//! Neither the frame nor the error of this protocol is marked.

use bytes::Bytes;
use wireframe::{
    Codec, FragmentMeta, FrameBuf, LengthDelimited, Malformed, Role, Unencodable, View,
    WireframeApp, WireframeProtocol,
};

struct Number(u8);

#[derive(Debug)]
struct Wrong;

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
    type Error = Wrong;
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

fn main() {
    let _ = WireframeApp::with_protocol(Numbers);
}
