//! The exception classes of an interpreter: made when the first of them is needed.
//!
//! That may be before anybody has imported `_immutable`, since the interpreter may have been handed a frozen object.

use std::ffi::CStr;

use super::interpreter::{self, Interpreter};
use crate::object::answer::none;
use crate::object::ffi;
use crate::object::header::Object;
use crate::object::raise::{self, Raised};

/// Owned references, all null until they are made.
pub struct Exceptions {
    /// `immutable.MutationError`.
    pub mutation: Object,
    /// `immutable.NotFreezableError`.
    pub not_freezable: Object,
    /// `immutable.ChannelClosed`.
    pub channel_closed: Object,
    /// `immutable.ForeignExtensionWarning`.
    pub foreign_extension: Object,
}

impl Exceptions {
    /// None yet.
    pub const NONE: Self = Exceptions {
        mutation: std::ptr::null_mut(),
        not_freezable: std::ptr::null_mut(),
        channel_closed: std::ptr::null_mut(),
        foreign_extension: std::ptr::null_mut(),
    };

    unsafe fn make() -> Result<Self, Raised> {
        let mut made = Exceptions::NONE;
        // SAFETY: a GIL is held; PyErr_NewExceptionWithDoc runs no user code.
        let complete = unsafe { made.fill() };
        if complete.is_err() {
            // SAFETY: as above.
            unsafe { made.clear() };
        }
        complete.map(|()| made)
    }

    unsafe fn fill(&mut self) -> Result<(), Raised> {
        // SAFETY: as `make`.
        unsafe {
            self.mutation = new(
                c"immutable.MutationError",
                c"A write to a frozen object. The object is in the attribute obj.",
                ffi::PyExc_TypeError,
                &[c"obj"],
            )?;
            self.not_freezable = new(
                c"immutable.NotFreezableError",
                c"freeze() was refused, and has changed nothing.

obj is the object that refused, path a Python expression that leads to it from
the object given (root; of several, roots[0] and so on), reason says why and
what to do.",
                ffi::PyExc_TypeError,
                &[c"obj", c"path", c"reason"],
            )?;
            self.channel_closed = new(
                c"immutable.ChannelClosed",
                c"Nothing can be sent any more, or nothing is left to be received.",
                ffi::PyExc_Exception,
                &[],
            )?;
            self.foreign_extension = new(
                c"immutable.ForeignExtensionWarning",
                c"An extension module built for stock CPython was loaded: no frozen memory is released any more.",
                ffi::PyExc_RuntimeWarning,
                &[],
            )?;
            Ok(())
        }
    }

    /// Gives the references up. True if there were any.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL.
    pub unsafe fn clear(&mut self) -> bool {
        let Exceptions { mutation, not_freezable, channel_closed, foreign_extension } =
            std::mem::replace(self, Exceptions::NONE);
        for class in [mutation, not_freezable, channel_closed, foreign_extension] {
            // SAFETY: owned, or null.
            unsafe { ffi::Py_DecRef(class) };
        }
        !mutation.is_null()
    }
}

/// One of the running interpreter's exception classes, borrowed.
///
/// # Errors
/// A Python exception is set: there is no memory, or the interpreter is so far gone that it has no state any more.
///
/// # Safety
/// The caller holds a GIL.
pub unsafe fn class(which: fn(&Exceptions) -> Object) -> Result<Object, Raised> {
    // SAFETY: the caller's. The state is looked up again, in case that making the classes has run a collection.
    unsafe {
        let state: &mut Interpreter = interpreter::current().ok_or(Raised)?;
        if state.exceptions.mutation.is_null() {
            let made = Exceptions::make()?;
            interpreter::current().ok_or(Raised)?.exceptions = made;
        }
        Ok(which(&interpreter::current().ok_or(Raised)?.exceptions))
    }
}

unsafe fn new(name: &CStr, doc: &CStr, base: Object, attributes: &[&CStr]) -> Result<Object, Raised> {
    // SAFETY: as `Exceptions::make`.
    unsafe {
        let dict = raise::unless_null(ffi::PyDict_New())?;
        let filled =
            attributes.iter().all(|attribute| ffi::PyDict_SetItemString(dict, attribute.as_ptr(), none()) == 0);
        let made = if filled {
            raise::unless_null(ffi::PyErr_NewExceptionWithDoc(name.as_ptr(), doc.as_ptr(), base, dict))
        } else {
            Err(Raised)
        };
        ffi::Py_DecRef(dict);
        made
    }
}
