//! Functions of C modules in several interpreters.
//!
//! Such a function passes its module (`m_self`) to C code, which finds the state of its interpreter there. When it is
//! frozen it gets a type of its own ([`frozen_type`]), since specialised bytecode calls exact
//! `builtin_function_or_method` objects without asking, and calls by way of [`vectorcall`] and [`call`]: in the
//! interpreter that it belongs to they go on as before, and in every other one they call a *counterpart*, an ordinary
//! function with the same definition and that interpreter's own module.
//!
//! Functions of `builtins` and `sys` stay as they are: those two modules keep no state of their own.

use std::collections::HashMap;
use std::ffi::{CStr, c_int};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{idle, interpreter, module};
use crate::object::header::{self, Object, PROXY, Type};
use crate::object::raise::{self, Raised};
use crate::object::{attribute, ffi};
use crate::policy;

/// The type of a frozen function of a C module.
pub fn frozen_type() -> Type {
    &raw mut _PyImmutable_CFunctionType
}

/// `_PyImmutable_CFunctionType`: known to specialised bytecode.
// SAFETY of the zeroed rest: null pointers, absent functions and numbers.
#[unsafe(no_mangle)]
pub static mut _PyImmutable_CFunctionType: ffi::PyTypeObject = ffi::PyTypeObject {
    tp_name: c"builtin_function_or_method".as_ptr(),
    tp_basicsize: size_of::<ffi::PyCFunctionObject>() as isize,
    tp_vectorcall_offset: offset_of!(ffi::PyCFunctionObject, vectorcall) as isize,
    tp_call: Some(call),
    tp_flags: (ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_IMMUTABLETYPE
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as std::ffi::c_ulong,
    // SAFETY: as above. The base is set when the type is made ready.
    ..unsafe { std::mem::zeroed() }
};

/// Sets what cannot be written into a static, before the type is made ready.
///
/// # Safety
/// A GIL is held; the first call returns before a second interpreter begins.
pub unsafe fn set_base() {
    // SAFETY: nobody reads the type yet.
    unsafe {
        if _PyImmutable_CFunctionType.tp_base.is_null() {
            _PyImmutable_CFunctionType.tp_base = &raw mut ffi::PyCFunction_Type;
        }
    }
}

struct Counterpart {
    /// The frozen function, owned, so that its address stays its own.
    frozen: Object,
    /// What is called here instead, owned.
    here: Object,
    /// Called since the last full collection.
    recent: bool,
}

/// The counterparts that one interpreter has made, by address of the frozen function.
#[derive(Default)]
pub struct Counterparts {
    functions: HashMap<Object, Counterpart>,
}

impl Counterparts {
    fn find(&mut self, function: Object) -> Option<Object> {
        let counterpart = self.functions.get_mut(&function)?;
        counterpart.recent = true;
        Some(counterpart.here)
    }

    /// Drops every counterpart that was not asked for since the last time.
    ///
    /// # Safety
    /// The caller holds the interpreter's GIL; `self` may have changed on return.
    pub unsafe fn drop_idle(&mut self) {
        let is_idle = |_: &_, counterpart: &mut Counterpart| !std::mem::take(&mut counterpart.recent);
        // SAFETY: owned by the entry, which is gone from the table.
        idle::take_idle(&mut self.functions, is_idle)
            .into_iter()
            .for_each(|counterpart| unsafe { release(counterpart) });
    }

    /// Drops every counterpart. True if there was one.
    ///
    /// # Safety
    /// As [`Counterparts::drop_idle`].
    pub unsafe fn clear(&mut self) -> bool {
        // SAFETY: as there.
        idle::release_all(&mut self.functions, |_, counterpart| unsafe { release(counterpart) })
    }
}

unsafe fn release(counterpart: Counterpart) {
    // SAFETY: the caller's.
    unsafe {
        ffi::Py_DecRef(counterpart.here);
        ffi::Py_DecRef(counterpart.frozen);
    }
}

/// True if `op` is a function that needs the module of the interpreter that calls it.
///
/// # Safety
/// `op` is a live object of the running interpreter.
pub unsafe fn needs_own_module(op: Object) -> bool {
    // SAFETY: the caller's.
    unsafe {
        if header::type_of(op) != &raw mut ffi::PyCFunction_Type {
            return false;
        }
        let module = (*op.cast::<ffi::PyCFunctionObject>()).m_self;
        if module.is_null() || !module::is_module(module) || header::flags(module) & PROXY == 0 {
            return false;
        }
        let namespace = (*module.cast::<ffi::PyModuleObject>()).md_dict;
        namespace != ffi::imm_builtins_dict() && namespace != ffi::imm_sys_dict()
    }
}

/// How a function of C is called: one word of `vectorcall` for each (`PyCMethod_New` in methodobject.c).
static VECTORCALL_OF: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

fn convention(flags: c_int) -> Option<&'static AtomicUsize> {
    const FASTCALL: u32 = ffi::METH_FASTCALL;
    const FASTCALL_KEYWORDS: u32 = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    const MASK: u32 =
        ffi::METH_VARARGS | ffi::METH_FASTCALL | ffi::METH_NOARGS | ffi::METH_O | ffi::METH_KEYWORDS | ffi::METH_METHOD;
    match flags as u32 & MASK {
        FASTCALL => Some(&VECTORCALL_OF[0]),
        FASTCALL_KEYWORDS => Some(&VECTORCALL_OF[1]),
        ffi::METH_NOARGS => Some(&VECTORCALL_OF[2]),
        ffi::METH_O => Some(&VECTORCALL_OF[3]),
        _ => None, // called through tp_call
    }
}

