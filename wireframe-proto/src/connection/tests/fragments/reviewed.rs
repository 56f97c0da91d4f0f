//! What is easily got wrong about fragments.

use alloc::{vec, vec::Vec};
use core::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;

use super::{
    super::support::{Correlated, Frame, Hook, InOrder, Kind, Link},
    Framed, Header, RawConnection, Reader, encoded, events, feed, fragment, multiplexed, over, raw,
    reader,
    taking_turns::{a_ping_due_between_fragments, letters},
    whole,
};
use crate::{
    CloseReason, Config, DeadlineReason, DropReason, End, Event, FragmentMeta, FragmentStrategy,
    Instant, LenSeq16M, LimitExceeded, Malformed, Multiplexed, Priority, State, UndeliveredReason,
    Unencodable, config::nonzero,
};

/// Reads headers of one byte, which say what stands in that place of a list.
fn listed(
    config: Config,
    headers: &[FragmentMeta],
) -> RawConnection<impl FragmentStrategy<Bytes> + Clone + use<>> {
    reader(config, in_list(headers))
}

fn in_list(headers: &[FragmentMeta]) -> impl Fn(&[u8]) -> Header + Clone + Send + 'static + use<> {
    let headers = headers.to_vec();
    move |src| {
        let meta = src.first().map(|&n| headers[usize::from(n)].clone());
        Ok(meta.map(|meta| (meta, 1)))
    }
}

fn meta(len: u64, change: impl FnOnce(&mut FragmentMeta)) -> FragmentMeta {
    let mut meta = FragmentMeta::whole(len);
    change(&mut meta);
    meta
}

fn push(body: &'static [u8]) -> Event<Bytes> {
    Event::Push(Bytes::from_static(body))
}

#[test]
fn a_unit_that_stands_alone_belongs_to_no_message_whatever_its_id() {
    // rule: FRAME-3
    let begin = meta(1, |meta| {
        meta.msg_id = Some(7);
        meta.is_final = false;
    });
    let alone = meta(1, |meta| {
        meta.msg_id = Some(7);
        meta.alone = true;
    });
    let end = meta(1, |meta| meta.msg_id = Some(7));
    let mut receiver = listed(Config::default(), &[begin, alone, end]);
    feed(&mut receiver, b"\0a\x01!\x02b");
    assert_eq!(events(&mut receiver), [push(b"!"), push(b"ab")]);
}

#[test]
fn a_number_without_a_beginning_is_a_gap_even_in_a_last_fragment() {
    // rule: REASM-4
    let first = meta(1, |meta| {
        meta.seq = Some(0);
        meta.is_final = false;
    });
    let last = meta(1, |meta| meta.seq = Some(1));
    let mut receiver = listed(Config::default(), &[first, last]);
    // The last one comes twice: there is no message any more that it could belong to.
    feed(&mut receiver, b"\0a\x01b\x01b");
    let error = Malformed::new("sequence gap: expected fragment 0, got 1");
    let closing = Event::Closing(CloseReason::Malformed(error));
    assert_eq!(events(&mut receiver), [push(b"ab"), closing]);
}

#[test]
fn a_total_binds_a_message_of_one_unit_too() {
    // rule: REASM-7
    let right = meta(1, |meta| meta.total_message_len = Some(1));
    let wrong = meta(1, |meta| meta.total_message_len = Some(2));
    let mut receiver = listed(Config::default(), &[right, wrong]);
    feed(&mut receiver, b"\0a\x01b");
    let error = Malformed::new("message of 1 bytes, declared with 2");
    let closing = Event::Closing(CloseReason::Malformed(error));
    assert_eq!(events(&mut receiver), [push(b"a"), closing]);
}

#[test]
fn lengths_beyond_all_memory_are_refused_by_the_limit() {
    // rule: REASM-2, LIM-10
    let mut config = Config::default();
    config.limits.max_frame_len = NonZeroUsize::MAX;
    config.fragments.max_partial_bytes = Some(nonzero(1_000));
    let named = |id, len| {
        meta(len, |meta| {
            meta.msg_id = Some(id);
            meta.is_final = false;
        })
    };
    let most = usize::MAX as u64;
    let mut receiver = listed(config, &[named(1, 1), named(2, most)]);
    feed(&mut receiver, b"\0a\x01");
    let limit = LimitExceeded {
        limit: "max_partial_bytes",
        value: 1_000,
        got: most.saturating_add(2),
    };
    let closing = Event::Closing(CloseReason::Limit(limit));
    assert_eq!(events(&mut receiver), [closing]);
}

