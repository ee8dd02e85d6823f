"""Arrays of HDF5 files that others made: what a file says it holds must be in it before memory is taken for it."""

from __future__ import annotations

import h5py

from core.geometry import Array

_MOST_PACKED = 1100  # deflate makes 1032 bytes of one at most
_SMALL_BYTES = 1 << 16

CORRUPT = (KeyError, IndexError, OSError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError, OverflowError)
"""What h5py and NumPy raise on files that are broken or of another layout."""


def whole_array(dataset: h5py.Dataset) -> Array:
    """All of a dataset. Raises ValueError where its shape is of more than the file stores for it."""
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _SMALL_BYTES and (dataset.is_virtual or dataset.nbytes > _MOST_PACKED * stored):
        raise ValueError(f"{dataset.name.lstrip('/')} is {dataset.shape} by its shape, but {stored} bytes are stored")
    return dataset[()]
