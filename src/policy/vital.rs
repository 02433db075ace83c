//! What the interpreter itself, or a module that the whole program uses, goes on writing: `sys.path`, the callbacks of `gc`,
//! the tables of `copyreg`.
//!
//! Such an object is an ordinary list or dict, which only its place tells. So before a search its places are looked at,
//! and what they hold refuses: it gets the flag `header::OWN_POLICY`, for which every search looks anyway. That is done
//! again when another module was imported, or `sys.path` is another one than before: most freezes pay for a few comparisons.

use std::ffi::CStr;
use std::ptr;

use crate::object::header::{self, FROZEN, Object, PROXY};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};
use crate::share::interpreter::{self, Interpreter};

/// Where such an object is.
struct Place {
    module: &'static CStr,
    /// The attributes that lead there.
    attributes: &'static [&'static CStr],
    advice: &'static str,
}

macro_rules! places {
    ($($module:ident: $($first:ident $(. $more:ident)*),*;)*) => {
        &[$($(Place {
            module: c_name!($module),
            attributes: &[c_name!($first) $(, c_name!($more))*],
            advice: concat!(
                stringify!($module), ".", stringify!($first) $(, ".", stringify!($more))*,
                " belongs to the interpreter: name the module (`import ", stringify!($module),
                "`) and look it up there where it is used, or freeze a copy"
            ),
        }),*),*]
    };
}

macro_rules! c_name {
    ($name:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => unreachable!(),
        }
    };
}

const PLACES: &[Place] = places! {
    sys: path, meta_path, path_hooks, path_importer_cache, lazy_modules, warnoptions;
    gc: callbacks, garbage;
    warnings: filters, onceregistry;
    _warnings: filters, _onceregistry;
    copyreg: dispatch_table, _extension_registry, _inverted_registry, _extension_cache;
    logging: root.handlers, root.filters, root.manager.loggerDict, _handlers, _handlerList, _levelToName, _nameToLevel;
    linecache: cache;
    encodings: _cache;
    re: _cache, _cache2;
};

/// What one interpreter has marked.
pub struct Vital {
    /// The length of `sys.modules` then.
    modules: isize,
    /// Where `sys.path` is: a key table of the namespace of `sys`, and a place in it; both are only compared and read as
    /// long as the namespace has that table.
    keys: *mut ffi::PyDictKeysObject,
    place: *mut Object,
    /// `sys.path` then, borrowed.
    path: Object,
    /// The objects, owned, so that they keep their flag, with what to do instead.
    marked: Vec<(Object, &'static str)>,
}

impl Default for Vital {
    fn default() -> Self {
        Vital { modules: -1, keys: ptr::null_mut(), place: ptr::null_mut(), path: ptr::null_mut(), marked: Vec::new() }
    }
}

impl Vital {
    /// Why `op`, which has the flag, refuses, if so.
    pub fn advice(&self, op: Object) -> Option<&'static str> {
        self.marked.iter().find(|(marked, _)| *marked == op).map(|(_, advice)| *advice)
    }

    /// Whether nothing was imported since the last time, and `sys.path` is the same.
    #[inline]
    unsafe fn is_up_to_date(&self) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let sys = ffi::imm_sys_dict().cast::<ffi::PyDictObject>();
            self.modules == number_of_modules()
                && !sys.is_null()
                && (*sys).ma_keys == self.keys
                && (self.place.is_null() || *self.place == self.path)
        }
    }

    /// Notes what [`Vital::is_up_to_date`] compares.
    unsafe fn note_date(&mut self) -> Result<(), Raised> {
        // SAFETY: the caller's. The namespace of sys is an exact dict.
        unsafe {
            let name = raise::unless_null(ffi::PyUnicode_InternFromString(c"path".as_ptr()))?;
            let sys = ffi::imm_sys_dict().cast::<ffi::PyDictObject>();
            self.modules = number_of_modules();
            self.place = if sys.is_null() { ptr::null_mut() } else { ffi::imm_value_place(sys, name) };
            self.keys = if sys.is_null() { ptr::null_mut() } else { (*sys).ma_keys };
            self.path = if self.place.is_null() { ptr::null_mut() } else { *self.place };
            ffi::Py_DecRef(name);
            Ok(())
        }
    }

    /// Drops everything. True if anything was marked.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL. Python code may run.
    pub unsafe fn clear(&mut self) -> bool {
        let marked = std::mem::take(&mut self.marked);
        let had_some = !marked.is_empty();
        // SAFETY: the caller's.
        marked.into_iter().for_each(|(op, _)| unsafe { ffi::Py_DecRef(op) });
        had_some
    }
}

