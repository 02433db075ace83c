//! Options of the process: `-X immutable_...`, or the environment variables that stand for them.
//!
//! Read once, by the first interpreter that asks, and the same for all. An option on the command line comes first; the
//! environment counts unless it is ignored (`-E`, `-I`).

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::object::ffi;

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
        let default_is_no = match default.as_deref().map(CStr::to_bytes) {
            None | Some(b"yes") => false,
            Some(b"no") => true,
            Some(_) => {
                return Err(Meaningless(c"-X immutable_default and PYTHONIMMUTABLE_DEFAULT must be yes or no"));
            }
        };
        set(&DEFAULT_IS_NO, default_is_no);
        let trace = value(c"immutable_trace", c"PYTHONIMMUTABLE_TRACE");
        let traces = match trace.as_deref().map(CStr::to_bytes) {
            None | Some(b"0") => false,
            Some(b"" | b"1") => true,
            Some(_) => return Err(Meaningless(c"-X immutable_trace and PYTHONIMMUTABLE_TRACE take no value, 1 or 0")),
        };
        set(&TRACE, traces);
        Ok(())
    }
}

/// The value of an option: that of the command line, "" if it is given without one, or of a variable that is not empty.
unsafe fn value(option: &CStr, variable: &CStr) -> Option<CString> {
    let mut buffer = [0; 16];
    // SAFETY: the buffer is as long as is said; a longer value is cut, and then means nothing.
    let found = unsafe {
        ffi::imm_option(option.as_ptr(), variable.as_ptr(), buffer.as_mut_ptr(), buffer.len() as ffi::Py_ssize_t)
    };
    if found == 0 {
        return None;
    }
    // SAFETY: ended by a zero byte.
    Some(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_owned())
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
