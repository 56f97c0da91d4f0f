//! Uploads that never end, from many peers, against a budget for all of them.

use std::{convert::Infallible, net::SocketAddr, num::NonZeroUsize, sync::Arc};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};
use wireframe::{
    CloseReason, Codec, Config, Context, FragmentMeta, FragmentStrategy, Frame, FrameBuf,
    Malformed, MemoryBudget, PayloadFrame, Role, Side, Unencodable, View, WireframeApp,
    WireframeProtocol, proto::Multiplexed,
};
use wireframe_tests::{on_each_runtime, soon, start};

const PEERS: usize = 50;
/// What each of them sends of a message that is longer.
const SENT: usize = 1 << 20;
const PIECE: usize = 16 << 10;
const LIMIT: usize = 4 << 20;
const READ_BUFFER: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Blob(Bytes);

impl Frame for Blob {}

impl PayloadFrame for Blob {
    fn into_payload(self) -> Bytes {
        self.0
    }

    fn answering(_: u32, payload: Bytes) -> Self {
        Self(payload)
    }
}

/// Frames are payloads, which a server echoes and which may come in fragments.
struct Uploads;
struct BlobCodec;

impl Codec for BlobCodec {
    type Frame = Blob;

    fn decode(&mut self, _: &FragmentMeta, payload: Bytes) -> Result<Blob, Malformed> {
        Ok(Blob(payload))
    }

    fn encode(&mut self, frame: &Blob, dst: &mut FrameBuf<'_>) -> Result<(), Unencodable> {
        dst.put_bytes(&frame.0);
        Ok(())
    }

    fn encoded_len(&self, frame: &Blob) -> usize {
        frame.0.len()
    }
}

impl WireframeProtocol for Uploads {
    type Frame = Blob;
    type Error = Infallible;
    type Codec = BlobCodec;
    type Framing = Multiplexed;
    type Session = ();

    fn codec(&self) -> BlobCodec {
        BlobCodec
    }

    fn framing(&self) -> Multiplexed {
        Multiplexed::new()
    }

    fn classify(&self, _: &Blob, view: &View<'_, ()>) -> Role {
        match view.side() {
            Side::Server => Role::Request {
                route: 1,
                correlation: None,
                exclusive: false,
            },
            Side::Client => Role::Reply {
                to: None,
                last: true,
            },
        }
    }

    fn goodbye(&self, reason: &CloseReason, _: &mut Context<'_, Self>) -> Option<Blob> {
        Some(Blob(reason.to_string().into()))
    }
}

fn fragment(seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut meta = FragmentMeta::whole(payload.len() as u64);
    meta.msg_id = Some(1);
    meta.seq = Some(seq);
    meta.total_message_len = (seq == 0).then_some(8 << 20);
    meta.is_final = false;
    let mut unit = Vec::new();
    let header = Multiplexed::new().encode_header(&mut unit, &(), &meta);
    header.expect("a header that can be written");
    unit.extend_from_slice(payload);
    unit
}

/// Sends a part of a message and no more until `over` is closed. Says what the server's last
/// word was.
async fn upload(address: SocketAddr, over: Arc<Semaphore>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a server listens");
    let payload = [7; PIECE];
    for seq in 0..SENT / PIECE {
        let seq = u32::try_from(seq).expect("a small number");
        // The server reads on behind its last word.
        let written = stream.write_all(&fragment(seq, &payload)).await;
        written.expect("the server takes bytes");
    }
    over.acquire().await.expect_err("it has no permits");
    stream.shutdown().await.expect("the connection is up");
    let mut last = Vec::new();
    let read = stream.read_to_end(&mut last).await;
    read.expect("the server closes in good order");
    String::from_utf8_lossy(last.get(5..).expect("a last word")).into_owned()
}

#[test]
fn uploads_that_never_end_pass_the_budget_by_little_and_honest_clients_are_served() {
    // rule: LIM-6
    on_each_runtime(|| async {
        let budget = MemoryBudget::new(NonZeroUsize::new(LIMIT).expect("a limit"));
        let mut config = Config::default();
        config.limits.read_buffer = NonZeroUsize::new(READ_BUFFER).expect("a buffer");
        let app = WireframeApp::with_protocol(Uploads)
            .config(config)
            .memory_budget(&budget)
            .route(1, async |body: Bytes| body);
        let server = start(app).await;
        let own = WireframeApp::with_protocol(Uploads);
        let honest = wireframe_tokio::connect_with(server.address, own).await;
        let honest = honest.expect("a server listens");

        let over = Arc::new(Semaphore::new(0));
        let mut uploads: JoinSet<_> = (0..PEERS)
            .map(|_| upload(server.address, Arc::clone(&over)))
            .collect();
        let (mut most, mut refused, mut held) = (0, 0, 0);
        while !uploads.is_empty() {
            let reply = soon("an answer", honest.call(Blob("hello".into()))).await;
            assert_eq!(reply, Ok(Blob("hello".into())));
            most = most.max(budget.used());
            // As many are left as find room with all that they send.
            if budget.closed() >= (PEERS - LIMIT / SENT) as u64 {
                over.close();
            }
            while let Some(last) = uploads.try_join_next() {
                let last = last.expect("a peer that got its last word");
                if last.starts_with("memory_budget is 4194304, got ") {
                    refused += 1;
                } else {
                    let expected = "peer closed inside a message, after 1048576 bytes";
                    assert!(last.starts_with(expected), "{last}");
                    held += 1;
                }
            }
        }
        assert_eq!(budget.closed(), refused);
        assert!(held <= LIMIT / SENT, "{held} held a mebibyte each");
        // Four threads with one message each, and a buffer for each peer.
        let slack = 4 * SENT * 3 / 2 + PEERS * 2 * READ_BUFFER;
        assert!(most <= LIMIT + slack, "{most} bytes were used");
        drop(honest);
        server.end().await;
        assert_eq!(budget.used(), 0);
    });
}
