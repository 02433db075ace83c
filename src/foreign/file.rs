//! How the code of an extension module counts references, as its file tells.
//!
//! Two things speak for a module: the note that `immutability.h` leaves in whatever is compiled with it, and, for a module
//! of the stable ABI, that it takes and gives up references by calling the interpreter. A module of the stable ABI may be
//! built for an old version of it, whose headers count inline; then it calls the deallocation function by
//! itself, and its list of undefined symbols shows that.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{ptr, slice};

use object::elf::PT_NOTE;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol};

/// The note in `immutability.h`: its name and its type, the version of the encoding.
const NOTE_NAME: &[u8] = b"Immutable";
const NOTE_TYPE: u32 = 1;

/// What the stable ABI has to take a reference and to give one up.
const COUNTING_CALLS: [&[u8]; 4] = [b"Py_IncRef", b"Py_DecRef", b"_Py_IncRef", b"_Py_DecRef"];
/// What only code calls that has found a count to be zero by itself.
const DEALLOCATION: &[u8] = b"_Py_Dealloc";

/// Why the references that a module takes to frozen objects are not counted, or `None` if they are.
///
/// A file that cannot be read, or makes no sense, is assumed not to count.
pub fn reason_not_to_count(path: &Path) -> Option<&'static str> {
    let Ok(file) = File::open(path) else {
        return Some("its file cannot be read");
    };
    let Some(mapping) = Mapping::of(&file) else {
        return Some("its file cannot be read");
    };
    let Ok(elf) = ElfFile64::<LittleEndian>::parse(mapping.bytes()) else {
        return Some("its file is no 64-bit ELF file");
    };
    if has_note(&elf) {
        return None;
    }
    if !is_named_stable(path) {
        return Some("it was not compiled with the headers of this interpreter");
    }
    let undefined = |names: &[&[u8]]| {
        elf.dynamic_symbols()
            .any(|symbol| symbol.is_undefined() && symbol.name_bytes().is_ok_and(|name| names.contains(&name)))
    };
    if undefined(&[DEALLOCATION]) {
        Some("it was built for a version of the stable ABI that counts references inline")
    } else if undefined(&COUNTING_CALLS) {
        None
    } else {
        Some("it is of the stable ABI, but calls none of the functions that count references")
    }
}

fn has_note(elf: &ElfFile64<'_, LittleEndian>) -> bool {
    elf.elf_program_headers().iter().filter(|header| header.p_type.get(LittleEndian) == PT_NOTE).any(|header| {
        let notes = ProgramHeader::notes(header, LittleEndian, elf.data());
        let Ok(Some(mut notes)) = notes else { return false };
        std::iter::from_fn(|| notes.next().ok().flatten())
            .any(|note| note.name() == NOTE_NAME && note.n_type(LittleEndian) == NOTE_TYPE)
    })
}

/// The contents of a file, in memory for reading: an import must not need memory of the core's, which can run out.
struct Mapping {
    address: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    fn of(file: &File) -> Option<Self> {
        let length = usize::try_from(file.metadata().ok()?.len()).ok().filter(|length| *length > 0)?;
        // SAFETY: a new mapping of an open file, at an address that the system chooses.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        (address != libc::MAP_FAILED).then_some(Mapping { address, length })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for reading as long as this is there. Whoever shortens a library that is loaded ends the process
        // by that anyway.
        unsafe { slice::from_raw_parts(self.address.cast(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: from `of`.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// Whether the file's suffix is one that import machinery takes for the stable ABI: `.abi3.so`,
/// `.abi3-<platform>.so`, and the same with `abi3t`.
fn is_named_stable(path: &Path) -> bool {
    let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    name.split(|byte| *byte == b'.').skip(1).any(|tag| {
        matches!(tag.strip_prefix(b"abi3"), Some(b"" | b"t")) || tag.starts_with(b"abi3-") || tag.starts_with(b"abi3t-")
    })
}
