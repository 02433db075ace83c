"""Runs CPython's own test suite on the patched and on the stock build and reports every difference.

usage: test_cpython.py [--patched-only] [--rerun-stock] [TEST...]

Both builds are of the same source with the same flags. Differences are looked for in the result of each test file
and of each test in it. A file that differs is run once more on its own in both builds, so that a test that depends
on timing is not taken for a difference. What differs then must be named, with a reason, in
tools/cpython-test-differences.txt. The results of the stock build are kept and used again as long as the build stays
the same; --rerun-stock runs it all the same.

With --patched-only the stock build is not needed: every file must pass, except for the tests that
tools/cpython-test-exclusions.txt leaves out because they fail on stock too, and the known differences. A file that
fails is run once more on its own. Needs about a quarter of an hour on two cores.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from layout import BUILD, PROJECT, Failure, run_tool, shown

DIFFERENCES = PROJECT / "tools/cpython-test-differences.txt"
EXCLUSIONS = PROJECT / "tools/cpython-test-exclusions.txt"
TIMEOUT = 1200  # seconds for one test file, of about 10 to 150 that a long one takes

# "0:01:02 load avg: 2.10 mem: 1.2 GiB [ 12/490/1] test_x failed (1 failure)", the parts before the bracket optional.
_FILE_RESULT = re.compile(
    r"\[ *\d+/\d+(?:/\d+)*\] (?P<file>test\w*(?:\.\w+)*) "
    r"(?P<result>passed|skipped|failed \(env changed\)|failed|timed out|ran no tests|interrupted|"
    r"worker non-zero exit code|worker bug)"
)
# regrtest itself counts a test that left the environment changed as passed.
_GOOD = {"passed", "skipped", "ran no tests", "failed (env changed)"}


def listed(path):
    """Maps the names in a list file to their reasons. A line is `name reason`."""
    entries = {}
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.strip().partition(" ")
        if not reason.strip():
            raise Failure(f"{shown(path)}: {name} has no reason")
        entries[name] = reason.strip()
    return entries


def run_suite(flavour, tests, excluded=(), title=""):
    """Runs the suite, prints regrtest's closing lines, returns {"files": {name: result}, "tests": {name: result}}."""
    python = BUILD / flavour / "python"
    if not python.exists():
        raise Failure(f"{shown(python)} is not built.")
    scratch = BUILD / "cpython-tests"
    scratch.mkdir(exist_ok=True)
    suffix = f"{flavour}{title}"
    log, junit = scratch / f"{suffix}.log", scratch / f"{suffix}.xml"
    junit.unlink(missing_ok=True)
    jobs = os.environ.get("JOBS") or str(os.cpu_count())
    command = [python, "-m", "test", f"-j{jobs}", f"--timeout={TIMEOUT}", f"--junit-xml={junit}"]
    command += [f"--tempdir={scratch}"]
    # A class or file takes the tests in it along.
    patterns = [pattern for test in excluded for pattern in (f"test.{test}", f"test.{test}.*")]
    command += [argument for pattern in patterns for argument in ("--ignore", pattern)] + tests
    # Settings for Python made in the caller's shell would be inherited by the tests, and some fail under some.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    extent = f"{len(tests)} files" if tests else "all files"
    print(f"{flavour}: running CPython's tests ({extent}), output in {shown(log)}", flush=True)
    with open(log, "w") as output:
        progress = Progress(flavour)
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=BUILD / flavour,
            env=environment,
        )
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            output.write(line)
            progress.show(line)
        status = process.wait()
        progress.end()
    closing = next((at for at, line in enumerate(lines) if line.startswith("== Tests result")), None)
    if closing is None:
        raise Failure("\n".join(lines[-20:]) + f"\nThe suite did not end by itself (status {status}); see {shown(log)}")
    print("\n".join(lines[closing:]), flush=True)
    files = {found["file"]: found["result"] for line in lines if (found := _FILE_RESULT.search(line))}
    if not files:
        raise Failure(f"No test file was run; see {shown(log)}")
    return {"files": files, "tests": read_junit(junit) if junit.exists() else {}}


