//! `gauge`: three classes that opt in to deep immutability, each in another way.
//!
//! - `Gauge` changes: every write asks the barrier, and then it is registered;
//! - `Span` never changes once it is made: a shallow immutable;
//! - `Shell` owns a reference that the collector does not know: reachability.
//!
//! All are `#[pyclass(frozen)]`, which is Rust's word for "only behind `&self`": such a class has no borrow flag, which would
//! be a write with every access, and several interpreters may use one object at once.

mod immutability;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::ffi::{PyObject, visitproc};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// A label and a level that changes.
#[pyclass(frozen)]
struct Gauge {
    label: Py<PyAny>,
    level: AtomicI64,
}

#[pymethods]
impl Gauge {
    #[new]
    fn new(label: Py<PyAny>) -> Self {
        Gauge { label, level: AtomicI64::new(0) }
    }

    /// Adds an amount to the level.
    fn add(slf: &Bound<'_, Self>, amount: i64) -> PyResult<()> {
        immutability::require_write(slf)?;
        slf.get().level.fetch_add(amount, Ordering::Relaxed);
        Ok(())
    }

    #[getter]
    fn level(&self) -> i64 {
        self.level.load(Ordering::Relaxed)
    }

    #[getter]
    fn label(&self, py: Python<'_>) -> Py<PyAny> {
        self.label.clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.label)
    }
}

/// Two objects, for ever.
#[pyclass(frozen)]
struct Span {
    start: Py<PyAny>,
    end: Py<PyAny>,
}

#[pymethods]
impl Span {
    #[new]
    fn new(start: Py<PyAny>, end: Py<PyAny>) -> Self {
        Span { start, end }
    }

    #[getter]
    fn start(&self, py: Python<'_>) -> Py<PyAny> {
        self.start.clone_ref(py)
    }

    #[getter]
    fn end(&self, py: Python<'_>) -> Py<PyAny> {
        self.end.clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.start)?;
        visit.call(&self.end)
    }
}

/// Holds one object, outside the collector's view: the class has no `__traverse__`.
#[pyclass(frozen)]
struct Shell {
    content: Py<PyAny>,
}

#[pymethods]
impl Shell {
    #[new]
    fn new(content: Py<PyAny>) -> Self {
        Shell { content }
    }

    #[getter]
    fn content(&self, py: Python<'_>) -> Py<PyAny> {
        self.content.clone_ref(py)
    }
}

/// Reports the content of a `Shell`.
unsafe extern "C" fn shell_reachable(object: *mut PyObject, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called with a live Shell, or an instance of a subclass, and under a GIL. Nothing is counted.
    unsafe {
        let shell = Borrowed::from_ptr(Python::assume_attached(), object);
        visit(shell.cast_unchecked::<Shell>().get().content.as_ptr(), arg)
    }
}

#[pymodule]
fn gauge(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Gauge>()?;
    module.add_class::<Span>()?;
    module.add_class::<Shell>()?;

    let py = module.py();
    immutability::register_freezable(&py.get_type::<Gauge>())?;
    immutability::register_shallow_immutable(&py.get_type::<Span>())?;
    // A span is immutable when all that it refers to is, and so must its class be.
    immutability::freeze(&py.get_type::<Span>())?;
    // SAFETY: the content of a shell never changes, and the class has no `__traverse__`.
    unsafe { immutability::register_reachable(&py.get_type::<Shell>(), shell_reachable)? };
    immutability::register_freezable(&py.get_type::<Shell>())
}
