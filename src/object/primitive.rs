//! The atomics that every other module uses.
//!
//! Built with `--cfg loom` they are loom's, with `--cfg shuttle` shuttle's, so that these run the real protocol and not
//! a copy of it.

#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
#[cfg(all(shuttle, not(loom)))]
pub use shuttle::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
