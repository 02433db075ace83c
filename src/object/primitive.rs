//! The atomics that every other module uses.
//!
//! Built with `--cfg loom` they are loom's, so that loom runs the real protocol and not a copy of it.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
