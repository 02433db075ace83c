//! Local copies of frozen code objects.
//!
//! Bytecode specialises itself in place, and tracing and monitoring instrument it in place. So the code object of a
//! frozen function, and code nested in it, is never run: each interpreter runs a copy of its own. Mutable functions and
//! generators that had the code before it was frozen take a copy at their next `RESUME` (`_Py_InstrumentFrame`).

use std::collections::HashMap;

use super::{idle, interpreter, monitor};
use crate::object::header::{self, FROZEN, Object};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};

struct Copy {
    /// The frozen code object, owned, so that its address stays its own.
    original: Object,
    /// The ordinary one, owned.
    local: Object,
    /// Used since the last full collection.
    recent: bool,
}

/// The copies that one interpreter has made of nested code, by address of the frozen code object.
#[derive(Default)]
pub struct Codes {
    copies: HashMap<Object, Copy>,
}

impl Codes {
    /// The copy for `code`, borrowed, unless it was frozen meanwhile.
    unsafe fn find(&mut self, code: Object) -> Option<Object> {
        let copy = self.copies.get_mut(&code)?;
        copy.recent = true;
        // SAFETY: the entry owns it.
        let is_frozen = unsafe { header::flags(copy.local) } & FROZEN != 0;
        (!is_frozen).then_some(copy.local)
    }

    /// Drops every copy that was not asked for since the last time.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        let is_idle = |_: &_, copy: &mut Copy| !std::mem::take(&mut copy.recent);
        // SAFETY: the entry owned both, and is gone from the table.
        idle::take_idle(&mut self.copies, is_idle).into_iter().for_each(|copy| unsafe { release(copy) });
    }

    /// Drops every copy. True if there was one.
    ///
    /// # Safety
    /// As [`Codes::drop_idle`].
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: as in `drop_idle`.
        idle::release_all(&mut self.copies, |_, copy| unsafe { release(copy) })
    }
}

unsafe fn release(copy: Copy) {
    // SAFETY: the caller's.
    unsafe {
        ffi::Py_DecRef(copy.local);
        ffi::Py_DecRef(copy.original);
    }
}

/// A new reference to the running interpreter's copy of a frozen code object, which serves all that ask for it.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// `code` is a frozen code object; a GIL is held.
pub unsafe fn local(code: Object) -> Result<Object, Raised> {
    // SAFETY: a GIL is held; the state is looked up again after making the copy, which may run Python code.
    unsafe {
        let Some(state) = interpreter::current() else {
            // The interpreter ends: what still runs, finalizers, runs copies that nobody else finds.
            ffi::PyErr_Clear();
            return replace(code, |item| {
                ffi::Py_IncRef(item);
                Ok(item)
            });
        };
        if let Some(local) = state.codes.find(code) {
            ffi::Py_IncRef(local);
            return Ok(local);
        }
        idle::watch_collector()?;
        let local = copy(code)?;
        let Some(codes) = interpreter::current().map(|state| &mut state.codes) else {
            ffi::Py_DecRef(local);
            return Err(Raised);
        };
        if let Err(error) = codes.copies.try_reserve(1) {
            ffi::Py_DecRef(local);
            return Err(raise::no_memory(error.into()));
        }
        ffi::Py_IncRef(code);
        ffi::Py_IncRef(local);
        if let Some(previous) = codes.copies.insert(code, Copy { original: code, local, recent: true }) {
            release(previous);
        }
        Ok(local)
    }
}

/// Returns a new code object that equals a frozen one, its nested code taken from the copies of this interpreter.
///
/// # Errors
/// A Python exception is set.
///
/// # Safety
/// As [`local`].
pub unsafe fn copy(code: Object) -> Result<Object, Raised> {
    // SAFETY: a GIL is held; every new reference is given back.
    unsafe {
        let copied = replace(code, |item| {
            if header::type_of(item) == &raw mut ffi::PyCode_Type && header::flags(item) & FROZEN != 0 {
                return local(item);
            }
            ffi::Py_IncRef(item);
            Ok(item)
        })?;
        monitor::join(copied, code).inspect_err(|_| ffi::Py_DecRef(copied))?;
        Ok(copied)
    }
}

/// A new code object that equals `code`, but for constants, of each of which `copy_constant` gives a new reference.
unsafe fn replace(code: Object, copy_constant: impl FnMut(Object) -> Result<Object, Raised>) -> Result<Object, Raised> {
    // SAFETY: a GIL is held; every new reference is given back.
    unsafe {
        let fields = &*code.cast::<ffi::PyCodeObject>();
        let arguments = raise::unless_null(ffi::PyDict_New())?;
        // Making a code object interns names and constants in the tuples that it is given.
        let copied = set(arguments, c"co_consts", copy_tuple(fields.co_consts, copy_constant))
            .and_then(|()| {
                let names = copy_tuple(fields.co_names, |name| {
                    ffi::Py_IncRef(name);
                    Ok(name)
                });
                set(arguments, c"co_names", names)
            })
            .and_then(|()| {
                let replace = raise::unless_null(attribute::get(code, c"replace"))?;
                let none = ffi::PyTuple_New(0);
                let copied = ffi::PyObject_Call(replace, none, arguments);
                ffi::Py_DecRef(none);
                ffi::Py_DecRef(replace);
                raise::unless_null(copied)
            });
        ffi::Py_DecRef(arguments);
        copied
    }
}

unsafe fn set(arguments: Object, name: &std::ffi::CStr, value: Result<Object, Raised>) -> Result<(), Raised> {
    // SAFETY: a GIL is held; the value is owned.
    unsafe {
        let value = value?;
        let stored = ffi::PyDict_SetItemString(arguments, name.as_ptr(), value);
        ffi::Py_DecRef(value);
        raise::unless_negative(stored).map(|_| ())
    }
}

/// A new tuple with what `copy_item` makes of the items.
unsafe fn copy_tuple(
    tuple: Object,
    mut copy_item: impl FnMut(Object) -> Result<Object, Raised>,
) -> Result<Object, Raised> {
    // SAFETY: an exact tuple; PyTuple_SetItem takes over the new references.
    unsafe {
        let n = ffi::PyTuple_Size(tuple);
        let copied = raise::unless_null(ffi::PyTuple_New(n))?;
        for i in 0..n {
            match copy_item(ffi::PyTuple_GetItem(tuple, i)) {
                Ok(item) => ffi::PyTuple_SetItem(copied, i, item),
                Err(error) => {
                    ffi::Py_DecRef(copied);
                    return Err(error);
                }
            };
        }
        Ok(copied)
    }
}
