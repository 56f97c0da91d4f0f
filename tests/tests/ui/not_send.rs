//! The future stays on its thread.

use std::rc::Rc;

use wireframe::{Clock, EnvelopeProtocol, check_handler};

async fn wait(clock: Clock) -> &'static str {
    let shared = Rc::new("done");
    clock.sleep(std::time::Duration::from_secs(1)).await;
    *shared
}

check_handler!(EnvelopeProtocol, wait, 1);

fn main() {}
