//! Every framing carries messages of any length, whole and unchanged, in both directions.

use bytes::Bytes;
use wireframe::WireframeApp;
use wireframe_tests::{ANSWER, InOrderRecords, Raw, Record, on_each_runtime, soon, start};
use wireframe_tokio::connect_with;

use super::{bytes, over, wire::Wire};

const ECHO: u32 = 1;

/// Bytes of a record before its payload.
const HEAD: usize = 12;

fn app(wire: Wire) -> WireframeApp<InOrderRecords> {
    let app = WireframeApp::with_protocol(InOrderRecords::default());
    over(app.route(ECHO, async |body: Bytes| body), wire)
}

/// Payloads around what is one unit, and far from it.
fn payloads(wire: Wire) -> impl Iterator<Item = Bytes> {
    let full = wire.most() - HEAD;
    let all = Bytes::from(bytes(full.max(5 << 20) + 1));
    [0, 1, full - 1, full, full + 1, 5 << 20]
        .into_iter()
        .map(move |len| all.slice(..len))
}

/// Sends bytes in pieces of which the next one's length is unlike the last.
async fn send_in_pieces(peer: &mut Raw, mut bytes: &[u8], random: &mut u32) {
    while !bytes.is_empty() {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // From single bytes to 64 KiB; short ones are as many as long ones.
        let len = (*random as usize >> 16) >> (*random >> 12 & 15);
        let (piece, rest) = bytes.split_at(len.clamp(1, bytes.len()));
        peer.send(piece).await;
        bytes = rest;
    }
}

#[test]
fn a_client_and_a_server_exchange_messages_of_any_length() {
    // rule: FRAG-3, FRAG-4, FRAG-5
    on_each_runtime(|| async {
        for wire in Wire::ALL {
            let server = start(app(wire)).await;
            let client = soon("a client connects", connect_with(server.address, app(wire))).await;
            let client = client.expect("the server listens");
            for payload in payloads(wire) {
                let len = payload.len();
                let call = client.call(Record::new(ECHO, payload.clone()));
                let reply = soon("an echo", call).await.expect("an echo");
                assert_eq!(reply.route, ECHO | ANSWER);
                assert!(reply.payload == payload, "{wire:?}, {len} bytes");
            }
            drop(client);
            server.end().await;
        }
    });
}

#[test]
fn a_socket_that_sends_in_pieces_gets_the_documented_headers_back() {
    // rule: FRAG-1, FRAG-2, FRAG-3, FRAG-4, FRAME-5
    on_each_runtime(|| async {
        let mut random = 1;
        for wire in Wire::ALL {
            let server = start(app(wire)).await;
            let mut peer = Raw::connect(server.address).await;
            for payload in payloads(wire) {
                let len = payload.len();
                let request = Record::new(ECHO, payload);
                send_in_pieces(&mut peer, &wire.request(&request), &mut random).await;
                let answer = wire.answer(&mut peer, wire.units(HEAD + len)).await;
                let expected = Record::new(ECHO | ANSWER, request.payload);
                assert!(answer == expected, "{wire:?}, {len} bytes");
            }
            drop(peer);
            server.end().await;
        }
    });
}

#[test]
fn single_bytes_make_the_same_messages() {
    // rule: FRAG-5, FRAME-5
    on_each_runtime(|| async {
        for wire in Wire::ALL {
            let server = start(app(wire)).await;
            let mut peer = Raw::connect(server.address).await;
            let full = wire.most() - HEAD;
            let short = payloads(wire).filter(|payload| payload.len() < 40_000);
            // Of the long ones that which takes two units is enough.
            for payload in short.filter(|payload| payload.len() < 2 || payload.len() > full) {
                let len = payload.len();
                let request = Record::new(ECHO, payload);
                for byte in wire.request(&request) {
                    peer.send(&[byte]).await;
                }
                let answer = wire.answer(&mut peer, wire.units(HEAD + len)).await;
                let expected = Record::new(ECHO | ANSWER, request.payload);
                assert!(answer == expected, "{wire:?}, {len} bytes");
            }
            drop(peer);
            server.end().await;
        }
    });
}
