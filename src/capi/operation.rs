//! What the running Python code was about to do when a write was refused.
//!
//! Taken from the instruction that it is in, so that no barrier has to say. Looked at only to raise MutationError.

use std::ffi::CStr;

use crate::object::ffi;
use crate::object::header::{self, Object, Type};
use crate::object::memory::{OutOfMemory, try_format};

/// " (setting attribute 'x')" and the like, or nothing if that is not known.
///
/// # Errors
/// [`OutOfMemory`]; no exception is set.
///
/// # Safety
/// The caller holds a GIL, and no exception is set.
pub unsafe fn describe() -> Result<String, OutOfMemory> {
    let mut instruction =
        ffi::imm_instruction { opcode: 0, name: std::ptr::null_mut(), callable: std::ptr::null_mut() };
    // SAFETY: the caller's; the borrowed references are used while the code that holds them waits.
    unsafe {
        if ffi::imm_running_instruction(&raw mut instruction) == 0 {
            return Ok(String::new());
        }
        let name = text_of(instruction.name);
        let opcode = instruction.opcode;
        if opcode == ffi::imm_op_store_attr {
            try_format!(" (setting attribute '{name}')")
        } else if opcode == ffi::imm_op_delete_attr {
            try_format!(" (deleting attribute '{name}')")
        } else if opcode == ffi::imm_op_store_subscr {
            try_format!(" (setting an item)")
        } else if opcode == ffi::imm_op_delete_subscr {
            try_format!(" (deleting an item)")
        } else if opcode == ffi::imm_op_store_slice {
            try_format!(" (setting a slice)")
        } else if opcode == ffi::imm_op_store_global || opcode == ffi::imm_op_store_deref {
            try_format!(" (setting variable '{name}')")
        } else if opcode == ffi::imm_op_delete_global || opcode == ffi::imm_op_delete_deref {
            try_format!(" (deleting variable '{name}')")
        } else if opcode == ffi::imm_op_binary_op {
            try_format!(" (in an operator)")
        } else if let Some(name) = called(instruction.callable) {
            try_format!(" (calling {name}())")
        } else {
            Ok(String::new())
        }
    }
}

/// The name of a function made in C, or of a method of a builtin type.
unsafe fn called<'a>(callable: Object) -> Option<&'a str> {
    let methods: [Type; 2] = [&raw mut ffi::PyMethodDescr_Type, &raw mut ffi::PyWrapperDescr_Type];
    let functions: [Type; 2] = [&raw mut ffi::PyCFunction_Type, &raw mut ffi::PyCMethod_Type];
    if callable.is_null() {
        return None;
    }
    // SAFETY: a live object, whose type says which layout it has.
    unsafe {
        let ty = header::type_of(callable);
        if methods.contains(&ty) {
            Some(text_of((*callable.cast::<ffi::PyDescrObject>()).d_name))
        } else if functions.contains(&ty) {
            let name = (*(*callable.cast::<ffi::PyCFunctionObject>()).m_ml).ml_name;
            CStr::from_ptr(name).to_str().ok()
        } else {
            None
        }
    }
}

/// The text of a string that lives as long as it is used; "?" for none.
unsafe fn text_of<'a>(string: Object) -> &'a str {
    if string.is_null() {
        return "?";
    }
    // SAFETY: a live string keeps its UTF-8 form. Where there is no memory for it, or it has none, its name is not known.
    unsafe {
        let mut length = 0;
        let utf8 = ffi::PyUnicode_AsUTF8AndSize(string, &raw mut length);
        if utf8.is_null() {
            ffi::PyErr_Clear();
            return "?";
        }
        std::str::from_utf8(std::slice::from_raw_parts(utf8.cast(), length as usize)).unwrap_or("?")
    }
}
