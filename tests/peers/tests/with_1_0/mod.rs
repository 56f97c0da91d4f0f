//! Wireframe 1.0 against the peers of 0.3.0.

mod our_client;
mod our_server;
