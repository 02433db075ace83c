//! How an object carries its state: the encodings in its header, and the atomics they are read with.

pub mod address;
#[cfg(feature = "cpython")]
pub mod answer;
#[cfg(feature = "cpython")]
pub mod attribute;
#[cfg(feature = "cpython")]
pub mod edges;
pub mod fault;
#[cfg(feature = "cpython")]
pub mod ffi;
#[cfg(feature = "cpython")]
pub mod header;
pub mod memory;
#[cfg(feature = "cpython")]
pub mod option;
pub mod primitive;
#[cfg(feature = "cpython")]
pub mod raise;
#[cfg(feature = "cpython")]
pub mod reachable;
