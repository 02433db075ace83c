//! The standard library's classes and functions that are of no use when frozen.
//!
//! They stand for something that changes or runs (a thread, a queue, a server), or for what the whole interpreter uses (the
//! tree of loggers, the import system), and their code reaches the tables of their module. Freezing an object that
//! refers to one would stop what the program needs to go on working; so whatever these modules define refuses, but for
//! the names that are listed and for classes of exceptions. Modules themselves pass by name: code that says `import threading` and
//! `threading.Thread` freezes, and gets the module of the interpreter that runs it.

/// What a module of the standard library defines, and why that refuses.
struct Module {
    /// The module, and those inside it if it is a package.
    name: &'static str,
    /// What in it freezes all the same: names at module level.
    except: &'static [&'static str],
    advice: &'static str,
}

const LOGGING: &str = "logging belongs to the interpreter: name the logger, as logging.getLogger(name) gives it, as a \
    global of the function that uses it, or keep its name, and call getLogger through `import logging` there";
const THREADS: &str = "it coordinates running threads: keep it in immutable.InterpreterLocal, or make it where it is \
    used, through `import threading`";
const QUEUES: &str = "a queue changes with every message: use immutable.channel() to pass frozen objects";
const TASKS: &str = "event loops, tasks and what they wait for belong to the thread that runs them: freeze the function \
    that makes them, and name the module (`import asyncio`)";
const EXECUTORS: &str = "executors and futures stand for running work: freeze the function and its arguments instead";
const PROCESSES: &str = "it stands for a process or for what is shared with one: keep it outside, and start it where it \
    is used, through `import subprocess` or `import multiprocessing`";
const CONNECTIONS: &str = "it holds a connection: keep the address, and connect where it is used, through its module";
const REQUESTS: &str =
    "it notes how it is opened: keep the address and the headers, and make it where it is used, through its module";
const FILES: &str =
    "it stands for files of this process: keep the path, and open it where it is used, through its module";
const IMPORTS: &str = "the import system belongs to the interpreter: keep the module's name, and import it where it is \
    used";
const WARNINGS: &str = "filters of warnings belong to the interpreter: `import warnings`, and set them where they are \
    used";
const CODECS: &str = "codecs and locales belong to the interpreter: keep the name of the encoding or locale";
const EXITS: &str = "it collects what remains to be done: make it where it is used, in a with statement";
const SCHEDULES: &str = "its state changes with every event: keep it in immutable.InterpreterLocal";
const TESTS: &str = "tests and debuggers note what happens: keep them outside, through their module";
const INTERPRETERS: &str = "it names an interpreter, or something that interpreters share, and passes to others as it is: \
    keep it outside of frozen objects, or use immutable.channel()";
const READERS: &str =
    "it goes on with each piece that it reads or writes: make it where it is used, and freeze what it gives";
const COMPARISONS: &str = "it compares when it is asked, and remembers what it found: freeze what it gives";
const PARSERS_OF_OPTIONS: &str = "it notes what it parses and prints: make it where it is used, and freeze the values that \
    parse_args() gives";
const REGISTERED: &str =
    "it is called when its interpreter ends, or when an object of it goes: make it where the object is";
const CACHES: &str =
    "it uses tables that its module fills in: reach it through its module (`import` it) where it is used";

const ENVIRONMENT: &str = "the environment belongs to the process: name the module (`import os`) and look it up in \
    os.environ where it is used, or freeze dict(os.environ)";

const FOREIGN_CODE: &str = "it leads to code outside Python, or to tables that ctypes fills in: keep the name of the \
    library, and load it where it is used, through `import ctypes`";

const fn module(name: &'static str, advice: &'static str) -> Module {
    Module { name, except: &[], advice }
}

