//! What is returned is no answer, from an async function and from a plain one.

use wireframe::{EnvelopeProtocol, check_handler};

async fn count() -> u64 {
    1
}

fn count_now() -> Option<u64> {
    None
}

check_handler!(EnvelopeProtocol, count, 0);
check_handler!(EnvelopeProtocol, count_now, 0);

fn main() {}
