//! Detaching: what a function refers to once it is frozen.
//!
//! Freezing a function must not freeze its module. The global names that its
//! code, and all code nested in it, can load are looked up now, and the values
//! found make a private namespace; cells are copied the same way. Both are made
//! aside: the function itself changes at commit, or not at all. Of a logger among them only the name is kept: see
//! `share::logger`.
//!
//! Builtins are those of whoever calls. A function that was given others
//! (`exec` with `__builtins__` in the namespace) keeps what it can reach of them,
//! and finds nothing else there.
//!
//! Annotations do not extend the reach, nor do the bounds and defaults of type parameters. A function that evaluates such
//! captures nothing but the name of its module, and, if the compiler made it, of its cells the contents that are frozen
//! anyway: the others stay with the interpreter that has frozen it ([`Views::keep_at_home`]). The annotations of code nested
//! in a function are left out of the search for names, and find them where it is linked. Nor does what a module of the
//! standard library writes while the program runs extend the reach: see `share::library`.
//!
//! [`Views::keep_at_home`]: crate::share::view::Views::keep_at_home

use std::mem::swap;
use std::ptr;

use super::graph::Stop;
use super::work::WordStack;
use crate::lifetime::weak;
use crate::object::address::AddressSet;
use crate::object::ffi;
use crate::object::header::{self, Object, VISITED};
use crate::object::raise::{self, Raised};
use crate::policy::{self, Refusal};
use crate::share::{interpreter, library, logger, monitor};

const ODD_BUILTINS: &str = "it runs with builtins of its own that are no plain dict: \
    make it with a dict for __builtins__, or with none";

const NO_CLASS_YET: &str = "its class is not made yet, which super() or __class__ in it needs: freeze the class";

/// What a function gets, and gives, at commit. All are owned, and may be null but for the namespace.
pub struct Detached {
    /// Takes the place of `func_globals`: a dict.
    pub namespace: Object,
    /// Takes the place of `func_closure`: a tuple of cells, or null.
    pub closure: Object,
    /// Takes the place of `func_code`: the frozen code object that it is a copy of, or itself.
    pub code: Object,
    /// Takes the place of `func_builtins`: a dict, or null for those of whoever calls.
    pub builtins: Object,
    /// What the function had, and has nothing instead of.
    annotations: Object,
    /// For a function some of whose cells are left empty here: a tuple of what they held, for
    /// [`Views::keep_at_home`](crate::share::view::Views::keep_at_home). Else null.
    pub at_home: Object,
}

impl Detached {
    /// Makes the parts for `function`. `named`, a tuple of strings or null, names more globals to capture; what is `inside`
    /// will be frozen whatever the cells of annotations hold.
    ///
    /// Runs no Python code: names are exact strings, tables are exact dicts.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// The caller holds the GIL of the function's interpreter.
    pub unsafe fn prepare(
        function: &ffi::PyFunctionObject,
        named: Object,
        inside: &AddressSet<Object>,
    ) -> Result<Self, Stop> {
        // SAFETY: a function's parts have the types that funcobject.c checks.
        unsafe {
            let namespace = raise::unless_null(ffi::PyDict_New())?;
            let null = ptr::null_mut();
            let mut detached =
                Detached { namespace, closure: null, code: null, builtins: null, annotations: null, at_home: null };
            match detached.fill(function, named, inside) {
                Ok(()) => Ok(detached),
                Err(stop) => {
                    detached.discard();
                    Err(stop)
                }
            }
        }
    }

