"""The main job, on real input: index the standard library, freeze the index, search it in parallel.

    python -m immutable.demo [--files N] [--workers N]

Parses every file of the running interpreter's own standard library, builds an
index from identifier to the list of positions where it occurs, and shows what
a frozen index does: it reads as before, refuses every write, takes a fraction
of the time to freeze that it takes to pickle and unpickle, is searched by
several interpreters at once without a copy, and gives its memory back when it
is dropped. Beside it the same search runs on copies that each interpreter
unpickles for itself.

The exit status is 0 only if all of that held.
"""

import argparse
import ast
import copy
import hashlib
import operator
import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent import interpreters
from dataclasses import dataclass, field
from pathlib import Path

from immutable import MutationError, Receiver, Sender, _stats, channel, freeze, is_frozen


@dataclass
class Position:
    """Where an identifier stands: lines count from 1, columns (bytes) from 0."""

    file: str
    line: int
    column: int


type Index = dict[str, list[Position]]


@dataclass
class Parsed:
    """What was read while the index was built."""

    files: int = 0
    lines: int = 0
    unparsable: list[str] = field(default_factory=list)


class Progress:
    """A one-line bar on a terminal; silent where there is none."""

    WIDTH = 40

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done, self.shown = label, total, 0, 0.0
        self.visible = sys.stderr.isatty()

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if self.visible and (now - self.shown > 0.1 or self.done == self.total):
            self.shown = now
            filled = self.WIDTH * self.done // self.total
            bar = "#" * filled + "." * (self.WIDTH - filled)
            print(f"\r{self.label} [{bar}] {self.done}/{self.total}", end="", file=sys.stderr)

    def close(self) -> None:
        if self.visible:
            print(f"\r{' ' * (len(self.label) + self.WIDTH + 24)}\r", end="", file=sys.stderr)


# ---- Building the index ----------------------------------------------------


def standard_library() -> Path:
    return Path(os.__file__).parent


def source_files(library: Path, limit: int | None) -> list[Path]:
    """The Python files below library, installed third-party packages left out."""
    foreign = {"site-packages", "dist-packages"}
    files = sorted(path for path in library.rglob("*.py") if foreign.isdisjoint(path.parts))
    return files[:limit]


