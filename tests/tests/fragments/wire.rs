//! The headers of fragments, written here once more so that they check the library's.

use wireframe_tests::{Raw, Record};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    LenFlag,
    LenSeq,
    Multiplexed,
}

/// What stands between two headers.
#[derive(Debug)]
pub(crate) struct Unit {
    /// Of a fragment of a named message.
    pub(crate) id: Option<u32>,
    /// The place of a fragment in its message, or a packet number.
    pub(crate) number: u32,
    /// What the message declares.
    pub(crate) total: Option<u32>,
    pub(crate) is_final: bool,
    /// Bytes of the header.
    pub(crate) head: usize,
    pub(crate) payload: Vec<u8>,
}

impl Wire {
    pub(crate) const ALL: [Self; 3] = [Self::LenFlag, Self::LenSeq, Self::Multiplexed];

    /// Most bytes of payload that the library puts into one unit.
    pub(crate) const fn most(self) -> usize {
        match self {
            Self::LenFlag => 0x7fff,
            Self::LenSeq => 0xff_ffff,
            Self::Multiplexed => 16 * 1024,
        }
    }

    /// Whether a body of that length is one unit.
    const fn is_one(self, len: usize) -> bool {
        match self {
            Self::LenSeq => len < self.most(),
            Self::LenFlag | Self::Multiplexed => len <= self.most(),
        }
    }

    /// A request as a client sends it, cut as the library would cut it.
    pub(crate) fn request(self, record: &Record) -> Vec<u8> {
        let body = record.to_body();
        if self == Self::Multiplexed && self.is_one(body.len()) {
            return whole(&body);
        }
        let (mut bytes, mut rest) = (Vec::new(), &body[..]);
        for number in 0.. {
            let is_final = self.is_one(rest.len());
            let (piece, left) = rest.split_at(rest.len().min(self.most()));
            bytes.extend(match self {
                Self::LenFlag => flagged(is_final, piece),
                Self::LenSeq => numbered(number, piece),
                Self::Multiplexed => {
                    let total = (number == 0).then_some(body.len() as u64);
                    fragment(3, number, total, is_final, piece)
                }
            });
            if is_final {
                break;
            }
            rest = left;
        }
        bytes
    }

    /// The next unit; `None` at the end.
    pub(crate) async fn next(self, peer: &mut Raw) -> Option<Unit> {
        let mut unit = Unit::default();
        let len = match self {
            Self::LenFlag => {
                let head = number(&unit.head(peer, 2).await?);
                unit.is_final = head & 0x8000 != 0;
                head & 0x7fff
            }
            Self::LenSeq => {
                let mut head = unit.head(peer, 4).await?;
                unit.number = u32::from(head.pop()?);
                head.reverse();
                unit.is_final = number(&head) < 0xff_ffff;
                number(&head)
            }
            Self::Multiplexed => {
                let head = unit.head(peer, 5).await?;
                let flags = head[4];
                if flags != 2 {
                    unit.id = Some(number(&unit.head(peer, 4).await?));
                    unit.number = number(&unit.head(peer, 4).await?);
                }
                if flags & 4 != 0 {
                    assert_eq!(number(&unit.head(peer, 4).await?), 0, "a test this long?");
                    unit.total = Some(number(&unit.head(peer, 4).await?));
                }
                unit.is_final = flags & 2 != 0;
                number(&head[..4])
            }
        };
        unit.payload = peer.next_bytes(len as usize).await?;
        Some(unit)
    }

    /// The answer to a request that took so many units, put together from its fragments.
    pub(crate) async fn answer(self, peer: &mut Raw, units_before: u32) -> Record {
        let (mut body, mut named) = (Vec::new(), None);
        for n in 0.. {
            let unit = self.next(peer).await.expect("an answer");
            let (id, total) = *named.get_or_insert((unit.id, unit.total));
            let number = match self {
                Self::LenFlag => 0,
                Self::LenSeq => (units_before + n) % 256,
                Self::Multiplexed => n,
            };
            assert_eq!((unit.id, unit.number), (id, number));
            assert!(unit.is_final || unit.payload.len() == self.most());
            body.extend(unit.payload);
            if unit.is_final {
                let declared = total.map(|total| total as usize);
                let is_declared = self == Self::Multiplexed && n > 0;
                assert_eq!(declared, is_declared.then_some(body.len()));
                break;
            }
        }
        Record::from_body(&body)
    }

    /// How many units a body of that length takes.
    pub(crate) fn units(self, len: usize) -> u32 {
        let most = self.most();
        let units = match self {
            Self::LenSeq => len / most + 1,
            Self::LenFlag | Self::Multiplexed => len.div_ceil(most),
        };
        u32::try_from(units).expect("not so many")
    }
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            id: None,
            number: 0,
            total: None,
            is_final: true,
            head: 0,
            payload: Vec::new(),
        }
    }
}

impl Unit {
    /// The next bytes of its header.
    async fn head(&mut self, peer: &mut Raw, len: usize) -> Option<Vec<u8>> {
        self.head += len;
        peer.next_bytes(len).await
    }

    /// Bytes that it takes on the wire.
    pub(crate) fn len(&self) -> usize {
        self.head + self.payload.len()
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, &byte| n << 8 | u32::from(byte))
}

fn length(payload: &[u8]) -> [u8; 4] {
    let len = u32::try_from(payload.len()).expect("units of tests are short");
    len.to_be_bytes()
}

/// A unit of `LenFlag32K`.
pub(crate) fn flagged(is_final: bool, payload: &[u8]) -> Vec<u8> {
    let [_, _, high, low] = length(payload);
    let flag = u8::from(is_final) << 7;
    [&[high | flag, low], payload].concat()
}

/// A packet of `LenSeq16M`.
fn numbered(number: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = length(payload);
    [&[c, b, a, number.to_le_bytes()[0]], payload].concat()
}

/// A message of `Multiplexed` that is one unit.
pub(crate) fn whole(payload: &[u8]) -> Vec<u8> {
    [&length(payload)[..], &[2], payload].concat()
}

/// A fragment of `Multiplexed`.
pub(crate) fn fragment(
    id: u32,
    seq: u32,
    total: Option<u64>,
    is_final: bool,
    payload: &[u8],
) -> Vec<u8> {
    let flags = 1 | u8::from(is_final) << 1 | u8::from(total.is_some()) << 2;
    let mut bytes = Vec::with_capacity(payload.len() + 21);
    bytes.extend(length(payload));
    bytes.push(flags);
    bytes.extend(id.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    if let Some(total) = total {
        bytes.extend(total.to_be_bytes());
    }
    bytes.extend(payload);
    bytes
}
