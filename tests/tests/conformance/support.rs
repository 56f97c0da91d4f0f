//! What handlers of several scenarios wait for and count.

use std::{num::NonZeroUsize, sync::LazyLock, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;
use wireframe::{Config, State};

/// Opens once, for all who wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn pass(&self) {
        let mut gate = self.0.subscribe();
        let open = gate.wait_for(|open| *open).await;
        open.expect("we hold it");
    }
}

/// How many of something there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(watch::Sender<usize>);

impl Count {
    pub(crate) fn now(&self) -> usize {
        *self.0.borrow()
    }

    pub(crate) fn add(&self) -> usize {
        let mut before = 0;
        self.0.send_modify(|count| {
            before = *count;
            *count += 1;
        });
        before
    }

    pub(crate) async fn reaches(&self, n: usize) {
        let mut count = self.0.subscribe();
        let reached = count.wait_for(|count| *count == n).await;
        reached.expect("we hold it");
    }

    /// Counts what lives.
    pub(crate) fn enter(&self) -> Entered {
        self.add();
        Entered(self.clone())
    }
}

pub(crate) struct Entered(Count);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Nothing ends because its time to close is over.
pub(crate) fn patient() -> Config {
    let mut config = Config::default();
    config.timeouts.close = Duration::from_secs(3600);
    config
}

pub(crate) async fn echo(body: Bytes) -> Bytes {
    body
}

/// Echoes once the gate is open.
pub(crate) async fn wait(
    body: Bytes,
    State(gate): State<Gate>,
    State(running): State<Count>,
) -> Bytes {
    let _running = running.enter();
    gate.pass().await;
    body
}

/// Never answers.
pub(crate) async fn never(State(running): State<Count>) {
    let _running = running.enter();
    std::future::pending::<()>().await;
}

/// Bytes of which no two stretches are alike, at most 1 MiB of them.
pub(crate) fn pattern(seed: usize, len: usize) -> Bytes {
    static ALL: LazyLock<Bytes> = LazyLock::new(|| {
        let mut state = 1u64;
        let words = std::iter::from_fn(|| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            Some(state.to_be_bytes())
        });
        words.take(256 * 1024).flatten().collect()
    });
    let start = seed % 1021 * 1021;
    ALL.slice(start..start + len)
}

pub(crate) fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not zero")
}
