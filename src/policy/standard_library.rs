//! What the runtime knows of the C types of the standard library's modules.
//!
//! By family: values that never change, what guards its writes, and what is of no use without change, each with the way out.

use std::ffi::CStr;

use super::Nature;

const CONTEXT: &str = "a decimal context notes what happened in it, and belongs to one thread of one interpreter: \
    call decimal.getcontext() where numbers are computed, and freeze its settings";
const HASHING: &str = "it is fed with data: freeze its digest()";
const FED: &str = "it is fed with data as it comes: freeze what goes in or comes out";
const BUILDER: &str = "it is at work on something: freeze what it makes";
const MEMORY: &str = "it is memory that C code may write, and whose address it may know: freeze bytes(obj), or what you \
    read from it";
const POINTER: &str = "it leads to memory or code that nothing keeps from changing: freeze what it refers to in Python";
const QUEUE: &str =
    "it exists to change: use immutable.channel(), or keep one per interpreter in immutable.InterpreterLocal";
const RESOURCE: &str = "it stands for a resource of this process: keep it outside, and open it where it is used";
const RUNNING: &str = "it is a running computation: freeze the function that starts it";
const TOKEN: &str =
    "a token is used up by ContextVar.reset(), in the context that made it: freeze the old value instead";
const CACHE: &str = "it remembers while it works: keep one per interpreter in immutable.InterpreterLocal";
const ENTRY: &str = "it asks the system when it is read: freeze its path, or its stat()";
const EXPORT: &str = "it lends memory of another object: freeze that object";
const ITERATOR: &str = "an iterator is consumed by use: freeze what it iterates over";

