//! Binds the layouts of the patched CPython that the core will be linked into.
//!
//! Only the `cpython` feature needs this: the algorithms build, and are
//! tested, without CPython. `IMMUTABLE_CPYTHON_INCLUDE` holds the `-I` flags of
//! a configured source tree (its `Include`, `Include/internal`, and the build
//! directory with `pyconfig.h`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-check-cfg=cfg(py_ref_debug)");
    #[cfg(feature = "cpython")]
    cpython::bind();
}

#[cfg(feature = "cpython")]
mod cpython {
    use std::env;
    use std::path::PathBuf;

    const BRIDGE: &str = "src/object/bridge.c";
    const BRIDGE_HEADER: &str = "src/object/bridge.h";

    pub fn bind() {
        println!("cargo::rerun-if-env-changed=IMMUTABLE_CPYTHON_INCLUDE");
        println!("cargo::rerun-if-changed={BRIDGE}");
        println!("cargo::rerun-if-changed={BRIDGE_HEADER}");
        println!("cargo::rerun-if-changed=src/capi/include/immutability.h");
        let flags = env::var("IMMUTABLE_CPYTHON_INCLUDE").expect(
            "IMMUTABLE_CPYTHON_INCLUDE must hold the -I flags of a configured, patched \
             CPython tree; `make` sets it",
        );
        let flags: Vec<&str> = flags.split_whitespace().collect();

        if counts_all_references(&flags) {
            println!("cargo::rustc-cfg=py_ref_debug");
        }
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        bindgen::Builder::default()
            .header(BRIDGE_HEADER)
            .clang_args(&flags)
            .allowlist_file(".*/bridge\\.h")
            .allowlist_type("Py(Type|HeapType|Dict|List|Tuple|Function|Code|Cell|Method|Descr|MemberDescr|Module|LazyImport)Object|PyWeakReference|PyASCIIObject|PyByteArrayObject|PyMemoryViewObject|_PyManagedBufferObject|PyBaseExceptionObject|_PyImmutable_PartedType|_PyImmutable_ExaminedType")
            .allowlist_var("PyLazyImport_Type|_PyWeakref_.*Type")
            .allowlist_type("PyCFunctionObject|PyDictKeysObject|PyDictValues|PyGC_Head|_PyCoCached")
            .allowlist_type("PyFrameObject|PyDictKeyEntry|PyDictUnicodeEntry|PyImmutable_Policy|DictKeysKind")
            .allowlist_function("Py.*|_PyObject_GenericSetAttrWithDict|_Py_Dealloc|_PyDict_FromItems|_PySet_NextEntry|_PyFunction_.*|_PyWeakref_ClearRef|_PyMonitoring_[GS]etLocalEvents|_PyObject_(CallMethod.*|LookupSpecial)|_Py_(INCREF_IncRef|DECREF_DecRef)Total")
            .allowlist_var("Py.*_Type|PY_MONITORING_TOOL_IDS|_Py_.*_FLAG|_Py_(FROZEN|BEYOND)_REFCNT|_Py_FROZEN_CALLS|_Py_FROZEN_VERSION|_?Py_TPFLAGS_.*|METH_.*|Py_tp_.*|_Py_NoneStruct|PyExc_.*|_PyLong_.*")
            .blocklist_function("PyImmutable_.*|_PyImmutable_.*|PyErr_WriteToImmutable|.*(V|v)a_?list.*|PyOS_v.*|PyErr_FormatV|PyUnicode_FromFormatV|Py_VaBuildValue|PyBytes_FromFormatV")
            .rustified_enum("PyImmutable_Policy|DictKeysKind")
            .layout_tests(false)
            .derive_debug(false)
            .generate_comments(false)
            .parse_callbacks(Box::new(bindgen::CargoCallbacks::new().rerun_on_header_files(true)))
            .generate()
            .expect("bindgen could not read CPython's headers")
            .write_to_file(out.join("cpython.rs"))
            .expect("OUT_DIR is writable");

        let mut cc = cc::Build::new();
        cc.file(BRIDGE).std("c11").warnings(false).define("Py_BUILD_CORE_MODULE", "1");
        for flag in &flags {
            cc.flag(flag);
        }
        cc.compile("immutable_bridge");
        link_unwinder_statically(&cc.get_compiler());
    }

    /// The unwinder of Rust's standard library as a part of the core: as a shared library of
    /// its own it is one more to load whenever Python starts, and asks the processor for its features.
    fn link_unwinder_statically(compiler: &cc::Tool) {
        let Ok(answer) = compiler.to_command().arg("-print-file-name=libgcc_eh.a").output() else { return };
        // A compiler without the archive repeats its bare name; then the shared library serves.
        let archive = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
        if archive.is_absolute() {
            println!("cargo::rustc-cdylib-link-arg=-Wl,--whole-archive,{},--no-whole-archive", archive.display());
        }
    }

    /// True for a debug build, whose `sys.gettotalrefcount()` counts all references.
    fn counts_all_references(flags: &[&str]) -> bool {
        flags
            .iter()
            .filter_map(|flag| std::fs::read_to_string(PathBuf::from(flag.strip_prefix("-I")?).join("pyconfig.h")).ok())
            .any(|config| config.contains("#define Py_DEBUG 1"))
    }
}
