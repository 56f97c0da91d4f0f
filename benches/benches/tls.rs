//! Echo over TLS, and the same without: server and client in one process and thread, over
//! loopback TCP. What is measured is the work of both ends.
#![expect(
    clippy::expect_used,
    reason = "a benchmark has nobody to tell but who runs it"
)]

use std::{hint::black_box, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::ring};
use tokio::runtime::{Builder, Runtime};
use wireframe::{
    Client, Envelope, EnvelopeProtocol, WireframeApp,
    server::ListenOptions,
    tls::{self, TlsAcceptor, TlsConnector},
};
use wireframe_tokio::{Server, TokioRuntime, connect};

/// Bytes of a payload, and requests at once.
const LOADS: [(usize, usize); 2] = [(32, 64), (64 * 1024, 4)];

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Both ends, with a certificate that is its own authority.
fn configured() -> (TlsAcceptor, TlsConnector) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["db.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("an authority");
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("some")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("some")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "db.example".try_into().expect("a name");
    (
        TlsAcceptor::new(Arc::new(server)),
        TlsConnector::new(Arc::new(client), name),
    )
}

/// A server that runs as long as the runtime does.
async fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    let mut options = ListenOptions::default();
    options.tls = tls;
    let server = Server::bind_with("127.0.0.1:0", &options).await;
    let server = server.expect("a free port");
    let address = server.local_addr().expect("a bound socket");
    tokio::spawn(server.serve(WireframeApp::new().route(1, echo)));
    address
}

fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    name: &str,
    client: &Client<EnvelopeProtocol>,
) {
    let mut group = criterion.benchmark_group(name);
    for (size, at_once) in LOADS {
        let payload = Bytes::from(vec![7; size]);
        let calls = || {
            let calls = (0..at_once).map(|_| client.call(Envelope::new(1, payload.clone())));
            join_all(calls)
        };
        group.throughput(Throughput::Elements(at_once as u64));
        group.bench_function(format!("{size} bytes, {at_once} at once"), |bencher| {
            bencher.iter(|| {
                for reply in runtime.block_on(async { calls().await }) {
                    black_box(reply.expect("an echo"));
                }
            });
        });
    }
    group.finish();
}

fn echoes(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let plain = runtime.block_on(async {
        let address = serve(None).await;
        connect(address).await
    });
    measure(criterion, &runtime, "plain", &plain.expect("it listens"));
    let encrypted = runtime.block_on(async {
        let (acceptor, connector) = configured();
        let address = serve(Some(acceptor)).await;
        tls::connect::<TokioRuntime, _>(address, &connector, WireframeApp::new()).await
    });
    measure(criterion, &runtime, "tls", &encrypted.expect("a handshake"));
}

criterion_group!(benches, echoes);
criterion_main!(benches);
