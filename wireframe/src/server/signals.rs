//! Shutting down when the operating system says so.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{ServerHandle, handle::Stage};
use crate::sync::{Mutex, lock};

/// The servers that are to be shut down, and whether a thread waits for the signals.
static SERVERS: Mutex<(Vec<ServerHandle>, bool)> = Mutex::new((Vec::new(), false));

impl ServerHandle {
    /// Shuts the server down on SIGINT (ctrl-c) and SIGTERM. A second signal
    /// [aborts](Self::abort), and any after that, or after the server has ended, does what
    /// it would do to a program that does not listen: it ends the process.
    ///
    /// Any number of servers of the process may ask for this. A signal shuts down all that
    /// serve, else aborts all that drain, and ends the process if there is none of either.
    ///
    /// A thread waits for the signals, on any runtime.
    ///
    /// # Errors
    ///
    /// The system does not let the process listen.
    pub fn shutdown_on_signals(&self) -> io::Result<()> {
        let mut servers = lock(&SERVERS);
        let (listed, listening) = &mut *servers;
        listed.retain(|server| server.stage() < Stage::Ended);
        if !listed.iter().any(|server| server.is(self)) {
            listed.push(self.clone());
        }
        if *listening {
            return Ok(());
        }
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let wait = move || signals.forever().for_each(heed);
        let thread = thread::Builder::new().name("wireframe-signals".to_owned());
        thread.spawn(wait)?;
        *listening = true;
        Ok(())
    }
}

fn heed(signal: i32) {
    let servers = lock(&SERVERS).0.clone();
    let at = |stage| servers.iter().filter(move |server| server.stage() == stage);
    if at(Stage::Serving).count() > 0 {
        at(Stage::Serving).for_each(ServerHandle::shutdown);
    } else if at(Stage::Draining).count() > 0 {
        at(Stage::Draining).for_each(ServerHandle::abort);
    } else {
        // Fails for signals that cannot be listened for, which these can.
        let _ = emulate_default_handler(signal);
    }
}
