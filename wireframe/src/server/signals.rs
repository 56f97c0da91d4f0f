//! Shutting down when the operating system says so.

use std::{io, thread};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{ServerHandle, handle::Stage};

impl ServerHandle {
    /// Shuts the server down on SIGINT (ctrl-c) and SIGTERM. A second signal
    /// [aborts](Self::abort), and any after that, or after the server has ended, does what
    /// it would do to a program that does not listen: it ends the process.
    ///
    /// A thread waits for the signals, on any runtime. Several servers may each ask for this.
    ///
    /// # Errors
    ///
    /// The system does not let the process listen.
    pub fn shutdown_on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let server = self.clone();
        let wait = move || {
            for signal in signals.forever() {
                match server.stage() {
                    Stage::Serving => server.shutdown(),
                    Stage::Draining => server.abort(),
                    Stage::Aborting | Stage::Ended => {
                        // Fails for signals that cannot be listened for, which these can.
                        let _ = emulate_default_handler(signal);
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("wireframe-signals".to_owned());
        thread.spawn(wait)?;
        Ok(())
    }
}
