use std::{
    io,
    net::{self, IpAddr, SocketAddr},
    task::{Context, Poll},
};

use super::at_once;
use crate::{
    driver::Environment,
    rt::{Address, Runtime},
    server::{Accepted, Listener},
    testing::{Link, Simulation},
};

/// A runtime whose names stand for as many addresses as they have letters.
struct Letters;

impl Runtime for Letters {
    type TcpStream = Link;
    type TcpListener = Deaf;
    #[cfg(unix)]
    type UnixStream = Link;
    #[cfg(unix)]
    type UnixListener = Deaf;

    fn environment() -> Environment {
        Simulation::new().environment()
    }

    async fn resolve(name: String) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = name.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let port = port.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(host
            .bytes()
            .map(|n| SocketAddr::from(([10, 0, 0, n], port)))
            .collect())
    }

    async fn connect(_: SocketAddr) -> io::Result<Link> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    fn listen(_: net::TcpListener) -> io::Result<Deaf> {
        Ok(Deaf)
    }

    #[cfg(unix)]
    async fn connect_unix(_: std::path::PathBuf) -> io::Result<Link> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    #[cfg(unix)]
    fn listen_unix(_: std::os::unix::net::UnixListener) -> io::Result<Deaf> {
        Ok(Deaf)
    }
}

struct Deaf;

impl Listener for Deaf {
    type Transport = Link;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Accepted<Link>>> {
        Poll::Pending
    }
}

fn resolve(address: impl Into<Address>) -> io::Result<Vec<String>> {
    let addresses = at_once(address.into().resolve::<Letters>())?;
    Ok(addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn an_ip_address_is_taken_as_it_is() {
    let v6 = "[::1]:80";
    for (address, expected) in [
        (Address::from("127.0.0.1:80"), "127.0.0.1:80"),
        (Address::from("127.0.0.1:80".to_owned()), "127.0.0.1:80"),
        (Address::from(&"127.0.0.1:80".to_owned()), "127.0.0.1:80"),
        (Address::from(("127.0.0.1", 80)), "127.0.0.1:80"),
        (Address::from(v6), v6),
        (Address::from(("::1", 80)), v6),
        (
            Address::from((IpAddr::from([127, 0, 0, 1]), 80)),
            "127.0.0.1:80",
        ),
        (
            Address::from(SocketAddr::from(([127, 0, 0, 1], 80))),
            "127.0.0.1:80",
        ),
    ] {
        assert_eq!(address.to_string(), expected);
        assert_eq!(resolve(address).unwrap(), [expected]);
    }
}

#[test]
fn a_name_is_looked_up() {
    for address in [Address::from("ab:80"), Address::from(("ab", 80))] {
        assert_eq!(address.to_string(), "ab:80");
        assert_eq!(resolve(address).unwrap(), ["10.0.0.97:80", "10.0.0.98:80"]);
    }
}

#[test]
fn several_addresses_are_kept_in_order() {
    let two = ["[::1]:2", "127.0.0.1:1"].map(|text| text.parse::<SocketAddr>().unwrap());
    for address in [Address::from(two.to_vec()), Address::from(&two[..])] {
        assert_eq!(address.to_string(), "[::1]:2, 127.0.0.1:1");
        assert_eq!(resolve(address).unwrap(), ["[::1]:2", "127.0.0.1:1"]);
    }
}

#[test]
fn what_cannot_be_looked_up_fails_as_the_lookup_does() {
    assert_eq!(
        resolve("ab").unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
    assert_eq!(
        resolve("ab:http").unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}

#[test]
fn what_stands_for_no_address_is_an_error_that_names_it() {
    let error = resolve(":80").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "\":80\" stands for no address");
    let error = resolve(Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
