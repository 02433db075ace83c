//! The frozen branches of `Py_INCREF` and `Py_DECREF` on x86-64: what they do most often in fewer instructions, and the
//! rest through the functions that serve other machines, `_PyImmutable_IncRef` and `dec_ref`.
//!
//! `Py_INCREF` is inline, mostly in functions that call nothing else. A call in its frozen branch would make each of
//! them keep a frame and save registers, for mutable objects too: half as many instructions again for the next item of
//! a list. So `immutability.h` writes that branch as assembly, which names what it changes: the flags, vector
//! registers, and memory. All else is kept here. `Py_DECREF` has a call anyway, to the deallocator.

use std::arch::naked_asm;

use crate::lifetime::count;
use crate::lifetime::references::SHARED;
use crate::object::header;

/// What `rsp` is lowered by to keep nine registers, and stay aligned.
const ROOM: usize = 80;

/// `_PyImmutable_IncRefUnseen`: the frozen branch of `Py_INCREF` on x86-64.
///
/// Takes the object in `rax`, which still has it afterwards, on a stack of any alignment.
///
/// # Safety
/// The object has a frozen count and is alive.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _PyImmutable_IncRefUnseen() {
    naked_asm!(
        // What `references::take` does for an object that is a trivial component. That the count is looked at before it
        // is raised changes nothing: the headroom covers what other threads add meanwhile.
        "test byte ptr [rax + {upper_flags}], {member}",
        "jnz 20f",
        "cmp dword ptr [rax], {saturation}",
        "jae 20f",
        "cmp byte ptr [rip + {shared}], 0",
        "je 10f",
        "lock inc dword ptr [rax]",
        "ret",
        "10:",
        "inc dword ptr [rax]",
        "ret",
        // Anything else, with all registers kept that an ordinary call may change.
        "20:",
        "push rbp",
        "mov rbp, rsp",
        "and rsp, -16",
        "sub rsp, {room}",
        "mov [rsp], rax",
        "mov [rsp + 8], rcx",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rsi",
        "mov [rsp + 32], rdi",
        "mov [rsp + 40], r8",
        "mov [rsp + 48], r9",
        "mov [rsp + 56], r10",
        "mov [rsp + 64], r11",
        "mov rdi, rax",
        "call {take}",
        "mov rax, [rsp]",
        "mov rcx, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rsi, [rsp + 24]",
        "mov rdi, [rsp + 32]",
        "mov r8, [rsp + 40]",
        "mov r9, [rsp + 48]",
        "mov r10, [rsp + 56]",
        "mov r11, [rsp + 64]",
        "leave",
        "ret",
        upper_flags = const header::UPPER_FLAGS,
        member = const header::MEMBER >> 8,
        saturation = const count::SATURATION,
        shared = sym SHARED,
        room = const ROOM,
        take = sym super::_PyImmutable_IncRef,
    )
}

/// `_PyImmutable_DecRef`: the frozen branch of `Py_DECREF`.
///
/// # Safety
/// As [`super::dec_ref`].
#[cfg(not(py_ref_debug))]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn _PyImmutable_DecRef(op: header::Object) {
    naked_asm!(
        // What `references::give_up` does for a trivial component that has other references, while counting is plain.
        // An immortal object's word is below those of frozen ones.
        "test byte ptr [rdi + {upper_flags}], {member}",
        "jnz 20f",
        "cmp byte ptr [rip + {shared}], 0",
        "jne 20f",
        "cmp dword ptr [rdi], {last}",
        "jbe 20f",
        "dec dword ptr [rdi]",
        "ret",
        "20:",
        "jmp {give_up}",
        upper_flags = const header::UPPER_FLAGS,
        member = const header::MEMBER >> 8,
        shared = sym SHARED,
        last = const count::FROZEN + 1,
        give_up = sym super::dec_ref,
    )
}
