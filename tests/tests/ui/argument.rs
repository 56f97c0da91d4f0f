//! Two of the arguments are no extractors.

use wireframe::{Clock, EnvelopeProtocol, check_handler};

async fn greet(_clock: Clock, name: String, times: u32) -> String {
    name.repeat(times as usize)
}

check_handler!(EnvelopeProtocol, greet, 3);

fn main() {}