#[test]
fn a_framing_that_panics_over_an_id_ends_the_connection() {
    // rule: HOOK-7
    extern crate std;
    let begin = meta(1, |meta| {
        meta.msg_id = Some(7);
        meta.is_final = false;
    });
    let framing = Reader {
        decode: in_list(&[begin]),
        reuses_ids: || panic!("over a fragment"),
    };
    // Judged with its header, and with its payload.
    for wire in [&b"\0"[..], b"\0a"] {
        let mut receiver = raw(framing.clone(), Config::default());
        feed(&mut receiver, wire);
        let polled = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
            receiver.poll_event(Instant::ZERO)
        }));
        assert!(polled.is_err());
        assert_eq!(receiver.state(), State::Closed);
        let closed = Event::Closed(CloseReason::ProtocolPanicked);
        assert_eq!(events(&mut receiver), [closed]);
    }
}

#[test]
fn a_message_has_its_time_while_its_fragments_wait_behind_an_exclusive_request() {
    // rule: REASM-5, RESP-7, FRAME-4
    let mut link = over(Multiplexed::new(), InOrder::default());
    let message = Frame::request(None).wire().split_off(4);
    let exclusive = Frame::new(Kind::Exclusive, []).wire().split_off(4);
    let wire = [
        fragment(1, 0, Some(message.len() as u64), false, &message[..1]),
        whole(&exclusive),
        fragment(1, 1, None, true, &message[1..]),
    ];
    link.receive_bytes(&wire.concat());
    let first = link.started()[0];
    // All of it has come: it is this end that does not look at it.
    assert_eq!(link.due(), None);
    link.pass_until(100_000);
    link.connection.finish(first.id, End::Complete).unwrap();
    assert_eq!(link.started().len(), 1);
    assert_eq!(link.connection.stats().fragments.timed_out, 0);
}

#[test]
fn the_time_that_a_message_has_left_goes_on_behind_an_exclusive_request() {
    // rule: REASM-5, RESP-7
    let mut link = over(Multiplexed::new(), Correlated::default());
    let exclusive = Frame::new(Kind::Exclusive, []).wire().split_off(4);
    link.receive_bytes(&fragment(1, 0, Some(9), false, b"a"));
    assert_eq!(link.events(), []);
    link.pass_until(10_000);
    link.receive_bytes(&whole(&exclusive));
    let first = link.started()[0];
    link.pass_until(50_000);
    link.connection.finish(first.id, End::Complete).unwrap();
    assert_eq!(link.events(), []);
    assert_eq!(link.due(), Some((DeadlineReason::Reassembly, 70_000)));
    link.pass_until(70_000);
    let [Event::MessageDropped(dropped)] = &link.events()[..] else {
        panic!();
    };
    assert_eq!(dropped.why, DropReason::TimedOut);
}

#[test]
fn a_time_limit_without_end_is_never_over_for_a_message_that_has_stood_still() {
    // rule: LIM-8, LIM-10
    let mut config = Config::default();
    config.fragments.reassembly_timeout = Duration::MAX;
    let mut receiver = raw(Multiplexed::new(), config);
    feed(&mut receiver, &fragment(1, 0, Some(2), false, b"a"));
    assert_eq!(events(&mut receiver), []);
    receiver.hold_input(true, Instant::from_millis(1));
    receiver.hold_input(false, Instant::from_millis(2));
    assert_eq!(receiver.poll_timeout(), None);
    receiver.handle_timeout(Instant::MAX);
    feed(&mut receiver, &fragment(1, 1, None, true, b"b"));
    assert_eq!(events(&mut receiver), [push(b"ab")]);
}

#[test]
fn a_message_of_more_fragments_than_the_peer_would_take_leaves_no_byte() {
    // rule: FRAME-6, REASM-2
    let mut config = Config::default();
    config.fragments.max_fragments_per_message = Some(nonzero(3));
    let mut sender = raw(multiplexed(8), config.clone());
    for (len, fits) in [(24, true), (25, false)] {
        let message = Bytes::from(vec![1; len]);
        sender.push(Priority::Low, message.clone()).unwrap();
        let wire = super::output(&mut sender);
        if fits {
            let mut receiver = raw(multiplexed(8), config.clone());
            feed(&mut receiver, &wire);
            assert_eq!(events(&mut receiver), [Event::Push(message)]);
            continue;
        }
        assert_eq!(wire, []);
        let [Event::Undelivered(undelivered)] = &events(&mut sender)[..] else {
            panic!();
        };
        let error = Unencodable::new("max_fragments_per_message is 3, got 4");
        assert_eq!(undelivered.why, UndeliveredReason::Unencodable(error));
    }
}

