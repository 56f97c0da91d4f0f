//! How many connections a server has at once.

use std::num::NonZeroUsize;

/// How many connections a server has at once.
///
/// ```
/// use std::num::NonZeroUsize;
/// use wireframe::server::{ConnectionLimits, WhenFull};
///
/// let mut limits = ConnectionLimits::default();
/// limits.max_per_address = NonZeroUsize::new(100);
/// limits.when_full = WhenFull::Refuse;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionLimits {
    /// Most connections. Default: 10 000, or what the process may open in files less 64, if
    /// that is less.
    pub max_connections: NonZeroUsize,
    /// What a server does about those beyond [`max_connections`](Self::max_connections).
    pub when_full: WhenFull,
    /// Most connections of one IP address, which is the client's if a
    /// [proxy](crate::proxy) tells it, and never the proxy's. Those beyond are always refused.
    /// Default none.
    pub max_per_address: Option<NonZeroUsize>,
}

/// What a server does about connections that it has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It leaves them with the operating system, whose queue they wait in, until one of
    /// its own has ended.
    #[default]
    Wait,
    /// It takes them and closes them at once, with the protocol's
    /// [goodbye](wireframe_proto::WireframeProtocol::goodbye) for the limit. So it has up to
    /// 64 connections more for as long as such peers take to close, too; those beyond are
    /// closed without a word.
    Refuse,
}

/// Descriptors that are left for all else in the process.
const SPARED: u64 = 64;

/// The most connections that are served unless it is set.
const USUAL: usize = 10_000;

/// Most connections of a process that may open so many files.
fn connections_of(files: Option<u64>) -> NonZeroUsize {
    let most = files.map_or(USUAL, |files| {
        usize::try_from(files.saturating_sub(SPARED)).unwrap_or(USUAL)
    });
    NonZeroUsize::new(most.min(USUAL)).unwrap_or(NonZeroUsize::MIN)
}

/// How many files the process may open, where that is known and limited.
fn open_files() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    None
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: connections_of(open_files()),
            when_full: WhenFull::default(),
            max_per_address: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_left_for_others() {
        // rule: LIM-4
        for (files, most) in [
            (None, 10_000),
            (Some(u64::MAX), 10_000),
            (Some(10_065), 10_000),
            (Some(10_063), 9_999),
            (Some(1024), 960),
            (Some(64), 1),
            (Some(0), 1),
        ] {
            assert_eq!(connections_of(files).get(), most, "{files:?}");
        }
    }
}
