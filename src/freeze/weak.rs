//! Weak references in a freeze: those inside the graph become strong, and those to its objects are moved.
//!
//! See `lifetime::weak`. Everything that may fail is done while the graph is explored; the rest follows the commit.

use super::graph::Stop;
use crate::lifetime::weak::{self, NewNode};
use crate::object::ffi;
use crate::object::header::{self, Object, Type};

/// What one search has found.
#[derive(Default)]
pub struct WeakReferences {
    /// Weak references that were entered, and, for each, a reference to its referent that is ours.
    strong: Vec<(Object, Object)>,
    /// Those of them that CPython gives to all who want one to a class, the bases of the class among them, and for each
    /// the class and another for the bases, which must not keep it alive. That is ours.
    common: Vec<(Object, Type, Object)>,
    /// Objects that were entered while referenced weakly.
    referenced: Vec<(Object, NewNode)>,
}

impl WeakReferences {
    /// Takes the reference that a weak reference will own once it is frozen.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// `op` is a live weak reference or proxy of the running interpreter.
    pub unsafe fn enter_reference(&mut self, op: Object) -> Result<(), Stop> {
        self.strong.try_reserve(1)?;
        // SAFETY: the referent is promoted as CPython does it.
        unsafe {
            let mut referent = std::ptr::null_mut();
            if ffi::PyWeakref_GetRef(op, &raw mut referent) > 0 {
                self.strong.push((op, referent));
                if header::has_feature(header::type_of(referent), ffi::Py_TPFLAGS_TYPE_SUBCLASS)
                    && (*op.cast::<ffi::PyWeakReference>()).wr_callback.is_null()
                {
                    self.common.try_reserve(1)?;
                    self.common.push((op, referent.cast(), weak::own_reference(referent)?));
                }
            } else if (*op.cast::<ffi::PyWeakReference>()).wr_object != &raw mut ffi::_Py_NoneStruct {
                // The referent is being deallocated, but its end is not yet known here.
                ffi::_PyWeakref_ClearRef(op.cast());
            }
        }
        Ok(())
    }

    /// Gets ready to move the weak references to `op`, if there are any.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// `op` is live and not frozen; its interpreter's GIL is held.
    #[inline]
    pub unsafe fn enter_referenced(&mut self, op: Object) -> Result<(), Stop> {
        // SAFETY: the caller's.
        unsafe {
            if weak::is_referenced(op) {
                self.referenced.try_reserve(1)?;
                self.referenced.push((op, weak::prepare_attach().ok_or(Stop::OutOfMemory)?));
            }
        }
        Ok(())
    }

    /// After the commit.
    ///
    /// # Safety
    /// What was entered is frozen, and nobody else has seen it yet.
    pub unsafe fn finish(&mut self) {
        // SAFETY: the caller's. The references are owned by the weak references from now on, as the plan counted.
        unsafe {
            for (weak, _) in self.strong.drain(..) {
                weak::strengthen(weak);
            }
            for (op, node) in self.referenced.drain(..) {
                weak::attach(op, node);
            }
        }
    }

    /// After the classes have settled, their tables of subclasses among them: gives the bases weak references of their own.
    ///
    /// # Safety
    /// As [`WeakReferences::finish`].
    pub unsafe fn finish_classes(&mut self) {
        // SAFETY: the caller's.
        unsafe {
            for (weak, class, own) in self.common.drain(..) {
                ffi::imm_change_subclass(class, weak, own);
                ffi::Py_DecRef(own);
            }
        }
    }

    /// After a rollback: gives up the references.
    ///
    /// # Safety
    /// The caller holds the GIL. Python code may run.
    pub unsafe fn give_up(self) {
        for (_, node) in self.referenced {
            node.discard();
        }
        // SAFETY: ours.
        unsafe {
            self.common.into_iter().for_each(|(_, _, own)| ffi::Py_DecRef(own));
            self.strong.into_iter().for_each(|(_, referent)| ffi::Py_DecRef(referent));
        }
    }
}
