//! An app: which handler serves what.

mod extract;
mod handler;
mod state;

use std::fmt;

use hashbrown::HashMap;
use wireframe_proto::{Config, EnvelopeProtocol, PushBound};

pub(crate) use extract::Surroundings;
pub use extract::{Extract, Inbound, Needs, Parts, State};
pub use handler::Handler;
pub(crate) use handler::{Answer, AnyHandler, Handling, Started};
pub(crate) use state::StateMap;

use crate::{
    error::{BuildError, Place},
    frame::Protocol,
    push::{EncodedLen, PushLimits},
    sync::Arc,
};

/// Builds an app: a protocol, and the handlers that serve its requests.
///
/// The calls may come in any order. One app serves all connections.
///
/// ```
/// use bytes::Bytes;
/// use wireframe::{State, WireframeApp};
///
/// async fn greet(name: Bytes, State(greeting): State<&'static str>) -> Vec<u8> {
///     [greeting.as_bytes(), &name].concat()
/// }
///
/// let app = WireframeApp::new().route(1, greet).state("Hello ");
/// assert!(app.build().is_ok());
/// ```
#[must_use]
pub struct WireframeApp<P: Protocol = EnvelopeProtocol> {
    protocol: P,
    routes: Vec<(u32, Box<dyn AnyHandler<P>>)>,
    fallback: Option<Box<dyn AnyHandler<P>>>,
    on_connect: Option<Box<dyn AnyHandler<P>>>,
    on_push: Option<Box<dyn AnyHandler<P>>>,
    states: StateMap,
    config: Config,
    pushes: PushLimits,
}

impl WireframeApp {
    /// An app of the default protocol.
    pub fn new() -> Self {
        Self::with_protocol(EnvelopeProtocol::default())
    }
}

impl Default for WireframeApp {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Protocol> WireframeApp<P> {
    /// An app of your protocol.
    pub fn with_protocol(protocol: P) -> Self {
        Self {
            protocol,
            routes: Vec::new(),
            fallback: None,
            on_connect: None,
            on_push: None,
            states: StateMap::default(),
            config: Config::default(),
            pushes: PushLimits::default(),
        }
    }

    /// Serves requests for route `id` with `handler`.
    pub fn route<Args: 'static>(mut self, id: u32, handler: impl Handler<P, Args>) -> Self {
        self.routes.push((id, handler::erase(handler)));
        self
    }

    /// Serves requests that no route matches. Without it the protocol's
    /// [`unknown_route`](wireframe_proto::WireframeProtocol::unknown_route) decides.
    pub fn fallback<Args: 'static>(mut self, handler: impl Handler<P, Args>) -> Self {
        self.fallback = Some(handler::erase(handler));
        self
    }

    /// Runs `handler` beside each connection from its beginning. Reading does not wait
    /// for it, what it returns is not sent, and it is dropped when the connection ends.
    /// It is the place where producers start with a push handle.
    pub fn on_connect<Args: 'static>(mut self, handler: impl Handler<P, Args>) -> Self {
        self.on_connect = Some(handler::erase(handler));
        self
    }

    /// Runs `handler` for each frame that a peer sends of its own accord. What it
    /// returns is not sent. Without it such frames are dropped and counted.
    pub fn on_push<Args: 'static>(mut self, handler: impl Handler<P, Args>) -> Self {
        self.on_push = Some(handler::erase(handler));
        self
    }

    /// Shares a value with handlers, which take it as [`State<T>`](State). A second
    /// value of one type replaces the first.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Sets the limits, quotas and time limits of each connection. Its
    /// [`push_bound`](Config::push_bound) is not looked at: set
    /// [`push_limits`](Self::push_limits).
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets how many pushes may be outstanding on each connection.
    pub fn push_limits(mut self, limits: PushLimits) -> Self {
        self.pushes = limits;
        self
    }

    /// Checks the app and makes it ready to serve. A server does this itself.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if a route has two handlers, a handler needs a state that was not
    /// set, or takes the frame or the body where there is none or more than once, or a time
    /// limit is zero.
    pub fn build(self) -> Result<App<P>, BuildError> {
        let mut routes = Routes::default();
        for (id, handler) in self.routes {
            check(&*handler, &self.states, Place::Route(id))?;
            if !routes.insert(id, handler) {
                return Err(BuildError::DuplicateRoute(id));
            }
        }
        let others = [
            (&self.fallback, Place::Fallback),
            (&self.on_connect, Place::OnConnect),
            (&self.on_push, Place::OnPush),
        ];
        for (handler, place) in others {
            if let Some(handler) = handler {
                check(&**handler, &self.states, place)?;
            }
        }
        check_config(&self.config)?;
        let mut config = self.config;
        config.push_bound = PushBound::Caller;
        let codec = self.protocol.codec();
        Ok(App {
            shared: Arc::new(Shared {
                protocol: Arc::new(self.protocol),
                routes,
                fallback: self.fallback,
                on_connect: self.on_connect,
                on_push: self.on_push,
                states: Arc::new(self.states),
                config: Arc::new(config),
                pushes: self.pushes,
                encoded_len: Arc::new(move |frame| {
                    wireframe_proto::Codec::encoded_len(&codec, frame)
                }),
            }),
        })
    }
}

