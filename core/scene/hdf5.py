"""HDF5 files that may be broken: what one says it holds must be in it before memory is taken for it; our own are sealed."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

from core.errors import InputError, SceneError
from core.geometry import Array

_MOST_PACKED = 1100  # deflate makes 1032 bytes of one at most
_SMALL_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 22
SEAL_BYTES = 512  # the smallest user block, which HDF5 leaves to the application
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEAL = b"fgsn seal crc32 "

CORRUPT = (KeyError, IndexError, OSError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError, OverflowError)
"""What h5py and NumPy raise on files that are broken or of another layout."""


def whole_array(dataset: h5py.Dataset) -> Array:
    """All of a dataset. Raises ValueError where its shape is of more than the file stores for it."""
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _SMALL_BYTES and (dataset.is_virtual or dataset.nbytes > _MOST_PACKED * stored):
        raise ValueError(f"{dataset.name.lstrip('/')} is {dataset.shape} by its shape, but {stored} bytes are stored")
    return dataset[()]


@contextlib.contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; a broken file or part of it is a SceneError that names the file."""
    if not path.is_file():
        raise SceneError(f"{path}: no such file")
    if seal_is_broken(path):
        raise SceneError(f"{path}: cut off or changed since it was written")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SceneError(f"{path}: cut off or no HDF5 file") from error
    with file:
        try:
            yield file
        except InputError:
            raise
        except CORRUPT as error:
            raise SceneError(f"{path}: corrupt ({error})") from error


def seal(path: str | Path) -> None:
    """Note the CRC-32 of a closed file in its user block of ``SEAL_BYTES``; without a user block it stays as it is.

    The HDF5 library can read some broken files for ever, and no caller can interrupt it.
    """
    with open(path, "r+b") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            mark = _seal_of(file)
            file.seek(0)
            file.write(mark)


def seal_is_broken(path: str | Path) -> bool:
    """Whether a sealed file is no longer what was sealed; False for files without a seal, of which only the start is read."""
    with open(path, "rb") as file:
        start = file.read(SEAL_BYTES)
        return start.startswith(_SEAL) and start != _seal_of(file)


def _seal_of(file: BinaryIO) -> bytes:
    """The user block that fits to what follows it."""
    file.seek(SEAL_BYTES)
    checksum = 0
    while chunk := file.read(_CHUNK_BYTES):
        checksum = zlib.crc32(chunk, checksum)
    return (_SEAL + b"%08x" % checksum).ljust(SEAL_BYTES, b"\0")
