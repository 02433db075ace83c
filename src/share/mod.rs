//! What lets several interpreters use one frozen object: each interpreter's
//! own state beside it, and what they pass objects through.
//!
//! [`channel`] and [`field`] hold messages and values of any kind, and know nothing of CPython.

#[cfg(feature = "cpython")]
pub mod c_type;
#[cfg(feature = "cpython")]
pub mod cfunction;
pub mod channel;
#[cfg(feature = "cpython")]
pub mod class;
#[cfg(feature = "cpython")]
pub mod code;
#[cfg(feature = "cpython")]
pub mod exception;
pub mod field;
#[cfg(feature = "cpython")]
pub mod interpreter;
pub mod line;
#[cfg(feature = "cpython")]
pub mod local;
#[cfg(feature = "cpython")]
pub mod module;
#[cfg(feature = "cpython")]
pub mod module_type;
#[cfg(feature = "cpython")]
pub mod part;
#[cfg(feature = "cpython")]
pub mod reference;
#[cfg(feature = "cpython")]
pub mod shared_module;
#[cfg(feature = "cpython")]
pub mod string;
#[cfg(feature = "cpython")]
pub mod transfer;
#[cfg(feature = "cpython")]
pub mod view;
