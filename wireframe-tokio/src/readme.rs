//! The code in the READMEs, as documentation tests. It is here because only this crate
//! sees all of the others.

#[doc = include_str!("../../README.md")]
struct Root;

#[doc = include_str!("../../wireframe-proto/README.md")]
struct WireframeProto;

#[doc = include_str!("../../wireframe/README.md")]
struct Wireframe;

#[doc = include_str!("../README.md")]
struct WireframeTokio;
