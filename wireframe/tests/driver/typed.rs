//! Payloads as values, in a format of our own.

use bytes::Bytes;
use wireframe::{
    BuildError, Malformed, Message, Payload, PayloadFormat, Place, RequestInfo, Unencodable,
    WireframeError,
};

use crate::rig::{Oops, Rig, Text, text};

/// Numbers as decimal text, after the route's digit.
struct Decimal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number(i64);

impl Payload for Number {
    type Format = Decimal;
}

impl PayloadFormat<Number> for Decimal {
    fn decode(payload: Bytes) -> Result<Number, Malformed> {
        let text = std::str::from_utf8(&payload).unwrap_or_default();
        let digits = text.get(1..).unwrap_or_default();
        let number = digits
            .parse()
            .map_err(|_| Malformed::with_code(7, format!("no number: {digits:?}")))?;
        Ok(Number(number))
    }

    fn encode(Number(number): &Number) -> Result<Bytes, Unencodable> {
        match number {
            0.. => Ok(number.to_string().into()),
            _ => Err(Unencodable::new("negative")),
        }
    }
}

fn less(Message(Number(number)): Message<Number>) -> Message<Number> {
    Message(Number(number - 1))
}

async fn half(
    Message(Number(number)): Message<Number>,
    _: RequestInfo,
) -> Result<Message<Number>, WireframeError<Oops>> {
    if number % 2 == 1 {
        Err(Oops("odd"))?;
    }
    Ok(Message(Number(number / 2)))
}

#[test]
fn a_handler_takes_and_returns_values() {
    // rule: APP-1, RESP-1
    let mut rig = Rig::new(text(&Text::default()).route(1, less).route(2, half));
    assert_eq!(rig.exchange("142"), ["1:41"]);
    assert_eq!(rig.exchange("242"), ["2:21"]);
    assert_eq!(rig.exchange("243"), ["error: odd"]);
}

#[test]
fn a_payload_that_does_not_decode_goes_to_handle_error_and_the_connection_goes_on() {
    // rule: APP-1, RESP-4, RESP-6
    let protocol = Text::default();
    let app = text(&protocol).route(1, less).route(2, half);
    let mut rig = Rig::new(app);
    for (ask, route) in [("1x", 1), ("2x", 2)] {
        let expected = format!(
            "error: malformed input: route {route} expects a payload of type \
             driver::typed::Number: no number: \"x\""
        );
        assert_eq!(rig.exchange(ask), [expected]);
    }
    assert_eq!(protocol.record.count("command_end Failed"), 2);
    assert_eq!(rig.exchange("11"), ["1:0"]);
}

#[test]
fn an_answer_that_does_not_encode_goes_to_handle_error_and_the_connection_goes_on() {
    // rule: RESP-1, RESP-6
    let protocol = Text::default();
    let mut rig = Rig::new(text(&protocol).route(1, less));
    let expected = "error: frame cannot be encoded: the answer of route 1, of type \
                    driver::typed::Number: negative";
    assert_eq!(rig.exchange("10"), [expected]);
    assert_eq!(protocol.record.count("command_end Failed"), 1);
    assert_eq!(rig.exchange("11"), ["1:0"]);
}

#[test]
fn a_push_that_does_not_decode_is_not_handled_and_the_connection_goes_on() {
    // rule: APP-1
    let protocol = Text::default();
    let noted = protocol.record.clone();
    let app = text(&protocol)
        .on_push(move |Message(Number(number)): Message<Number>| noted.note(number.to_string()));
    let mut rig = Rig::new(app);
    rig.ask("!x");
    rig.ask("!5");
    assert_eq!(protocol.record.take(), ["setup", "5"]);
}

#[test]
fn a_value_is_made_from_the_frame_which_nothing_else_may_take() {
    // rule: APP-2
    let app = || text(&Text::default());
    let refusals = [
        (
            app().route(1, |_: Message<Number>, _: Bytes| ()),
            (Place::Route(1), 2, 1),
        ),
        (
            app().on_connect(|_: Message<Number>| ()),
            (Place::OnConnect, 1, 0),
        ),
    ];
    for (app, (place, taken, there)) in refusals {
        assert_eq!(
            app.build().expect_err("an app that cannot serve was built"),
            BuildError::Frame {
                place,
                taken,
                there
            }
        );
    }
}

#[test]
fn a_value_becomes_a_payload_and_comes_back_without_a_handler() {
    let payload = Number(12).to_payload().unwrap();
    assert_eq!(payload, "12");
    assert_eq!(Number::from_payload("x12".into()), Ok(Number(12)));
    let error = Number::from_payload("xy".into()).unwrap_err();
    assert_eq!(error, Malformed::with_code(7, "no number: \"y\""));
}
