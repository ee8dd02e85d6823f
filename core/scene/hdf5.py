"""HDF5 files that may be broken: what one says it holds must be in it before memory is taken for it; our own are sealed."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py

from core.geometry import Array

_MOST_PACKED = 1100  # deflate makes 1032 bytes of one at most
_SMALL_BYTES = 1 << 16
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


def seal(path: str | Path) -> None:
    """Note the CRC-32 of a closed file in its user block of ``SEAL_BYTES``; without a user block it stays as it is.

    The HDF5 library can read some broken files for ever, and no caller can interrupt it.
    """
    with open(path, "r+b") as file:
        content = file.read()
        if content[:8] != _SIGNATURE:
            file.seek(0)
            file.write((_SEAL + b"%08x" % zlib.crc32(content[SEAL_BYTES:])).ljust(SEAL_BYTES, b"\0"))


def seal_is_broken(path: str | Path) -> bool:
    """Whether a sealed file is no longer what was sealed; False for files without a seal."""
    content = Path(path).read_bytes()
    if not content.startswith(_SEAL):
        return False
    return content[:SEAL_BYTES] != (_SEAL + b"%08x" % zlib.crc32(content[SEAL_BYTES:])).ljust(SEAL_BYTES, b"\0")
