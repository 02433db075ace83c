//! How the code of an extension module counts references, as its file tells.
//!
//! Two things speak for a module: the note that `immutability.h` leaves in whatever is compiled with it, and, for a module
//! of the stable ABI, that it takes and gives up references by calling the interpreter. A module of the stable ABI may be
//! built for an old version of it, whose headers count inline; then it calls the deallocation function by
//! itself, and its list of undefined symbols shows that.
//!
//! Nothing here allocates, so that an import needs no memory which its caller could not refuse: the file is mapped, and
//! of the crate `object` only what reads in place is used.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::{ptr, slice};

use object::elf::{FileHeader64, PT_NOTE, ProgramHeader64, SHT_DYNSYM};
use object::read::elf::{FileHeader, ProgramHeader, Sym, SymbolTable};
use object::{LittleEndian, read};

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
pub fn reason_not_to_count(path: &CStr) -> Option<&'static str> {
    let Some(mapping) = open(path).and_then(|file| Mapping::of(&file)) else {
        return Some("its file cannot be read");
    };
    let data = mapping.bytes();
    let Ok((segments, symbols)) = parse(data) else {
        return Some("its file is no 64-bit ELF file");
    };
    if has_note(segments, data) {
        return None;
    }
    if !is_named_stable(path) {
        return Some("it was not compiled with the headers of this interpreter");
    }
    let undefined = |names: &[&[u8]]| {
        symbols.iter().any(|symbol| {
            symbol.is_undefined(LittleEndian)
                && symbols.symbol_name(LittleEndian, symbol).is_ok_and(|name| names.contains(&name))
        })
    };
    if undefined(&[DEALLOCATION]) {
        Some("it was built for a version of the stable ABI that counts references inline")
    } else if undefined(&COUNTING_CALLS) {
        None
    } else {
        Some("it is of the stable ABI, but calls none of the functions that count references")
    }
}

type Segment = ProgramHeader64<LittleEndian>;
type Symbols<'a> = SymbolTable<'a, FileHeader64<LittleEndian>>;

/// The segments and the dynamic symbols of an ELF file.
fn parse(data: &[u8]) -> read::Result<(&[Segment], Symbols<'_>)> {
    let header = FileHeader64::<LittleEndian>::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    Ok((segments, header.sections(endian, data)?.symbols(endian, data, SHT_DYNSYM)?))
}

fn has_note(segments: &[Segment], data: &[u8]) -> bool {
    segments.iter().filter(|segment| segment.p_type.get(LittleEndian) == PT_NOTE).any(|segment| {
        let Ok(Some(mut notes)) = segment.notes(LittleEndian, data) else { return false };
        std::iter::from_fn(|| notes.next().ok().flatten())
            .any(|note| note.name() == NOTE_NAME && note.n_type(LittleEndian) == NOTE_TYPE)
    })
}

/// Opens a file for reading. Unlike `File::open`, it copies no path.
fn open(path: &CStr) -> Option<File> {
    // SAFETY: a path that ends with a zero byte; the descriptor is nobody else's.
    unsafe {
        let descriptor = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        (descriptor >= 0).then(|| File::from_raw_fd(descriptor))
    }
}

/// The contents of a file, in memory for reading.
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
fn is_named_stable(path: &CStr) -> bool {
    let name = path.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.split(|byte| *byte == b'.').skip(1).any(|tag| {
        matches!(tag.strip_prefix(b"abi3"), Some(b"" | b"t")) || tag.starts_with(b"abi3-") || tag.starts_with(b"abi3t-")
    })
}
