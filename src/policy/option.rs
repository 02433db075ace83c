//! Options of the process: `-X immutable_...`, or the environment variables that stand for them.
//!
//! Read once, by the first interpreter that asks, and the same for all.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::object::option::{Value, value};

const UNREAD: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

// Relaxed: a flag that carries nothing with it, and that every thread would set to the same value.
static DEFAULT_IS_NO: AtomicU8 = AtomicU8::new(UNREAD);
static TRACE: AtomicU8 = AtomicU8::new(UNREAD);

/// An option of this process has a value that means nothing; the text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaningless(pub &'static CStr);

/// Reads the options, unless another interpreter did.
///
/// # Errors
/// [`Meaningless`]: that option, and those not yet read, are off.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn read() -> Result<(), Meaningless> {
    // SAFETY: the caller's.
    unsafe {
        let default = value(c"immutable_default", c"PYTHONIMMUTABLE_DEFAULT");
        let default_is_no = match default.as_ref().map(Value::as_bytes) {
            None | Some(b"yes") => false,
            Some(b"no") => true,
            Some(_) => {
                return Err(Meaningless(c"-X immutable_default and PYTHONIMMUTABLE_DEFAULT must be yes or no"));
            }
        };
        set(&DEFAULT_IS_NO, default_is_no);
        let trace = value(c"immutable_trace", c"PYTHONIMMUTABLE_TRACE");
        let traces = match trace.as_ref().map(Value::as_bytes) {
            None | Some(b"0") => false,
            Some(b"" | b"1") => true,
            Some(_) => return Err(Meaningless(c"-X immutable_trace and PYTHONIMMUTABLE_TRACE take no value, 1 or 0")),
        };
        set(&TRACE, traces);
        Ok(())
    }
}

fn set(flag: &AtomicU8, on: bool) {
    flag.store(if on { ON } else { OFF }, Ordering::Relaxed);
}

/// Whether Python classes are freezable only if somebody says so.
#[inline]
pub fn default_is_no() -> bool {
    DEFAULT_IS_NO.load(Ordering::Relaxed) == ON
}

/// Whether the place of each freeze is remembered.
#[inline]
pub fn traces() -> bool {
    TRACE.load(Ordering::Relaxed) == ON
}
