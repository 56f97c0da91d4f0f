//! A server behind a load balancer that says who its clients are, by the PROXY protocol.
//!
//! `cargo run -p wireframe-tokio --example balanced` runs all three over loopback TCP, and
//! fails if the server does not know the client.
#![expect(clippy::print_stdout, reason = "it is there to be read")]

use std::{error::Error, io, net::SocketAddr};

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use wireframe::{
    ConnectionHandle, Envelope, WireframeApp,
    proxy::{Fields, Header, Network, ProxyProtocol},
    server::ListenOptions,
};
use wireframe_tokio::{Server, connect};

const WHO_AM_I: u32 = 1;

// ANCHOR: handler
/// Names the client, and the host that it has asked the balancer for.
async fn who_am_i(connection: ConnectionHandle) -> String {
    let client = connection.peer().map(|peer| peer.to_string());
    let told = connection.proxied();
    let host = told.and_then(|told| told.header.fields.authority());
    format!(
        "{} of {}",
        client.as_deref().unwrap_or("?"),
        host.unwrap_or("?")
    )
}
// ANCHOR_END: handler

// ANCHOR: server
/// Where the balancers are. Nobody else is served.
async fn bind(balancers: Network) -> io::Result<Server> {
    let mut options = ListenOptions::default();
    options.proxy = Some(ProxyProtocol::from_sources([balancers]));
    Server::bind_with("127.0.0.1:0", &options).await
}
// ANCHOR_END: server

// ANCHOR: balancer
/// What a balancer does with one client.
async fn pass_on(mut client: TcpStream, server: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut header = Header::tcp(client.peer_addr()?, client.local_addr()?);
    header.fields = header.fields.with(Fields::AUTHORITY, b"db.example")?;
    let mut server = TcpStream::connect(server).await?;
    server.write_all(&header.to_v2()).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
// ANCHOR_END: balancer

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = bind("127.0.0.0/8".parse()?).await?;
    let (address, handle) = (server.local_addr()?, server.handle());
    let app = WireframeApp::new().route(WHO_AM_I, who_am_i);
    let serving = tokio::spawn(server.serve(app));
    let balancer = TcpListener::bind("127.0.0.1:0").await?;
    let front = balancer.local_addr()?;

    let using = async {
        let client = connect(front).await?;
        let answer = client.call(Envelope::new(WHO_AM_I, "")).await?;
        println!(
            "the server says: {}",
            String::from_utf8_lossy(&answer.payload)
        );
        Ok::<_, Box<dyn Error>>(answer)
    };
    let balancing = async {
        let (client, its_address) = balancer.accept().await?;
        pass_on(client, address).await?;
        Ok::<_, Box<dyn Error>>(its_address)
    };
    let (answer, its_address) = tokio::try_join!(using, balancing)?;
    assert_eq!(answer.payload, format!("{its_address} of db.example"));

    // Whoever does not come through a balancer is not served.
    let direct = connect(address).await?;
    let refused = direct.call(Envelope::new(WHO_AM_I, "")).await;
    assert!(refused.is_err(), "it has sent no header");
    assert_eq!(handle.failed_handshakes(), 1);
    println!("who sends no header is not served");
    handle.shutdown();
    serving.await??;
    Ok(())
}
