//! Which handler serves which route.

use hashbrown::HashMap;

use super::handler::AnyHandler;
use crate::frame::Protocol;

/// Routes below this are found by index.
const DENSE: u32 = 256;

/// Finds a route's handler.
pub(super) struct Routes<P> {
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
    pub(super) fn insert(&mut self, route: u32, handler: Box<dyn AnyHandler<P>>) -> bool {
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

    pub(super) fn get(&self, route: u32) -> Option<&dyn AnyHandler<P>> {
        match self.dense.get(route as usize) {
            Some(place) => place.as_deref(),
            None => self.sparse.get(&route).map(|handler| &**handler),
        }
    }
}
