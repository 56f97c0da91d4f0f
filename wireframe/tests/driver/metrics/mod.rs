//! What is measured, to the last count: each test says all that has moved, and so that nothing
//! else has.

mod connections;
mod failures;
mod fragments;
mod pushes;
mod recorder;
mod requests;

use wireframe::{App, Protocol, WireframeApp, testing::Simulation};

use self::recorder::Recorder;
use crate::rig::{Rig, Text};

/// An app whose connections are measured, and where that is recorded.
fn measured<P: Protocol>(app: WireframeApp<P>) -> (App<P>, Recorder) {
    let recorder = Recorder::default();
    let app = recorder.during(|| app.build().unwrap());
    (app, recorder)
}

/// Serves the app, measured, over a link that holds so many bytes.
fn rig(app: WireframeApp<Text>, capacity: usize) -> (Rig, Recorder) {
    let (app, recorder) = measured(app);
    let rig = Rig::idle(&app, &Simulation::new(), capacity);
    rig.simulation.run();
    assert_eq!(recorder.moved(), ["connections_active +1"]);
    (rig, recorder)
}
