//! The code in the README, as a documentation test.

#[doc = include_str!("../README.md")]
struct WireframeSmol;
