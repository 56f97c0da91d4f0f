//! Nine arguments are one too many.

use wireframe::{Clock, EnvelopeProtocol, WireframeApp, check_handler};

async fn greedy(
    _: Clock,
    _: Clock,
    _: Clock,
    _: Clock,
    _: Clock,
    _: Clock,
    _: Clock,
    _: Clock,
    _: Clock,
) {
}

check_handler!(EnvelopeProtocol, greedy, 9);

fn main() {
    let _ = WireframeApp::new().route(1, greedy);
}
