#![no_std]
extern crate alloc;
mod ids; mod time;
pub use ids::*; pub use time::*;
