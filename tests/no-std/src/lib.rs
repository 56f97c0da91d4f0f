//! One echo through the engine, without std, and the end of a silent peer.
//!
//! The crate has its own panic handler and its own allocator. If anything below it
//! linked std, the build would fail, because std has a panic handler too. A C program
//! calls [`wireframe_echo`] and compares the bytes.
#![no_std]

mod heap;

use core::{num::NonZeroU32, panic::PanicInfo, slice, time::Duration};

use wireframe_proto::{
    Config, Connection, ConnectionId, EnvelopeProtocol, Event, Filled, Heartbeat, Instant, Peer,
    RateLimit, State, TokenBucket,
};

/// A peer that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(5);

/// More requests at once are not answered.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Gives `input` to a server of the default protocol that echoes, and copies what it
/// says to `output`. Returns how many bytes it said, or -1 if they do not fit, the
/// server has more to say than it was asked, a request finds no token, or the peer is not
/// given up after its time.
///
/// # Safety
///
/// `input` must be valid for reading `input_len` bytes, `output` for writing
/// `output_len` bytes, and the two must not overlap.
// SAFETY: the only symbol of this name in the program that it is linked into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wireframe_echo(
    input: *const u8,
    input_len: usize,
    output: *mut u8,
    output_len: usize,
) -> isize {
    // SAFETY: the caller vouches for both.
    let (input, output) = unsafe {
        (
            slice::from_raw_parts(input, input_len),
            slice::from_raw_parts_mut(output, output_len),
        )
    };
    match echo(input, output) {
        Some(said) => isize::try_from(said).unwrap_or(-1),
        None => -1,
    }
}

fn echo(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let now = Instant::ZERO;
    let peer = Peer::client_of(ConnectionId(1));
    let protocol = EnvelopeProtocol::default();
    let mut connection = Connection::new(Config::default(), protocol, peer, now);
    connection.set_heartbeat(Some(Heartbeat::expecting(SILENCE)), now);
    let mut tokens = TokenBucket::new(RateLimit::per_second(REQUESTS_PER_SECOND), now);

    connection.receive_buffer().extend_from_slice(input);
    connection.handle_received(now);
    while let Some(event) = connection.poll_event(now) {
        if let Event::Request { info, frame } = event {
            tokens.try_take(now).ok()?;
            connection.answer(info.id, frame).ok()?;
        }
    }
    if connection.fill(now) != Filled::Ready {
        return None;
    }
    let said = send(&mut connection, output)?;
    gives_up_a_silent_peer(&mut connection, now).then_some(said)
}

/// Copies what there is to send to `output`, and says how much it was.
fn send(connection: &mut Connection<EnvelopeProtocol>, output: &mut [u8]) -> Option<usize> {
    let Some(transmit) = connection.transmit() else {
        return Some(0);
    };
    let mut said = 0;
    for chunk in transmit.chunks() {
        let end = said + chunk.len();
        output.get_mut(said..end)?.copy_from_slice(chunk);
        said = end;
    }
    transmit.advance(said);
    Some(said)
}

/// Whether the connection lasts until the peer has been silent for too long, and no longer.
fn gives_up_a_silent_peer(connection: &mut Connection<EnvelopeProtocol>, now: Instant) -> bool {
    let Some(deadline) = connection.poll_timeout() else {
        return false;
    };
    connection.handle_timeout(now);
    let lasts = connection.state() == State::Active;
    connection.handle_timeout(deadline.at);
    let filled = connection.fill(deadline.at);
    lasts
        && deadline.at == now + SILENCE
        && filled == Filled::Ready
        && connection.state() == State::Closing
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