unsafe fn ordinary_vectorcall(function: &ffi::PyCFunctionObject) -> ffi::vectorcallfunc {
    // SAFETY: a function points to its definition for life. Relaxed: the word is the same for the whole process, and
    // was stored before this function was frozen, which happens before anybody else sees it frozen.
    unsafe {
        match convention((*function.m_ml).ml_flags).map(|word| word.load(Ordering::Relaxed)) {
            Some(address) if address != 0 => std::mem::transmute::<usize, ffi::vectorcallfunc>(address),
            _ => None,
        }
    }
}

/// Gives a function that was just frozen its type. Cannot fail.
///
/// # Safety
/// [`needs_own_module`] is true for `op`, which is frozen and not yet seen by anybody else.
pub unsafe fn settle(op: Object, owner_mark: u16) {
    // SAFETY: the caller's.
    unsafe {
        let function = &mut *op.cast::<ffi::PyCFunctionObject>();
        if let (Some(word), Some(ordinary)) = (convention((*function.m_ml).ml_flags), function.vectorcall) {
            word.store(ordinary as usize, Ordering::Relaxed);
            function.vectorcall = Some(vectorcall);
        }
        header::set_owner(op, owner_mark);
        (*op).ob_type = frozen_type();
    }
}

/// Makes a frozen function an ordinary one again.
///
/// # Safety
/// `op` is of the frozen type, and nobody else sees it.
pub unsafe fn unsettle(op: Object) {
    // SAFETY: the caller's.
    unsafe {
        let function = &mut *op.cast::<ffi::PyCFunctionObject>();
        function.vectorcall = ordinary_vectorcall(function);
        header::set_owner(op, 0);
        (*op).ob_type = &raw mut ffi::PyCFunction_Type;
    }
}

unsafe fn belongs_here(op: Object) -> bool {
    // SAFETY: a frozen function of a module, which was marked with it.
    unsafe {
        match header::owner(op) {
            0 => !module::is_foreign((*op.cast::<ffi::PyCFunctionObject>()).m_self),
            owner => owner == module::owner_mark(),
        }
    }
}

unsafe extern "C" fn vectorcall(op: Object, args: *const Object, nargsf: usize, kwnames: Object) -> Object {
    // SAFETY: CPython's contract for `vectorcallfunc`; our own reference keeps the counterpart during the call.
    unsafe {
        if belongs_here(op)
            && let Some(ordinary) = ordinary_vectorcall(&*op.cast())
        {
            return ordinary(op, args, nargsf, kwnames);
        }
        let Ok(here) = counterpart(op) else { return ptr::null_mut() };
        let result = ffi::PyObject_Vectorcall(here, args, nargsf, kwnames);
        ffi::Py_DecRef(here);
        result
    }
}

