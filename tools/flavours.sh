# The kinds of build, sourced by the scripts that make or use one. One folder each: build/<flavour>.
# describe_flavour FLAVOUR sets: source_tree (patched or pristine), configure_flags, rust_flags, rust_env,
# run_env (for commands that run the interpreter), check_env (for those of whose reports the first ends it),
# test_selection (arguments of pytest), stack_limit (for ulimit -s), use_ccache, is_profiled (with PGO).

flavours='release debug asan tsan pgo stock stock-debug stock-pgo'

describe_flavour() {
    source_tree=patched configure_flags=() rust_flags='' rust_env=() run_env=() check_env=() test_selection=() stack_limit=$(ulimit -s) use_ccache=yes is_profiled=no
    case $1 in
    stock*) source_tree=pristine ;;
    esac
    case $1 in
    release | stock) ;;
    debug | stock-debug)
        configure_flags=(--with-pydebug)
        rust_env=(CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true)
        ;;
    pgo | stock-pgo)
        # The profile is part of the input, and ccache would have to be told.
        configure_flags=(--enable-optimizations --with-lto)
        use_ccache=no is_profiled=yes
        ;;
    asan)
        configure_flags=(--with-address-sanitizer --with-pydebug)
        rust_flags='-Zsanitizer=address'
        # CPython keeps memory at exit on purpose.
        run_env=(ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1)
        # The sanitizer sees a block only if each comes from malloc, which any interpreter may give back.
        check_env=("${run_env[@]}" PYTHONMALLOC="${PYTHONMALLOC:-malloc}")
        test_selection=(-m 'not allocator')
        ;;
    tsan)
        configure_flags=(--with-thread-sanitizer)
        # The standard library of Rust is not instrumented; its atomics are, where they are inlined into ours.
        # memset and its like stay plain calls: gcc's runtime intercepts those, and lacks the names that LLVM has for them.
        rust_flags='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer -Cllvm-args=-tsan-instrument-memintrinsics=0'
        # A report must not end the build.
        run_env=(TSAN_OPTIONS=exitcode=0:report_bugs=0)
        # CPython nests deallocations as deep as the stack allows, and gcc's ThreadSanitizer gives up beyond 65,536 frames.
        stack_limit=4096
        # history_size: the most that gcc's runtime remembers, so that a report shows both stacks.
        check_env=(TSAN_OPTIONS="halt_on_error=1:history_size=7:suppressions=$PWD/tools/tsan-suppressions.txt")
        ;;
    *)
        echo "There is no build named $1. Known: $flavours" >&2
        return 1
        ;;
    esac
    if [ -n "$rust_flags" ]; then
        # A stable compiler has the sanitizers, but takes the flag only so.
        rust_env+=(RUSTC_BOOTSTRAP=1)
    fi
}
