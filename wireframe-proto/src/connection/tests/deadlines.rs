//! When something is due, to the millisecond.

use core::time::Duration;

use super::support::{Correlated, Frame, InOrder, Kind, Link};
use crate::{
    CloseReason, Config, DeadlineReason, End, Event, Instant, Priority, State, config::nonzero,
};

fn config() -> Config {
    let mut config = Config::default();
    config.timeouts.idle = Some(Duration::from_millis(500));
    config.timeouts.write_stall = Duration::from_millis(40);
    config.timeouts.frame_completion = Duration::from_millis(30);
    config.timeouts.close = Duration::from_millis(70);
    config.limits.max_frame_len = nonzero(1 << 30);
    config
}

fn link(config: Config) -> Link<InOrder> {
    let mut link = Link::new(config, InOrder::default());
    link.events();
    link
}

#[test]
fn an_idle_connection_arms_nothing_and_wants_only_to_read() {
    // rule: LIM-5
    let mut link = link(Config::default());
    assert_eq!(link.due(), None);
    let command = link.requests(&[1])[0];
    link.connection
        .push(Priority::High, Frame::numbered(1))
        .unwrap();
    link.connection
        .answer(command.id, Frame::numbered(2))
        .unwrap();
    link.sent();
    assert_eq!(link.due(), None);
    let wants = crate::Wants {
        read: true,
        ..crate::Wants::default()
    };
    assert_eq!(link.connection.wants(), wants);
}

#[test]
fn idle_counts_from_what_was_last_received_or_sent() {
    // rule: LIM-3
    let mut link = link(config());
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 500)));
    link.now = Instant::from_millis(100);
    link.receive(&[Frame::new(Kind::Push, [])]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 600)));
    link.now = Instant::from_millis(300);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    link.sent();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 800)));
    link.pass_until(799);
    assert_eq!(link.connection.state(), State::Active);
    link.pass_until(800);
    assert_eq!(link.events(), [Event::Closing(CloseReason::Idle)]);
}

#[test]
fn a_connection_with_a_command_in_flight_is_not_idle() {
    // rule: LIM-3
    let mut link = link(config());
    let command = link.requests(&[1])[0];
    assert_eq!(link.due(), None);
    link.pass_until(10_000);
    link.connection.finish(command.id, End::Complete).unwrap();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 10_500)));
}

#[test]
fn a_write_stall_counts_from_the_last_byte_that_was_taken() {
    // rule: LIM-3
    let mut link = link(config());
    link.now = Instant::from_millis(10);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 500)));
    let _ = link.fill();
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 50)));
    let since = Some(Instant::from_millis(10));
    assert_eq!(link.connection.output_waits_since(), since);
    link.now = Instant::from_millis(30);
    link.connection
        .push(Priority::Low, Frame::numbered(2))
        .unwrap();
    let _ = link.fill();
    assert_eq!(
        link.due(),
        Some((DeadlineReason::WriteStall, 50)),
        "more output changes nothing"
    );
    assert_eq!(link.take_bytes(1).len(), 1);
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 70)));
    let since = Some(Instant::from_millis(30));
    assert_eq!(link.connection.output_waits_since(), since);
    link.pass_until(69);
    assert_eq!(link.connection.state(), State::Active);
    link.pass_until(70);
    assert_eq!(link.events(), [Event::Closing(CloseReason::WriteStalled)]);
    // The last word stands behind what stalled, and has as long again at most.
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 110)));
    link.pass_until(110);
    assert_eq!(link.events(), [Event::Closed(CloseReason::WriteStalled)]);
}

#[test]
fn a_peer_stalls_with_what_its_transport_holds() {
    // rule: LIM-3, LIM-6
    let mut link = link(config());
    link.now = Instant::from_millis(10);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    link.sent();
    let before = link.connection.buffered();
    link.held(9, 5);
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 50)));
    assert_eq!(link.connection.buffered(), before + 9);
    for (millis, held, handed_on) in [(20, 9, 5), (30, 8, 6), (40, 12, 6)] {
        link.now = Instant::from_millis(millis);
        link.held(held, handed_on);
    }
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 70)));
    link.held(0, 18);
    // It has been taking output until now.
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 540)));
    link.held(1, 18);
    link.pass_until(79);
    assert_eq!(link.connection.state(), State::Active);
    link.pass_until(80);
    assert_eq!(link.events(), [Event::Closing(CloseReason::WriteStalled)]);
    link.pass_until(120);
    assert_eq!(link.events(), [Event::Closed(CloseReason::WriteStalled)]);
    assert_eq!(link.due(), None);
}

