"""The command line around the commands: screens, pipes, names of files; no network is needed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmark_toys import OPENCV, TrueScene

from core.errors import InputError
from core.images import image_size, read_labels, write_image
from core.scene.scene import open_scene
from core.steps import finish
from core.world.layouts_cmu import write_extended_cmu
from core.world.layouts_kapture import write_kapture
from core.world.layouts_robotcar import write_robotcar
from fgsn_viewer import cli, commands, demo
from fgsn_viewer.shot import render_shot

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def no_display(monkeypatch):
    if not sys.platform.startswith("linux"):
        pytest.skip("every other system has a display")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("arguments", [[], ["view"], ["{tmp}"]])
def test_without_a_display_the_window_is_refused_in_a_sentence(arguments, no_display, tmp_path, capsys):
    assert cli.main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == 2
    assert "no display found to show the window on" in capsys.readouterr().err


def test_qt_is_left_to_find_its_own_screen_where_one_is_named(no_display, monkeypatch):
    assert not commands.can_show_window()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert commands.can_show_window()


def test_without_a_display_the_demo_writes_its_report(no_display, monkeypatch, tmp_path, capsys):
    def headless(out):
        yield from ()
        return out / "report.html"

    monkeypatch.setattr(demo, "headless", headless)
    monkeypatch.setattr(commands, "with_virtual_display", lambda: None)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_a_mistyped_command_is_refused_with_those_that_are(capsys):
    assert cli.main(["localise", "scene"]) == 2
    err = capsys.readouterr().err
    assert "localise: no such file or folder, and no command" in err
    assert "localize" in err


def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    write_image(tmp_path / "one.png", np.zeros((20, 20, 3), np.uint8))
    code = (
        "import sys\n"
        "from fgsn_viewer import cli, commands\n"
        "def label(options):\n"
        "    for number in range(100_000):\n"
        "        commands.say(options, {'number': number}, str(number))\n"
        "commands.label = label\n"
        "sys.exit(cli.main(['label', 'scene', '--json']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == '{"number": 0}\n'
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


@pytest.mark.parametrize("write", [write_extended_cmu, write_robotcar, write_kapture])
def test_segment_writes_the_labels_of_a_scene_of_any_layout_under_its_names(write, tmp_path, capsys):
    write(TrueScene(tmp_path / "from", OPENCV).scene, tmp_path / "scene")
    images = [image for image in open_scene(tmp_path / "scene").images if image.path.is_file()]
    assert len(images) == 11
    for number, image in enumerate(images):
        size = image_size(image.path)[::-1]
        write_image((tmp_path / "bands" / image.name).with_suffix(".png"), np.full(size, number, np.uint16))
    segment = ["segment", str(tmp_path / "scene"), "--out", str(tmp_path / "out"), "--weights", str(tmp_path / "bands")]
    assert cli.main([*segment, "--quiet", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == [str(image.path) for image in images]
    for number, image in enumerate(images):
        labels = read_labels((tmp_path / "out" / image.name).with_suffix(".png"))
        np.testing.assert_array_equal(labels, np.full(image_size(image.path)[::-1], number))


def test_segment_takes_the_images_of_some_conditions_only(tmp_path, capsys):
    for name in ("snow/a.png", "sun/a.png", "sun/b.png"):
        for folder in ("photos", "bands"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / folder / name, np.zeros((16, 16, 3)[: 3 if folder == "photos" else 2], np.uint8))
    segment = ["--out", str(tmp_path / "out"), "--weights", str(tmp_path / "bands"), "--quiet"]
    assert cli.main(["segment", str(tmp_path / "photos"), *segment, "--conditions", "sun"]) == 0
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["sun/a.png", "sun/b.png"]
    capsys.readouterr()
    assert cli.main(["segment", str(tmp_path / "photos"), *segment, "--conditions", "sun", "fog"]) == 2
    assert "photos: no images of fog, found 'snow', 'sun'" in capsys.readouterr().err
    assert cli.main(["segment", str(tmp_path / "nothing"), *segment]) == 2
    assert "nothing: no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x.jpg", "x.PDF", "x.png.bmp"])
def test_a_screenshot_is_not_written_under_the_name_of_another_format(name, tmp_path):
    with pytest.raises(InputError, match=r"written as PNG; expected a name that ends in \.png"):
        render_shot([tmp_path], "window", tmp_path / name)


def test_the_demo_opens_on_a_query_that_could_be_read(tmp_path):
    from test_localizer_batch import CAMERA, small_map

    from core.localizer.batch import localize_or_refuse
    from core.localizer.pipeline import LocalizerConfig
    from core.records import ImageData

    write_image(tmp_path / "1.png", np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    queries = [ImageData(f"snow/{i}.png", tmp_path / f"{i}.png", "snow", CAMERA) for i in range(2)]
    done = [finish(localize_or_refuse(query, small_map(), LocalizerConfig())) for query in queries]
    assert [len(one.features) > 0 for one in done] == [False, True]
    assert demo.telling_query(done) == "snow/1.png"
    assert demo.telling_query(done[:1]) == "snow/0.png"


def test_the_demo_shows_the_best_found_query_of_the_lost_ones_condition():
    def one(name: str, inliers: int) -> SimpleNamespace:
        result = SimpleNamespace(failure=None if inliers else "lost", stats=SimpleNamespace(num_inliers=inliers))
        return SimpleNamespace(query=SimpleNamespace(name=name, condition=name.split("/")[0]), result=result)

    done = [one("sun/0", 90), one("snow/0", 0), one("snow/1", 20), one("snow/2", 30)]
    assert demo.found_query(done, "snow/0") == "snow/2"
    assert demo.found_query([one("sun/0", 90), one("snow/0", 0)], "snow/0") == "sun/0"
    assert demo.found_query([one("snow/0", 0)], "snow/0") == "snow/0"
