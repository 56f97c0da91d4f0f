//! Which handler serves which route.

use std::task::Context;

use hashbrown::HashMap;

use super::{
    extract::Parts,
    handler::{Answer, AnyHandler, Handling, Serve, Started},
    layer::HandlerService,
};
use crate::{frame::Protocol, response::Response, sync::Arc};

/// The handlers of requests, bare or inside layers.
pub(super) enum Handlers<P: Protocol> {
    Bare(Router<P>),
    Layered {
        router: Arc<Router<P>>,
        outermost: HandlerService<P>,
    },
}

/// Puts a layer around a service.
pub(super) type Wrap<P> = Box<dyn FnOnce(HandlerService<P>) -> HandlerService<P> + Send>;

impl<P: Protocol> Handlers<P> {
    /// The first layer is the outermost.
    pub(super) fn new(router: Router<P>, layers: Vec<Wrap<P>>) -> Self {
        if layers.is_empty() {
            return Self::Bare(router);
        }
        let router = Arc::new(router);
        let innermost = HandlerService::new(Arc::clone(&router));
        let outermost = layers
            .into_iter()
            .rfold(innermost, |inner, wrap| wrap(inner));
        Self::Layered { router, outermost }
    }

    /// What serves a route, if anything does.
    #[inline]
    pub(super) fn find(&self, route: u32) -> Option<Found<'_, P>> {
        let (router, outermost) = match self {
            Self::Bare(router) => (router, None),
            Self::Layered { router, outermost } => (&**router, Some(outermost)),
        };
        let entry = router.find(route)?;
        Some(Found {
            service: match outermost {
                Some(outermost) => outermost,
                None => &*entry.handler,
            },
            takes_body: entry.takes_body,
        })
    }
}

/// What serves a route.
pub(crate) struct Found<'a, P: Protocol> {
    pub(crate) service: &'a dyn Serve<P>,
    /// Whether the handler at the end of it takes the body.
    pub(crate) takes_body: bool,
}

/// A handler, and what is looked at for each request.
struct Entry<P> {
    handler: Box<dyn AnyHandler<P>>,
    takes_body: bool,
}

impl<P: Protocol> Entry<P> {
    fn new(handler: Box<dyn AnyHandler<P>>) -> Self {
        Self {
            takes_body: handler.bodies_taken() > 0,
            handler,
        }
    }
}

/// Finds a request's handler.
pub(super) struct Router<P> {
    routes: Routes<P>,
    fallback: Option<Entry<P>>,
}

impl<P: Protocol> Router<P> {
    pub(super) fn new(routes: Routes<P>, fallback: Option<Box<dyn AnyHandler<P>>>) -> Self {
        Self {
            routes,
            fallback: fallback.map(Entry::new),
        }
    }

    fn find(&self, route: u32) -> Option<&Entry<P>> {
        self.routes.get(route).or(self.fallback.as_ref())
    }
}

/// The innermost of an app's layers is around this.
impl<P: Protocol> Serve<P> for Arc<Router<P>> {
    fn start(
        &self,
        parts: &mut Parts<'_, P>,
        cx: &mut Context<'_>,
    ) -> Started<Handling<P>, Answer<P>> {
        match self.find(parts.route()) {
            Some(entry) => entry.handler.start(parts, cx),
            // Requests that no handler serves do not come here.
            None => Started::Done(Ok(Response::Empty)),
        }
    }
}

/// Routes below this are found by index.
const DENSE: u32 = 256;

/// Finds a route's handler.
pub(super) struct Routes<P> {
    dense: Vec<Option<Entry<P>>>,
    sparse: HashMap<u32, Entry<P>>,
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
    pub(super) fn insert(&mut self, route: u32, handler: Box<dyn AnyHandler<P>>) -> bool {
        let entry = Entry::new(handler);
        if route >= DENSE {
            return self.sparse.insert(route, entry).is_none();
        }
        let index = route as usize;
        if self.dense.len() <= index {
            self.dense.resize_with(index + 1, || None);
        }
        let place = self.dense.get_mut(index);
        place.is_some_and(|place| place.replace(entry).is_none())
    }

    #[inline]
    fn get(&self, route: u32) -> Option<&Entry<P>> {
        match self.dense.get(route as usize) {
            Some(place) => place.as_ref(),
            None => self.sparse.get(&route),
        }
    }
}