unsafe extern "C" fn call(op: Object, args: Object, kwargs: Object) -> Object {
    // SAFETY: tp_call; as above.
    unsafe {
        if belongs_here(op)
            && let Some(ordinary) = ffi::PyCFunction_Type.tp_call
        {
            return ordinary(op, args, kwargs);
        }
        let Ok(here) = counterpart(op) else { return ptr::null_mut() };
        let result = ffi::PyObject_Call(here, args, kwargs);
        ffi::Py_DecRef(here);
        result
    }
}

/// A new reference to what stands for a frozen function here: itself where it belongs, else its counterpart.
///
/// # Errors
/// A Python exception is set: there is no such module here.
///
/// # Safety
/// `op` is of the frozen type; a GIL is held. Python code may run (imports).
pub unsafe fn own(op: Object) -> Result<Object, Raised> {
    // SAFETY: the caller's.
    unsafe {
        if belongs_here(op) {
            ffi::Py_IncRef(op);
            return Ok(op);
        }
        counterpart(op)
    }
}

unsafe fn counterpart(op: Object) -> Result<Object, Raised> {
    // SAFETY: as `own`. The state is looked up again after Python code may have run.
    unsafe {
        if let Some(here) = interpreter::current().ok_or(Raised)?.counterparts.find(op) {
            ffi::Py_IncRef(here);
            return Ok(here);
        }
        let here = make_counterpart(&*op.cast::<ffi::PyCFunctionObject>())?;
        let Some(state) = interpreter::current() else {
            ffi::Py_DecRef(here);
            return Err(Raised);
        };
        if let Err(error) = state.counterparts.functions.try_reserve(1) {
            ffi::Py_DecRef(here);
            return Err(raise::no_memory(error.into()));
        }
        ffi::Py_IncRef(op);
        ffi::Py_IncRef(here);
        let entry = Counterpart { frozen: op, here, recent: true };
        if let Some(before) = state.counterparts.functions.insert(op, entry) {
            release(before);
        }
        Ok(here)
    }
}

unsafe fn make_counterpart(function: &ffi::PyCFunctionObject) -> Result<Object, Raised> {
    // SAFETY: the token of a module does not change once it was made.
    unsafe {
        let module = module::own(function.m_self)?;
        if let Err(raised) = import_python_half(module) {
            ffi::Py_DecRef(module);
            return Err(raised);
        }
        let token = (*function.m_self.cast::<ffi::PyModuleObject>()).md_token;
        // Only a module of the same definition has the state that this C code expects.
        let same =
            !token.is_null() && module::is_module(module) && (*module.cast::<ffi::PyModuleObject>()).md_token == token;
        let made = if same {
            ffi::PyCMethod_New(function.m_ml, module, function.m_module, ptr::null_mut())
        } else {
            attribute::get(module, CStr::from_ptr((*function.m_ml).ml_name))
        };
        ffi::Py_DecRef(module);
        raise::unless_null(made)
    }
}

/// Imports the module of the standard library that a C module is a part of, as `csv` of `_csv`: its import sets up what
/// the functions go by, such as dialects and adapters.
unsafe fn import_python_half(module: Object) -> Result<(), Raised> {
    const UNDERSCORE: u32 = '_' as u32;
    // SAFETY: as `own`. PyModule_GetNameObject gives a string, or fails.
    unsafe {
        let name = ffi::PyModule_GetNameObject(module);
        if name.is_null() || ffi::PyUnicode_GetLength(name) < 2 || ffi::PyUnicode_ReadChar(name, 0) != UNDERSCORE {
            ffi::PyErr_Clear();
            ffi::Py_DecRef(name);
            return Ok(());
        }
        let whole = ffi::PyUnicode_Substring(name, 1, isize::MAX);
        ffi::Py_DecRef(name);
        let whole = raise::unless_null(whole)?;
        let names = interpreter::current().map(|state| state.names).ok_or(Raised);
        let outcome = names.and_then(|names| policy::is_of_standard_library(whole, &names)).and_then(|is_library| {
            if is_library {
                ffi::Py_DecRef(raise::unless_null(ffi::PyImport_Import(whole))?);
            }
            Ok(())
        });
        ffi::Py_DecRef(whole);
        outcome
    }
}