/// C types of the standard library, by `tp_name`.
pub const STANDARD_LIBRARY: &[(&CStr, Nature)] = &[
    // Never change once made; what is computed on demand is one word, or is not stored once frozen.
    (c"datetime.date", Nature::Leaf),
    (c"datetime.timedelta", Nature::Leaf),
    (c"datetime.tzinfo", Nature::Leaf),
    (c"datetime.IsoCalendarDate", Nature::Container),
    (c"zoneinfo.ZoneInfo", Nature::Container),
    (c"decimal.Decimal", Nature::Container),
    (c"re.Pattern", Nature::Container),
    (c"re.Match", Nature::Container),
    (c"_sre.SRE_Template", Nature::Container),
    (c"_csv.Dialect", Nature::Container),
    (c"sqlite3.Row", Nature::Container),
    (c"unicodedata.UCD", Nature::Container),
    (c"unicodedata.Segment", Nature::Container),
    (c"string.templatelib.Template", Nature::Container),
    (c"string.templatelib.Interpolation", Nature::Container),
    (c"_contextvars.ContextVar", Nature::Container),
    (c"_contextvars.Context", Nature::Container), // asks the barrier when it is entered
    (c"hamt", Nature::Container),
    (c"hamt_array_node", Nature::Container),
    (c"hamt_bitmap_node", Nature::Container),
    (c"hamt_collision_node", Nature::Container),
    (c"Token.MISSING", Nature::Leaf),
    (c"NoneType", Nature::Leaf),
    (c"NoDefaultType", Nature::Leaf),
    (c"dict_keys", Nature::Container),
    (c"dict_values", Nature::Container),
    (c"dict_items", Nature::Container),
    (c"odict_keys", Nature::Container),
    (c"odict_values", Nature::Container),
    (c"odict_items", Nature::Container),
    (c"_json.Scanner", Nature::Container), // what it remembers, it remembers for one call
    // Ask the barrier.
    (c"ast.AST", Nature::Container),
    (c"_struct.Struct", Nature::Container),
    (c"xml.etree.ElementTree.Element", Nature::Container),
    // What an instance refers to decides (`super::examine`).
    (c"_ctypes._CData", Nature::Container),
    (c"_ctypes.Structure", Nature::Container),
    (c"_ctypes.Union", Nature::Container),
    (c"_ctypes.Array", Nature::Container),
    (c"_ctypes._SimpleCData", Nature::Container),
    // The classes of these change no more once they are frozen, but for a table of each interpreter.
    (c"_ctypes.CType_Type", Nature::Container),
    (c"_ctypes.PyCStructType", Nature::Container),
    (c"_ctypes.UnionType", Nature::Container),
    (c"_ctypes.PyCPointerType", Nature::Container),
    (c"_ctypes.PyCArrayType", Nature::Container),
    (c"_ctypes.PyCSimpleType", Nature::Container),
    (c"_ctypes.PyCFuncPtrType", Nature::Container),
    (c"ctypes.CField", Nature::Container),
    // Change by use.
    (c"decimal.Context", Nature::Stateful(CONTEXT)),
    (c"decimal.ContextManager", Nature::Stateful(CONTEXT)),
    (c"decimal.SignalDictMixin", Nature::Stateful(CONTEXT)),
    (c"_contextvars.Token", Nature::Stateful(TOKEN)),
    (c"_hashlib.HASH", Nature::Stateful(HASHING)),
    (c"_hashlib.HASHXOF", Nature::Stateful(HASHING)),
    (c"_hashlib.HMAC", Nature::Stateful(HASHING)),
    (c"_hmac.HMAC", Nature::Stateful(HASHING)),
    (c"_md5.md5", Nature::Stateful(HASHING)),
    (c"_sha1.sha1", Nature::Stateful(HASHING)),
    (c"_sha2.SHA224Type", Nature::Stateful(HASHING)),
    (c"_sha2.SHA256Type", Nature::Stateful(HASHING)),
    (c"_sha2.SHA384Type", Nature::Stateful(HASHING)),
    (c"_sha2.SHA512Type", Nature::Stateful(HASHING)),
    (c"_sha3.sha3_224", Nature::Stateful(HASHING)),
    (c"_sha3.sha3_256", Nature::Stateful(HASHING)),
    (c"_sha3.sha3_384", Nature::Stateful(HASHING)),
    (c"_sha3.sha3_512", Nature::Stateful(HASHING)),
    (c"_sha3.shake_128", Nature::Stateful(HASHING)),
    (c"_sha3.shake_256", Nature::Stateful(HASHING)),
    (c"_blake2.blake2b", Nature::Stateful(HASHING)),
    (c"_blake2.blake2s", Nature::Stateful(HASHING)),
    (c"zlib.Compress", Nature::Stateful(FED)),
    (c"zlib.Decompress", Nature::Stateful(FED)),
    (c"zlib._ZlibDecompressor", Nature::Stateful(FED)),
    (c"_bz2.BZ2Compressor", Nature::Stateful(FED)),
    (c"_bz2.BZ2Decompressor", Nature::Stateful(FED)),
    (c"_lzma.LZMACompressor", Nature::Stateful(FED)),
    (c"_lzma.LZMADecompressor", Nature::Stateful(FED)),
    (c"compression.zstd.ZstdCompressor", Nature::Stateful(FED)),
    (c"compression.zstd.ZstdDecompressor", Nature::Stateful(FED)),
    (c"os.statx_result", Nature::Leaf),
    (c"functools._lru_list_elem", Nature::Stateful(CACHE)),
    (c"compression.zstd.ZstdDict", Nature::Stateful(CACHE)),
    (c"_multibytecodec.MultibyteCodec", Nature::Stateful(CACHE)),
    (c"_multibytecodec.MultibyteIncrementalEncoder", Nature::Stateful(FED)),
    (c"_multibytecodec.MultibyteIncrementalDecoder", Nature::Stateful(FED)),
    (c"_multibytecodec.MultibyteStreamReader", Nature::Stateful(FED)),
    (c"_multibytecodec.MultibyteStreamWriter", Nature::Stateful(FED)),
    (c"_io.IncrementalNewlineDecoder", Nature::Stateful(FED)),
    (c"pyexpat.xmlparser", Nature::Stateful(BUILDER)),
    (c"xml.etree.ElementTree.TreeBuilder", Nature::Stateful(BUILDER)),
    (c"xml.etree.ElementTree.XMLParser", Nature::Stateful(BUILDER)),
    (c"_pickle.Pickler", Nature::Stateful(BUILDER)),
    (c"_pickle.Unpickler", Nature::Stateful(BUILDER)),
    (c"_pickle.PicklerMemoProxy", Nature::Stateful(BUILDER)),
    (c"_pickle.UnpicklerMemoProxy", Nature::Stateful(BUILDER)),
    (c"_pickle.Pdata", Nature::Stateful(BUILDER)),
    (c"_json.Encoder", Nature::Stateful(CACHE)),
    (c"symtable entry", Nature::Stateful(BUILDER)),
    (c"EncodingMap", Nature::Stateful(CACHE)),
    (c"_queue.SimpleQueue", Nature::Stateful(QUEUE)),
    (c"_asyncio.Future", Nature::Stateful(RUNNING)),
    (c"_asyncio.Task", Nature::Stateful(RUNNING)),
    (c"_asyncio.TaskStepMethWrapper", Nature::Stateful(RUNNING)),
    (c"_lsprof.Profiler", Nature::Stateful(RUNNING)),
    (c"_sre.SRE_Scanner", Nature::Stateful(ITERATOR)),
    (c"itertools._tee_dataobject", Nature::Stateful(ITERATOR)),
    (c"FrameLocalsProxy", Nature::Stateful(RUNNING)),
    (c"async_generator_wrapped_value", Nature::Stateful(RUNNING)),
    (c"sys.legacy_event_handler", Nature::Stateful(RUNNING)),
    (c"sys.monitoring.branch_event_handler", Nature::Stateful(RUNNING)),
    (c"InstructionSequence", Nature::Stateful(BUILDER)),
    (c"_thread._localdummy", Nature::Stateful(CACHE)),
    // Memory, and code, outside Python.
    (c"_ctypes.DictRemover", Nature::Stateful(CACHE)),
    (c"_ctypes.StructParam_Type", Nature::Stateful(MEMORY)),
    (c"_ctypes.CArgObject", Nature::Stateful(MEMORY)),
    (c"_ctypes.CThunkObject", Nature::Stateful(POINTER)),
    (c"_ctypes._Pointer", Nature::Stateful(POINTER)),
    (c"_ctypes.CFuncPtr", Nature::Stateful(POINTER)),
    (c"PyCapsule", Nature::Stateful(POINTER)),
    (c"moduledef", Nature::Stateful(POINTER)),
    (c"_interpreters.CrossInterpreterBufferView", Nature::Stateful(EXPORT)),
    (c"pickle.PickleBuffer", Nature::Stateful(EXPORT)),
    (c"_buffer_wrapper", Nature::Stateful(EXPORT)),
    // Resources of the process.
    (c"_io._IOBase", Nature::Stateful(RESOURCE)),
    (c"_io._RawIOBase", Nature::Stateful(RESOURCE)),
    (c"_io._BufferedIOBase", Nature::Stateful(RESOURCE)),
    (c"_io._TextIOBase", Nature::Stateful(RESOURCE)),
    (c"_io.BufferedRWPair", Nature::Stateful(RESOURCE)),
    (c"_io._BytesIOBuffer", Nature::Stateful(EXPORT)),
    (c"stderrprinter", Nature::Stateful(RESOURCE)),
    (c"_csv.writer", Nature::Stateful(RESOURCE)),
    (c"posix.DirEntry", Nature::Stateful(ENTRY)),
    (c"posix.ScandirIterator", Nature::Stateful(ITERATOR)),
    (c"select.poll", Nature::Stateful(RESOURCE)),
    (c"select.epoll", Nature::Stateful(RESOURCE)),
    (c"sqlite3.Connection", Nature::Stateful(RESOURCE)),
    (c"sqlite3.Cursor", Nature::Stateful(RESOURCE)),
    (c"sqlite3.Statement", Nature::Stateful(RESOURCE)),
    (c"sqlite3.Blob", Nature::Stateful(RESOURCE)),
    (c"sqlite3.PrepareProtocol", Nature::Stateful(RESOURCE)),
    (c"_ssl._SSLContext", Nature::Stateful(RESOURCE)),
    (c"_ssl._SSLSocket", Nature::Stateful(RESOURCE)),
    (c"_ssl.MemoryBIO", Nature::Stateful(RESOURCE)),
    (c"_ssl.SSLSession", Nature::Stateful(RESOURCE)),
    (c"_ssl.Certificate", Nature::Stateful(RESOURCE)),
    (c"_dbm.dbm", Nature::Stateful(RESOURCE)),
    (c"_gdbm.gdbm", Nature::Stateful(RESOURCE)),
    (c"_curses.window", Nature::Stateful(RESOURCE)),
    (c"_curses_panel.panel", Nature::Stateful(RESOURCE)),
    (c"_tkinter.tkapp", Nature::Stateful(RESOURCE)),
    (c"_tkinter.Tcl_Obj", Nature::Stateful(RESOURCE)),
    (c"_tkinter.tktimertoken", Nature::Stateful(RESOURCE)),
    (c"_multiprocessing.SemLock", Nature::Stateful(RESOURCE)),
    (c"_interpchannels.ChannelID", Nature::Stateful(RESOURCE)),
    (c"_remote_debugging.RemoteUnwinder", Nature::Stateful(RESOURCE)),
    (c"_remote_debugging.BinaryReader", Nature::Stateful(RESOURCE)),
    (c"_remote_debugging.BinaryWriter", Nature::Stateful(RESOURCE)),
    (c"_remote_debugging.GCMonitor", Nature::Stateful(RESOURCE)),
];
