//! Every way to fail: who is told, and what becomes of the connection.

use std::{convert::Infallible, error::Error, fmt, io};

use bytes::Bytes;
use wireframe::{
    BodyError, BoxError, CallError, Clock, CloseReason, Extract, Inbound, Malformed, Parts,
    Protocol, PushError, Response, SendError, State, TryPushError, Unencodable, WireframeError,
};

use crate::rig::{Line, Oops, Rig, Text, secs, text};

type Fails = Result<&'static str, WireframeError<Oops>>;

/// An error of some other library.
#[derive(Debug)]
struct Foreign;

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("foreign")
    }
}

impl Error for Foreign {}

fn boxed() -> Result<(), BoxError> {
    Err(Foreign.into())
}

#[test]
fn only_io_errors_close_the_connection() {
    // rule: RESP-6
    async fn slow(clock: Clock) -> Fails {
        clock.timeout(secs(1), std::future::pending::<()>()).await?;
        Ok("unreachable")
    }
    let protocol = Text::default();
    let app = text(&protocol)
        .route(1, || -> Fails { Err(Oops("own"))? })
        .route(2, || -> Fails { Err(Malformed::new("odd"))? })
        .route(3, || -> Fails { Err(Unencodable::new("large"))? })
        .route(4, || -> Fails {
            boxed()?;
            Ok("unreachable")
        })
        .route(5, slow)
        .route(6, || -> Fails { Err(io::Error::other("disk"))? });
    let mut rig = Rig::new(app);
    for (ask, answer) in [
        ("1", "error: own"),
        ("2", "error: malformed input: odd"),
        ("3", "error: frame cannot be encoded: large"),
        ("4", "error: foreign"),
        ("5", "error: not done within 1s"),
    ] {
        rig.ask(ask);
        rig.advance(secs(1));
        assert_eq!(rig.heard(), [answer]);
    }
    assert_eq!(protocol.record.count("command_end Failed"), 5);
    assert_eq!(rig.exchange("6"), [""; 0]);
    let reason = CloseReason::HandlerFailed("disk".into());
    assert_eq!(rig.reason(), Some(reason));
    assert_eq!(protocol.record.count("error"), 5, "not for the fatal one");
}

#[test]
fn a_stream_may_fail_with_anything() {
    // rule: RESP-3, RESP-6
    fn fails() -> Response<Line, Oops> {
        Response::stream(async_stream::try_stream! {
            yield Line("first".into());
            boxed()?;
        })
    }
    let protocol = Text {
        stream_end: true,
        ..Text::default()
    };
    let mut rig = Rig::new(text(&protocol).route(1, fails).route(2, || "fine"));
    assert_eq!(rig.exchange("1"), ["first", "error: foreign"]);
    assert_eq!(protocol.record.count("stream_end"), 0);
    assert_eq!(rig.exchange("2"), ["2:fine"]);
}

/// An argument that the peer has to earn.
#[derive(Debug)]
struct Password;

impl Extract<Text> for Password {
    const TAKES_FRAME: bool = true;

    fn extract(parts: &mut Parts<'_, Text>) -> Result<Self, WireframeError<Oops>> {
        match &Inbound::extract(parts)?.0.0[1..] {
            "sesame" => Ok(Self),
            "" => Err(Malformed::new("no password").into()),
            "disk" => Err(io::Error::other("disk").into()),
            _ => Err(Oops("wrong password").into()),
        }
    }
}

#[test]
fn an_extractor_fails_its_request_and_the_handler_is_not_called() {
    // rule: APP-1, RESP-4, RESP-6
    let protocol = Text::default();
    let called = protocol.record.clone();
    let later = protocol.record.clone();
    let app = text(&protocol)
        .route(1, move |_: Password| called.note("called"))
        .route(2, move |_: Password| {
            later.note("called");
            async {}
        });
    let mut rig = Rig::new(app);
    for route in [1, 2] {
        for (password, answer) in [
            ("", "error: malformed input: no password"),
            ("open", "error: wrong password"),
        ] {
            assert_eq!(rig.exchange(&format!("{route}{password}")), [answer]);
        }
    }
    assert_eq!(protocol.record.count("called"), 0);
    assert_eq!(protocol.record.count("command_end Failed"), 4);
    rig.ask("1sesame");
    rig.ask("2sesame");
    assert_eq!(protocol.record.count("called"), 2);
    rig.ask("1disk");
    let reason = CloseReason::HandlerFailed("disk".into());
    assert_eq!(rig.reason(), Some(reason));
}

