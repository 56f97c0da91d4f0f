//! Spans over sockets, and on threads that take turns.

use tracing::info;
use wireframe::{Clock, ConnectionHandle, Envelope, Response, WireframeApp, rt::Runtime};
use wireframe_tests::Serving;

use crate::{
    recorder::{listen, said_in},
    rig::secs,
};

scenarios! {
    what_happens_on_a_connection_is_in_its_span_at_both_ends
}

/// Says which connection it serves, and for how long it works.
async fn works(connection: ConnectionHandle, clock: Clock) -> Response {
    let id = connection.id().to_string();
    info!("begins");
    // As short as the clock's: the task is left and comes back.
    clock.sleep(secs(0)).await;
    Response::frames(async_stream::stream! {
        info!("streams");
        yield Envelope::new(2, id);
    })
}

async fn what_happens_on_a_connection_is_in_its_span_at_both_ends<R: Runtime>() {
    // rule: OBS-1
    const CALLS: usize = 10;
    listen();
    let server = Serving::start::<R, _>(WireframeApp::new().route(1, works)).await;
    let mut ends = Vec::new();
    for _ in 0..3 {
        let client = server.client::<R>().await;
        for _ in 0..CALLS {
            let reply = client.call(Envelope::new(1, "")).await.expect("an answer");
            ends.push((client.connection().id(), reply.payload));
        }
    }
    let address = server.address;
    server.end().await;
    ends.dedup();
    assert_eq!(ends.len(), 3, "one connection for each client");
    for (client, served) in ends {
        let served = String::from_utf8_lossy(&served);
        let heard = said_in(&format!("connection{{id={served} "));
        let count = |message: &str, inner: &[&str]| {
            let there = heard.iter().filter(|heard| {
                let names = heard
                    .spans
                    .iter()
                    .skip(1)
                    .map(|span| span.split('{').next());
                heard.message == message && names.eq(inner.iter().copied().map(Some))
            });
            there.count()
        };
        assert!(
            heard
                .iter()
                .all(|heard| heard.spans[0].ends_with("side=server}"))
        );
        assert_eq!(count("begins", &["request"]), CALLS);
        assert_eq!(count("streams", &["request", "response_stream"]), CALLS);
        assert_eq!(count("frame received", &[]), CALLS);
        assert_eq!(count("connection ended", &[]), 1);
        assert_eq!(count("closed", &[]), 1);
        let span = format!("connection{{id={client} peer={address} side=client}}");
        let replies = said_in(&span).into_iter();
        assert_eq!(
            replies
                .filter(|heard| heard.message == "frame received")
                .count(),
            CALLS
        );
    }
}