class Progress:
    """One line that follows regrtest's counter, on a terminal; a line now and then elsewhere."""

    def __init__(self, flavour):
        self.flavour, self.tty, self.shown_at = flavour, sys.stdout.isatty(), 0

    def show(self, line):
        found = re.search(r"\[ *(\d+)/(\d+)", line)
        if found is None:
            return
        done = int(found[1])
        if self.tty:
            print(f"\r{self.flavour}: {done}/{found[2]} test files", end="", flush=True)
        elif done >= self.shown_at + 50:
            self.shown_at = done
            print(f"{self.flavour}: {done}/{found[2]} test files", flush=True)

    def end(self):
        if self.tty:
            print()


def read_junit(path):
    """Maps each test's dotted name (test_x.Class.method) to passed, failed or skipped."""
    results = {}
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        if case.get("name") is None:
            continue  # regrtest's record of a test of which only subtests failed; by name that test is absent then
        name = re.sub("0x[0-9a-f]+", "0x...", case.get("name").removeprefix("test."))
        # Subtests share a name; the worst of them counts.
        if results.get(name) != "failed":
            results[name] = result
    return results


def differences(patched, stock):
    """[(name, result in stock, result in patched)] of tests that differ, and of files whose tests do not show why."""
    found = []
    for kind in ("tests", "files"):
        for name in sorted(patched[kind].keys() | stock[kind].keys()):
            pair = stock[kind].get(name, "absent"), patched[kind].get(name, "absent")
            if pair[0] != pair[1] and not any(test.startswith(name + ".") for test, _, _ in found):
                found.append((name, *pair))
    return found


def files_of(found, known_files):
    """The test files that the differing names belong to."""
    files = set()
    for name, _, _ in found:
        files |= {file for file in known_files if name == file or name.startswith(file + ".")}
    return sorted(files)


def explained(name, reasons):
    return next((reason for prefix, reason in reasons.items() if name == prefix or name.startswith(prefix + ".")), None)


def stock_results(tests, rerun):
    python = BUILD / "stock/python"
    key = hashlib.sha256(python.read_bytes()).hexdigest() if python.exists() else None
    kept = BUILD / "cpython-tests/stock.json"
    if not tests and not rerun and kept.exists():
        saved = json.loads(kept.read_text())
        if saved["key"] == key:
            print("stock: the results of the last run on this build are used (--rerun-stock runs it again)")
            return saved["results"]
    results = run_suite("stock", tests)
    if not tests:
        kept.write_text(json.dumps({"key": key, "results": results}))
    return results


def compare(tests, rerun_stock):
    reasons = listed(DIFFERENCES)
    stock = stock_results(tests, rerun_stock)
    patched = run_suite("release", tests)
    found = differences(patched, stock)
    again = files_of(found, patched["files"].keys() | stock["files"].keys())
    if again:
        print(f"\n{len(found)} differences; running {len(again)} files once more on both builds: {' '.join(again)}")
        found = differences(run_suite("release", again, title="-again"), run_suite("stock", again, title="-again"))
    unexplained = 0
    print("\nDifferences between the patched and the stock build:")
    for name, before, after in found:
        reason = explained(name, reasons)
        unexplained += reason is None
        print(f"  {name}: stock {before}, patched {after}: {reason or 'NOT EXPLAINED'}")
    print(
        f"{len(patched['files'])} test files, {len(patched['tests'])} tests: "
        f"{len(found)} differences, {unexplained} not explained"
    )
    return 1 if unexplained else 0


def check_patched(tests):
    excluded = listed(EXCLUSIONS) | listed(DIFFERENCES)
    for name, reason in excluded.items():
        print(f"left out: {name}: {reason}")
    results = run_suite("release", tests, excluded)
    bad = sorted(name for name, result in results["files"].items() if result not in _GOOD)
    if bad:
        print(f"\nrunning once more on their own: {' '.join(bad)}")
        again = run_suite("release", bad, excluded, title="-again")["files"]
        bad = [name for name in bad if again.get(name) not in _GOOD]
    for name in bad:
        print(f"FAILED twice: {name}")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description="CPython's own tests on the patched and the stock build.")
    parser.add_argument("--patched-only", action="store_true")
    parser.add_argument("--rerun-stock", action="store_true")
    parser.add_argument("tests", nargs="*")
    arguments = parser.parse_args()
    if arguments.patched_only:
        return check_patched(arguments.tests)
    return compare(arguments.tests, arguments.rerun_stock)


if __name__ == "__main__":
    run_tool(main)
