//! Options of the process: `-X immutable_...`, or the environment variables that stand for them.
//!
//! One on the command line comes first; the environment counts unless it is ignored (`-E`, `-I`). Nothing is allocated,
//! so that an option can be read where there is no memory.

use std::ffi::{CStr, c_char};

use super::ffi;

/// What the options take are words shorter than this.
const LONGEST: usize = 15;

/// The value of an option, cut after so many bytes that it can be none of the words that an option takes.
pub struct Value([c_char; LONGEST + 1]);

impl Value {
    /// The value.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `value` has ended it with a zero byte.
        unsafe { CStr::from_ptr(self.0.as_ptr()) }.to_bytes()
    }
}

/// The value of `-X option=value`, "" if it is given without one; or else of an environment variable that is not empty.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn value(option: &CStr, variable: &CStr) -> Option<Value> {
    let mut buffer = [0; LONGEST + 1];
    // SAFETY: the buffer is as long as is said, and is ended by a zero byte.
    let found = unsafe {
        ffi::imm_option(option.as_ptr(), variable.as_ptr(), buffer.as_mut_ptr(), buffer.len() as ffi::Py_ssize_t)
    };
    (found != 0).then_some(Value(buffer))
}
