//! What the connections of an app have in common.

use super::{capacity::PushLimits, encoding::Encoding};
use crate::budget::MemoryBudget;

/// What pushing on each connection of an app has to know.
pub(crate) struct Common<F> {
    pub(crate) encoding: Box<dyn Encoding<F>>,
    pub(crate) limits: PushLimits,
    pub(crate) budget: MemoryBudget,
}
