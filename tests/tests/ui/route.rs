//! Where it is given to an app, a function is just not a handler.

use wireframe::WireframeApp;

async fn greet(name: String) -> String {
    name
}

fn main() {
    let _ = WireframeApp::new().route(1, greet);
}
