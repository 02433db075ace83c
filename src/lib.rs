//! The core of the immutable runtime: what CPython asks to freeze a graph of objects, to count references to it from
//! any thread, and to reclaim it.
//!
//! Without the feature `cpython` this crate is the algorithms alone, generic over a heap: `freeze` finds what a
//! graph reaches and its strongly connected components, and commits or rolls back; `lifetime` counts references to
//! frozen objects; `share` passes values between threads. Dependencies run one way: all use `object`, which uses nothing
//! of ours.

#[cfg(feature = "cpython")]
pub mod capi;
#[cfg(feature = "cpython")]
pub mod foreign;
pub mod freeze;
pub mod lifetime;
pub mod object;
#[cfg(feature = "cpython")]
pub mod policy;
#[cfg(feature = "cpython")]
pub mod python;
pub mod share;
