//! A protocol that changes its phase: lines of text, and binary frames after an upgrade.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use bytes::{BufMut, Bytes};

use crate::{
    Codec, Context, FragmentMeta, FragmentStrategy, FrameBuf, Malformed, Priority, Reaction, Role,
    Unencodable, View, WireframeProtocol,
};

/// A frame of either phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Ends with a line feed, which is not part of it.
    Line(String),
    /// Behind a byte of length and a byte of mask.
    Binary(Bytes),
}

impl Frame {
    pub(super) fn line(text: &str) -> Self {
        Self::Line(text.into())
    }

    /// A masked frame, as clients send it.
    pub(super) fn masked(text: &str, mask: u8) -> Vec<u8> {
        let mut wire = Vec::from([u8::try_from(text.len()).unwrap(), mask]);
        wire.extend(text.bytes().map(|byte| byte ^ mask));
        wire
    }

    /// What the bytes after it mean something else.
    fn switches(&self) -> bool {
        *self == Self::line("101")
    }
}

/// Either half: both hear every frame, and so know the phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase {
    binary: bool,
    /// What was seen when a header was not whole.
    unfinished: Vec<u8>,
}

impl FragmentStrategy<Frame> for Phase {
    fn decode_header(&mut self, src: &[u8]) -> Result<Option<(FragmentMeta, usize)>, Malformed> {
        // It is asked with the same bytes and more, never with the same alone.
        assert!(src.starts_with(&self.unfinished) && src.len() > self.unfinished.len());
        let header = match (self.binary, src) {
            (true, &[len, mask, ..]) => {
                let mut meta = FragmentMeta::whole(len.into());
                meta.tag = mask.into();
                Some((meta, 2))
            }
            (true, _) => None,
            (false, _) => {
                if src.first() == Some(&0) {
                    return Err(Malformed::with_code(400, "a line begins with 0"));
                }
                let end = src.iter().position(|&byte| byte == b'\n');
                end.map(|end| (FragmentMeta::whole(end as u64 + 1), 0))
            }
        };
        self.unfinished.clear();
        if header.is_none() {
            self.unfinished.extend_from_slice(src);
        }
        Ok(header)
    }

    fn encode_header(
        &mut self,
        dst: &mut Vec<u8>,
        frame: &Frame,
        meta: &FragmentMeta,
    ) -> Result<(), Unencodable> {
        if self.binary {
            let len = u8::try_from(meta.payload_len).map_err(|_| Unencodable::new("too long"))?;
            dst.put_slice(&[len, 0]);
        }
        self.binary |= frame.switches();
        Ok(())
    }

    fn unmask(&mut self, meta: &FragmentMeta, offset: usize, bytes: &mut [u8]) {
        assert_eq!(offset, 0);
        for byte in bytes {
            *byte ^= meta.tag.to_le_bytes()[0];
        }
    }
}

impl Codec for Phase {
    type Frame = Frame;

    fn decode(&mut self, meta: &FragmentMeta, payload: Bytes) -> Result<Frame, Malformed> {
        if self.binary {
            assert_eq!(meta.payload_len, payload.len() as u64);
            return Ok(Frame::Binary(payload));
        }
        let text = payload.strip_suffix(b"\n").unwrap();
        let text = core::str::from_utf8(text).map_err(|_| Malformed::new("not text"))?;
        Ok(Frame::line(text))
    }

    fn encode(&mut self, frame: &Frame, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        match (self.binary, frame) {
            (true, Frame::Binary(bytes)) => dst.put_bytes(bytes),
            (false, Frame::Line(line)) => dst.put_slice(format!("{line}\n").as_bytes()),
            _ => return Err(Unencodable::new("of another phase")),
        }
        self.binary |= frame.switches();
        Ok(())
    }

    fn encoded_len(&self, frame: &Frame) -> usize {
        match frame {
            Frame::Line(line) => line.len() + 1,
            Frame::Binary(bytes) => bytes.len(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Upgrade;

impl WireframeProtocol for Upgrade {
    type Frame = Frame;
    type Error = ();
    type Codec = Phase;
    type Framing = Phase;
    type Session = ();

    fn codec(&self) -> Phase {
        Phase::default()
    }

    fn framing(&self) -> Phase {
        Phase::default()
    }

    fn classify(&self, frame: &Frame, _: &View<'_, ()>) -> Role {
        match frame {
            Frame::Line(line) if line.starts_with("ping") => Role::Control,
            Frame::Line(line) if line.starts_with("body") => Role::Body {
                of: None,
                last: line == "body end",
            },
            Frame::Binary(bytes) if bytes.starts_with(b"ping") => Role::Control,
            frame => Role::Request {
                route: 0,
                correlation: None,
                exclusive: *frame == Frame::line("upgrade"),
            },
        }
    }

    fn on_connection_setup(&self, ctx: &mut Context<'_, Self>) {
        ctx.push(Priority::High, Frame::line("220")).unwrap();
    }

    fn on_control(&self, frame: Frame, _: &mut Context<'_, Self>) -> Reaction<Frame> {
        Reaction::Send(frame)
    }

    fn goodbye(&self, reason: &crate::CloseReason, ctx: &mut Context<'_, Self>) -> Option<Frame> {
        let _ = ctx;
        match reason {
            crate::CloseReason::Malformed(error) => Some(Frame::Line(error.code.to_string())),
            _ => Some(Frame::line("bye")),
        }
    }
}
