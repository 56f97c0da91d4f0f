//! What a transport knows of its peer.

use alloc::{boxed::Box, sync::Arc};
use core::{any::Any, fmt};

/// What a transport knows of its peer: values of any types, one of each. Empty by default.
///
/// Transports over one another add to what the one below knows. A clone shares the values.
///
/// ```
/// use wireframe_proto::TransportInfo;
///
/// #[derive(Debug, PartialEq)]
/// struct Login(&'static str);
///
/// let info = TransportInfo::default().with(Login("ada"));
/// assert_eq!(info.get(), Some(&Login("ada")));
/// assert_eq!(info.get::<u32>(), None);
/// ```
#[derive(Clone, Default)]
pub struct TransportInfo(Option<Arc<Known>>);

struct Known {
    value: Box<dyn Any + Send + Sync>,
    /// What was known before.
    rest: TransportInfo,
}

impl TransportInfo {
    /// With this as well. It hides one of its type that is there.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(self, value: T) -> Self {
        Self(Some(Arc::new(Known {
            value: Box::new(value),
            rest: self,
        })))
    }

    /// The value of that type, if there is one. The time that it takes grows with the number
    /// of values.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        let mut rest = self;
        while let Some(known) = &rest.0 {
            if let Some(value) = known.value.downcast_ref() {
                return Some(value);
            }
            rest = &known.rest;
        }
        None
    }
}

impl fmt::Debug for TransportInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportInfo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::TransportInfo;

    #[test]
    fn each_type_has_the_value_that_came_last() {
        let below = TransportInfo::default().with(1_u8).with("below");
        let above = below.clone().with(2_u8).with('c');
        assert_eq!(above.get(), Some(&2_u8));
        assert_eq!(above.get(), Some(&"below"));
        assert_eq!(above.get(), Some(&'c'));
        assert_eq!(above.get::<u16>(), None);
        assert_eq!(below.get(), Some(&1_u8));
        assert_eq!(below.get::<char>(), None);
    }

    #[test]
    fn nothing_known_takes_a_pointer_and_no_more() {
        assert_eq!(size_of::<TransportInfo>(), size_of::<usize>());
    }
}
