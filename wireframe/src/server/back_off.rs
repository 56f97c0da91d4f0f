//! What an error of accepting says, and how long to wait behind it.

use std::{io, time::Duration};

use wireframe_proto::{Instant, Throttle};

/// Connections in a row that fail before they are taken, without a pause.
const FAILURES_IN_A_ROW: u32 = 64;

/// The shortest pause, and the only one behind errors of connections.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// How long to wait before the next connection is taken.
///
/// When the process is short of something it is 10 ms, doubling to 1 s. What concerns one
/// connection is no reason to wait, unless it has happened 64 times in a row: then it is
/// 10 ms, and again behind as many, so that an error that stays is no busy loop, and peers
/// that provoke it keep the others waiting no longer.
pub(super) struct BackOff {
    shortage: Duration,
    /// Since a connection was taken, or the last shortage.
    failures: u32,
    warned_of_shortage: Throttle,
    warned_of_failures: Throttle,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            shortage: SHORTEST,
            failures: 0,
            warned_of_shortage: Throttle::default(),
            warned_of_failures: Throttle::default(),
        }
    }
}

impl BackOff {
    /// A connection has been taken.
    pub(super) fn end(&mut self) {
        self.shortage = SHORTEST;
        self.failures = 0;
    }

    /// Takes note of an error; says for how long to wait, if at all.
    pub(super) fn after(&mut self, error: &io::Error, now: Instant) -> Option<Duration> {
        if concerns_one_connection(error) {
            return self.after_failure(error, now);
        }
        if let Some(suppressed) = self.warned_of_shortage.pass(now) {
            tracing::warn!(%error, suppressed, "cannot accept connections for now");
        }
        let pause = self.shortage;
        self.shortage = (pause * 2).min(LONGEST);
        self.failures = 0;
        Some(pause)
    }

    fn after_failure(&mut self, error: &io::Error, now: Instant) -> Option<Duration> {
        tracing::debug!(%error, "a connection was gone before it was accepted");
        self.failures = self.failures.saturating_add(1);
        if !self.failures.is_multiple_of(FAILURES_IN_A_ROW) {
            return None;
        }
        if let Some(suppressed) = self.warned_of_failures.pass(now) {
            let failures = self.failures;
            tracing::warn!(%error, failures, suppressed, "connections fail before they are accepted");
        }
        Some(SHORTEST)
    }
}

/// Whether accepting failed because of the connection that was being accepted, so that
/// the next can be taken at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
    ) || is_of_the_network(error)
}

/// Linux reports what the network has done to a connection when that is accepted, and that
/// a firewall forbids it. accept(2) has the list, of which this is what has no kind above.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_of_the_network(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NETDOWN
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::OPNOTSUPP
                | Errno::PERM
        )
    )
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
const fn is_of_the_network(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_are_told_from_a_shortage() {
        // rule: LIM-4
        use io::ErrorKind as Kind;
        for kind in [
            Kind::ConnectionAborted,
            Kind::ConnectionReset,
            Kind::ConnectionRefused,
            Kind::HostUnreachable,
            Kind::NetworkUnreachable,
            Kind::TimedOut,
            Kind::Interrupted,
        ] {
            assert!(concerns_one_connection(&kind.into()), "{kind:?}");
        }
        for kind in [
            Kind::OutOfMemory,
            Kind::InvalidInput,
            Kind::PermissionDenied,
            Kind::Other,
        ] {
            assert!(!concerns_one_connection(&kind.into()), "{kind:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_linux_reports_of_one_connection_is_told_from_a_shortage() {
        // rule: LIM-4
        use rustix::io::Errno;
        let table = [
            (Errno::CONNABORTED, true),
            (Errno::NETDOWN, true),
            (Errno::PROTO, true),
            (Errno::NOPROTOOPT, true),
            (Errno::HOSTDOWN, true),
            (Errno::NONET, true),
            (Errno::HOSTUNREACH, true),
            (Errno::OPNOTSUPP, true),
            (Errno::NETUNREACH, true),
            (Errno::PERM, true),
            (Errno::TIMEDOUT, true),
            (Errno::INTR, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::ACCESS, false),
            (Errno::BADF, false),
            (Errno::INVAL, false),
            (Errno::NOTSOCK, false),
        ];
        for (errno, concerns_one) in table {
            let concerns = concerns_one_connection(&errno.into());
            assert_eq!(concerns, concerns_one, "{errno:?}");
        }
    }

    #[test]
    fn a_shortage_begins_the_count_of_failures_anew() {
        // rule: LIM-4
        let gone = io::ErrorKind::ConnectionAborted.into();
        let short = io::ErrorKind::OutOfMemory.into();
        let mut back_off = BackOff::default();
        for _ in 0..2 {
            for _ in 0..FAILURES_IN_A_ROW - 1 {
                assert_eq!(back_off.after(&gone, Instant::ZERO), None);
            }
            assert!(back_off.after(&short, Instant::ZERO).is_some());
        }
    }
}
