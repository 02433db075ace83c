//! What lets several interpreters use one frozen object: each interpreter's
//! own state beside it.

pub mod class;
pub mod code;
pub mod interpreter;
pub mod local;
pub mod string;
pub mod transfer;
pub mod view;
