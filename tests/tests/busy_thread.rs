//! A thread that is busy with other things, and what its peers did meanwhile.

use std::{thread, time::Duration};

use wireframe::{Config, Envelope, Heartbeat, Priority, WireframeApp};
use wireframe_tests::{Raw, handing_out, on_one_thread, start};

const LIMIT: Duration = Duration::from_millis(50);

#[test]
fn a_peer_is_not_given_up_because_its_server_was_busy() {
    // rule: LIM-3
    on_one_thread(async {
        let mut config = Config::default();
        config.heartbeat = Some(Heartbeat::expecting(LIMIT));
        let app = WireframeApp::new().config(config).route(9, async || ());
        let (app, mut handles) = handing_out(app);
        let server = start(app).await;
        let mut peer = Raw::connect(server.address).await;
        let push = handles.next().await;
        for _ in 0..10 {
            // A part of a frame is a sign of life; nothing else runs on this thread then.
            peer.send(&[0]).await;
            thread::sleep(2 * LIMIT);
            // The driver is woken before the runtime has looked at its sockets.
            let news = Envelope::new(1, "news");
            push.try_push(Priority::High, news.clone())
                .expect("it is connected");
            assert_eq!(peer.next_envelope().await, Some(news));
            peer.send(&[0, 0, 4, 9, 0, 1, b'x']).await;
        }
        drop(peer);
        server.end().await;
    });
}