#[test]
fn a_transport_may_say_that_it_holds_whatever_there_can_be() {
    // rule: LIM-10
    let mut link = link(config());
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let _ = link.fill();
    link.held(usize::MAX, u64::MAX);
    assert_eq!(link.connection.buffered(), usize::MAX);
}

#[test]
fn the_time_of_what_a_transport_makes_of_itself_begins_with_it() {
    // rule: LIM-3
    let mut link = link(config());
    link.pass_until(300);
    link.held(1, 0);
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 340)));
    // Nothing waits; and then something does already.
    link.held(0, 1);
    link.pass_until(310);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let _ = link.fill();
    link.pass_until(320);
    link.held(1, 1);
    assert_eq!(link.due(), Some((DeadlineReason::WriteStall, 350)));
}

#[test]
fn that_a_transport_takes_more_is_no_progress_and_that_it_hands_on_more_is() {
    // rule: LIM-3
    let mut link = link(config());
    // The transport takes a frame more each time, of which it makes more or less; and hands on
    // something, or nothing.
    for (millis, held, handed_on, due) in [
        (10, 50, 7, 50),
        (20, 100, 7, 50),
        (30, 150, 8, 70),
        (40, 20, 8, 70),
        (50, 20, 9, 90),
    ] {
        link.now = Instant::from_millis(millis);
        link.connection
            .push(Priority::Low, Frame::numbered(1))
            .unwrap();
        link.sent();
        link.held(held, handed_on);
        assert_eq!(link.due(), Some((DeadlineReason::WriteStall, due)));
    }
    link.pass_until(90);
    assert_eq!(link.events(), [Event::Closing(CloseReason::WriteStalled)]);
}

#[test]
fn a_frame_must_be_whole_within_its_time_from_its_first_byte() {
    // rule: LIM-3
    let mut link = link(config());
    let wire = Frame::request(1).wire();
    for (millis, byte) in [(10, 0), (20, 1), (30, 2), (35, 3), (38, 4)] {
        link.pass_until(millis);
        link.receive_bytes(&wire[byte..=byte]);
        // The order of calls does not matter.
        link.sent();
        link.events();
        assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 40)));
    }
    link.pass_until(39);
    assert_eq!(link.connection.state(), State::Active);
    link.pass_until(40);
    assert_eq!(link.events(), [Event::Closing(CloseReason::FrameTimedOut)]);
}

#[test]
fn the_time_of_a_frame_starts_anew_with_the_next_one() {
    // rule: LIM-3
    let mut link = link(config());
    let wire = Frame::new(Kind::Push, []).wire();
    link.pass_until(10);
    link.receive_bytes(&wire[..3]);
    link.events();
    link.pass_until(25);
    link.receive_bytes(&[&wire[3..], &wire[..1]].concat());
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 55)));
    link.receive_bytes(&wire[1..]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 525)));
}

#[test]
fn a_large_frame_has_a_second_more_for_each_256_kib_announced() {
    // rule: LIM-3
    for (len, millis) in [
        (1, 30),
        ((256 << 10) - 1, 30),
        (256 << 10, 1_030),
        (1 << 20, 4_030),
    ] {
        let mut config = config();
        config.timeouts.idle = None;
        let mut link = link(config);
        link.receive_bytes(&u32::to_be_bytes(len));
        link.events();
        assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, millis)));
    }
}

#[test]
fn a_frame_cut_short_at_a_full_body_is_timed_from_when_decoding_goes_on() {
    // rule: LIM-3, RESP-7
    let mut config = config();
    config.limits.max_body_frames = nonzero(1);
    let mut link = Link::new(config, Correlated::default());
    let command = link.requests(&[1])[0];
    let mut wire = Frame::new(Kind::Body, []).with_id(1).wire();
    wire.extend([0, 0]);
    link.receive_bytes(&wire);
    link.events();
    assert_eq!(link.due(), None, "decoding has stopped");
    link.pass_until(100);
    link.connection.next_body(command.id, link.now);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 130)));
    link.receive_bytes(&[0]);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::FrameCompletion, 130)));
}

#[test]
fn time_that_goes_back_counts_as_the_last_seen() {
    // rule: LIM-8
    let mut link = link(config());
    link.now = Instant::from_millis(100);
    link.receive(&[Frame::new(Kind::Push, [])]);
    link.now = Instant::from_millis(50);
    link.receive(&[Frame::new(Kind::Push, [])]);
    link.connection.handle_timeout(Instant::ZERO);
    link.events();
    assert_eq!(link.due(), Some((DeadlineReason::Idle, 600)));
}

