//! Typed payloads in postcard's format, from a client's value to a handler's and back.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wireframe::{
    Client, CloseReason, Driver, Envelope, Malformed, Message, Payload, PayloadFormat, Postcard,
    Unencodable, WireframeApp,
    testing::{Simulation, Spawned, link},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    dish: String,
    count: u32,
    note: Option<String>,
}

impl Payload for Order {
    type Format = Postcard;
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Reply {
    Ready { minutes: u16 },
    SoldOut,
}

impl Payload for Reply {
    type Format = Postcard;
}

fn cook(Message(order): Message<Order>) -> Message<Reply> {
    Message(match order.dish.as_str() {
        "soup" => Reply::Ready {
            minutes: u16::try_from(order.count * 5).unwrap_or(u16::MAX),
        },
        _ => Reply::SoldOut,
    })
}

fn order(dish: &str) -> Order {
    Order {
        dish: dish.to_owned(),
        count: 3,
        note: None,
    }
}

fn kitchen(simulation: &Simulation) -> (Client, Spawned<CloseReason>) {
    let (near, far) = link(1 << 16);
    let environment = simulation.environment();
    let app = WireframeApp::new().route(1, cook).build().unwrap();
    let server = simulation.spawn(Driver::server(&app, near, None, &environment));
    let app = WireframeApp::new().build().unwrap();
    let (client, driver) = Client::new(&app, far, None, &environment);
    simulation.spawn(driver);
    (client, server)
}

/// What came back by the end of the simulation's work, if anything did.
fn call(simulation: &Simulation, client: &Client, payload: Bytes) -> Option<Reply> {
    let client = client.clone();
    let call = simulation.spawn(async move { client.call(Envelope::new(1, payload)).await });
    simulation.run();
    let reply = call.take()?.unwrap();
    Some(Reply::from_payload(reply.payload).unwrap())
}

#[test]
fn values_go_to_a_handler_and_come_back() {
    // rule: APP-1, RESP-1
    let simulation = Simulation::new();
    let (client, _server) = kitchen(&simulation);
    for (dish, reply) in [
        ("soup", Reply::Ready { minutes: 15 }),
        ("stew", Reply::SoldOut),
    ] {
        let payload = order(dish).to_payload().unwrap();
        assert_eq!(call(&simulation, &client, payload), Some(reply));
    }
}

#[test]
fn a_payload_that_is_no_order_leaves_the_connection_usable() {
    // rule: APP-1, RESP-6
    let simulation = Simulation::new();
    let (client, server) = kitchen(&simulation);
    let whole = order("soup").to_payload().unwrap();
    let cut = whole.slice(..whole.len() - 1);
    let longer = [&whole[..], b"xy"].concat().into();
    for bad in [Bytes::new(), cut, longer] {
        assert_eq!(call(&simulation, &client, bad), None, "not answered");
    }
    let reply = Some(Reply::Ready { minutes: 15 });
    assert_eq!(call(&simulation, &client, whole), reply);
    assert!(!server.is_done());
}

#[test]
fn what_follows_a_value_is_malformed_and_said_by_number() {
    // rule: APP-1
    let whole = order("soup").to_payload().unwrap();
    assert_eq!(Order::from_payload(whole.clone()), Ok(order("soup")));
    let longer = [&whole[..], b"xy"].concat();
    let expected = format!(
        "the value ends after {} bytes, and 2 more follow",
        whole.len()
    );
    assert_eq!(
        Order::from_payload(longer.into()),
        Err(Malformed::new(expected))
    );
}

#[test]
fn no_beginning_of_a_value_is_one() {
    // rule: APP-1
    let whole = Order {
        note: Some("hot".to_owned()),
        ..order("soup")
    }
    .to_payload()
    .unwrap();
    for len in 0..whole.len() {
        assert!(Order::from_payload(whole.slice(..len)).is_err(), "{len}");
    }
}

#[test]
fn a_value_that_does_not_serialise_is_unencodable() {
    // rule: RESP-1
    #[derive(Deserialize)]
    struct Unlucky;

    impl Serialize for Unlucky {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            // Of unknown length, which the format cannot say.
            serde::ser::Serializer::serialize_seq(serializer, None).map(|_| unreachable!())
        }
    }

    let refused: Result<Bytes, Unencodable> = Postcard::encode(&Unlucky);
    assert!(refused.is_err());
}
