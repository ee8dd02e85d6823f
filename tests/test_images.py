"""Whatever an image file is, it becomes RGB u8 or one clear sentence."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from core.errors import ImageError, InputError
from core.images import check_image, limit_size, read_image, read_labels, resize_keypoints, write_image


@pytest.fixture
def photo():
    """A non-square photo whose red grows to the right and green downwards."""
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([x * 4, y * 6, np.full_like(x, 30)], axis=-1).astype(np.uint8)


def test_rgb_order_survives_the_round_trip(tmp_path, photo):
    write_image(tmp_path / "ä photo.png", photo)
    np.testing.assert_array_equal(read_image(tmp_path / "ä photo.png"), photo)


def test_grey_alpha_and_sixteen_bit_become_rgb(tmp_path, photo):
    bgra = np.dstack([photo[..., ::-1], np.full(photo.shape[:2], 128, np.uint8)])
    files = {"grey": photo[..., 0], "alpha": bgra, "deep": photo[..., ::-1].astype(np.uint16) * 257}
    for name, pixels in files.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    assert (read_image(tmp_path / "grey.png") == photo[..., :1]).all()
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), photo)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), photo)


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    payload = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def test_exif_rotation_is_applied(tmp_path, photo):
    jpeg = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    (tmp_path / "turned.jpg").write_bytes(with_exif_orientation(jpeg, 6))
    turned = read_image(tmp_path / "turned.jpg")
    assert turned.shape == (60, 40, 3)
    assert np.abs(turned.astype(int) - np.rot90(photo, -1)).mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_cut_off_file_is_an_error_and_not_grey(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    path = tmp_path / f"cut{suffix}"
    write_image(path, noise)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".webp", ".ppm"])
def test_a_cut_off_file_of_any_kind_is_one_sentence_without_opencv_s_own(tmp_path, photo, suffix, capfd):
    path = tmp_path / f"cut{suffix}"
    write_image(path, photo)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (read_image, check_image):
        with pytest.raises(ImageError, match="not a readable image"):
            read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
def test_samples_of_more_than_sixteen_bit_are_named(tmp_path, photo, kind, capfd):
    path = tmp_path / "deep.tif"
    path.write_bytes(cv2.imencode(".tif", photo[..., 0].astype(kind))[1].tobytes())
    for read in (read_image, check_image):
        with pytest.raises(ImageError, match=rf"deep\.tif: its samples are {np.dtype(kind)}; expected 8 or 16 bit"):
            read(path)
    with pytest.raises(ImageError, match="8 or 16 bit"):
        read_labels(path)
    assert capfd.readouterr() == ("", "")


def test_an_image_of_too_many_pixels_is_not_readable(tmp_path):
    path = tmp_path / "vast.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes())
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = path.read_bytes()
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    for read in (read_image, check_image):
        with pytest.raises(ImageError, match="not a readable image"):
            read(path)


@pytest.mark.parametrize(("data", "words"), [(b"", "empty"), (b"hello, I am no image", "not a readable image")])
def test_files_that_are_no_images_say_so(tmp_path, data, words):
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=words):
        read_image(tmp_path / "x.jpg")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        read_image(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize("shape", [(1, 1, 3), (3000, 20, 3)])
def test_extreme_sizes_are_read(tmp_path, shape):
    image = np.full(shape, 77, np.uint8)
    write_image(tmp_path / "x.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), image)


def test_labels_keep_sixteen_bit(tmp_path):
    labels = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    write_image(tmp_path / "labels.png", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), labels)


def test_a_failed_write_says_where_and_leaves_nothing(tmp_path, photo):
    (tmp_path / "file").write_text("I am no folder")
    with pytest.raises(InputError, match=r"photo\.png: cannot be written"):
        write_image(tmp_path / "file" / "photo.png", photo)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_keypoints_follow_the_pixel_areas():
    image, scale = limit_size(np.zeros((480, 640, 3), np.uint8), 320)
    assert image.shape == (240, 320, 3)
    outer_corner = np.array([[639.5, 479.5]])
    np.testing.assert_allclose(resize_keypoints(outer_corner, scale), [[319.5, 239.5]])
    np.testing.assert_allclose(resize_keypoints(resize_keypoints(outer_corner, scale), 1 / scale), outer_corner)