    unsafe fn fill(
        &mut self,
        function: &ffi::PyFunctionObject,
        named: Object,
        inside: &AddressSet<Object>,
    ) -> Result<(), Stop> {
        // SAFETY: as `prepare`.
        unsafe {
            self.code = monitor::original(function.func_code);
            ffi::Py_IncRef(self.code);
            self.capture_module(function.func_globals)?;
            let is_evaluator = is_evaluator_code(function.func_code);
            if !is_evaluator {
                if function.func_builtins != ffi::imm_builtins_dict() {
                    self.begin_builtins(function.func_builtins)?;
                }
                let state = interpreter::current().ok_or(Raised)?;
                let library = state.libraries.of(function.func_globals, &state.names)?;
                let runs_in = library.map(|library| library.runs_in(function.func_code)).transpose()?;
                if runs_in != Some(true) {
                    self.capture_names(function, runs_in.is_some())?;
                }
            }
            if !named.is_null() {
                for i in 0..ffi::PyTuple_Size(named) {
                    self.capture(ffi::PyTuple_GetItem(named, i), function)?;
                }
            }
            if lacks_class(function)? {
                return Err(Stop::Refused(Refusal::Stateful(NO_CLASS_YET)));
            }
            let leaves = is_evaluator && !is_written_annotation_code(function.func_code);
            let keeps = |content| !leaves || is_settled(content) || inside.contains(&content);
            self.copy_cells(function.func_closure, keeps)?;
            if !self.at_home.is_null() {
                self.stand_in_for_class(function)?;
            }
            Ok(())
        }
    }

    /// Calls `visit` with what is in cells of `function` that were left empty here, and is going to be frozen after all.
    ///
    /// # Safety
    /// As [`Detached::prepare`], for the function that these parts are for, which are partial; the search has found
    /// everything.
    pub unsafe fn for_each_missed(&self, function: &ffi::PyFunctionObject, mut visit: impl FnMut(Object)) {
        // SAFETY: as `prepare`.
        unsafe {
            for i in 0..ffi::PyTuple_Size(self.closure) {
                let content = |closure| (*ffi::PyTuple_GetItem(closure, i).cast::<ffi::PyCellObject>()).ob_ref;
                let original = content(function.func_closure);
                if content(self.closure) != original && is_settled(original) {
                    visit(original);
                }
            }
        }
    }

    /// Gives the function these parts, and takes those that it had instead. Cannot fail.
    ///
    /// # Safety
    /// As [`Detached::prepare`], for the function that these parts are for, once.
    pub unsafe fn exchange(&mut self, function: &mut ffi::PyFunctionObject) {
        swap(&mut self.namespace, &mut function.func_globals);
        swap(&mut self.closure, &mut function.func_closure);
        swap(&mut self.code, &mut function.func_code);
        swap(&mut self.builtins, &mut function.func_builtins);
        if !function.func_annotate.is_null() {
            swap(&mut self.annotations, &mut function.func_annotations);
        }
    }

    /// Gives the parts back.
    ///
    /// # Safety
    /// The caller holds the GIL. Python code may run.
    pub unsafe fn discard(self) {
        for part in [self.namespace, self.closure, self.code, self.builtins, self.annotations, self.at_home] {
            // SAFETY: owned.
            unsafe { ffi::Py_DecRef(part) };
        }
    }

    /// The names that relative imports inside the function need.
    unsafe fn capture_module(&self, globals: Object) -> Result<(), Raised> {
        // SAFETY: as `prepare`.
        unsafe {
            copy_item(globals, ffi::imm_name_name, self.namespace)?;
            copy_item(globals, ffi::imm_name_package, self.namespace)?;
            Ok(())
        }
    }

    /// Has the function keep what it reaches of builtins of its own.
    unsafe fn begin_builtins(&mut self, own: Object) -> Result<(), Stop> {
        // SAFETY: as `prepare`.
        unsafe {
            if (*own).ob_type != &raw mut ffi::PyDict_Type {
                return Err(Stop::Refused(Refusal::Stateful(ODD_BUILTINS)));
            }
            self.builtins = raise::unless_null(ffi::PyDict_New())?;
            Ok(())
        }
    }

