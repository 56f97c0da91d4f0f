//! Servers with more peers than they have room for.

use std::net::{IpAddr, Ipv4Addr};

use wireframe::{
    server::{ConnectionLimits, WhenFull},
    testing::Link,
};

use crate::{
    rig::{Record, Text, nonzero, text, wire},
    serving::{Serving, heard},
};

fn serving(limit: impl FnOnce(&mut ConnectionLimits)) -> (Serving, Record) {
    let mut limits = ConnectionLimits::default();
    limit(&mut limits);
    let protocol = Text {
        has_goodbye: true,
        ..Text::default()
    };
    let app = text(&protocol).route(1, || "answer".to_owned());
    (Serving::limited(app, limits), protocol.record)
}

/// What comes back for a request.
fn asked(peer: &mut Link, serving: &Serving) -> Vec<String> {
    peer.send(&wire("1"));
    heard(peer, &serving.simulation)
}

#[test]
fn a_full_server_takes_the_next_connection_when_one_has_ended() {
    // rule: LIM-4
    let (serving, _) = serving(|limits| limits.max_connections = nonzero(2));
    let mut peers = [(); 4].map(|()| serving.connect(100));
    let answers = peers.each_mut().map(|peer| asked(peer, &serving).len());
    assert_eq!((answers, serving.handle.connections()), ([1, 1, 0, 0], 2));
    let [first, second, third, fourth] = &mut peers;
    second.finish();
    assert_eq!(heard(third, &serving.simulation), ["1:answer"]);
    assert_eq!(heard(fourth, &serving.simulation), [""; 0]);
    third.finish();
    first.finish();
    assert_eq!(heard(fourth, &serving.simulation), ["1:answer"]);
    assert_eq!(serving.handle.connections(), 1);
}

#[test]
fn a_full_server_can_say_so_and_serves_those_it_has() {
    // rule: LIM-4, HOOK-6
    let (serving, record) = serving(|limits| {
        limits.max_connections = nonzero(1);
        limits.when_full = WhenFull::Refuse;
    });
    let mut first = serving.connect(100);
    let mut second = serving.connect(100);
    assert_eq!(heard(&mut second, &serving.simulation), ["goodbye"]);
    assert!(second.is_at_end());
    second.finish();
    serving.simulation.run();
    let reason = "disconnect max_connections is 1, got 2";
    assert_eq!(record.count(reason), 1);
    assert_eq!(asked(&mut first, &serving), ["1:answer"]);
    first.finish();
    serving.simulation.run();
    assert_eq!(asked(&mut serving.connect(100), &serving), ["1:answer"]);
}

#[test]
fn those_that_cannot_be_told_are_dropped() {
    // rule: LIM-4
    let (serving, record) = serving(|limits| {
        limits.max_connections = nonzero(1);
        limits.when_full = WhenFull::Refuse;
    });
    let _first = serving.connect(100);
    let mut peers: Vec<_> = (0..70).map(|_| serving.connect(100)).collect();
    let told = peers
        .iter_mut()
        .map(|peer| heard(peer, &serving.simulation).len());
    assert_eq!(told.sum::<usize>(), 64);
    assert!(peers.iter().all(Link::is_at_end));
    drop(peers);
    serving.simulation.run();
    assert_eq!(
        heard(&mut serving.connect(100), &serving.simulation),
        ["goodbye"]
    );
    assert_eq!(record.count("goodbye"), 65);
}

#[test]
fn one_address_cannot_take_all_the_room() {
    // rule: LIM-4
    let (serving, record) = serving(|limits| limits.max_per_address = Some(nonzero(2)));
    let [greedy, modest] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Ipv4Addr::from);
    let plain = |address| Some(IpAddr::V4(address));
    let mapped = Some(IpAddr::V6(greedy.to_ipv6_mapped()));
    let mut peers = [
        plain(greedy),
        mapped,
        plain(greedy),
        mapped,
        plain(modest),
        None,
    ]
    .map(|address| serving.connect_from(address, 100));
    let heard_by = |peer: &mut Link| asked(peer, &serving);
    let [a, b, c, d, e, f] = peers.each_mut().map(heard_by);
    assert_eq!([a, b, e, f], [["1:answer"]; 4]);
    assert_eq!([c, d], [["goodbye"]; 2]);
    assert_eq!(
        record.count("disconnect max_per_address is 2, got 3"),
        0,
        "still closing"
    );
    for peer in [0, 2, 3] {
        peers[peer].finish();
    }
    serving.simulation.run();
    assert_eq!(record.count("disconnect max_per_address is 2, got 3"), 2);
    let mut again = serving.connect_from(mapped, 100);
    assert_eq!(asked(&mut again, &serving), ["1:answer"]);
}
