//! One frame to many connections.

use wireframe_proto::{ConnectionId, Priority, SharedUnits};

use crate::{
    push::{Common, PushHandle, PushPolicy, Pushed, TryPushError},
    registry::SessionRegistry,
    sync::Arc,
};

/// What became of a frame on the connections that it was broadcast to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fanout {
    /// On so many it waits to be sent.
    pub queued: usize,
    /// So many had no room for it, or no token, and it was dropped.
    pub dropped: usize,
    /// So many had no room for it, or no token, and the dead letter queue has it.
    pub dead_lettered: usize,
    /// So many were not connected, or take nothing new.
    pub gone: usize,
}

/// A broadcast never waits, and never copies a payload that a clone of the frame shares.
/// A frame that the protocol can
/// [encode for all](wireframe_proto::WireframeProtocol::encode_shared) is encoded once.
///
/// Under [`PushPolicy::ReturnErrorIfFull`] the clone for a connection without room is
/// dropped: it counts as dropped here, and as refused there, so that it stands in no
/// account and is no dead letter.
impl<F: Clone> SessionRegistry<F> {
    /// Pushes a frame to all who are connected now.
    ///
    /// ```
    /// use wireframe::{Envelope, Priority, PushPolicy, SessionRegistry};
    ///
    /// fn announce(registry: &SessionRegistry, text: &'static str) {
    ///     let frame = Envelope::new(9, text);
    ///     let fanout = registry.broadcast(frame, Priority::Low, PushPolicy::DropIfFull);
    ///     println!("{} will hear it, {} are too slow", fanout.queued, fanout.dropped);
    /// }
    /// ```
    pub fn broadcast(&self, frame: F, priority: Priority, policy: PushPolicy) -> Fanout {
        self.broadcast_where(|_| true, frame, priority, policy)
    }

    /// Pushes a frame to those of a list; it costs as much as the list is long. An id that
    /// stands there twice gets it twice.
    pub fn broadcast_to(
        &self,
        ids: impl IntoIterator<Item = ConnectionId>,
        frame: F,
        priority: Priority,
        policy: PushPolicy,
    ) -> Fanout {
        let mut broadcast = Broadcast::new(frame, priority, policy);
        for id in ids {
            match self.get(id) {
                Some(handle) => broadcast.push(&handle),
                None => broadcast.fanout.gone += 1,
            }
        }
        broadcast.fanout
    }

    /// Pushes a frame to those who are connected now and whom the filter wants.
    pub fn broadcast_where(
        &self,
        mut filter: impl FnMut(&PushHandle<F>) -> bool,
        frame: F,
        priority: Priority,
        policy: PushPolicy,
    ) -> Fanout {
        let mut broadcast = Broadcast::new(frame, priority, policy);
        for handle in self.active_handles() {
            if filter(&handle) {
                broadcast.push(&handle);
            }
        }
        broadcast.fanout
    }
}

/// A broadcast under way.
struct Broadcast<F> {
    frame: F,
    priority: Priority,
    policy: PushPolicy,
    apps: Vec<Asked<F>>,
    fanout: Fanout,
}

/// An app, and the frame as its connections share it, if they can.
struct Asked<F> {
    app: Arc<Common<F>>,
    encoded: Option<SharedUnits>,
}

impl<F: Clone> Broadcast<F> {
    fn new(frame: F, priority: Priority, policy: PushPolicy) -> Self {
        Self {
            frame,
            priority,
            policy,
            apps: Vec::new(),
            fanout: Fanout::default(),
        }
    }

    fn push(&mut self, handle: &PushHandle<F>) {
        let encoded = self.encoded_for(handle.common());
        let frame = self.frame.clone();
        let place = match handle.push_encoded(self.priority, frame, encoded, self.policy) {
            Ok(Pushed::Queued) => &mut self.fanout.queued,
            Ok(Pushed::DeadLettered) => &mut self.fanout.dead_lettered,
            Ok(Pushed::Dropped) => &mut self.fanout.dropped,
            Err(TryPushError::Closed(_)) => &mut self.fanout.gone,
            Err(TryPushError::Full(_) | TryPushError::RateLimited { .. }) => {
                &mut self.fanout.dropped
            }
        };
        *place += 1;
    }

    /// Asks each app once. There are few of them: nearly always one.
    fn encoded_for(&mut self, app: &Arc<Common<F>>) -> Option<SharedUnits> {
        let mut asked = self.apps.iter();
        if let Some(asked) = asked.find(|asked| Arc::ptr_eq(&asked.app, app)) {
            return asked.encoded.clone();
        }
        let encoded = app
            .encoding
            .encode_shared(&self.frame)
            .map(SharedUnits::new);
        self.apps.push(Asked {
            app: Arc::clone(app),
            encoded: encoded.clone(),
        });
        encoded
    }
}
