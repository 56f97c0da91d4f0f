//! One echo through the engine, without std.
//!
//! The crate has its own panic handler and its own allocator. If anything below it
//! linked std, the build would fail, because std has a panic handler too. A C program
//! calls [`wireframe_echo`] and compares the bytes.
#![no_std]

mod heap;

use core::{panic::PanicInfo, slice};

use wireframe_proto::{
    Config, Connection, ConnectionId, EnvelopeProtocol, Event, Filled, Instant, Peer,
};

/// Gives `input` to a server of the default protocol that echoes, and copies what it
/// says to `output`. Returns how many bytes it said, or -1 if they do not fit or the
/// server has more to say than it was asked.
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

    connection.receive_buffer().extend_from_slice(input);
    connection.handle_received(now);
    while let Some(event) = connection.poll_event(now) {
        if let Event::Request { info, frame } = event {
            connection.answer(info.id, frame).ok()?;
        }
    }
    if connection.fill(now) != Filled::Ready {
        return None;
    }
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

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