    unsafe fn capture(&self, name: Object, function: &ffi::PyFunctionObject) -> Result<(), Raised> {
        // SAFETY: as `prepare`.
        unsafe {
            if copy_item(function.func_globals, name, self.namespace)? {
                return Ok(());
            }
            self.capture_builtin(name, function)
        }
    }

    unsafe fn capture_builtin(&self, name: Object, function: &ffi::PyFunctionObject) -> Result<(), Raised> {
        if self.builtins.is_null() {
            return Ok(());
        }
        // SAFETY: as `prepare`; `begin_builtins` has seen that they are a dict.
        unsafe { copy_item(function.func_builtins, name, self.builtins).map(|_| ()) }
    }

    unsafe fn capture_names(&self, function: &ffi::PyFunctionObject, is_library: bool) -> Result<(), Raised> {
        // SAFETY: as `prepare`; the borrowed reference is used at once.
        unsafe {
            for_each_global(function.func_code, |name, how| match how {
                Use::Store => Ok(()),
                Use::Builtin => self.capture_builtin(name, function),
                // What is deleted is captured too, so that deleting it is a write to the namespace.
                Use::Load | Use::Delete => {
                    let value = ffi::PyDict_GetItemWithError(function.func_globals, name);
                    if is_library && !value.is_null() && !is_default(value, function) && library::is_state(value) {
                        return Ok(());
                    }
                    self.capture(name, function)
                }
            })
        }
    }

    /// The annotations of a method look names up in the namespace of its class first. Where that is not frozen with them,
    /// they find what is frozen of it; and nothing of it stays at home, since it leads back to the method.
    unsafe fn stand_in_for_class(&self, function: &ffi::PyFunctionObject) -> Result<(), Raised> {
        // SAFETY: as `prepare`. The cell, which is new and empty, takes over the dict.
        unsafe {
            let names = raise::unless_null(ffi::PyCode_GetFreevars(function.func_code.cast()))?;
            let outcome = (0..ffi::PyTuple_Size(names)).try_for_each(|i| {
                let cell = |closure| ffi::PyTuple_GetItem(closure, i).cast::<ffi::PyCellObject>();
                let (original, stand_in) = ((*cell(function.func_closure)).ob_ref, &mut (*cell(self.closure)).ob_ref);
                if original.is_null()
                    || !stand_in.is_null()
                    || (*original).ob_type != &raw mut ffi::PyDict_Type
                    || ffi::PyUnicode_EqualToUTF8(ffi::PyTuple_GetItem(names, i), c"__classdict__".as_ptr()) == 0
                {
                    return Ok(());
                }
                *stand_in = raise::unless_null(ffi::PyDict_New())?;
                let named = (*function.func_code.cast::<ffi::PyCodeObject>()).co_names;
                for i in 0..ffi::PyTuple_Size(named) {
                    let name = ffi::PyTuple_GetItem(named, i);
                    let value = ffi::PyDict_GetItemWithError(original, name);
                    if !value.is_null() && is_settled(value) {
                        raise::unless_negative(ffi::PyDict_SetItem(*stand_in, name, value))?;
                    }
                }
                raise::unless_negative(ffi::PyTuple_SetItem(self.at_home, i, ptr::null_mut()))
            });
            ffi::Py_DecRef(names);
            outcome
        }
    }

    /// Keeps what is in cell number `i` of `n`: a class weakly, since it often leads back to the function.
    unsafe fn leave_at_home(&mut self, content: Object, i: isize, n: isize) -> Result<(), Raised> {
        // SAFETY: as `prepare`; PyTuple_SetItem takes over the new reference.
        unsafe {
            if self.at_home.is_null() {
                self.at_home = raise::unless_null(ffi::PyTuple_New(n))?;
            }
            let held = if header::has_feature(header::type_of(content), ffi::Py_TPFLAGS_TYPE_SUBCLASS) {
                weak::own_reference(content)?
            } else {
                raise::unless_null(ffi::PyTuple_Pack(1, content))?
            };
            raise::unless_negative(ffi::PyTuple_SetItem(self.at_home, i, held))
        }
    }

