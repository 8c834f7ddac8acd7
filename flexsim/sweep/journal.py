"""The results file while a sweep runs: whole lines appended and synced, in any order.

A process may be killed, a disk may be full: what was written stays, a torn last line is cut off
when the sweep goes on, and the finished file is put in order in one step.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import stat
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from flexsim.errors import SweepError
from flexsim.sweep.columns import FINGERPRINT, NUMBER, line

SYNC_EVERY_S = 0.2
_CHUNK = 1 << 20


class Journal:
    """An open results file, to which one process at a time appends rows.

    Opening it raises :class:`SweepError` where it is no results file with these columns, and
    cuts a torn last line off.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._columns, self._header = tuple(columns), line(columns).encode()
        self._synced_s = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._is_device = not stat.S_ISREG(os.fstat(self._file).st_mode)  # such as /dev/null
        try:
            _lock(self._file, path)
            self._begin()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.sync()
        finally:
            os.close(self._file)

    def append(self, text: str) -> None:
        """Append one line, all of it or nothing; it is synced now or soon.

        Raise :class:`SweepError` where there is no room, the rows before it kept.
        """
        self._write(text.encode())
        if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
            self.sync()

    def sync(self) -> None:
        """Let the system put on disk what was appended."""
        if not self._is_device:
            os.fsync(self._file)
        self._synced_s = time.monotonic()

    def rows(self) -> Iterator[dict[str, str]]:
        """Yield the rows in the order of the file; raise for a line that is none."""
        if self._is_device:
            return
        with self.path.open(newline="", encoding="utf-8", errors="replace") as stream:
            reader = csv.reader(stream)
            next(reader, None)
            try:
                for cells in reader:
                    if len(cells) != len(self._columns) or not cells[0].isdecimal():
                        raise self._not_a_row(reader.line_num)
                    yield dict(zip(self._columns, cells, strict=True))
            except csv.Error as problem:
                raise self._not_a_row(reader.line_num) from problem

    def check_rows(self, fingerprint: Callable[[int], str]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the sorted numbers of the configurations that have a row.

        Raise :class:`SweepError` where one is not that of this sweep, or is there twice.
        """
        numbers = array("q")
        for row in self.rows():
            number = int(row[NUMBER])
            if row[FINGERPRINT] != fingerprint(number):
                raise another_sweep(self.path, differs(number))
            numbers.append(number)
        found = np.unique(np.frombuffer(numbers, np.int64))
        if len(found) != len(numbers):
            raise another_sweep(self.path, "it has several rows for one configuration")
        return found

    def put_in_order(self) -> None:
        """Replace the file by one with the rows in the order of their numbers, in one step."""
        if self._is_device:
            return
        places = _places(self.path)
        if bool((np.diff(places[:, 0]) > 0).all()):
            return
        order = np.argsort(places[:, 0], kind="stable")
        with replacing(self.path) as temporary, temporary.open("wb") as stream:
            stream.write(self._header)
            with self.path.open("rb") as rows:
                for start, size in places[order, 1:]:
                    rows.seek(int(start))
                    stream.write(rows.read(int(size)))

    def _begin(self) -> None:
        """Write the header into a new file; else check it, and cut a torn last line off."""
        beginning = b"" if self._is_device else os.pread(self._file, len(self._header), 0)
        if not self._header.startswith(beginning):
            raise another_sweep(self.path, "its columns are others")
        if len(beginning) < len(self._header):
            if beginning:
                os.ftruncate(self._file, 0)
            self._write(self._header)
            self.sync()
            return
        self._cut_torn_line()

    def _cut_torn_line(self) -> None:
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - _CHUNK)
            piece = os.pread(self._file, end - start, start).rstrip(b"\0")
            newline = piece.rfind(b"\n")
            if newline >= 0:
                whole = start + newline + 1
                break
            end = start
        if whole < size:
            os.ftruncate(self._file, whole)
            self.sync()

    def _write(self, content: bytes) -> None:
        size = os.fstat(self._file).st_size
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as problem:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise no_room(self.path, problem) from problem

    def _not_a_row(self, number: int) -> SweepError:
        return SweepError(
            f"{self.path}: line {number} is no row of a sweep; mend or delete the line, or choose"
            " another --output"
        )


def no_room(path: Path, problem: OSError) -> SweepError:
    """Return what to tell where the system refuses to write."""
    full = problem.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    reason = "there is no room for more rows" if full else problem.strerror
    return SweepError(
        f"{path}: {reason}; the rows written so far are kept, and the same command goes on from"
        " them"
    )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` for what is to take its place, synced before it does."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as problem:
        raise no_room(path, problem) from problem
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(file: int, path: Path) -> None:
    """Keep other sweeps from writing to the same file, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise SweepError(
            f"{path}: another sweep is writing to it; wait for it, or choose another --output"
        ) from problem
    except OSError:
        return  # a file system without locks


def _places(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return (number, start, size in bytes) of every row, in the order of the file."""
    found = array("q")
    with path.open("rb") as stream:
        start = len(stream.readline())
        for text in stream:
            found.extend((int(text.partition(b",")[0]), start, len(text)))
            start += len(text)
    return np.frombuffer(found, np.int64).reshape(-1, 3)


def another_sweep(path: Path, why: str) -> SweepError:
    """Return what to tell of a file that is not of the sweep; it is left as it is."""
    return SweepError(
        f"{path}: it holds something else than results of this sweep ({why}); choose another"
        " --output, or delete it"
    )


def differs(number: int) -> str:
    """Return what is wrong where the fingerprint of a configuration is another one."""
    return (
        f"the fingerprint of configuration {number} is another one, so keys, files, profiles or"
        " the version of flexsim have changed"
    )
