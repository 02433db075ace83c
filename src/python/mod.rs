//! The `_immutable` module, which the package `immutable` re-exports.
//!
//! Created through pyo3's ffi with multi-phase initialisation, one module per
//! interpreter; what outlives a call lives in the interpreter's state
//! (`share::interpreter`), never in a static.

mod channel;
mod extension;
mod freezability;
mod interpreter_local;
mod module;
mod modules;
mod shared_field;
pub(crate) mod static_type;
mod testing;

pub use module::PyInit__immutable;
