//! What lets several interpreters use one frozen object: each interpreter's
//! own state beside it.

pub mod interpreter;
pub mod local;
pub mod view;
