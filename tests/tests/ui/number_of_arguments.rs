//! The function has one argument, and not two.

use bytes::Bytes;
use wireframe::{EnvelopeProtocol, check_handler};

fn echo(body: Bytes) -> Bytes {
    body
}

check_handler!(EnvelopeProtocol, echo, 2);

fn main() {}
