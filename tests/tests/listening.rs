//! Where servers listen, and when they stop to.
#![cfg(unix)]

use std::{fs, io, net::SocketAddr, os::unix::net::UnixListener};

use tokio::{io::AsyncWriteExt, net::UnixStream};
use wireframe::{
    Client, ConnectionHandle, Envelope, ShutdownToken, WireframeApp,
    proxy::{Header, Network, ProxyProtocol},
    rt::Address,
    server::{ListenOptions, ServerHandle, ShutdownReport},
};
use wireframe_tests::{Scratch, on_each_runtime, soon};
use wireframe_tokio::{Server, Tokio, connect, environment};

fn address(file: &Scratch) -> Address {
    Address::unix(file.as_ref())
}

async fn echoes(address: impl Into<Address>) {
    let client = soon("a connection", connect(address))
        .await
        .expect("a server");
    let reply = soon("a reply", client.call(Envelope::new(1, "hello"))).await;
    assert_eq!(reply.expect("a reply").payload, "hello");
}

fn serve(server: Server) -> (ServerHandle, tokio::task::JoinHandle<ShutdownReport>) {
    let handle = server.handle();
    let app = WireframeApp::new().route(1, |body: bytes::Bytes| body);
    let served = tokio::spawn(async move { server.serve(app).await.expect("a fit app") });
    (handle, served)
}

#[test]
fn one_server_listens_over_tcp_and_in_the_file_system() {
    on_each_runtime(|| async {
        let file = Scratch::new("several");
        let server = Server::bind(address(&file)).await.expect("a new file");
        let none = server.local_addr().expect_err("no TCP yet");
        assert_eq!(none.kind(), io::ErrorKind::AddrNotAvailable);
        let server = server.and_bind("127.0.0.1:0").await.expect("a port");
        let server = server.and_bind("localhost:0").await.expect("a port");
        let first = server.local_addr().expect("it listens");
        let addresses: Vec<_> = server.addresses().collect();
        assert_eq!(addresses[..2], [address(&file), first.into()]);
        let (handle, served) = serve(server);
        for address in addresses {
            echoes(address).await;
        }
        handle.shutdown();
        soon("the end", served).await.expect("no panic");
        assert!(!file.as_ref().exists(), "the file is still there");
    });
}

#[test]
fn a_file_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    on_each_runtime(|| async {
        let file = Scratch::new("stale");
        drop(UnixListener::bind(&file).expect("a new file"));
        assert!(file.as_ref().exists());
        let (handle, served) = serve(Server::bind(address(&file)).await.expect("it is stale"));
        echoes(address(&file)).await;
        let error = Server::bind(address(&file))
            .await
            .expect_err("it is in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        echoes(address(&file)).await;
        handle.shutdown();
        soon("the end", served).await.expect("no panic");

        fs::write(&file, "no socket").expect("a file");
        let error = Server::bind(address(&file)).await.expect_err("no socket");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&file).expect("a file"), b"no socket");
    });
}

#[test]
fn whoever_connects_in_the_file_system_may_say_who_it_speaks_for() {
    // rule: PROXY-1
    on_each_runtime(|| async {
        let file = Scratch::new("proxied");
        let mut options = ListenOptions::default();
        let nobody: [Network; 0] = [];
        options.proxy = Some(ProxyProtocol::from_sources(nobody));
        let server = Server::bind_with(address(&file), &options).await;
        let server = server.expect("a new file");
        let handle = server.handle();
        let app = WireframeApp::new().route(1, |connection: ConnectionHandle| {
            connection
                .peer()
                .map_or_else(String::new, |peer| peer.to_string())
        });
        let served = tokio::spawn(async move { server.serve(app).await.expect("a fit app") });
        let stream = UnixStream::connect(&file).await.expect("a server");
        let mut stream = Tokio(stream);
        let client = SocketAddr::from(([203, 0, 113, 7], 4321));
        let header = Header::tcp(client, client).to_v1();
        let written = stream.0.write_all(&header).await;
        written.expect("it takes bytes");
        let app = WireframeApp::new().build().expect("a fit app");
        let (client_end, driver) = Client::new(&app, stream, None, &environment());
        tokio::spawn(driver);
        let reply = soon("a reply", client_end.call(Envelope::new(1, ""))).await;
        assert_eq!(reply.expect("a reply").payload, client.to_string());
        drop(client_end);
        handle.shutdown();
        soon("the end", served).await.expect("no panic");
    });
}

#[test]
fn a_port_is_shared_only_by_those_who_want_to() {
    on_each_runtime(|| async {
        let mut options = ListenOptions::default();
        options.reuse_port = true;
        let one = Server::bind_with("127.0.0.1:0", &options)
            .await
            .expect("a port");
        let address = one.local_addr().expect("it listens");
        let alone = Server::bind(address).await.expect_err("it is taken");
        assert_eq!(alone.kind(), io::ErrorKind::AddrInUse);
        let two = Server::bind_with(address, &options)
            .await
            .expect("it is shared");
        drop(one);
        let (handle, served) = serve(two);
        echoes(address).await;
        handle.shutdown();
        soon("the end", served).await.expect("no panic");
    });
}

#[test]
fn anything_that_can_be_awaited_shuts_a_server_down() {
    // rule: SHUT-4
    on_each_runtime(|| async {
        for turn in 0..3 {
            let token = ShutdownToken::new();
            let foreign = tokio_util::sync::CancellationToken::new();
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let server = Server::bind("127.0.0.1:0").await.expect("a port");
            let server = server
                .shutdown_on(token.triggered())
                .shutdown_on(foreign.clone().cancelled_owned())
                .shutdown_on(async {
                    // Never, if the sender is gone.
                    match receiver.await {
                        Ok(()) => {}
                        Err(_) => std::future::pending().await,
                    }
                });
            let address = server.local_addr().expect("it listens");
            let (_, served) = serve(server);
            echoes(address).await;
            assert!(!served.is_finished());
            match turn {
                0 => sender.send(()).expect("it waits"),
                1 => foreign.cancel(),
                _ => token.trigger(),
            }
            soon("the end", served).await.expect("no panic");
        }
    });
}
