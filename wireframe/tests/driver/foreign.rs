//! A protocol whose frames tell of the foreign code that the library runs.

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use bytes::Bytes;
use wireframe::{
    Codec, FragmentMeta, Frame, FrameBuf, LengthDelimited, Malformed, Role, Unencodable, View,
    WireframeApp, WireframeProtocol,
};

use crate::rig::{Oops, wire};

/// Is told what runs, and the text of the frame that it runs for.
pub(crate) type Tell = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A frame that tells when it is cloned or dropped.
pub(crate) struct Told {
    pub(crate) text: String,
    tell: Tell,
}

impl Frame for Told {}

impl Told {
    pub(crate) fn new(text: &str, tell: &Tell) -> Self {
        Self {
            text: text.into(),
            tell: Arc::clone(tell),
        }
    }
}

impl Clone for Told {
    fn clone(&self) -> Self {
        (self.tell)("clone", &self.text);
        Self::new(&self.text, &self.tell)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        (self.tell)("drop", &self.text);
    }
}

/// A waker that tells.
pub(crate) fn telling_waker(tell: &Tell) -> Waker {
    struct Teller(Tell);
    impl Wake for Teller {
        fn wake(self: Arc<Self>) {
            (self.0)("wake", "");
        }
    }
    Waker::from(Arc::new(Teller(Arc::clone(tell))))
}

/// Encodes what is broadcast once for all, if its text begins with `shared`. Charges one
/// byte for each.
pub(crate) struct Telling(Tell);

pub(crate) fn telling(tell: &Tell) -> WireframeApp<Telling> {
    WireframeApp::with_protocol(Telling(Arc::clone(tell)))
}

impl WireframeProtocol for Telling {
    type Frame = Told;
    type Error = Oops;
    type Codec = TellingCodec;
    type Framing = LengthDelimited;
    type Session = ();

    fn codec(&self) -> TellingCodec {
        TellingCodec(Arc::clone(&self.0))
    }

    fn framing(&self) -> LengthDelimited {
        LengthDelimited::default()
    }

    fn classify(&self, _: &Told, _: &View<'_, ()>) -> Role {
        Role::Push
    }

    fn encode_shared(&self, frame: &Told) -> Option<Bytes> {
        (self.0)("share", &frame.text);
        let shares = frame.text.starts_with("shared");
        shares.then(|| wire(&frame.text).into())
    }
}

#[derive(Clone)]
pub(crate) struct TellingCodec(Tell);

impl Codec for TellingCodec {
    type Frame = Told;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Told, Malformed> {
        let text = std::str::from_utf8(&payload).map_err(|_| Malformed::new("not text"))?;
        Ok(Told::new(text, &self.0))
    }

    fn encode(&mut self, frame: &Told, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_bytes(&Bytes::copy_from_slice(frame.text.as_bytes()));
        Ok(())
    }

    fn encoded_len(&self, frame: &Told) -> usize {
        (self.0)("measure", &frame.text);
        frame.text.len()
    }
}