    unsafe fn copy_cells(&mut self, closure: Object, keeps: impl Fn(Object) -> bool) -> Result<(), Raised> {
        if closure.is_null() {
            return Ok(());
        }
        // SAFETY: as `prepare`; PyTuple_SetItem takes over the new cell.
        unsafe {
            let n = ffi::PyTuple_Size(closure);
            self.closure = raise::unless_null(ffi::PyTuple_New(n))?;
            for i in 0..n {
                let original = ffi::PyTuple_GetItem(closure, i);
                let mut content = (*original.cast::<ffi::PyCellObject>()).ob_ref;
                if !content.is_null() && !keeps(content) {
                    self.leave_at_home(content, i, n)?;
                    content = ptr::null_mut();
                }
                let content = if content.is_null() { content } else { logger::capture(content)? };
                let cell = ffi::PyCell_New(content);
                ffi::Py_DecRef(content);
                raise::unless_negative(ffi::PyTuple_SetItem(self.closure, i, raise::unless_null(cell)?))?;
            }
            Ok(())
        }
    }
}

/// Whether a function has the value for a default, which it compares with the global then.
unsafe fn is_default(value: Object, function: &ffi::PyFunctionObject) -> bool {
    // SAFETY: as `Detached::prepare`; borrowed references.
    unsafe {
        let mut found = false;
        if !function.func_defaults.is_null() {
            found = (0..ffi::PyTuple_Size(function.func_defaults))
                .any(|i| ffi::PyTuple_GetItem(function.func_defaults, i) == value);
        }
        if !function.func_kwdefaults.is_null() {
            let (mut place, mut default) = (0, ptr::null_mut());
            while ffi::PyDict_Next(function.func_kwdefaults, &raw mut place, ptr::null_mut(), &raw mut default) != 0 {
                found |= default == value;
            }
        }
        found
    }
}

/// Whether a method of a class that is being made refers to it.
unsafe fn lacks_class(function: &ffi::PyFunctionObject) -> Result<bool, Raised> {
    // SAFETY: as `Detached::prepare`. There is a cell for each free variable.
    unsafe {
        let closure = function.func_closure;
        let is_empty = |i| (*ffi::PyTuple_GetItem(closure, i).cast::<ffi::PyCellObject>()).ob_ref.is_null();
        if closure.is_null() || !(0..ffi::PyTuple_Size(closure)).any(is_empty) {
            return Ok(false);
        }
        let names = raise::unless_null(ffi::PyCode_GetFreevars(function.func_code.cast()))?;
        let lacks = (0..ffi::PyTuple_Size(names)).any(|i| {
            is_empty(i) && ffi::PyUnicode_EqualToUTF8(ffi::PyTuple_GetItem(names, i), c"__class__".as_ptr()) != 0
        });
        ffi::Py_DecRef(names);
        Ok(lacks)
    }
}

/// Copies the item of that name, if there is one, as it is captured. Returns whether there is.
unsafe fn copy_item(from: Object, name: Object, to: Object) -> Result<bool, Raised> {
    // SAFETY: dicts and a string; the borrowed reference is used at once.
    unsafe {
        let value = ffi::PyDict_GetItemWithError(from, name);
        if value.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(false) } else { Err(Raised) };
        }
        let captured = logger::capture(value)?;
        let stored = ffi::PyDict_SetItem(to, name, captured);
        ffi::Py_DecRef(captured);
        raise::unless_negative(stored).map(|()| true)
    }
}

/// Whether a search that is under way has met an object, or need not.
unsafe fn is_settled(op: Object) -> bool {
    // SAFETY: the caller's: a live object.
    unsafe { header::is_immortal_or_shared(op) || header::flags(op) & VISITED != 0 }
}

