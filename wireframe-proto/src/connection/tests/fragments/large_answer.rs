//! What overtakes a large answer, unit by unit.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::{
    super::support::{Frame, InOrder, Kind, Link},
    Framed,
    taking_turns::letters,
    whole,
};
use crate::{
    Config, FragmentMeta, FragmentStrategy, Heartbeat, Multiplexed, Priority, config::nonzero,
};

const LEN: usize = 64 << 20;
const PIECE: usize = 16 * 1024;

/// The peer's end of a connection: reads units as they come, and keeps what they are.
struct Reader {
    link: Link<Framed<InOrder, Multiplexed>>,
    /// What has come of a unit.
    rest: Vec<u8>,
    /// The header of each unit, and the letter that its payload ends with.
    units: Vec<(FragmentMeta, char)>,
}

impl Reader {
    /// Takes up to so many bytes of what waits.
    fn read(&mut self, mut most: usize) {
        let Some(transmit) = self.link.connection.transmit() else {
            return;
        };
        let mut taken = 0;
        for chunk in transmit.chunks() {
            let part = &chunk[..chunk.len().min(most)];
            self.rest.extend_from_slice(part);
            most -= part.len();
            taken += part.len();
        }
        transmit.advance(taken);
        let mut framing = Multiplexed::new();
        let mut at = 0;
        while let Ok(Some((meta, header_len))) =
            FragmentStrategy::<Frame>::decode_header(&mut framing, &self.rest[at..])
        {
            let end = at + header_len + usize::try_from(meta.payload_len).unwrap();
            let Some(&last) = self.rest.get(end - 1) else {
                break;
            };
            self.units.push((meta, char::from(last)));
            at = end;
        }
        self.rest.drain(..at);
    }

    /// Units that are encoded, those included that wait to be read.
    fn encoded(&mut self) -> usize {
        let waiting = self.link.connection.transmit().map_or(0, |t| t.len());
        assert!(waiting < 64 * 1024 + PIECE + 21, "{waiting} bytes wait");
        self.units.len() + (self.rest.len() + waiting).div_ceil(PIECE + 13)
    }
}

#[test]
fn pushes_and_pings_are_behind_one_fragment_and_the_transmit_buffer() {
    // rule: SEL-7, SEL-8, HB-2
    let mut config = Config::default();
    config.fragments.max_message_size = Some(nonzero(LEN + 4));
    let inner = InOrder {
        ping: Some(letters(Kind::Control, 'p', 1)),
        ..InOrder::default()
    };
    let framing = Multiplexed::new();
    let mut link = Link::new(config, Framed { inner, framing });
    link.receive_bytes(&whole(&Frame::request(None).wire()[4..]));
    let command = link.started()[0];
    let mut large = letters(Kind::Push, 'a', 0);
    large.body = vec![b'a'; LEN].into();
    link.connection.answer(command.id, large).unwrap();
    let second = Duration::from_secs(1);
    let heartbeat = Heartbeat::pinging(second, second);
    link.connection.set_heartbeat(Some(heartbeat), link.now);
    let mut reader = Reader {
        link,
        rest: vec![],
        units: vec![],
    };
    // Which unit each of those that overtake is to be.
    let mut expected = vec![];
    for round in 0u64.. {
        let _ = reader.link.fill();
        if reader.link.connection.transmit().is_none() {
            break;
        }
        reader.read(70_001);
        let _ = reader.link.fill();
        let next = reader.encoded();
        if next > LEN / PIECE {
            continue;
        }
        match round % 50 {
            0 => {
                let high = letters(Kind::Push, 'h', 1);
                reader.link.connection.push(Priority::High, high).unwrap();
                expected.push((next, 'h'));
            }
            // A ping is due.
            20 => {
                reader.link.pass_until(1_000 * (1 + round / 50));
                expected.push((next, 'p'));
            }
            // The peer is there.
            40 => {
                let heard = letters(Kind::Push, 'x', 1);
                reader.link.receive_bytes(&whole(&heard.wire()[4..]));
                assert_eq!(reader.link.events().len(), 1);
            }
            _ => {}
        }
    }
    assert!(expected.len() > 30, "{expected:?}");
    let units = reader.units.iter().enumerate();
    let (fragments, others): (Vec<_>, Vec<_>) = units.partition(|(_, (_, last))| *last == 'a');
    let others: Vec<_> = others.iter().map(|(n, (_, last))| (*n, *last)).collect();
    assert_eq!(others, expected);
    let numbers = fragments.iter().map(|(_, (meta, _))| meta.seq.unwrap());
    assert!(numbers.eq(0..4_097));
    let sizes = fragments.iter().map(|(_, (meta, _))| meta.payload_len);
    assert_eq!(sizes.sum::<u64>(), LEN as u64 + 4);
}
