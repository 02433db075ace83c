"""Finds CPython's source and keeps a stock copy of it in build/pristine.

usage: cpython_source.py [--cache]

Tried in this order: CPYTHON_SRC= or CPYTHON_TARBALL= (from the environment); the user's cache; the release
tarball from python.org, checked by sha256; Debian's source package. With --cache the source is also written to
the user's cache, from where later builds, of other checkouts too, take it.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import cpython_version
import tree
from layout import CACHE, PRISTINE, PROJECT, Failure, preparing, run_tool, shown

RELEASES = PROJECT / "tools/cpython-sha256.txt"


class NotHere(Exception):
    """A place that was tried has no source; the next one may."""


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if sys.version_info >= (3, 11) else _sha256(file)


def _sha256(file):
    hasher = hashlib.sha256()
    while block := file.read(1 << 20):
        hasher.update(block)
    return hasher.hexdigest()


def unpack(tarball, staged):
    staged.mkdir()
    result = subprocess.run(
        ["tar", "-xf", tarball, "-C", staged, "--strip-components=1", "--no-same-owner"], capture_output=True, text=True
    )
    if result.returncode:
        raise Failure(f"{tarball} cannot be unpacked: {result.stderr.strip()}")


def from_directory(directory, staged):
    directory = pathlib.Path(directory).expanduser().resolve()
    cpython_version.require(directory, str(directory))
    if (directory / "pyconfig.h").exists():
        raise Failure(
            f"{directory} holds a build as well as the source. Clean it with `make distclean` there, "
            "or name a clean tree with CPYTHON_SRC=."
        )
    for name in tree.files(directory):
        target = staged / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(directory / name, target, follow_symlinks=False)
    return str(directory)


def from_tarball(tarball, staged):
    tarball = pathlib.Path(tarball).expanduser().resolve()
    if not tarball.is_file():
        raise Failure(f"CPYTHON_TARBALL={tarball}: there is no such file.")
    wanted = os.environ.get("CPYTHON_SHA256")
    if wanted and sha256(tarball) != wanted:
        raise Failure(f"{tarball} has sha256 {sha256(tarball)}, not {wanted} as CPYTHON_SHA256 says.")
    unpack(tarball, staged)
    return str(tarball)


def cached_tarballs():
    """Complete tarballs of the user's cache, the newest first: those whose checksum file is there and right."""
    for tarball in sorted(CACHE.glob("cpython-*.tar.gz"), key=lambda path: path.stat().st_mtime, reverse=True):
        checksum = tarball.with_name(tarball.name + ".sha256")
        if checksum.exists() and checksum.read_text().split()[:1] == [sha256(tarball)]:
            yield tarball


def from_cache(staged):
    for tarball in cached_tarballs():
        unpack(tarball, staged)
        return f"the cache, {tarball}"
    raise NotHere(f"{CACHE} holds no source (`make cache-source CPYTHON_SRC=<directory>` fills it)")


def release_to_download():
    """(version, sha256) to take from python.org."""
    known = {}
    for line in RELEASES.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            version, checksum, *_ = line.split()
            known[version] = checksum
    version = os.environ.get("CPYTHON_VERSION") or next(iter(known), None)
    checksum = os.environ.get("CPYTHON_SHA256") or known.get(version)
    if version is None or checksum is None:
        raise NotHere(
            f"no checksum is known for version {version}: give CPYTHON_SHA256= or add a line to {shown(RELEASES)}"
        )
    return version, checksum


def from_python_org(staged):
    version, checksum = release_to_download()
    folder = version.partition("rc")[0]
    url = f"https://www.python.org/ftp/python/{folder}/Python-{version}.tar.xz"
    tarball = staged.with_name(f"Python-{version}.tar.xz")
    print(f"downloading {url}", flush=True)
    try:
        with urllib.request.urlopen(url, timeout=30) as response, open(tarball, "wb") as file:
            shutil.copyfileobj(response, file)
    except (urllib.error.URLError, OSError) as error:
        raise NotHere(f"{url}: {getattr(error, 'reason', error)}") from None
    if sha256(tarball) != checksum:
        raise Failure(f"{url} has sha256 {sha256(tarball)}, but {checksum} was expected. It is not used.")
    unpack(tarball, staged)
    return url


def from_debian(staged):
    folder = staged.with_name("debian")
    folder.mkdir()
    print("asking Debian for the source package python3.15", flush=True)
    result = subprocess.run(
        [PROJECT / "tools/debian-fetch", "source", "python3.15", folder], capture_output=True, text=True
    )
    if result.returncode:
        raise NotHere(f"Debian's source package python3.15: {result.stderr.strip()}")
    # The upstream tarball as Debian keeps it, without Debian's own patches.
    (tarball,) = folder.glob("*.orig.tar.*z")
    unpack(tarball, staged)
    return f"Debian's source package, {tarball.name}"


def stage(staged):
    """Fills staged with a source tree and says where it is from; a Failure tells all places that were tried."""
    if directory := os.environ.get("CPYTHON_SRC"):
        return from_directory(directory, staged)
    if tarball := os.environ.get("CPYTHON_TARBALL"):
        return from_tarball(tarball, staged)
    refusals = []
    for place in (from_cache, from_python_org, from_debian):
        try:
            return place(staged)
        except NotHere as refusal:
            refusals.append(str(refusal))
    tried = "\n".join(f"  - {refusal}" for refusal in refusals)
    raise Failure(
        f"No CPython source was found. Wanted: {cpython_version.ACCEPTED}. Tried:\n{tried}\n"
        "Name a source with CPYTHON_SRC=<directory> or CPYTHON_TARBALL=<file>, "
        "or put one into the cache with `make cache-source CPYTHON_SRC=<directory>`."
    )


def named_by_user():
    return bool(os.environ.get("CPYTHON_SRC") or os.environ.get("CPYTHON_TARBALL"))


def acquire():
    """Brings build/pristine up to date and returns its stamp: version, origin, content."""
    stamp = tree.read_stamp(PRISTINE)
    if stamp is None or named_by_user():
        with preparing() as folder:
            staged = folder / "tree"
            origin = stage(staged)
            version = cpython_version.require(staged, origin)
            stamp = {"version": version, "origin": origin, "content": tree.digest(tree.manifest(staged))}
            tree.install(staged, PRISTINE, stamp)
    print(f"CPython {stamp['version']} from {stamp['origin']}", flush=True)
    return stamp


def write_cache(stamp):
    """Packs build/pristine into the cache: the tarball first, then the checksum that makes it count."""
    CACHE.mkdir(parents=True, exist_ok=True)
    tarball = CACHE / f"cpython-{stamp['version']}.tar.gz"
    checksum = tarball.with_name(tarball.name + ".sha256")
    temporary = tarball.with_name(f".{tarball.name}.{os.getpid()}")
    try:
        names = "\0".join(f"{PRISTINE.name}/{name}" for name in tree.files(PRISTINE))
        subprocess.run(
            ["tar", "-czf", temporary, "-C", PRISTINE.parent, "--null", "-T", "-"], input=names, text=True, check=True
        )
        checksum.unlink(missing_ok=True)
        os.replace(temporary, tarball)
        temporary.write_text(f"{sha256(tarball)}  {tarball.name}\n")
        os.replace(temporary, checksum)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"cached as {tarball} ({tarball.stat().st_size / 1e6:.0f} MB)")


def main():
    stamp = acquire()
    if "--cache" in sys.argv[1:]:
        write_cache(stamp)


if __name__ == "__main__":
    run_tool(main)