def parse(path: Path) -> tuple[ast.Module, int] | None:
    """The tree and number of lines of one file, or None if it is not Python.

    The test suite of CPython keeps some files that are broken on purpose.
    """
    source = path.read_bytes()
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(source), source.count(b"\n")
    except SyntaxError, ValueError:
        return None


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Every identifier of a module, with its line and column."""
    for node in ast.walk(tree):
        match node:
            case ast.Name():
                yield node.id, node.lineno, node.col_offset
            case ast.Attribute(end_lineno=int(line), end_col_offset=int(end)):
                yield node.attr, line, end - len(node.attr.encode())
            case ast.arg(arg=str(name)) | ast.keyword(arg=str(name)):
                yield name, node.lineno, node.col_offset
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno, node.col_offset
            case ast.alias():
                yield (node.asname or node.name), node.lineno, node.col_offset


def build_index(library: Path, files: list[Path]) -> tuple[Index, Parsed]:
    index: Index = {}
    parsed = Parsed()
    progress = Progress("parsing", len(files))
    # The parser interns its names, and the interpreter keeps the interned names
    # that its own code uses. Keys of its own let the index be returned whole.
    own_key: dict[str, str] = {}
    for path in files:
        name = str(path.relative_to(library))
        match parse(path):
            case None:
                parsed.unparsable.append(name)
            case tree, lines:
                parsed.files += 1
                parsed.lines += lines
                for word, line, column in identifiers(tree):
                    if word not in own_key:
                        own_key[word] = word.encode().decode()
                    index.setdefault(own_key[word], []).append(Position(name, line, column))
        progress.step()
    progress.close()
    return index, parsed


# ---- Looking at it ---------------------------------------------------------


def digest(index: Index) -> str:
    """A checksum of every key and every field, in sorted order of the keys."""
    checksum = hashlib.sha256()
    for word in sorted(index):
        rows = [f"{p.file}:{p.line}:{p.column}" for p in index[word]]
        checksum.update(f"{word}={';'.join(rows)}\n".encode())
    return checksum.hexdigest()


def most_frequent(index: Index) -> str:
    return max(index, key=lambda word: len(index[word]))


def frozen_now() -> dict[str, int]:
    """What is frozen in this process, and the memory that records it take."""
    stats = _stats()
    return {name: stats[name] for name in ("frozen_objects", "components", "record_bytes")}


def resident_bytes() -> int:
    """Memory of this process that is in RAM, as the kernel counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def with_eager_allocator() -> None:
    """Starts this program again with an allocator that returns free pages at once.

    By default mimalloc keeps them for reuse, and resident memory would not tell
    what is in use from what is free.
    """
    if "MIMALLOC_PURGE_DELAY" not in os.environ:
        os.environ["MIMALLOC_PURGE_DELAY"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def seconds[T](action: Callable[[T], object], argument: T) -> float:
    start = time.perf_counter()
    action(argument)
    return time.perf_counter() - start


# ---- Searching it from several interpreters --------------------------------


type Found = tuple[str, int, str, int]
"""A word, how often it occurs, the file that has it most often, and how often that is."""


def look_up(index: Index, word: str) -> Found:
    positions = index[word]
    in_file: dict[str, int] = {}
    for position in positions:
        in_file[position.file] = in_file.get(position.file, 0) + 1
    most = max(in_file.values())
    return word, len(positions), min(file for file, count in in_file.items() if count == most), most


def serve(index: Index, jobs: Receiver[tuple[str, ...]], results: Sender[object]) -> None:
    """What a worker does: says that it is ready, then answers words with what is found, until jobs is closed."""
    results.send("ready")
    for words in jobs:
        results.send(freeze(tuple([look_up(index, word) for word in words])))


def serve_copy(pickled: bytes, jobs: Receiver[tuple[str, ...]], results: Sender[object]) -> None:
    """As serve, on a copy of the worker's own."""
    serve(pickle.loads(pickled), jobs, results)


class Workers:
    """Interpreters with a GIL each, which have imported what they need."""

    def __init__(self, number: int) -> None:
        self.interpreters = [interpreters.create() for _ in range(number)]
        for interpreter in self.interpreters:
            interpreter.exec("import immutable.demo")

    def close(self) -> None:
        for interpreter in self.interpreters:
            interpreter.close()


@dataclass
class Search:
    """One search of all words by all workers. Memory is what each worker took on top, while it had the index."""

    found: list[Found]
    ready_seconds: float
    search_seconds: float
    bytes_per_worker: int


def search(workers: Workers, task: Callable[..., None], data: object, shares: list[tuple[str, ...]]) -> Search:
    """Has the workers run task(data, jobs, results), and hands the shares of words out to them."""
    resident = resident_bytes()
    jobs, jobs_out = channel()
    results_in, results = channel()
    threads = [
        threading.Thread(target=interpreter.call, args=(task, data, jobs_out, results_in))
        for interpreter in workers.interpreters
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for _ in threads:
        results.recv()
    ready = time.perf_counter()
    for words in shares:
        jobs.send(words)
    found = [one for _ in shares for one in results.recv()]
    done = time.perf_counter()
    per_worker = (resident_bytes() - resident) // len(threads)
    jobs.close()
    for thread in threads:
        thread.join()
    return Search(sorted(found), ready - start, done - ready, per_worker)


# ---- What is shown ---------------------------------------------------------


def writes(index: Index) -> list[tuple[str, Callable[[], object]]]:
    """Ways to write to the index, its lists, its positions and their class."""
    word = most_frequent(index)
    positions = index[word]
    position = positions[0]
    subclass = type("Elsewhere", (Position,), {})
    return [
        ("index[word] = []", lambda: operator.setitem(index, word, [])),
        ("del index[word]", lambda: operator.delitem(index, word)),
        ("index |= {'new': []}", lambda: operator.ior(index, {"a new word": []})),
        ("index.update(...)", lambda: index.update({word: []})),
        ("index.setdefault('new', [])", lambda: index.setdefault("a new word", [])),
        ("index.pop(word)", lambda: index.pop(word)),
        ("index.popitem()", lambda: index.popitem()),
        ("index.clear()", lambda: index.clear()),
        ("positions[0] = position", lambda: operator.setitem(positions, 0, position)),
        ("positions[:] = []", lambda: operator.setitem(positions, slice(None), [])),
        ("del positions[0]", lambda: operator.delitem(positions, 0)),
        ("positions += [position]", lambda: operator.iadd(positions, [position])),
        ("positions *= 2", lambda: operator.imul(positions, 2)),
        ("positions.append(position)", lambda: positions.append(position)),
        ("positions.extend([position])", lambda: positions.extend([position])),
        ("positions.insert(0, position)", lambda: positions.insert(0, position)),
        ("positions.pop()", lambda: positions.pop()),
        ("positions.remove(position)", lambda: positions.remove(position)),
        ("positions.reverse()", lambda: positions.reverse()),
        ("positions.sort(key=id)", lambda: positions.sort(key=id)),
        ("positions.clear()", lambda: positions.clear()),
        ("position.line = 0", lambda: setattr(position, "line", 0)),
        ("del position.line", lambda: delattr(position, "line")),
        ("position.note = ''", lambda: setattr(position, "note", "")),
        ("object.__setattr__(...)", lambda: object.__setattr__(position, "line", 0)),
        ("vars(position)['line'] = 0", lambda: operator.setitem(vars(position), "line", 0)),
        ("position.__init__(...)", lambda: Position.__init__(position, "", 0, 0)),
        ("position.__class__ = subclass", lambda: setattr(position, "__class__", subclass)),
        ("Position.line = 0", lambda: setattr(Position, "line", 0)),
        ("del Position.__eq__", lambda: delattr(Position, "__eq__")),
        ("type.__setattr__(...)", lambda: type.__setattr__(Position, "line", 0)),
    ]


def refused_writes(index: Index) -> bool:
    """Tries every write, prints what came of it; true if all were refused."""
    held = True
    for label, write in writes(index):
        try:
            write()
        except MutationError as error:
            print(f"    {label:30} MutationError: {error}")
        except Exception as error:
            print(f"    {label:30} {type(error).__name__}, not a MutationError: {error}")
            held = False
        else:
            print(f"    {label:30} WENT THROUGH")
            held = False
    return held


def reads_as_before(index: Index, before: str) -> bool:
    """Same digest; equal, mutable copies; missing keys still missing."""
    positions = index[most_frequent(index)]
    duplicate = copy.deepcopy(positions)
    return (
        digest(index) == before
        and duplicate == positions
        and not is_frozen(duplicate)
        and "no such identifier" not in index
        and pickle.loads(pickle.dumps(positions)) == positions
    )


def megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def row(label: str, value: str, held: bool | None = None) -> None:
    verdict = {True: "  ok", False: "  FAILED", None: ""}[held]
    print(f"  {label:32} {value}{verdict}")


@dataclass
class Shared:
    """What the workers are given, and the seconds that it took to make it from the index."""

    task: Callable[..., None]
    data: object
    seconds: float


def searched_alike(index: Index, workers: Workers, ways: dict[str, Shared]) -> bool:
    """Has the index searched in each way, prints how it went, and returns whether the results agree."""
    words = sorted(index)
    shares = [freeze(tuple(words[first : first + 100])) for first in range(0, len(words), 100)]
    start = time.perf_counter()
    expected = [look_up(index, word) for word in words]
    alone_seconds = time.perf_counter() - start

    print(f"Searched for every identifier by {len(workers.interpreters)} interpreters at once")
    row("one interpreter, time to search", f"{alone_seconds * 1e3:,.1f} ms")
    totals, alike = [], True
    for label, way in ways.items():
        done = search(workers, way.task, way.data, shares)
        share_seconds = way.seconds + done.ready_seconds
        totals.append(share_seconds + done.search_seconds)
        alike = alike and done.found == expected
        row(f"{label}, time to share", f"{share_seconds * 1e3:,.1f} ms")
        row(f"{label}, time to search", f"{done.search_seconds * 1e3:,.1f} ms")
        row(f"{label}, memory per worker", megabytes(done.bytes_per_worker))
    row("share and search", f"{totals[1] / totals[0]:,.1f} times faster frozen")
    row("all found the same", f"{len(expected):,} words", alike)
    return alike


def run(limit: int | None, number_of_workers: int) -> bool:
    library = standard_library()
    empty_resident = resident_bytes()
    build_start = time.perf_counter()
    index, parsed = build_index(library, source_files(library, limit))
    build_seconds = time.perf_counter() - build_start
    positions = sum(map(len, index.values()))

    print("Index of the standard library")
    row("files parsed", f"{parsed.files:,}")
    row("broken on purpose, left out", f"{len(parsed.unparsable):,}")
    for name in parsed.unparsable:
        print(f"    {name}")
    row("lines", f"{parsed.lines:,}")
    row("identifiers", f"{len(index):,}")
    row("positions", f"{positions:,}")
    row("time to build", f"{build_seconds:.2f} s")

    start = time.perf_counter()
    pickled = pickle.dumps(index, protocol=pickle.HIGHEST_PROTOCOL)
    dump_seconds = time.perf_counter() - start
    pickle_seconds = dump_seconds + seconds(pickle.loads, pickled)
    before = digest(index)

    # The class and the functions outlive the index, and their frozen parts with
    # them. So they are frozen first, and what is counted from here on is the
    # index alone.
    freeze(Position, look_up, serve, serve_copy)
    baseline = frozen_now()
    workers = Workers(number_of_workers)  # with a few frozen objects of their own, which go with them
    with_workers = frozen_now()["frozen_objects"]
    full_resident = resident_bytes()
    freeze_seconds = seconds(freeze, index)
    frozen_objects = frozen_now()["frozen_objects"] - with_workers

    print("Frozen")
    row("objects frozen", f"{frozen_objects:,}")
    row("time to freeze", f"{freeze_seconds * 1e3:,.1f} ms")
    row("time to pickle and unpickle", f"{pickle_seconds * 1e3:,.1f} ms")
    row("ratio", f"{pickle_seconds / freeze_seconds:,.1f} times faster to freeze")
    same = is_frozen(index) and reads_as_before(index, before)
    row("reads as before", before[:16], same)

    print("  every write is refused:")
    refused = refused_writes(index)
    unchanged = digest(index) == before
    row("unchanged after all of them", before[:16], unchanged)

    ways = {
        "frozen": Shared(serve, index, freeze_seconds),
        "pickled": Shared(serve_copy, pickled, dump_seconds),
    }
    alike = searched_alike(index, workers, ways)
    workers.close()
    del ways, pickled

    drop_start = time.perf_counter()
    del index
    drop_seconds = time.perf_counter() - drop_start
    left = frozen_now()
    dropped_resident = resident_bytes()

    print("Dropped")
    row("time to release", f"{drop_seconds * 1e3:,.1f} ms")
    returned = left == baseline
    row("frozen objects left of the index", f"{left['frozen_objects'] - baseline['frozen_objects']:,}", returned)
    row("bytes of component records left", f"{left['record_bytes'] - baseline['record_bytes']:,}", returned)
    row("resident, before the index", megabytes(empty_resident))
    row("resident, with the index", megabytes(full_resident))
    row("resident, after it was dropped", megabytes(dropped_resident))
    return same and refused and unchanged and alike and returned


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m immutable.demo",
        description="Freeze an index of the standard library, and show what that does.",
    )
    parser.add_argument("--files", type=int, metavar="N", help="parse only the first N files")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=max(2, os.process_cpu_count() or 0),
        help="search with N interpreters (default: as many as there are processors, and two at least)",
    )
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    with_eager_allocator()
    return 0 if run(options.files, options.workers) else 1


if __name__ == "__main__":
    # The module under its own name, so that the workers find its class where pickle looks for it.
    from immutable import demo

    raise SystemExit(demo.main())