#[test]
fn a_handler_may_deal_with_the_failure_of_an_argument_itself() {
    // rule: APP-1, APP-2
    fn guard(password: Result<Password, WireframeError<Oops>>) -> String {
        match password {
            Ok(Password) => "come in".to_owned(),
            Err(error) => format!("stay out: {error}"),
        }
    }
    let protocol = Text::default();
    let mut rig = Rig::new(text(&protocol).route(1, guard));
    assert_eq!(rig.exchange("1sesame"), ["1:come in"]);
    assert_eq!(rig.exchange("1open"), ["1:stay out: wrong password"]);
    assert_eq!(protocol.record.count("error"), 0);
    assert!(text(&protocol).on_connect(guard).build().is_err());
    type Missing = Result<State<u8>, WireframeError<Oops>>;
    assert!(text(&protocol).route(1, |_: Missing| ()).build().is_err());
}

#[test]
fn handlers_whose_answers_are_not_sent_may_fail_without_harm() {
    let app = text(&Text::default())
        .on_connect(|| -> Fails { Err(io::Error::other("disk"))? })
        .on_push(|_: Bytes| {
            boxed()
                .map(|()| "unreachable")
                .map_err(WireframeError::from)
        })
        .route(1, || "fine");
    let mut rig = Rig::new(app);
    rig.ask("!push");
    assert_eq!(rig.exchange("1"), ["1:fine"]);
}

#[test]
fn a_boxed_error_is_what_it_was_before_it_was_boxed() {
    // rule: RESP-6
    type Wireframe = WireframeError<Oops>;
    let unboxed = |error: BoxError| Wireframe::from(error);
    let own: BoxError = Box::new(Oops("own"));
    assert!(matches!(unboxed(own), Wireframe::Protocol(Oops("own"))));
    let io: BoxError = Box::new(Wireframe::Io(io::Error::other("disk")));
    assert!(matches!(unboxed(io), Wireframe::Io(_)));
    let foreign: BoxError = Box::new(Foreign);
    assert!(matches!(unboxed(foreign), Wireframe::Other(error) if error.is::<Foreign>()));
    // Nobody has said that this one is fatal.
    let bare: BoxError = Box::new(io::Error::other("disk"));
    assert!(matches!(unboxed(bare), Wireframe::Other(_)));
}

#[test]
fn the_librarys_own_errors_are_fatal_or_not_when_a_handler_hands_them_on() {
    // rule: RESP-6
    type Wireframe = WireframeError<Oops>;
    let frame = || Line("refused".into());
    let fatal: [Wireframe; 5] = [
        PushError::Closed(frame()).into(),
        TryPushError::Closed(frame()).into(),
        SendError::Closed(frame()).into(),
        BodyError::TimedOut.into(),
        io::Error::other("disk").into(),
    ];
    for error in fatal {
        assert!(matches!(error, Wireframe::Io(_)), "{error}");
    }
    let not_fatal: [Wireframe; 4] = [
        TryPushError::Full(frame()).into(),
        TryPushError::RateLimited {
            frame: frame(),
            retry_after: secs(1),
        }
        .into(),
        CallError::Closed(CloseReason::PeerClosed).into(),
        CallError::Empty.into(),
    ];
    for error in not_fatal {
        assert!(matches!(error, Wireframe::Other(_)), "{error}");
    }
}

#[test]
fn a_protocol_is_told_why_a_push_was_refused_for_now() {
    let refused = TryPushError::RateLimited {
        frame: Line("refused".into()),
        retry_after: secs(3),
    };
    let WireframeError::<Oops>::Other(told) = refused.into() else {
        panic!("fatal");
    };
    let expected = TryPushError::RateLimited {
        frame: (),
        retry_after: secs(3),
    };
    assert_eq!(told.downcast_ref(), Some(&expected));
}

#[test]
fn an_error_is_shown_as_what_it_is_made_from() {
    let errors: [WireframeError<Infallible>; 3] = [
        Malformed::new("odd").into(),
        BoxError::from(Foreign).into(),
        io::Error::other(Foreign).into(),
    ];
    let shown = errors.each_ref().map(ToString::to_string);
    assert_eq!(shown, ["malformed input: odd", "foreign", "foreign"]);
    assert!(errors.iter().all(|error| error.source().is_none()));
}

/// Anything that takes what a generic protocol's handlers fail with.
fn report<P: Protocol>(error: WireframeError<P::Error>) -> BoxError {
    error.into()
}

#[test]
fn errors_of_any_protocol_can_be_boxed() {
    let error = report::<Text>(Oops("own").into());
    assert_eq!(error.to_string(), "own");
}