#[test]
fn spurious_timeouts_do_nothing() {
    // rule: LIM-8
    let mut link = link(config());
    let command = link.requests(&[1])[0];
    link.connection.next_body(command.id, link.now);
    link.receive_bytes(&[0]);
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let _ = link.fill();
    link.events();
    let (due, wants, stats) = (link.due(), link.connection.wants(), link.connection.stats());
    for millis in [0, 5, 5, 29] {
        link.pass_until(millis);
        assert_eq!(link.events(), []);
        assert_eq!(link.due(), due);
        assert_eq!(link.connection.wants(), wants);
        assert_eq!(link.connection.stats(), stats);
    }
}

#[test]
fn deadlines_past_the_end_of_time_are_never_reached() {
    // rule: LIM-8
    let mut config = config();
    config.timeouts.idle = Some(Duration::MAX);
    config.timeouts.write_stall = Duration::MAX;
    config.timeouts.body = Duration::MAX;
    config.timeouts.frame_completion = Duration::MAX;
    config.timeouts.close = Duration::MAX;
    let mut link = link(config);
    let command = link.requests(&[1])[0];
    link.connection.next_body(command.id, link.now);
    link.receive_bytes(&u32::to_be_bytes(1 << 30));
    link.connection
        .push(Priority::Low, Frame::numbered(1))
        .unwrap();
    let _ = link.fill();
    link.events();
    let deadline = Instant::MAX;
    link.connection
        .shutdown(link.now, crate::Shutdown::Drain { deadline });
    link.connection
        .handle_timeout(Instant::from_nanos(u64::MAX - 1));
    assert_eq!(link.connection.state(), State::Draining);
}

#[test]
fn a_time_limit_without_end_is_never_over_for_a_body_that_has_stood_still() {
    // rule: LIM-8, LIM-10
    let mut config = config();
    config.timeouts.body = Duration::MAX;
    config.timeouts.idle = None;
    let mut link = link(config);
    let command = link.requests(&[1])[0];
    link.connection.next_body(command.id, Instant::ZERO);
    link.connection.hold_input(true, Instant::from_millis(1));
    link.connection.hold_input(false, Instant::from_millis(2));
    assert_eq!(link.connection.poll_timeout(), None);
    link.connection.handle_timeout(Instant::MAX);
    assert_eq!(link.events(), []);
}

#[test]
fn zero_timeouts_end_at_once_and_do_not_spin() {
    // rule: LIM-8, LIM-10
    let mut config = config();
    config.timeouts.idle = Some(Duration::ZERO);
    config.timeouts.write_stall = Duration::ZERO;
    config.timeouts.body = Duration::ZERO;
    config.timeouts.frame_completion = Duration::ZERO;
    config.timeouts.close = Duration::ZERO;
    let mut link = Link::new(config, InOrder::default());
    let command = link.requests(&[1])[0];
    assert_eq!(
        link.connection.next_body(command.id, link.now),
        crate::Body::Pending
    );
    link.pass_until(0);
    assert_eq!(link.events(), [Event::Body(command)]);
    link.connection
        .answer(command.id, Frame::numbered(1))
        .unwrap();
    link.pass_until(0);
    assert!(matches!(link.events().last(), Some(Event::Closed(_))));
}

#[test]
fn what_was_due_at_an_earlier_time_is_done_and_no_more() {
    // rule: LIM-3, LIM-8
    let ms = Instant::from_millis;
    let mut config = config();
    config.timeouts.body = Duration::from_millis(100);
    config.limits.max_in_flight = Some(nonzero(2));
    let mut link = Link::new(config, Correlated::default());
    let [first, second] = link.requests(&[1, 2])[..] else {
        panic!("both start");
    };
    link.connection.next_body(first.id, ms(0));
    link.connection.next_body(second.id, ms(50));
    link.receive_bytes(&[0]);
    link.events();
    // The frame that has begun is due at 80, the bodies at 100 and 150.
    link.connection.handle_timeout_as_of(ms(1_000), ms(79));
    assert_eq!(link.connection.poll_event(ms(1_000)), None);
    link.receive_bytes(&Frame::new(Kind::Push, []).wire()[1..]);
    assert!(matches!(
        link.connection.poll_event(ms(1_000)),
        Some(Event::Push(_))
    ));
    link.connection.handle_timeout_as_of(ms(1_000), ms(149));
    assert_eq!(
        link.connection.poll_event(ms(1_000)),
        Some(Event::Body(first))
    );
    assert_eq!(link.connection.poll_event(ms(1_000)), None);
    // What has not been cannot have been seen: this frame has its time.
    link.receive_bytes(&[0]);
    assert_eq!(link.connection.poll_event(ms(1_000)), None);
    link.connection.handle_timeout_as_of(ms(1_000), ms(5_000));
    assert_eq!(
        link.connection.poll_event(ms(1_000)),
        Some(Event::Body(second))
    );
    assert_eq!(link.connection.state(), State::Active);
}
