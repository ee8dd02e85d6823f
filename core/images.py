"""Images from disk, as RGB, whatever they were."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from core.errors import ImageError, InputError
from core.geometry import Array

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def is_image_file(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def read_image(path: str | Path) -> Array:
    """Read an image as RGB (H, W, 3) u8: grey, alpha and 16 bit are converted, EXIF rotation is applied.

    Raises FileNotFoundError, or ImageError when the file is empty, cut off or no image.
    """
    path = Path(path)
    data = _read_bytes(path)
    image = _decode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise _unreadable(path, data)
    return image


def check_image(path: str | Path) -> None:
    """Raise what ``read_image`` would raise, at an eighth of the size where the format allows it (JPEG)."""
    path = Path(path)
    data = _read_bytes(path)
    if _decode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None and _decode(data, cv2.IMREAD_GRAYSCALE) is None:
        raise _unreadable(path, data)  # the second try is for fewer than eight pixels a side


def _decode(data: bytes, flags: int) -> Array | None:
    """Decode without OpenCV's own messages on stderr; None where it cannot."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # over 2**30 pixels, or nothing left after the reduction
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _unreadable(path: Path, data: bytes) -> ImageError:
    image = _decode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        return ImageError(f"{path}: not a readable image; expected one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    return ImageError(f"{path}: its samples are {image.dtype}; expected 8 or 16 bit")


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image file")
    data = path.read_bytes()
    if not data:
        raise ImageError(f"{path}: the image file is empty")
    if _is_cut_off(data):
        raise ImageError(f"{path}: the image is cut off after {len(data)} bytes")
    return data


def _is_cut_off(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; decoders fill such a picture with grey and say nothing."""
    if data[:4] == b"\x89PNG":
        return b"IEND" not in data
    if data[:2] != b"\xff\xd8":
        return False
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.find(b"\xff\xd9", position) < 0  # searched after the start of scan: an EXIF thumbnail has an end too


def read_labels(path: str | Path) -> Array:
    """Read a label PNG, of up to 16 bit with one channel, as (H, W) u16; of a PNG with a palette the indices."""
    path = Path(path)
    data = _read_bytes(path)
    labels = _decode(_without_palette(data), cv2.IMREAD_UNCHANGED)
    if labels is None or labels.ndim != 2 or labels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: expected a label image with one channel of 8 or 16 bit")
    few_bits = data[:4] == b"\x89PNG" and data[24] < 8  # OpenCV spreads such values over 0 to 255
    return labels.astype(np.uint16) // (255 // (2 ** data[24] - 1) if few_bits else 1)


def _without_palette(data: bytes) -> bytes:
    """A PNG with palette indices as a grey one, whose values are the indices; anything else as it is.

    The pixels of both are stored alike; only the head and the palette differ. OpenCV gives colours, never indices.
    """
    if data[:4] != b"\x89PNG" or data[25:26] != b"\x03":
        return data
    head = b"IHDR" + data[16:25] + b"\x00" + data[26:29]
    parts = [data[:12], head, zlib.crc32(head).to_bytes(4, "big")]
    position = 33
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] not in (b"PLTE", b"tRNS", b"bKGD", b"hIST", b"sBIT"):
            parts.append(data[position:end])
        position = end
    return b"".join(parts)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height in px that ``read_image`` gives; of plain JPEG and PNG files only the head is read.

    Raises FileNotFoundError or ImageError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image file")
    with path.open("rb") as file:
        size = _size_of_head(file.read(_HEAD_BYTES))
    if size is None:
        height, width = read_image(path).shape[:2]
        size = width, height
    return size


_HEAD_BYTES = 65536
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _size_of_head(head: bytes) -> tuple[int, int] | None:
    """Width and height from a file's first bytes; None where they do not say, or an EXIF rotation may swap them."""
    if head[:4] == b"\x89PNG" and head[12:16] == b"IHDR" and b"eXIf" not in head:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head[:2] != b"\xff\xd8":
        return None
    position = 2
    while head[position : position + 1] == b"\xff" and position + 9 <= len(head):
        if head[position + 4 : position + 8] == b"Exif":
            return None
        if head[position + 1] in _START_OF_FRAME:
            height, width = (int.from_bytes(head[position + k : position + k + 2], "big") for k in (5, 7))
            return width, height
        position += 2 + int.from_bytes(head[position + 2 : position + 4], "big")
    return None


def write_image(path: str | Path, image: Array, quality: int = 92) -> None:
    """Write RGB (H, W, 3) u8, or labels (H, W) u8/u16 as PNG, by the name's suffix; the file appears whole or not at all."""
    path = Path(path)
    pixels = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in (".jpg", ".jpeg") else []
    ok, data = cv2.imencode(path.suffix, pixels, options)
    if not ok:
        raise InputError(f"{path}: images cannot be written with this suffix")
    write_atomic(path, lambda file: Path(file).write_bytes(data.tobytes()))


_TEMPORARY = ".fgsn-"


def leftovers(folder: Path) -> list[Path]:
    """The temporary files of ``write_atomic`` in a folder and below, left by processes that were killed."""
    return [path for path in Path(folder).rglob(f"{_TEMPORARY}*.part*") if path.is_file()]


def write_atomic(path: Path, write: Callable[[str], object]) -> None:
    """Call ``write(temporary_name)`` beside ``path``, then move the result into place.

    A process that is killed leaves the temporary file; ``leftovers`` finds it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY, suffix=f".part{path.suffix}")
        os.close(handle)
        try:
            write(temporary)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def resize_image(image: Array, width: int, height: int) -> Array:
    """Resize (H, W[, 3]) with area averaging when it shrinks, bilinear when it grows."""
    shrinks = width < image.shape[1] or height < image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def limit_size(image: Array, max_side: int) -> tuple[Array, float]:
    """Shrink so that the longer side is at most ``max_side`` px; also return the scale small / full (at most 1)."""
    height, width = image.shape[:2]
    scale = min(1.0, max_side / max(height, width))
    if scale == 1.0:
        return image, 1.0
    return resize_image(image, max(1, round(width * scale)), max(1, round(height * scale))), scale


def resize_keypoints(keypoints: Array, scale: float) -> Array:
    """Move (N, 2) px between image sizes: pixel areas scale, so centres shift by half a pixel."""
    return (keypoints + 0.5) * scale - 0.5
