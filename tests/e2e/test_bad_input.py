"""Unusual and unusable files at the prompt: odd photographs are segmented, what cannot be done is one clear sentence."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from engine_networks import photograph, tiny_config

from core.engine.network import PSPNet
from core.engine.weights import NetworkInfo, save_network, small_preprocessing
from core.images import read_labels, write_image
from fgsn_viewer import cli

ROOT = Path(__file__).resolve().parents[2]
MAX_PEAK_KIB = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A network that costs nothing, prepared as the shipped ones."""
    torch.manual_seed(0)
    config, path = tiny_config(), tmp_path_factory.mktemp("network") / "tiny.safetensors"
    info = NetworkInfo(vocabulary="tiny", num_labels=7, preprocessing=small_preprocessing(), config=config)
    save_network(path, PSPNet(config), info)
    return path


def turned_by_exif(jpeg: bytes) -> bytes:
    """The same JPEG with the note that the camera was held upright (orientation 6)."""
    payload = b"Exif\x00\x00II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def write_odd_photographs(folder: Path) -> None:
    photo = photograph(60, 90)
    bgr = photo[..., ::-1]
    write_image(folder / "plain.png", photo)
    files = {
        "alpha.png": np.dstack([bgr, np.full(bgr.shape[:2], 99, np.uint8)]),
        "deep.png": bgr.astype(np.uint16) * 257,
        "grey.png": bgr[..., 1],
        "point.png": bgr[:1, :1],
    }
    for name, pixels in files.items():
        (folder / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    (folder / "turned.jpg").write_bytes(turned_by_exif(cv2.imencode(".jpg", bgr)[1].tobytes()))


def test_odd_photographs_are_segmented(network, tmp_path, capsys):
    write_odd_photographs(tmp_path / "photos")
    command = ["segment", tmp_path / "photos", "--weights", network, "--out", tmp_path / "labels", "--json", "--quiet"]
    assert cli.main([str(word) for word in command]) == 0
    rows = {Path(row["image"]).name: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    labels = {name: read_labels(row["labels"]) for name, row in rows.items()}
    sizes = {name: (row["height"], row["width"]) for name, row in rows.items()}
    assert sizes == {name: found.shape for name, found in labels.items()}
    whole = dict.fromkeys(("alpha.png", "deep.png", "grey.png", "plain.png"), (60, 90))
    assert sizes == whole | {"point.png": (1, 1), "turned.jpg": (90, 60)}
    assert all(found.max() < 7 for found in labels.values())
    np.testing.assert_array_equal(labels["alpha.png"], labels["plain.png"])
    np.testing.assert_array_equal(labels["deep.png"], labels["plain.png"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read from /proc")
def test_a_photograph_of_a_hundred_megapixels_is_segmented_and_described_in_bounded_memory(network, tmp_path):
    small = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    write_image(tmp_path / "vast.jpg", cv2.resize(small, (12_000, 9_000), interpolation=cv2.INTER_LINEAR))
    code = (
        "import re, sys\nfrom pathlib import Path\nimport torch\nfrom core.images import read_image\n"
        "from core.localizer.features import extract_features\nfrom fgsn_viewer import cli\n"
        "torch.set_num_threads(1)\nphoto, network, out = sys.argv[1:]\n"
        "code = cli.main(['segment', photo, '--weights', network, '--out', out, '--quiet', '--json'])\n"
        "print(len(extract_features(read_image(photo))))\n"
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', Path('/proc/self/status').read_text())[1])\nsys.exit(code)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "vast.jpg"), str(network), str(tmp_path / "labels")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    row, num_keypoints, peak_kib = done.stdout.splitlines()
    assert (json.loads(row)["width"], json.loads(row)["height"]) == (12_000, 9_000)
    assert int(num_keypoints) > 100
    assert int(peak_kib) < MAX_PEAK_KIB


def read_only_commands() -> dict[str, list[str]]:
    return {
        "segment": ["segment", "{tmp}/photos", "--weights", "{network}", "--out", "{tmp}/out"],
        "world": ["world", "--kind", "urban", "--num-reference", "2", "--num-queries", "1", "--out", "{tmp}/out"],
        "map": ["map", "{tmp}/photos", "--weights", "{network}", "--out", "{tmp}/out"],
    }


@pytest.mark.parametrize("name", read_only_commands())
def test_an_output_that_may_not_be_written_is_one_sentence(name, network, tmp_path, capsys, monkeypatch):
    for number in range(2):
        write_image(tmp_path / "photos" / f"{number}.png", photograph(60, 80, number))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    for maker in ("mkstemp", "mkdtemp"):  # as root, no folder is read-only
        monkeypatch.setattr(tempfile, maker, refuse)
    words = {"{tmp}": str(tmp_path), "{network}": str(network)}
    arguments = read_only_commands()[name]
    for word, value in words.items():
        arguments = [argument.replace(word, value) for argument in arguments]
    code = cli.main([*arguments, "--quiet"])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert "cannot be written (Permission denied)" in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
