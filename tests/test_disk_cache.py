"""What was made once is kept on disk by its content, within a limit, and never stands in the way."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from core.disk_cache import DEFAULT_BYTES, DiskCache, digest
from core.errors import ImageError
from core.images import limit_size, read_image, write_image
from core.label_cache import keep_labels, kept_labels, pack_labels, thumbnail, unpack_labels
from core.records import ImageData, LabelMap
from core.steps import finish
from fgsn_viewer.cache_place import cache_folder, disk_cache
from fgsn_viewer.labelling import Labelling, network_identity

LABELS = LabelMap(np.arange(12).reshape(3, 4) * 20, 300, "toy", np.full((3, 4), 0.301), tuple(map(str, range(300))))


def age(cache, kind, key, seconds):
    path = cache.folder / kind / key[:2] / f"{key}.cached"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def files_of(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_was_put_comes_back_also_in_another_process_life(tmp_path):
    cache, key = DiskCache(tmp_path, 1000), digest("a", b"b", 3)
    assert cache.get("labels", key) is None
    assert cache.put("labels", key, b"content")
    assert DiskCache(tmp_path, 1000).get("labels", key) == b"content"
    assert DiskCache(tmp_path, 1000).get("thumbnails", key) is None
    use = cache.use()
    assert (use.files, use.bytes, use.total_bytes) == ({"labels": 1}, {"labels": 7}, 7)
    assert (tmp_path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_a_digest_tells_its_parts_apart():
    parts = [("ab",), ("a", "b"), (b"ab",), (b"a", b"b"), (1,), ("1",), (b"1",), ()]
    assert len({digest(*one) for one in parts}) == len(parts)
    assert digest("a", 1) == digest("a", 1)


def test_the_least_recently_used_go_first(tmp_path):
    cache = DiskCache(tmp_path, 1000)
    keys = [digest(k) for k in range(10)]
    for k, key in enumerate(keys):
        cache.put("labels", key, bytes(100))
        age(cache, "labels", key, 1000 - k)
    assert cache.get("labels", keys[0]) is not None, "used: the youngest now"
    cache.put("labels", digest("new"), bytes(100))
    left = [k for k, key in enumerate(keys) if (cache.folder / "labels" / key[:2] / f"{key}.cached").exists()]
    assert left == [0, 3, 4, 5, 6, 7, 8, 9]
    assert cache.use().total_bytes == 900


def test_the_limit_holds_for_what_lay_there_before_and_for_large_contents(tmp_path):
    for k in range(20):
        DiskCache(tmp_path, 10_000).put("labels", digest(k), bytes(100))
    cache = DiskCache(tmp_path, 500)
    assert not cache.put("labels", digest("large"), bytes(501))
    assert cache.put("labels", digest("fits"), bytes(500))
    assert cache.use().total_bytes == 500
    assert cache.get("labels", digest("fits")) == bytes(500)


def test_a_limit_that_was_set_is_remembered_and_kept_at_once(tmp_path):
    cache = DiskCache(tmp_path)
    assert cache.max_bytes == DEFAULT_BYTES
    for k in range(5):
        cache.put("labels", digest(k), bytes(100))
    cache.set_limit(300)
    assert cache.use().total_bytes <= 300
    assert DiskCache(tmp_path).max_bytes == 300
    (tmp_path / "limit").write_text("nonsense")
    assert DiskCache(tmp_path).max_bytes == DEFAULT_BYTES
    with pytest.raises(ValueError, match="expected 0 or more"):
        cache.set_limit(-1)


def test_clearing_takes_only_what_the_cache_wrote(tmp_path):
    cache = DiskCache(tmp_path, 1000)
    cache.put("labels", digest(1), b"12345")
    cache.put("thumbnails", digest(2), b"1")
    for name in ("mine.txt", "labels/notes.cached", "labels/ab/short.cached", ".fgsn-other.part.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / "labels" / ".fgsn-killed.part.cached").write_text("left by a process that was killed")
    before = cache.clear()
    assert (before.files, before.total_bytes) == ({"labels": 1, "thumbnails": 1}, 6)
    assert files_of(tmp_path) == [".fgsn-other.part.png", "CACHEDIR.TAG", "mine.txt", "notes.cached", "short.cached"]
    assert cache.use().total_files == 0
    assert DiskCache(tmp_path / "none", 10).clear().total_files == 0


def test_a_cache_that_cannot_be_written_is_only_no_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file", 1000)
    assert not cache.put("labels", digest(1), b"content")
    assert cache.get("labels", digest(1)) is None
    assert cache.use().total_files == 0
    write_image(tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8))
    assert thumbnail(tmp_path / "a.png", 4, cache).shape == (4, 4, 3)


@pytest.mark.parametrize(("kind", "key"), [("../labels", digest(1)), ("labels", "../../etc"), ("labels", "short"), ("", "")])
def test_a_key_never_leads_out_of_the_folder(tmp_path, kind, key):
    with pytest.raises(ValueError, match="expected a word and a digest"):
        DiskCache(tmp_path, 10).put(kind, key, b"")


def test_threads_share_a_cache(tmp_path):
    cache = DiskCache(tmp_path, 2000)

    def work(start):
        for k in range(start, start + 30):
            cache.put("labels", digest(k), bytes(100))
            cache.get("labels", digest(k - 5))

    threads = [threading.Thread(target=work, args=(20 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < cache.use().total_bytes <= 2000
    assert not [name for name in files_of(tmp_path) if ".part" in name]


def test_labels_come_back_with_their_confidence_in_steps():
    labels, seconds = unpack_labels(pack_labels(LABELS, 1.5))
    np.testing.assert_array_equal(labels.labels, LABELS.labels)
    np.testing.assert_allclose(labels.confidence, LABELS.confidence, atol=0.5 / 255 + 1e-6)
    assert (labels.num_labels, labels.vocabulary, labels.names, seconds) == (300, "toy", LABELS.names, 1.5)
    bare, _ = unpack_labels(pack_labels(LabelMap(np.zeros((2, 3)), 5, "bare")))
    assert (bare.confidence, bare.names, bare.labels.shape) == (None, None, (2, 3))


@pytest.mark.parametrize("harm", [lambda b: b[:50], lambda b: b"", lambda b: b[:70] + bytes(4) + b[74:], lambda b: b"PK"])
def test_broken_labels_are_made_anew(tmp_path, harm):
    cache = DiskCache(tmp_path, 10**6)
    assert keep_labels(cache, "net 1", b"image", LABELS).num_labels == 300
    assert kept_labels(cache, "net 1", b"image") is not None
    assert kept_labels(cache, "net 2", b"image") is None
    assert kept_labels(cache, "net 1", b"other image") is None
    (file,) = (tmp_path / "labels").rglob("*.cached")
    file.write_bytes(harm(file.read_bytes()))
    assert kept_labels(cache, "net 1", b"image") is None
    assert not file.exists()


def test_thumbnails_are_by_content_not_by_name(tmp_path):
    cache = DiskCache(tmp_path / "cache", 10**6)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, pixels)
    fresh = thumbnail(tmp_path / "a.png", 30, cache)
    np.testing.assert_array_equal(fresh, limit_size(read_image(tmp_path / "a.png"), 30)[0])
    np.testing.assert_array_equal(thumbnail(tmp_path / "b.png", 30, cache), fresh)
    assert cache.use().files == {"thumbnails": 1}
    write_image(tmp_path / "a.png", 255 - pixels)
    assert not np.array_equal(thumbnail(tmp_path / "a.png", 30, cache), fresh)
    assert cache.use().files == {"thumbnails": 2}
    assert thumbnail(tmp_path / "a.png", 20, cache).shape == (13, 20, 3)


def test_a_broken_image_has_no_thumbnail_cached_or_not(tmp_path):
    cache = DiskCache(tmp_path / "cache", 10**6)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        thumbnail(tmp_path / "a.png", 20, cache)
    with pytest.raises(FileNotFoundError):
        thumbnail(tmp_path / "lost.png", 20, cache)
    assert cache.use().total_files == 0


class Network:
    """Counts what it is asked."""

    def __init__(self, sha256="abc", device="cpu"):
        self.info = SimpleNamespace(sha256=sha256, path=None)
        self.compute = SimpleNamespace(device=device, precision="fast")
        self.vocabulary, self.num_labels, self.names = "toy", 300, None
        self.device, self.precision, self.asked = device, "fast", 0

    def segment(self, image, source=None):
        self.asked += 1
        return LABELS


def label_in_a_new_session(network, image):
    labelling = Labelling(SimpleNamespace(load_segmenter=lambda name: network))
    return finish(labelling.labels_of("net.pth", image, read_image(image.path)))


def test_the_window_labels_an_image_once_in_all_its_sessions(tmp_path):
    write_image(tmp_path / "a.png", np.full((3, 4, 3), 9, np.uint8))
    image, network = ImageData("a.png", tmp_path / "a.png"), Network()
    found = [label_in_a_new_session(network, image) for _ in range(2)]
    assert network.asked == 1
    np.testing.assert_array_equal(found[0].confidence, found[1].confidence)
    np.testing.assert_array_equal(found[1].labels, LABELS.labels)
    assert disk_cache().use().files == {"labels": 1}
    label_in_a_new_session(Network(sha256="other"), image)
    label_in_a_new_session(Network(device="cuda"), image)
    assert disk_cache().use().files == {"labels": 3}
    write_image(image.path, np.full((3, 4, 3), 8, np.uint8))
    label_in_a_new_session(network, image)
    assert network.asked == 2


def test_what_only_looks_labels_up_is_not_kept(tmp_path):
    folder = SimpleNamespace(info=SimpleNamespace(sha256="abc"), vocabulary="toy", num_labels=3)
    assert network_identity(folder) == network_identity(Network(sha256="")) == ""
    assert network_identity(Network()) != network_identity(Network(device="cuda")) != ""


def test_the_cache_lies_where_the_platform_has_its_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder().name == "fgsn-viewer"
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert cache_folder() == tmp_path / "own" / "fgsn-viewer"