/// True for the code of a function that evaluates annotations, or the bound, constraints or default of a type parameter,
/// or what a `type` statement names: all of them have a parameter of a name that no source can give to one.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn is_evaluator_code(code: Object) -> bool {
    // SAFETY: the caller's. The names of the parameters come first.
    unsafe {
        let fields = &*code.cast::<ffi::PyCodeObject>();
        is_annotation_code(code)
            || fields.co_argcount == 1
                && ffi::PyUnicode_EqualToUTF8(ffi::PyTuple_GetItem(fields.co_localsplusnames, 0), c".format".as_ptr())
                    != 0
    }
}

/// True for the code of an `__annotate__` function that a function of the source defines, such as that of a dataclass. It
/// needs what is in its cells; those that the compiler makes are inside what is annotated.
unsafe fn is_written_annotation_code(code: Object) -> bool {
    // SAFETY: as `is_annotation_code`.
    unsafe {
        let name = (*code.cast::<ffi::PyCodeObject>()).co_qualname;
        policy::text(name).is_some_and(|name| name.ends_with("<locals>.__annotate__"))
    }
}

/// True for the code of an `__annotate__` function.
///
/// # Safety
/// `code` is a code object.
pub unsafe fn is_annotation_code(code: Object) -> bool {
    // SAFETY: the caller's; a code object's name is a string.
    unsafe {
        let name = (*code.cast::<ffi::PyCodeObject>()).co_name;
        ffi::PyUnicode_EqualToUTF8(name, c"__annotate__".as_ptr()) != 0
    }
}

/// What an instruction loads, as far as modules go.
pub enum Load {
    /// A global of that name.
    Global(Object),
    /// The attribute of that name of what the instruction before has loaded.
    Attribute(Object),
    /// Something else, or nothing.
    Other,
}

/// Calls `visit` for each instruction of `code` and of the code nested in it.
///
/// # Errors
/// A Python exception is set, by `visit` or for want of memory.
///
/// # Safety
/// `code` is a code object that the caller keeps alive; a GIL is held.
pub unsafe fn for_each_load(code: Object, mut visit: impl FnMut(Load) -> Result<(), Raised>) -> Result<(), Raised> {
    // SAFETY: names are borrowed.
    unsafe {
        for_each_code(code, |code, annotates| {
            if annotates {
                return Ok(());
            }
            let name = |index| ffi::PyTuple_GetItem((*code).co_names, index);
            for_each_instruction(code, |opcode, argument| {
                if opcode == ffi::imm_op_cache {
                    return Ok(());
                }
                visit(if opcode == ffi::imm_op_load_global {
                    Load::Global(name(argument >> 1))
                } else if opcode == ffi::imm_op_load_attr {
                    Load::Attribute(name(argument >> 1))
                } else {
                    Load::Other
                })
            })
        })
    }
}

/// What code does with a global.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Looks it up, among the globals at last.
    Load,
    /// Sets it.
    Store,
    /// Deletes it.
    Delete,
    /// Looks it up among the builtins alone.
    Builtin,
}

impl Use {
    /// Whether the global is another one afterwards.
    pub fn rebinds(self) -> bool {
        matches!(self, Use::Store | Use::Delete)
    }
}

/// Calls `visit` for each use of a global that `code` itself, or code nested in it, may make; annotations apart.
///
/// # Errors
/// A Python exception is set, by `visit` or for want of memory.
///
/// # Safety
/// `code` is a code object that the caller keeps alive; a GIL is held.
pub unsafe fn for_each_global(
    code: Object,
    visit: impl FnMut(Object, Use) -> Result<(), Raised>,
) -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe { for_each_use(code, false, visit) }
}

