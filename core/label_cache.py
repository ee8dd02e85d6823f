"""Labels and thumbnails by the content of image files, kept between sessions."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.disk_cache import DiskCache, digest
from core.errors import ImageError
from core.geometry import Array
from core.images import limit_size, read_image
from core.records import LabelMap

LABELS, THUMBNAILS = "labels", "thumbnails"
_BROKEN = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def pack_labels(labels: LabelMap, seconds: float = 0.0) -> bytes:
    """A label map as the bytes of an npz file; confidence in steps of 1/255. ``seconds``: what it took to find them."""
    confidence = np.zeros((0, 0)) if labels.confidence is None else labels.confidence
    about: list[Any] = [labels.num_labels, seconds]
    target = io.BytesIO()
    np.savez_compressed(
        target,
        labels=labels.labels,
        confidence=np.rint(confidence * 255).astype(np.uint8),
        about=np.array(about, np.float64),
        vocabulary=np.array(labels.vocabulary),
        names=np.array(labels.names or (), dtype=str),
    )
    return target.getvalue()


def unpack_labels(content: bytes) -> tuple[LabelMap, float] | None:
    """The label map and the seconds of ``pack_labels``; None where the bytes are broken."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            num_labels, seconds = found["about"]
            confidence = found["confidence"].astype(np.float32) / 255 if found["confidence"].size else None
            names = tuple(str(name) for name in found["names"]) or None
            labels = LabelMap(found["labels"], int(num_labels), str(found["vocabulary"]), confidence, names)
            return labels, float(seconds)
    except _BROKEN:
        return None


def kept_labels(cache: DiskCache, identity: str, image: bytes) -> LabelMap | None:
    """The labels that a network of this identity once gave an image file of this content, or None."""
    key = digest(identity, image)
    content = cache.get(LABELS, key)
    found = None if content is None else unpack_labels(content)
    if content is not None and found is None:
        cache.drop(LABELS, key)
    return None if found is None else found[0]


def keep_labels(cache: DiskCache, identity: str, image: bytes, labels: LabelMap) -> LabelMap:
    """Keep what a network gave an image, and return it as it will come back. ``identity`` has to change with everything
    that changes the labels.
    """
    content = pack_labels(labels)
    cache.put(LABELS, digest(identity, image), content)
    return unpack_labels(content)[0]


def thumbnail(path: Path, max_side: int, cache: DiskCache | None = None) -> Array:
    """An image of at most ``max_side`` px, (h, w, 3) u8, out of the cache where one of this content was made before.

    Raises OSError or ImageError as ``read_image`` does.
    """
    content = path.read_bytes() if cache is not None and path.is_file() else None
    if content is None:
        return limit_size(read_image(path), max_side)[0]
    key = digest(max_side, content)
    small = _decoded(cache.get(THUMBNAILS, key))
    if small is None:
        small = limit_size(read_image(path), max_side)[0]
        cache.put(THUMBNAILS, key, _encoded(small, path))
    return small


def _encoded(image: Array, path: Path) -> bytes:
    """Without loss: what comes out of the cache is what was put in."""
    done, data = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise ImageError(f"{path}: its thumbnail of {image.shape} cannot be written")
    return data.tobytes()


def _decoded(content: bytes | None) -> Array | None:
    image = None if not content else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    return image if image is not None and image.ndim == 3 else None