/// `sys.modules`, borrowed, if it is an exact dict, as CPython makes it.
#[inline]
unsafe fn modules() -> Option<Object> {
    // SAFETY: a GIL is held.
    unsafe {
        let modules = ffi::imm_modules();
        (!modules.is_null() && header::type_of(modules) == &raw mut ffi::PyDict_Type).then_some(modules)
    }
}

/// The number of modules that were imported; -1 if `sys.modules` is none of ours.
#[inline]
unsafe fn number_of_modules() -> isize {
    // SAFETY: a GIL is held.
    unsafe { modules().map_or(-1, |modules| (*modules.cast::<ffi::PyDictObject>()).ma_used) }
}

/// The state of the running interpreter, for a search, in which everything is marked that must not be frozen; marked
/// now, if that may be something else than before.
///
/// # Errors
/// MemoryError is set.
///
/// # Safety
/// As [`interpreter::current`]; no search is under way. Python code may run: attributes of modules are looked up.
#[inline]
pub unsafe fn marked<'a>() -> Result<&'a mut Interpreter, Raised> {
    // SAFETY: the caller's.
    unsafe {
        let state = interpreter::current().ok_or(Raised)?;
        if state.registry.vital.is_up_to_date() {
            return Ok(state);
        }
        mark()?;
        interpreter::current().ok_or(Raised)
    }
}

#[cold]
unsafe fn mark() -> Result<(), Raised> {
    // SAFETY: as `marked`. The state is looked up again after each call that may run Python code.
    unsafe {
        let mut found = Vec::new();
        let reserved = found.try_reserve_exact(PLACES.len()).map_err(|error| raise::no_memory(error.into()));
        let outcome = reserved.and_then(|()| {
            PLACES.iter().try_for_each(|place| {
                let op = place.find()?;
                // What the program put there may be shared, or frozen.
                if op.is_null() || !can_be_marked(op) {
                    ffi::Py_DecRef(op);
                } else {
                    found.push((op, place.advice));
                }
                Ok(())
            })
        });
        let state = interpreter::current().ok_or(Raised);
        let (Ok(state), Ok(())) = (state, &outcome) else {
            found.into_iter().for_each(|(op, _)| ffi::Py_DecRef(op));
            return outcome.and(Err(Raised));
        };
        let registry = &mut state.registry;
        let before = std::mem::take(&mut registry.vital);
        registry.vital.marked = found;
        let noted = registry.vital.note_date();
        before.marked.iter().for_each(|(op, _)| registry.take_flag(*op));
        for place in 0..registry.vital.marked.len() {
            registry.give_flag(registry.vital.marked[place].0);
        }
        before.marked.into_iter().for_each(|(op, _)| ffi::Py_DecRef(op));
        noted
    }
}

unsafe fn can_be_marked(op: Object) -> bool {
    // SAFETY: op is alive.
    unsafe { header::flags(op) & (FROZEN | PROXY) == 0 && !header::is_immortal_or_shared(op) }
}

impl Place {
    /// What is there now, a new reference; null for nothing.
    unsafe fn find(&self) -> Result<Object, Raised> {
        // SAFETY: as `marked`. Only modules that were imported are looked at.
        unsafe {
            let mut found = ptr::null_mut();
            let Some(modules) = modules() else { return Ok(found) };
            raise::unless_negative(ffi::PyDict_GetItemStringRef(modules, self.module.as_ptr(), &raw mut found))?;
            for attribute in self.attributes {
                if found.is_null() {
                    break;
                }
                let owner = found;
                found = attribute::get(owner, attribute);
                ffi::Py_DecRef(owner);
            }
            if found.is_null() {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_MemoryError) != 0 {
                    return Err(Raised);
                }
                ffi::PyErr_Clear();
            }
            Ok(found)
        }
    }
}