/// A time limit of zero would end every connection at once.
fn check_config(config: &Config) -> Result<(), BuildError> {
    let timeouts = &config.timeouts;
    let limits = [
        ("timeouts.idle", timeouts.idle),
        ("timeouts.write_stall", Some(timeouts.write_stall)),
        ("timeouts.body", Some(timeouts.body)),
        ("timeouts.frame_completion", Some(timeouts.frame_completion)),
        ("timeouts.close", Some(timeouts.close)),
        ("fairness.time_slice", config.fairness.time_slice),
    ];
    match limits
        .into_iter()
        .find(|(_, limit)| limit.is_some_and(|limit| limit.is_zero()))
    {
        Some((name, _)) => Err(BuildError::Zero(name)),
        None => Ok(()),
    }
}

fn check<P: Protocol>(
    handler: &dyn AnyHandler<P>,
    states: &StateMap,
    place: Place,
) -> Result<(), BuildError> {
    let taken = handler.frames_taken();
    let there = usize::from(place != Place::OnConnect);
    if taken > there {
        return Err(BuildError::Frame {
            place,
            taken,
            there,
        });
    }
    let taken = handler.bodies_taken();
    let there = usize::from(matches!(place, Place::Route(_) | Place::Fallback));
    if taken > there {
        return Err(BuildError::Body {
            place,
            taken,
            there,
        });
    }
    handler.check(&Needs { states, place })
}

/// An app that is ready to serve; a clone is the same app.
pub struct App<P: Protocol> {
    pub(crate) shared: Arc<Shared<P>>,
}

impl<P: Protocol> Clone for App<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What all connections of an app share.
pub(crate) struct Shared<P: Protocol> {
    pub(crate) protocol: Arc<P>,
    pub(crate) routes: Routes<P>,
    pub(crate) fallback: Option<Box<dyn AnyHandler<P>>>,
    pub(crate) on_connect: Option<Box<dyn AnyHandler<P>>>,
    pub(crate) on_push: Option<Box<dyn AnyHandler<P>>>,
    pub(crate) states: Arc<StateMap>,
    pub(crate) config: Arc<Config>,
    pub(crate) pushes: PushLimits,
    pub(crate) encoded_len: EncodedLen<P::Frame>,
}

impl<P: Protocol> Shared<P> {
    /// The handler that serves a route, the fallback included.
    pub(crate) fn handler(&self, route: u32) -> Option<&dyn AnyHandler<P>> {
        self.routes.get(route).or(self.fallback.as_deref())
    }
}

/// Routes below this are found by index.
const DENSE: u32 = 256;

/// Finds a route's handler.
pub(crate) struct Routes<P> {
    dense: Vec<Option<Box<dyn AnyHandler<P>>>>,
    sparse: HashMap<u32, Box<dyn AnyHandler<P>>>,
}

impl<P> Default for Routes<P> {
    fn default() -> Self {
        Self {
            dense: Vec::new(),
            sparse: HashMap::new(),
        }
    }
}

impl<P: Protocol> Routes<P> {
    /// Enters a handler; false if the route has one.
    fn insert(&mut self, route: u32, handler: Box<dyn AnyHandler<P>>) -> bool {
        if route >= DENSE {
            return self.sparse.insert(route, handler).is_none();
        }
        let index = route as usize;
        if self.dense.len() <= index {
            self.dense.resize_with(index + 1, || None);
        }
        let place = self.dense.get_mut(index);
        place.is_some_and(|place| place.replace(handler).is_none())
    }

    fn get(&self, route: u32) -> Option<&dyn AnyHandler<P>> {
        match self.dense.get(route as usize) {
            Some(place) => place.as_deref(),
            None => self.sparse.get(&route).map(|handler| &**handler),
        }
    }
}

impl<P: Protocol> fmt::Debug for WireframeApp<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireframeApp")
            .field(
                "routes",
                &self.routes.iter().map(|(id, _)| id).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

impl<P: Protocol> fmt::Debug for App<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}