const fn all_but(name: &'static str, except: &'static [&'static str], advice: &'static str) -> Module {
    Module { name, except, advice }
}

const MODULES: &[Module] = &[
    module("_frozen_importlib", IMPORTS),
    module("_frozen_importlib_external", IMPORTS),
    all_but("_py_warnings", &["deprecated"], WARNINGS),
    module("_pyio", FILES),
    module("_threading_local", THREADS),
    module("asyncio", TASKS),
    module("bdb", TESTS),
    module("code", TESTS),
    all_but(
        "codecs",
        &["Codec", "CodecInfo", "StreamReader", "StreamReaderWriter", "StreamRecoder", "StreamWriter"],
        CODECS,
    ),
    module("concurrent.futures", EXECUTORS),
    module("concurrent.interpreters", INTERPRETERS),
    module("dbm", FILES),
    module("doctest", TESTS),
    module("fileinput", FILES),
    module("ftplib", CONNECTIONS),
    all_but("http.client", &["HTTPMessage"], CONNECTIONS),
    module("http.server", CONNECTIONS),
    module("imaplib", CONNECTIONS),
    all_but("importlib", &["import_module"], IMPORTS),
    module("linecache", CACHES),
    module("locale", CODECS),
    all_but(
        "logging",
        &[
            "BufferingFormatter",
            "Filter",
            "Formatter",
            "LogRecord",
            "PercentStyle",
            "StrFormatStyle",
            "StringTemplateStyle",
            "_writable",
            "getLevelName",
            "makeLogRecord",
        ],
        LOGGING,
    ),
    all_but(
        "mailbox",
        &["BabylMessage", "MHMessage", "MMDFMessage", "MaildirMessage", "Message", "_mboxMMDFMessage", "mboxMessage"],
        FILES,
    ),
    module("mimetypes", CACHES),
    module("multiprocessing", PROCESSES),
    module("pdb", TESTS),
    module("poplib", CONNECTIONS),
    module("profile", TESTS),
    module("pstats", TESTS),
    module("queue", QUEUES),
    module("sched", SCHEDULES),
    module("selectors", CONNECTIONS),
    module("shelve", FILES),
    module("smtplib", CONNECTIONS),
    all_but("socket", &["AddressFamily", "AddressInfo", "MsgFlag", "SocketKind"], CONNECTIONS),
    module("socketserver", CONNECTIONS),
    all_but(
        "ssl",
        &["AlertDescription", "Options", "Purpose", "SSLErrorNumber", "TLSVersion", "VerifyFlags", "VerifyMode"],
        CONNECTIONS,
    ),
    all_but("subprocess", &["CompletedProcess"], PROCESSES),
    module("tarfile", FILES),
    module("tempfile", FILES),
    module("threading", THREADS),
    module("trace", TESTS),
    module("unittest", TESTS),
    module("urllib.request", CONNECTIONS),
    all_but("warnings", &["deprecated"], WARNINGS),
    all_but("xmlrpc.client", &["Binary", "DateTime", "_iso8601_format", "_strftime"], CONNECTIONS),
    module("xmlrpc.server", CONNECTIONS),
    module("zipfile", FILES),
    module("zipimport", IMPORTS),
];

/// Names that refuse: the only ones of their modules, or those with advice of their own.
const NAMES: &[(&str, &[&str], &str)] = &[
    ("ctypes", &["CDLL", "PyDLL", "LibraryLoader", "CFUNCTYPE", "PYFUNCTYPE", "POINTER", "pointer"], FOREIGN_CODE),
    ("os", &["_Environ"], ENVIRONMENT),
    ("contextlib", &["AsyncExitStack", "ExitStack", "_BaseExitStack"], EXITS),
    ("_weakrefset", &["_IterationGuard"], SCHEDULES),
    ("ast", &["unparse"], CACHES),
    ("difflib", &["HtmlDiff"], CACHES),
    ("urllib.request", &["Request"], REQUESTS),
    ("weakref", &["finalize"], REGISTERED),
];

/// Classes whose instances refuse: they freeze themselves, since new instances can be made of a frozen class.
const INSTANCES: &[(&str, &[&str], &str)] = &[
    ("_ast_unparse", &["Unparser"], READERS),
    ("_markupbase", &["ParserBase"], READERS),
    ("codeop", &["CommandCompiler", "Compile"], TESTS),
    ("contextlib", &["_RedirectStream", "chdir"], EXITS),
    ("difflib", &["SequenceMatcher"], COMPARISONS),
    ("email.generator", &["Generator"], READERS),
    ("filecmp", &["dircmp"], COMPARISONS),
    ("graphlib", &["TopologicalSorter"], COMPARISONS),
    ("optparse", &["HelpFormatter", "OptionContainer"], PARSERS_OF_OPTIONS),
    ("pickle", &["_Pickler", "_Unpickler"], READERS),
    ("rlcompleter", &["Completer"], READERS),
    ("tokenize", &["Untokenizer"], READERS),
    ("xml.etree.ElementTree", &["C14NWriterTarget", "XMLPullParser"], READERS),
    ("xml.sax.handler", &["ContentHandler"], READERS),
    ("xml.sax.xmlreader", &["XMLReader"], READERS),
];

/// Why an instance of the class that `module` defines under `name`, or of one derived from it, cannot be frozen, if so.
pub fn instance_advice(module: &str, name: &str) -> Option<&'static str> {
    listed(INSTANCES, module, name).or_else(|| advice(module, name))
}

fn listed(list: &[(&str, &[&str], &'static str)], module: &str, name: &str) -> Option<&'static str> {
    list.iter().find(|(known, names, _)| *known == module && names.contains(&name)).map(|(.., advice)| *advice)
}

/// Why what `module` defines under `name` cannot be frozen, if so. `name` may be followed by the rest of a qualified name.
pub fn advice(module: &str, name: &str) -> Option<&'static str> {
    let name = name.split('.').next()?;
    if let Some(advice) = listed(NAMES, module, name) {
        return Some(advice);
    }
    let mut package = module;
    loop {
        if let Some(entry) = MODULES.iter().find(|entry| entry.name == package) {
            return (!entry.except.contains(&name)).then_some(entry.advice);
        }
        package = &package[..package.rfind('.')?];
    }
}
