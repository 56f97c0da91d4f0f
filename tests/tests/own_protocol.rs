//! A protocol of our own, with its own framing and codec, under the library.

use std::{num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;
use wireframe::{Config, Protocol, ProtocolError, Response, State, WireframeApp, WireframeError};
use wireframe_tests::{
    ANSWER, CorrelatedRecords, END, ERROR, InOrderRecords, Raw, Record, Refused, on_each_runtime,
    soon, start,
};
use wireframe_tokio::connect_with;

const ECHO: u32 = 1;

async fn echo(body: Bytes) -> Bytes {
    body
}

#[test]
fn a_server_speaks_first_to_a_silent_client() {
    // rule: HOOK-2
    on_each_runtime(|| async {
        let greeting = [Record::new(5, "hello"), Record::new(6, "version 1")];
        let protocol = InOrderRecords::greeting(greeting.clone());
        let server = start(WireframeApp::with_protocol(protocol).route(ECHO, echo)).await;
        let mut peer = Raw::connect(server.address).await;
        for record in greeting {
            assert_eq!(peer.next_record().await, Some(record));
        }
        peer.send_record(&Record::new(ECHO, "thanks")).await;
        let reply = peer.next_record().await;
        assert_eq!(reply, Some(Record::new(ECHO | ANSWER, "thanks")));
        drop(peer);
        server.end().await;
    });
}

#[test]
fn a_record_is_the_bytes_that_its_framing_and_codec_write() {
    // rule: FRAME-1
    on_each_runtime(|| async {
        let app = WireframeApp::with_protocol(CorrelatedRecords::default()).route(ECHO, echo);
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let request = [
            &[0, 0, 0, 15][..],        // length of what follows
            &[0, 0, 0, 1],             // route
            &[1, 2, 3, 4, 5, 6, 7, 8], // correlation id
            b"abc",
        ];
        // However they are cut.
        for byte in request.concat() {
            peer.send(&[byte]).await;
        }
        let mut answer = vec![0x80, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8];
        answer.extend(b"abc");
        assert_eq!(peer.next_unit().await, Some(answer));
        drop(peer);
        server.end().await;
    });
}

/// Which request's handler may go on, as told by the test or by other handlers.
#[derive(Clone)]
struct Turns(Arc<watch::Sender<u64>>);

impl Turns {
    fn starting_at(turn: u64) -> Self {
        Self(Arc::new(watch::Sender::new(turn)))
    }

    async fn wait_for(&self, turn: u64) {
        let mut turns = self.0.subscribe();
        turns
            .wait_for(|now| *now == turn)
            .await
            .expect("we hold it");
    }
}

/// Answers when it is its turn, which is in its payload, and passes the turn down.
async fn in_turn(body: Bytes, State(turns): State<Turns>) -> Bytes {
    let turn = u64::from(body[0]);
    turns.wait_for(turn).await;
    turns.0.send_replace(turn.wrapping_sub(1));
    body
}

fn eight_at_once() -> Config {
    let mut config = Config::default();
    config.limits.max_in_flight = NonZeroUsize::new(8);
    config
}

#[test]
fn pipelined_requests_are_answered_in_order_whatever_their_handlers_do() {
    // rule: SEL-6
    // rule: RESP-7
    on_each_runtime(|| async {
        // The last handler is the first to answer.
        let app = WireframeApp::with_protocol(InOrderRecords::default())
            .route(ECHO, in_turn)
            .state(Turns::starting_at(7))
            .config(eight_at_once());
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        for n in 0..8u8 {
            peer.send_record(&Record::new(ECHO, vec![n])).await;
        }
        for n in 0..8u8 {
            let reply = peer.next_record().await;
            assert_eq!(reply, Some(Record::new(ECHO | ANSWER, vec![n])));
        }
        drop(peer);
        server.end().await;
    });
}

#[test]
fn one_request_in_order_runs_at_a_time_unless_more_are_allowed() {
    // rule: RESP-7
    on_each_runtime(|| async {
        async fn alone(body: Bytes, State(turns): State<Turns>) -> Bytes {
            let turn = u64::from(body[0]);
            assert_eq!(*turns.0.borrow(), turn, "another has begun before");
            tokio::task::yield_now().await;
            assert_eq!(*turns.0.borrow(), turn, "another has begun meanwhile");
            turns.0.send_replace(turn + 1);
            body
        }
        let app = WireframeApp::with_protocol(InOrderRecords::default())
            .route(ECHO, alone)
            .state(Turns::starting_at(0));
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        // More than are held back.
        for n in 0..100u8 {
            peer.send_record(&Record::new(ECHO, vec![n])).await;
        }
        for n in 0..100u8 {
            let reply = peer.next_record().await;
            assert_eq!(reply, Some(Record::new(ECHO | ANSWER, vec![n])));
        }
        drop(peer);
        server.end().await;
    });
}

#[test]
fn correlated_answers_go_when_they_are_ready_with_the_id_of_their_request() {
    // rule: SEL-6
    // rule: RESP-2
    on_each_runtime(|| async {
        let app = WireframeApp::with_protocol(CorrelatedRecords::default())
            .route(ECHO, in_turn)
            .state(Turns::starting_at(7));
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let id = |n: u8| u64::MAX - u64::from(n);
        for n in 0..8u8 {
            let request = Record::new(ECHO, vec![n]).with_correlation(id(n));
            peer.send_record(&request).await;
        }
        let mut replies = Vec::new();
        for _ in 0..8 {
            replies.push(peer.next_record().await.expect("all of them"));
        }
        // Several handlers may have answered before the first answer was sent.
        replies.sort_by_key(|reply| reply.payload[0]);
        for (n, reply) in (0..8u8).zip(replies) {
            let expected = Record::new(ECHO | ANSWER, vec![n]).with_correlation(id(n));
            assert_eq!(reply, expected);
        }
        drop(peer);
        server.end().await;
    });
}

#[test]
fn a_correlated_answer_does_not_wait_for_an_older_one() {
    // rule: SEL-6
    on_each_runtime(|| async {
        async fn when_told(body: Bytes, State(turns): State<Turns>) -> Bytes {
            turns.wait_for(u64::from(body[0])).await;
            body
        }
        let turns = Turns::starting_at(u64::MAX);
        let app = WireframeApp::with_protocol(CorrelatedRecords::default())
            .route(ECHO, when_told)
            .state(turns.clone());
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        for n in 0..3u8 {
            let request = Record::new(ECHO, vec![n]).with_correlation(u64::from(n));
            peer.send_record(&request).await;
        }
        for n in [2, 1, 0] {
            turns.0.send_replace(n);
            let reply = peer.next_record().await.expect("all of them");
            assert_eq!(reply.correlation, n);
        }
        drop(peer);
        server.end().await;
    });
}

#[test]
fn a_client_of_either_order_gets_the_replies_to_its_calls() {
    // rule: CLI-1
    async fn calls<P: Protocol<Frame = Record, Error = Refused>>(protocol: impl Fn() -> P) {
        let server = start(WireframeApp::with_protocol(protocol()).route(ECHO, echo)).await;
        let app = WireframeApp::with_protocol(protocol());
        let client = soon("a client connects", connect_with(server.address, app)).await;
        let client = client.expect("the server listens");
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..500u32 {
            let client = client.clone();
            calls.spawn(async move {
                let request = Record::new(ECHO, n.to_string());
                let reply = client.call(request).await.expect("an echo");
                assert_eq!((reply.route, reply.text()), (ECHO | ANSWER, n.to_string()));
            });
        }
        soon("all calls return", calls.join_all()).await;
        drop(client);
        server.end().await;
    }
    on_each_runtime(|| calls(InOrderRecords::default));
    on_each_runtime(|| calls(CorrelatedRecords::default));
}

#[test]
fn a_streamed_answer_ends_with_the_protocols_end_frame_and_others_without() {
    // rule: RESP-1
    // rule: RESP-3
    on_each_runtime(|| async {
        type Answer = Response<Record, Refused>;
        async fn streamed() -> Answer {
            Response::frames(async_stream::stream! {
                for n in 0..3u8 {
                    yield Record::new(ANSWER | 1, vec![n]);
                }
            })
        }
        async fn sent() -> Answer {
            let (sender, answer) = Response::channel(1);
            tokio::spawn(async move {
                for n in 0..3u8 {
                    let record = Record::new(ANSWER | 2, vec![n]);
                    sender.send(record).await.expect("the peer is there");
                }
            });
            answer
        }
        async fn listed() -> Vec<Record> {
            (0..3u8).map(|n| Record::new(ANSWER | 3, vec![n])).collect()
        }
        async fn silent() {}

        let app = WireframeApp::with_protocol(InOrderRecords::default())
            .route(1, streamed)
            .route(2, sent)
            .route(3, listed)
            .route(4, silent)
            .route(5, echo);
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        for route in 1..=5 {
            peer.send_record(&Record::new(route, "last")).await;
        }
        for (route, end) in [(1, true), (2, true), (3, false)] {
            for n in 0..3u8 {
                let expected = Record::new(ANSWER | route, vec![n]);
                assert_eq!(peer.next_record().await, Some(expected));
            }
            if end {
                assert_eq!(peer.next_record().await, Some(Record::new(END, "")));
            }
        }
        let last = Record::new(ANSWER | 5, "last");
        assert_eq!(
            peer.next_record().await,
            Some(last),
            "the fourth says nothing"
        );
        drop(peer);
        server.end().await;
    });
}

#[test]
fn a_handler_that_refuses_is_answered_for_by_the_protocol_and_the_connection_goes_on() {
    // rule: RESP-6
    // rule: RESP-3
    on_each_runtime(|| async {
        async fn refuse() -> Result<Bytes, Refused> {
            Err(Refused("not today"))
        }
        async fn break_off() -> Response<Record, Refused> {
            Response::stream(async_stream::try_stream! {
                yield Record::new(ANSWER | 2, "one");
                yield Record::new(ANSWER | 2, "two");
                Err(Refused("that was all"))?;
            })
        }
        async fn either(body: Bytes) -> Result<Bytes, WireframeError<Refused>> {
            fn check<E: ProtocolError>(error: E) -> Result<(), E> {
                Err(error)
            }
            check(Refused("nor tomorrow"))?;
            Ok(body)
        }
        let app = WireframeApp::with_protocol(CorrelatedRecords::default())
            .route(1, refuse)
            .route(2, break_off)
            .route(3, either)
            .route(4, echo);
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let answers: [(u32, &[(u32, &'static str)]); 4] = [
            (1, &[(ERROR, "not today")]),
            // The next answer follows at once: no end frame after the error.
            (
                2,
                &[
                    (ANSWER | 2, "one"),
                    (ANSWER | 2, "two"),
                    (ERROR, "that was all"),
                ],
            ),
            (3, &[(ERROR, "nor tomorrow")]),
            (4, &[(ANSWER | 4, "still here")]),
        ];
        for (route, answer) in answers {
            let request = Record::new(route, "still here").with_correlation(u64::from(route));
            peer.send_record(&request).await;
            for (got, text) in answer {
                let expected = Record::new(*got, *text).with_correlation(u64::from(route));
                assert_eq!(peer.next_record().await, Some(expected));
            }
        }
        drop(peer);
        server.end().await;
    });
}
