"""Raw files with pinned content, placed from the first source that has them: a folder, a web address or a package.

A source hands over one file at a time, decompressed; `collect_files` asks a chain of sources and places
only files whose SHA-256 is the pinned one, so that every source gives the same bytes. Downloads stay in memory until
they are checked.
"""

from __future__ import annotations

import gzip
import io
import signal
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from stages.lib.core.files import read_plain, write_bytes
from stages.lib.data.dataset import FileSource, Pin, hash_data

# What reading and unpacking raise on a file that is not what it should be.
DAMAGE = (OSError, EOFError, ValueError, zlib.error)
SLACK = 2**16  # bytes that a file may be longer when it is compressed
PIECE = 2**16  # bytes that are taken off an answer at once
TIMEOUT = (4.0, 15.0)  # seconds to connect, and between two pieces of the answer: short, since another source follows
PATIENCE = 30.0  # seconds for a whole answer, however short
SLOWEST = 200_000  # bytes a second that a longer one has to come with
APT_PATIENCE = 600.0  # seconds for one command of the package manager: a package may have 31 MB


class Unavailable(Exception):
    """A source cannot give a file; the message is the reason."""


# Chains of sources -------------------------------------------------------------------------------------------------


def collect_files(pins: Mapping[str, Pin], chain: Iterable[FileSource], target: Path) -> None:
    """Fill the new folder `target` with the pinned files, each from the first source of the chain that has it.

    Prints why a source failed and where each file came from. Raises Unavailable, with all reasons, when a file is still
    missing at the end. A source that failed once is not asked for the remaining files.
    """
    missing, reasons = list(pins), list[str]()
    for source in chain:
        try:
            while missing:
                write_bytes(target / missing[0], read_checked(source, missing[0], pins[missing[0]]))
                print(f"{target / missing.pop(0)}: from {source.label}", flush=True)
        except Unavailable as reason:
            reasons.append(f"{source.label}: no {missing[0]}: {reason}")
            print(reasons[-1], flush=True)
    if missing:
        raise Unavailable("\n  ".join([f"no source gave {', '.join(missing)}", *reasons]))


def read_checked(source: FileSource, name: str, pin: Pin) -> bytes:
    """A file's content; Unavailable where it is not the pinned one."""
    try:
        data = source.read(name, pin.size)
    except DAMAGE as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    if len(data) != pin.size:
        raise Unavailable(f"{len(data):,} bytes, expected {pin.size:,}")
    if hash_data(data) != pin.sha256:
        raise Unavailable(f"SHA-256 {hash_data(data)}, expected {pin.sha256}")
    return data


# Folders -----------------------------------------------------------------------------------------------------------


def from_folder(path: Path) -> FileSource:
    """Files that are already on this machine, plain or .gz."""
    return FileSource(str(path), partial(read_folder, path))


def read_folder(path: Path, name: str, size: int) -> bytes:
    if not path.is_dir():
        raise Unavailable("no such folder")
    for candidate in (path / name, path / f"{name}.gz"):
        if candidate.is_file():
            return gunzip(read_plain(candidate, most=size + SLACK), size)
    raise Unavailable(f"neither {name} nor {name}.gz is in that folder")


def gunzip(data: bytes, size: int) -> bytes:
    """Decompress; data that are not gzip are returned as they are (some servers decompress on their own).

    Unavailable where there are more than so many bytes: a few of them can be made into gigabytes.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        content = file.read(size + 1)
    if len(content) > size:
        raise Unavailable(f"more than {size:,} bytes when decompressed, expected {size:,}")
    return content


# Web addresses -----------------------------------------------------------------------------------------------------


def from_mirror(base_url: str) -> FileSource:
    """A web folder with the files as .gz."""
    return FileSource(base_url, lambda name, size: gunzip(download(f"{base_url}{name}.gz", most=size + SLACK), size))


def download(url: str, *, most: int) -> bytes:
    """The content of an address, of at most so many bytes; raises Unavailable when it did not come whole."""
    import requests  # slow to import

    content = bytearray()
    try:
        with within(PATIENCE + most / SLOWEST), requests.get(url, stream=True, timeout=TIMEOUT) as response:
            response.raise_for_status()
            pieces = response.iter_content(PIECE)
            for piece in tqdm(pieces, url, total=most // PIECE, leave=False, disable=None):
                content += piece
                if len(content) > most:
                    raise Unavailable(f"more than {most:,} bytes, expected fewer")
    except OSError as error:  # all errors of requests are OSErrors; the root cause is the readable one
        cause: BaseException = error
        while cause.__context__:
            cause = cause.__context__
        raise Unavailable(f"{type(cause).__name__}: {cause}") from error
    return bytes(content)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Unavailable when that time is over: a byte now and then would keep every other limit."""

    def stop(*_: object) -> None:
        raise Unavailable(f"gave no whole answer within {seconds:.3g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Debian and Ubuntu's package manager, without root and without installing anything ---------------------------------


def from_debian_package(package: str, folder: Path, scratch: Path) -> FileSource:
    """The files of a package that would install them, as .gz, in `folder`; it is unpacked in the folder `scratch`."""
    unpacked = scratch / "unpacked"

    def read(name: str, size: int) -> bytes:
        if not unpacked.exists():
            unpack_package(package, scratch, unpacked)
        return read_folder(unpacked / folder.relative_to("/"), name, size)

    return FileSource(f"Debian package {package}", read)


def unpack_package(package: str, scratch: Path, unpacked: Path) -> None:
    """Download the package with a package index of our own, and unpack it without installing it."""
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True, exist_ok=True)
    warnings = run_tool([*apt_command(scratch), "update"], scratch)
    run_tool([*apt_command(scratch), "download", package], scratch, warnings)
    (archive,) = scratch.glob("*.deb")
    run_tool(["dpkg-deb", "-x", archive.name, unpacked.name], scratch)


def apt_command(scratch: Path) -> list[str]:
    """apt-get with its state in the folder `scratch`, so that it needs no root, and without long waits."""
    options = {
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",  # as root it would drop to a user who cannot write to `scratch`
        "Acquire::Languages": "none",
        "Acquire::Retries": 1,
        "Acquire::http::Timeout": 10,  # and of https
    }
    return ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


def run_tool(command: Sequence[str], folder: Path, earlier_warnings: str = "") -> str:
    """Run a command and return its warnings; raises Unavailable with its first and last line of errors."""
    try:
        done = subprocess.run(
            command, cwd=folder, input="", capture_output=True, encoding="utf-8", errors="replace", timeout=APT_PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} gave no result within {APT_PATIENCE:g} seconds") from error
    warnings = earlier_warnings + done.stderr
    if done.returncode:
        messages = warnings.splitlines() or ["no message"]
        raise Unavailable(f"{command[0]} failed: {'; '.join(dict.fromkeys([messages[0], messages[-1]]))}")
    return warnings