/// Calls `visit` for each global that annotations of code nested in `code` may look up.
///
/// # Errors
/// As [`for_each_global`].
///
/// # Safety
/// As [`for_each_global`].
pub unsafe fn for_each_annotated(
    code: Object,
    mut visit: impl FnMut(Object) -> Result<(), Raised>,
) -> Result<(), Raised> {
    // SAFETY: the caller's.
    unsafe { for_each_use(code, true, |name, how| if how == Use::Load { visit(name) } else { Ok(()) }) }
}

unsafe fn for_each_use(
    code: Object,
    in_annotations: bool,
    mut visit: impl FnMut(Object, Use) -> Result<(), Raised>,
) -> Result<(), Raised> {
    // SAFETY: names are borrowed.
    unsafe {
        for_each_code(code, |code, annotates| {
            if annotates != in_annotations {
                return Ok(());
            }
            for_each_instruction(code, |opcode, argument| {
                let (how, index) = if opcode == ffi::imm_op_load_global {
                    (Use::Load, argument >> 1)
                } else if opcode == ffi::imm_op_load_name || opcode == ffi::imm_op_load_from_dict_or_globals {
                    (Use::Load, argument)
                } else if opcode == ffi::imm_op_store_global {
                    (Use::Store, argument)
                } else if opcode == ffi::imm_op_delete_global {
                    (Use::Delete, argument)
                } else if opcode == ffi::imm_op_import_name {
                    return visit(ffi::imm_name_import, Use::Builtin);
                } else if opcode == ffi::imm_op_load_build_class {
                    return visit(ffi::imm_name_build_class, Use::Builtin);
                } else {
                    return Ok(());
                };
                visit(ffi::PyTuple_GetItem((*code).co_names, index), how)
            })
        })
    }
}

/// Calls `visit` with `code` and all code nested in it, and whether that is of an annotation nested in `code`.
unsafe fn for_each_code(
    code: Object,
    mut visit: impl FnMut(*mut ffi::PyCodeObject, bool) -> Result<(), Raised>,
) -> Result<(), Raised> {
    const ANNOTATES: usize = 1;
    // SAFETY: the words are addresses of code objects that `code` keeps alive, and even.
    unsafe {
        let mut pending = WordStack::new();
        pending.push(code.expose_provenance()).map_err(|error| raise::no_memory(error))?;
        while let Some(word) = pending.pop() {
            let code: *mut ffi::PyCodeObject = ptr::with_exposed_provenance_mut(word & !ANNOTATES);
            visit(code, word & ANNOTATES != 0)?;
            let consts = (*code).co_consts;
            for i in 0..ffi::PyTuple_Size(consts) {
                let nested = ffi::PyTuple_GetItem(consts, i);
                if (*nested).ob_type == &raw mut ffi::PyCode_Type {
                    let annotates = if is_annotation_code(nested) { ANNOTATES } else { word & ANNOTATES };
                    let word = nested.expose_provenance() | annotates;
                    pending.push(word).map_err(|error| raise::no_memory(error))?;
                }
            }
        }
        Ok(())
    }
}

/// Calls `visit` with number and argument of each instruction as it was compiled.
unsafe fn for_each_instruction(
    code: *mut ffi::PyCodeObject,
    mut visit: impl FnMut(i32, isize) -> Result<(), Raised>,
) -> Result<(), Raised> {
    // SAFETY: the bytes are ours while we read them.
    unsafe {
        let bytes = raise::unless_null(ffi::imm_code_bytes(code.cast()))?;
        let units =
            std::slice::from_raw_parts(ffi::PyBytes_AsString(bytes).cast::<u8>(), ffi::PyBytes_Size(bytes) as usize);
        let mut argument = 0;
        let outcome = units.chunks_exact(2).try_for_each(|unit| {
            let opcode = i32::from(unit[0]);
            argument = argument << 8 | isize::from(unit[1]);
            if opcode == ffi::imm_op_extended_arg {
                return Ok(());
            }
            visit(opcode, std::mem::take(&mut argument))
        });
        ffi::Py_DecRef(bytes);
        outcome
    }
}
