//! CPython's own layouts and functions, as bindgen reads them from the patched
//! headers. No policy here.
#![allow(
    non_upper_case_globals,
    non_camel_case_types,
    non_snake_case,
    dead_code,
    unsafe_op_in_unsafe_fn,
    unnecessary_transmutes,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    missing_docs
)]

include!(concat!(env!("OUT_DIR"), "/cpython.rs"));
