use super::*;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

fn flat(queue: &TransmitQueue) -> Vec<u8> {
    queue.chunks().flatten().copied().collect()
}

#[test]
fn chunks_keep_wire_order_and_are_never_empty() {
    let mut queue = TransmitQueue::default();
    queue.chain(Bytes::from_static(b"first"));
    queue.copied().extend_from_slice(b"second");
    queue.chain(Bytes::from_static(b"third"));
    queue.chain(Bytes::from_static(b"fourth"));
    let chunks: Vec<_> = queue.chunks().collect();
    assert_eq!(chunks, [&b"first"[..], b"second", b"third", b"fourth"]);
}

#[test]
fn a_header_of_another_length_than_the_gap_moves_what_follows() {
    for header in [&b""[..], b"h", b"head", b"longheader"] {
        let mut queue = TransmitQueue::default();
        queue.copied().extend_from_slice(b"before");
        let mark = queue.mark();
        queue.open_gap(4);
        queue.copied().extend_from_slice(b"small");
        queue.chain(Bytes::from_static(b"LARGE"));
        queue.copied().extend_from_slice(b"tail");
        queue.close_gap(mark, 4, header);
        let expected = [b"before", header, b"small", b"LARGE", b"tail"].concat();
        assert_eq!(flat(&queue), expected);
        assert_eq!(queue.len(), expected.len());
    }
}

#[test]
fn a_header_fills_a_gap_of_its_length() {
    for len in 0..=20 {
        let header: Vec<u8> = (1..=len).collect();
        let mut queue = TransmitQueue::default();
        queue.copied().extend_from_slice(b"before");
        let (mark, gap) = (queue.mark(), header.len());
        queue.open_gap(gap);
        queue.copied().extend_from_slice(b"after");
        queue.close_gap(mark, gap, &header);
        assert_eq!(flat(&queue), [&b"before"[..], &header, b"after"].concat());
    }
}

#[test]
fn what_is_taken_back_is_whole_and_in_order() {
    let mut queue = TransmitQueue::default();
    queue.copied().extend_from_slice(b"before");
    queue.chain(Bytes::from_static(b"BEFORE"));
    let mark = queue.mark();
    queue.open_gap(4);
    queue.chain(Bytes::from_static(b"FIRST"));
    queue.copied().extend_from_slice(b"second");
    queue.chain(Bytes::from_static(b"THIRD"));
    queue.copied().extend_from_slice(b"fourth");
    let (taken, allocated) = queue.take_since(mark, 4);
    assert_eq!(taken, [&b"FIRST"[..], b"second", b"THIRD", b"fourth"]);
    assert_eq!(allocated, "secondfourth".len());
    assert_eq!(flat(&queue), b"beforeBEFORE");
}

#[test]
fn a_long_message_is_taken_back_with_its_buffer() {
    let mut queue = TransmitQueue::default();
    queue.copied().extend_from_slice(b"before");
    let mark = queue.mark();
    queue.open_gap(4);
    queue.copied().extend(vec![7; KEPT]);
    queue.chain(Bytes::from_static(b"CHAINED"));
    queue.copied().extend_from_slice(b"tail");
    queue.copied().shrink_to_fit();
    let place = queue.copied()[mark.copied + 4..].as_ptr();
    let (taken, allocated) = queue.take_since(mark, 4);
    assert_eq!(taken, [&vec![7; KEPT][..], b"CHAINED", b"tail"]);
    assert_eq!(allocated, "before".len() + 4 + KEPT + "tail".len());
    assert_eq!(taken[0].as_ptr(), place);
    assert_eq!(flat(&queue), b"before");
    assert!(queue.copied().capacity() < KEPT);
}

proptest! {
    #[test]
    fn any_appending_and_sending_gives_the_same_bytes(
        ops in proptest::collection::vec((0u8..4, 0usize..40_000), 1..60)
    ) {
        let mut queue = TransmitQueue::default();
        let (mut expected, mut sent) = (Vec::new(), Vec::new());
        let mut byte = 0u8;
        for (op, n) in ops {
            byte = byte.wrapping_add(1);
            match op {
                0 => {
                    queue.copied().extend_from_slice(&vec![byte; n % 5_000]);
                    expected.extend(vec![byte; n % 5_000]);
                }
                1 if n > 0 => {
                    queue.chain(Bytes::from(vec![byte; n]));
                    expected.extend(vec![byte; n]);
                }
                2 => {
                    let mark = queue.mark();
                    queue.copied().extend_from_slice(&vec![byte; n % 100]);
                    queue.chain(Bytes::from(vec![byte; n + 1]));
                    prop_assert_eq!(queue.since(mark), n % 100 + n + 1);
                    queue.rewind(mark);
                }
                _ => {
                    sent.extend(queue.chunks().flatten().take(n).copied());
                    queue.advance(n);
                }
            }
            prop_assert_eq!(queue.end(), expected.len() as u64);
            prop_assert_eq!(queue.sent_total(), sent.len() as u64);
        }
        sent.extend(flat(&queue));
        prop_assert_eq!(sent, expected);
    }
}
