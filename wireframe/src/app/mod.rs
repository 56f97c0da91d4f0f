//! An app: which handler serves what.

pub mod check;
mod extract;
mod framing;
mod handler;
mod layer;
mod request;
mod router;
mod state;
mod validate;

use std::fmt;

use tower_layer::Layer;
use wireframe_proto::{
    Config, EnvelopeProtocol, FragmentLimits, FragmentStrategy, PushBound, RateLimit, UnsentPushes,
};

pub use extract::{Extract, Inbound, Needs, Parts, State};
pub(crate) use extract::{Extracted, Surroundings};
use framing::MakeFraming;
pub(crate) use framing::{Framed, Framing};
pub(crate) use handler::{Answer, AnyHandler, Handling, Serve, Started};
pub use handler::{AtOnce, Handler};
pub use layer::{HandlerFuture, HandlerService, RequestService};
pub use request::Request;
pub(crate) use state::StateMap;

use self::router::{Found, Handlers, Router, Routes, Wrap};
use crate::{
    budget::MemoryBudget,
    error::{BuildError, Place},
    frame::Protocol,
    meter::Metrics,
    push::{Common, DeadLetterSender, ProtocolEncoding, PushLimits},
    registry::SessionRegistry,
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
    layers: Vec<Wrap<P>>,
    states: StateMap,
    config: Config,
    fragmentation: Option<(MakeFraming<P::Frame>, FragmentLimits)>,
    pushes: PushLimits,
    rate_limit: Option<RateLimit>,
    dead_letters: Option<DeadLetterSender<P::Frame>>,
    registry: Option<SessionRegistry<P::Frame>>,
    budget: MemoryBudget,
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
            layers: Vec::new(),
            states: StateMap::default(),
            config: Config::default(),
            fragmentation: None,
            pushes: PushLimits::default(),
            rate_limit: None,
            dead_letters: None,
            registry: None,
            budget: MemoryBudget::default(),
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

    /// Runs `handler` beside each connection from its beginning, which is behind the
    /// preamble where the protocol has one. Reading does not wait for it, what it returns
    /// is not sent, and it is dropped when the connection ends. It is the place where
    /// producers start with a push handle.
    pub fn on_connect<Args: 'static>(mut self, handler: impl Handler<P, Args>) -> Self {
        self.on_connect = Some(handler::erase(handler));
        self
    }

    /// Runs `handler` for each frame that a peer sends of its own accord. What it
    /// returns is not sent. Without it such frames are dropped and counted.
    ///
    /// On each connection 64 of them run at once, and up to 256 frames wait for theirs to
    /// start, as long as those that wait have less than
    /// [`Limits::max_body_bytes`](wireframe_proto::Limits::max_body_bytes) together. What comes
    /// beyond that is dropped, and counted by
    /// [`unhandled_pushes`](crate::ConnectionHandle::unhandled_pushes).
    pub fn on_push<Args: 'static>(mut self, handler: impl Handler<P, Args>) -> Self {
        self.on_push = Some(handler::erase(handler));
        self
    }

    /// Puts a layer around all handlers of requests, the fallback included, and around no
    /// others.
    ///
    /// It is any layer of tower's that makes a [`RequestService`]. Its service is made
    /// once, when the app is built, and cloned for each request, which waits for it to be
    /// ready: so a limit of concurrency, say, is that of the app. A service may answer in a
    /// handler's stead, and what it fails with is treated as what a handler fails with.
    /// Requests that no handler serves do not pass layers.
    ///
    /// Of several layers the one that is given first is the outermost. Requests of an app
    /// with layers take one more box for each call of this method, so compose what belongs
    /// together with `tower::ServiceBuilder`, which is a layer.
    ///
    /// ```
    /// use tower::{ServiceBuilder, limit::ConcurrencyLimitLayer};
    /// use wireframe::{Request, WireframeApp};
    ///
    /// let layers = ServiceBuilder::new()
    ///     .map_request(|request: Request<_>| {
    ///         println!("route {}", request.info().route);
    ///         request
    ///     })
    ///     .layer(ConcurrencyLimitLayer::new(100));
    /// let app = WireframeApp::new().route(1, || "hello").layer(layers);
    /// assert!(app.build().is_ok());
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HandlerService<P>, Service: RequestService<P>> + Send + 'static,
    {
        self.layers
            .push(Box::new(move |inner| inner.inside(&layer)));
        self
    }

    /// Shares a value with handlers, which take it as [`State<T>`](State). A second
    /// value of one type replaces the first.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Sets the limits, quotas and time limits of each connection. Its
    /// [`push_bound`](Config::push_bound) and [`unsent_pushes`](Config::unsent_pushes)
    /// are not looked at: set [`push_limits`](Self::push_limits) and
    /// [`dead_letters`](Self::dead_letters).
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Lets messages go in fragments: replaces the protocol's framing by a clone of
    /// `strategy` for each connection, and what [`config`](Self::config) says of
    /// [fragments](Config::fragments) by `limits`. Both ends must do so.
    ///
    /// Handlers see whole messages. Built in are [`Multiplexed`](crate::Multiplexed), which
    /// lets other frames overtake a large message, [`LenFlag32K`](crate::LenFlag32K) and
    /// [`LenSeq16M`](crate::LenSeq16M), which do not.
    ///
    /// The header of a frame is the strategy's, so the hook
    /// [`encode_shared`](wireframe_proto::WireframeProtocol::encode_shared) is not asked: it
    /// would write the protocol's own. A protocol that lives by its framing names it itself.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use wireframe::{FragmentLimits, Multiplexed, WireframeApp};
    ///
    /// let app = WireframeApp::new()
    ///     .route(1, |upload: Bytes| upload.len().to_string())
    ///     .fragmentation(Multiplexed::new(), FragmentLimits::default());
    /// assert!(app.build().is_ok());
    /// ```
    pub fn fragmentation<S>(mut self, strategy: S, limits: FragmentLimits) -> Self
    where
        S: FragmentStrategy<P::Frame> + Clone + Send + Sync + 'static,
    {
        let make: MakeFraming<P::Frame> = Box::new(move || Box::new(strategy.clone()));
        self.fragmentation = Some((make, limits));
        self
    }

    /// Sets how many pushes may be outstanding on each connection.
    pub fn push_limits(mut self, limits: PushLimits) -> Self {
        self.pushes = limits;
        self
    }

    /// Limits how often frames may be pushed on each connection, both priorities together.
    /// Off by default.
    ///
    /// Each push, each call of a client and each frame of a broadcast takes a token; what
    /// a hook pushes does not. Pushes that wait get theirs in order, those of high
    /// priority first, see [`PushHandle::push`](crate::PushHandle::push).
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// Gives frames that were accepted and cannot be sent to a
    /// [dead letter queue](crate::dead_letter_queue): what a
    /// [`PushPolicy`](crate::PushPolicy) drops, what cannot be encoded, and what was not
    /// sent when its connection ended. Without one they are dropped and counted.
    ///
    /// The frame of a client's call is among them, beside the error that its caller gets.
    pub fn dead_letters(mut self, queue: DeadLetterSender<P::Frame>) -> Self {
        self.dead_letters = Some(queue);
        self
    }

    /// Enters every connection, from before its `on_connect` handler runs to its end.
    pub fn registry(mut self, registry: &SessionRegistry<P::Frame>) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Bounds the memory that the connections take together, and those of all apps that are
    /// given this budget. Default: a [budget](MemoryBudget) of its own, of 512 MiB.
    pub fn memory_budget(mut self, budget: &MemoryBudget) -> Self {
        self.budget = budget.clone();
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
            validate::handler(&*handler, &self.states, Place::Route(id))?;
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
                validate::handler(&**handler, &self.states, place)?;
            }
        }
        let mut config = self.config;
        let framing = self.fragmentation.map(|(make, limits)| {
            config.fragments = limits;
            make
        });
        validate::config(&config)?;
        config.push_bound = PushBound::Caller;
        config.unsent_pushes = match self.dead_letters {
            Some(_) => UnsentPushes::Returned,
            None => UnsentPushes::Counted,
        };
        let framed = Arc::new(Framed::new(self.protocol, framing));
        let max_frame_len = config.limits.max_frame_len.get();
        let pushes = Common {
            encoding: Box::new(ProtocolEncoding::new(Arc::clone(&framed), max_frame_len)),
            limits: self.pushes,
            budget: self.budget,
        };
        Ok(App {
            shared: Arc::new(Shared {
                framed,
                handlers: Handlers::new(Router::new(routes, self.fallback), self.layers),
                on_connect: self.on_connect,
                on_push: self.on_push,
                states: Arc::new(self.states),
                config: Arc::new(config),
                pushes: Arc::new(pushes),
                rate_limit: self.rate_limit,
                dead_letters: self.dead_letters,
                registry: self.registry,
                metrics: Metrics::register(),
            }),
        })
    }
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
    pub(crate) framed: Arc<Framed<P>>,
    handlers: Handlers<P>,
    pub(crate) on_connect: Option<Box<dyn AnyHandler<P>>>,
    pub(crate) on_push: Option<Box<dyn AnyHandler<P>>>,
    pub(crate) states: Arc<StateMap>,
    pub(crate) config: Arc<Config>,
    pub(crate) pushes: Arc<Common<P::Frame>>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) dead_letters: Option<DeadLetterSender<P::Frame>>,
    pub(crate) registry: Option<SessionRegistry<P::Frame>>,
    /// Of its connections as a server's.
    pub(crate) metrics: Metrics,
}

impl<P: Protocol> Shared<P> {
    pub(crate) fn budget(&self) -> &MemoryBudget {
        &self.pushes.budget
    }

    /// What serves a route: its handler or the fallback, inside the layers.
    #[inline]
    pub(crate) fn handler(&self, route: u32) -> Option<Found<'_, P>> {
        self.handlers.find(route)
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
