//! The peers of a test: server and client of wireframe 0.3.0, and bare sockets.

mod old_client;
mod old_server;
mod raw;

use std::time::Duration;

use tokio::time::timeout;

pub(crate) use old_client::{old_client, old_client_with_its_defaults};
pub(crate) use old_server::{OldServer, old_server, old_server_with_its_defaults};
pub(crate) use raw::{Raw, RawListener, frame};

/// The route every server of these tests echoes.
pub(crate) const ECHO: u32 = 1;

/// Longest body, in bytes, that old peers take; 0.3.0 itself stops at 1 024 unless told.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// How long a step may take before its test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Awaits one step of a test, and fails the test if the step hangs.
pub(crate) async fn soon<F: Future>(step: &str, future: F) -> F::Output {
    match timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("no progress within {PATIENCE:?}: {step}"),
    }
}
