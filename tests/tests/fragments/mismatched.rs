//! Two ends that do not have the same framing: what either of them says to that.

use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use wireframe::{CallError, Client, CloseReason, Config, Driver, FragmentLimits, WireframeApp};
use wireframe_tests::{InOrderRecords, Record, ended, on_one_thread, soon};
use wireframe_tokio::{Tokio, environment};

use super::wire::Wire;

const ECHO: u32 = 1;

/// The app over that wire, or over the protocol's own: a length of four bytes.
fn app(wire: Option<Wire>) -> WireframeApp<InOrderRecords> {
    let app = WireframeApp::with_protocol(InOrderRecords::default());
    let app = app.route(ECHO, async |body: Bytes| body);
    let brief = Duration::from_millis(200);
    let mut limits = FragmentLimits::default();
    limits.reassembly_timeout = brief;
    let mut config = Config::default();
    config.timeouts.frame_completion = brief;
    match wire {
        Some(wire) => super::within(app, wire, limits),
        None => app,
    }
    .config(config)
}

/// Why the server and the client of such framings say that their connection has ended.
async fn ends(server: Option<Wire>, client: Option<Wire>) -> (CloseReason, CloseReason) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let connecting = soon("a client connects", TcpStream::connect(address)).await;
    let (accepted, _) = soon("it is accepted", listener.accept())
        .await
        .expect("a client");
    let app_of = |wire| app(wire).build().expect("an app fit to serve");
    let driver = Driver::server(&app_of(server), Tokio(accepted), None, &environment());
    let server = tokio::spawn(driver);
    let stream = connecting.expect("the listener is up");
    let (client, driver) = Client::new(&app_of(client), Tokio(stream), None, &environment());
    tokio::spawn(driver);
    let failed = soon("the call", client.call(Record::new(ECHO, "hello"))).await;
    let Err(CallError::Closed(said)) = failed else {
        panic!("not {failed:?}");
    };
    (ended(server).await, said)
}

#[test]
fn ends_of_different_framings_say_what_they_did_not_understand() {
    // rule: FRAME-2, LIM-1, LIM-3, FRAG-3, FRAG-4
    let (flag, seq, named) = (Wire::LenFlag, Wire::LenSeq, Wire::Multiplexed);
    let flags = "malformed input: flags 0x00: neither a fragment nor a whole message";
    let number = "malformed input: packet number 17, expected 0";
    let frame = "a frame was not completed in time";
    let message = "a message was not completed in time";
    let cases = [
        (None, Some(flag), "max_frame_len is 1048576, got 2148597760"),
        (None, Some(seq), "max_frame_len is 1048576, got 285212672"),
        (
            None,
            Some(named),
            "max_frame_len is 1048576, got 1862270976",
        ),
        (Some(flag), None, message),
        (Some(flag), Some(seq), frame),
        (Some(flag), Some(named), frame),
        (Some(seq), None, number),
        (Some(seq), Some(flag), frame),
        (Some(seq), Some(named), number),
        (Some(named), None, flags),
        (Some(named), Some(flag), flags),
        (Some(named), Some(seq), flags),
    ];
    on_one_thread(async {
        for (server, client, word) in cases {
            let (reason, said) = ends(server, client).await;
            assert_eq!(reason.to_string(), word, "{server:?}, {client:?}");
            // The client does not understand the server's last word either.
            assert!(
                matches!(
                    said,
                    CloseReason::Malformed(_)
                        | CloseReason::Limit(_)
                        | CloseReason::UnexpectedEof(_)
                        | CloseReason::MessageEof { .. }
                ),
                "{server:?}, {client:?}: {said}"
            );
        }
    });
}
