//! What lets several interpreters use one frozen object: each interpreter's
//! own state beside it, and what they pass objects through.
//!
//! [`channel`] and [`field`] hold messages and values of any kind, and know nothing of CPython.

#[cfg(feature = "cpython")]
pub mod c_type;
#[cfg(feature = "cpython")]
pub mod cfunction;
pub mod channel;
#[cfg(feature = "cpython")]
pub mod class;
#[cfg(feature = "cpython")]
pub mod code;
#[cfg(feature = "cpython")]
pub mod ending;
#[cfg(feature = "cpython")]
pub mod exception;
pub mod field;
#[cfg(feature = "cpython")]
pub mod idle;
#[cfg(feature = "cpython")]
pub mod interpreter;
#[cfg(feature = "cpython")]
pub mod library;
pub mod line;
#[cfg(feature = "cpython")]
pub mod local;
#[cfg(feature = "cpython")]
pub mod logger;
#[cfg(feature = "cpython")]
pub mod module;
#[cfg(feature = "cpython")]
pub mod module_type;
#[cfg(feature = "cpython")]
pub mod monitor;
#[cfg(feature = "cpython")]
pub mod namesake;
#[cfg(feature = "cpython")]
pub mod part;
#[cfg(feature = "cpython")]
pub mod reference;
#[cfg(feature = "cpython")]
pub mod sentinel;
#[cfg(feature = "cpython")]
pub mod shared_module;
#[cfg(feature = "cpython")]
pub mod string;
#[cfg(feature = "cpython")]
pub mod transfer;
#[cfg(feature = "cpython")]
pub mod view;

#[cfg(feature = "cpython")]
use std::sync::atomic::{AtomicBool, Ordering};

/// The process has imported `immutable`, or is about to have a second interpreter.
#[cfg(feature = "cpython")]
static SHARING: AtomicBool = AtomicBool::new(false);

/// From now on, what exists once in the process is shared as soon as it is made. Called before the second interpreter of
/// the process is made, if not earlier.
///
/// # Safety
/// The caller holds the only GIL, or sharing has begun. No exception is set.
#[cfg(feature = "cpython")]
pub unsafe fn begin_sharing() {
    // Relaxed: other interpreters are made after this.
    if !SHARING.swap(true, Ordering::Relaxed) {
        // SAFETY: the caller's.
        unsafe {
            c_type::settle();
            sentinel::settle();
        }
    }
}

/// Whether [`begin_sharing`] was called.
#[cfg(feature = "cpython")]
pub fn is_sharing() -> bool {
    // Relaxed: it is called before other interpreters are made.
    SHARING.load(Ordering::Relaxed)
}

/// The main interpreter ends, and the next one of this process begins anew.
#[cfg(feature = "cpython")]
fn end_sharing() {
    SHARING.store(false, Ordering::Relaxed);
    c_type::end();
    sentinel::end();
}
