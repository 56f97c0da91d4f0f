use std::{
    fs, io, net,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    task::{Context, Poll},
};

use super::at_once;
use crate::{
    driver::Environment,
    rt::{Address, Runtime},
    server::{Accepted, Listener, Server},
    testing::{Link, Simulation},
};

/// A runtime whose sockets of the file system look for their files when they close.
struct Attentive;

impl Runtime for Attentive {
    type TcpStream = Link;
    type TcpListener = Listening;
    type UnixStream = Link;
    type UnixListener = Listening;

    fn environment() -> Environment {
        Simulation::new().environment()
    }

    async fn resolve(_: String) -> io::Result<Vec<net::SocketAddr>> {
        Ok(Vec::new())
    }

    async fn connect(_: net::SocketAddr) -> io::Result<Link> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn listen(_: net::TcpListener) -> io::Result<Listening> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn connect_unix(_: PathBuf) -> io::Result<Link> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn listen_unix(listener: UnixListener) -> io::Result<Listening> {
        Ok(Listening(listener))
    }
}

struct Listening(UnixListener);

impl Listener for Listening {
    type Transport = Link;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted<Link>>> {
        Poll::Pending
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let address = self.0.local_addr().unwrap();
        let path = address.as_pathname().unwrap();
        let closed = fs::write(closed(path), [u8::from(path.exists())]);
        closed.unwrap();
    }
}

/// Where a socket says whether its file was there when it closed.
fn closed(path: &Path) -> PathBuf {
    path.with_extension("closed")
}

/// Else whoever finds the file before it goes, and nobody listening, replaces it, and then
/// loses its own.
#[test]
fn the_file_of_a_socket_goes_before_it_closes() {
    let name = format!("wireframe-file-order-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let server = at_once(Server::<Attentive>::bind(Address::unix(&path))).unwrap();
    assert!(path.exists());
    drop(server);
    let was_there = fs::read(closed(&path)).unwrap();
    fs::remove_file(closed(&path)).unwrap();
    assert_eq!(was_there, [0], "the file was still there");
    assert!(!path.exists());
}