#[test]
fn an_empty_last_packet_counts_as_a_fragment() {
    // rule: FRAME-6, FRAG-4
    let mut config = Config::default();
    config.limits.max_frame_len = nonzero(16 << 20);
    config.fragments.max_fragments_per_message = Some(nonzero(1));
    let packet = Bytes::from(vec![0; 0xff_ffff]);
    assert!(encoded(LenSeq16M::default(), config, &[packet]).is_empty());
}

/// An exclusive command over numbered packets, of which one frame has been answered.
fn answering(goodbye: Option<Frame>) -> (Link<Framed<InOrder, LenSeq16M>>, crate::RequestInfo) {
    let inner = InOrder {
        goodbye,
        ..InOrder::default()
    };
    let mut link = over(LenSeq16M::default(), inner);
    let mut request = Frame::new(Kind::Exclusive, []).wire().split_off(4);
    request.splice(0..0, [4, 0, 0, 0]);
    link.receive_bytes(&request);
    let command = link.started()[0];
    let row = Frame::numbered(1);
    link.connection.respond(command.id, row).unwrap();
    (link, command)
}

/// The numbers of short packets.
pub(super) fn numbers(wire: &[u8]) -> Vec<u8> {
    let mut numbers = vec![];
    let mut rest = wire;
    while let Some((&[len, 0, 0, number], payload)) = rest.split_first_chunk() {
        numbers.push(number);
        rest = &payload[usize::from(len)..];
    }
    numbers
}

#[test]
fn the_last_word_to_a_command_is_not_unsolicited() {
    // rule: FRAME-3, FRAG-4
    let goodbye = Some(Frame::numbered(9));
    let (mut link, command) = answering(goodbye.clone());
    let mut sent = link.sent_bytes();
    link.connection.finish(command.id, End::Panicked).unwrap();
    sent.extend(link.sent_bytes());
    assert_eq!(numbers(&sent), [1, 2]);
    // Between commands it begins anew.
    let (mut link, command) = answering(goodbye);
    link.connection.finish(command.id, End::Complete).unwrap();
    let mut sent = link.sent_bytes();
    link.connection.handle_panic(link.now);
    sent.extend(link.sent_bytes());
    assert_eq!(numbers(&sent), [1, 0]);
}

#[test]
fn each_silence_has_a_ping_of_its_own() {
    // rule: HB-1, SEL-7
    let mut link = a_ping_due_between_fragments();
    // It is asked for, and waits for the last fragment, and then for room behind that.
    for _ in 0..2 {
        let _ = link.fill();
        assert_eq!(link.take_bytes(usize::MAX).last(), Some(&b'l'));
    }
    link.receive_bytes(&[0x80]);
    assert_eq!(link.sent_bytes(), []);
    link.pass_until(40);
    assert_eq!(link.sent_bytes().last(), Some(&b'p'));
    let pings = link.hooks().into_iter().filter(|hook| *hook == Hook::Ping);
    assert_eq!(pings.count(), 2);
}

#[test]
fn messages_that_take_turns_on_a_slow_line_have_the_time_that_they_take_together() {
    // rule: REASM-2
    let mut config = Config::default();
    config.fragments.reassembly_timeout = Duration::from_secs(1);
    let (inner, framing) = (Correlated::default(), Multiplexed::new());
    let mut link = Link::new(config.clone(), Framed { inner, framing });
    let requests = (1..=16).flat_map(|id| whole(&Frame::request(id).wire()[4..]));
    link.receive_bytes(&requests.collect::<Vec<_>>());
    let mut answer = letters(Kind::Push, 'a', 0);
    answer.body = vec![0; 256 * 1024].into();
    for command in link.started() {
        link.connection.answer(command.id, answer.clone()).unwrap();
    }
    // Four times as much comes in each second as a frame has to.
    let mut receiver = raw(Multiplexed::new(), config);
    let mut seen = vec![];
    for second in 0..5 {
        let now = Instant::from_millis(second * 1_000);
        receiver.handle_timeout(now);
        let mut left = 1 << 20;
        while left > 0 {
            let _ = link.fill();
            let bytes = link.take_bytes(left);
            if bytes.is_empty() {
                break;
            }
            left -= bytes.len();
            receiver.receive_buffer().extend_from_slice(&bytes);
            receiver.handle_received(now);
        }
        seen.extend(core::iter::from_fn(|| receiver.poll_event(now)));
    }
    let is_whole = |event: &Event<Bytes>| matches!(event, Event::Push(_));
    assert!(seen.iter().all(is_whole), "{seen:?}");
    assert_eq!(seen.len(), 16);
}
