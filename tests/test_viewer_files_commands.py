"""`scene`, `submission`, `export` and `cache` on a small scene: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import open3d
import pycolmap
import pytest
from evaluation_toys import CAMERA, FOUND, LOST, POSE, write_toy_scene

from core.disk_cache import DiskCache, digest
from core.images import read_labels, write_image
from core.mapping.labels import label_map
from core.records import LabelMap
from core.scene.correspondences import FOLDER, read_correspondences
from core.scene.list_files import read_poses
from core.scene.map_file import save_labels
from core.scene.scene import open_scene
from fgsn_viewer import cli
from fgsn_viewer.cache_place import cache_folder
from fgsn_viewer.cli_values import bytes_text, parse_bytes
from fgsn_viewer.palette import label_colors

STRIPES = np.tile(np.arange(CAMERA.width) // 25, (CAMERA.height, 1)).astype(np.uint16)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A scene whose map is labelled by stripes, and the folder of those labels, which stands in for a network."""
    root = write_toy_scene(tmp_path_factory.mktemp("toy") / "scene")
    scene = open_scene(root)
    folder = root.parent / "stripes"
    for image in scene.images:
        write_image((folder / image.name).with_suffix(".png"), STRIPES)
    (folder / "labels.json").write_text(json.dumps({"vocabulary": "stripes", "num_labels": 8}))
    save_labels(root / "map", label_map(scene.map, lambda image: LabelMap(STRIPES, 8, "stripes")))
    return root


@pytest.fixture
def run(capsys):
    """Run a command quietly; return its exit code, the records that it printed and what it said on stderr."""

    def call(*arguments):
        code = cli.main([*map(str, arguments), "--json", "--quiet"])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return call


def test_a_scene_file_is_written_shown_and_not_replaced(toy, run, tmp_path, capsys):
    shutil.copytree(toy, tmp_path / "work")
    assert run("scene", "init", tmp_path / "work")[0] == 2
    code, (row,), _ = run("scene", "init", tmp_path / "work", "--force")
    assert code == 0
    assert 'queries = "queries.txt"' in row["text"]
    code, (row,), _ = run("scene", "show", tmp_path / "work")
    assert (row["num_images"], row["num_queries"], row["layout"]) == (7, 5, "scene file")
    assert cli.main(["scene", "show", str(tmp_path / "work"), "--quiet"]) == 0
    assert "5 to be localized" in capsys.readouterr().out
    assert "is there already; --force replaces it" in run("scene", "init", tmp_path / "work")[2]


def test_a_submission_is_passed_or_refused_by_the_exit_code(toy, run, tmp_path, capsys):
    file = tmp_path / "poses.txt"
    assert run("export", "poses", toy, "--images", "queries", "--format", "submission", "--out", file)[0] == 0
    assert file.read_text().startswith("overcast/2.png 0.9")
    code, (row,), _ = run("submission", "check", file, toy)
    assert (code, row["passed"], row["problems"], row["known"]["count"]) == (0, True, [], 5)
    assert row["self_test"][0] == 2
    lines = file.read_text().splitlines()
    inverse = POSE.inverse()
    numbers = " ".join(map(str, (*inverse.qvec, *inverse.tvec)))
    file.write_text("".join(f"{line.split()[0]} {numbers}\n" for line in lines))
    assert cli.main(["submission", "check", str(file), str(toy), "--quiet"]) == 2
    out = capsys.readouterr().out
    assert "when read as camera to world" in out
    assert out.endswith("1 to be mended\n")
    file.write_text(lines[0] + "\n")
    assert run("submission", "check", file, toy)[0] == 0
    assert run("submission", "check", file, toy, "--complete")[0] == 2
    assert run("submission", "check", tmp_path / "lost.txt", toy)[0] == 2


def test_the_map_is_exported_in_the_colours_of_the_window(toy, run, tmp_path):
    assert run("export", "model", toy, "--out", tmp_path / "model", "--text")[0] == 0
    assert run("export", "ply", toy, "--out", tmp_path / "map.ply", "--vocabulary", "stripes")[0] == 0
    labels = open_scene(toy).map.labels.labels
    expected = label_colors(8, "stripes")[labels]
    points = pycolmap.Reconstruction(str(tmp_path / "model")).points3D
    np.testing.assert_array_equal([points[k + 1].color for k in range(len(labels))], expected)
    cloud = open3d.t.io.read_point_cloud(str(tmp_path / "map.ply"))
    np.testing.assert_array_equal(cloud.point.colors.numpy(), expected)
    np.testing.assert_array_equal(cloud.point.label.numpy().ravel(), labels)
    code, _, err = run("export", "ply", toy, "--out", tmp_path / "b.ply", "--vocabulary", "world-7")
    assert (code, "no labels of the vocabulary 'world-7'" in err) == (2, True)


def test_label_images_come_from_whatever_labels(toy, run, tmp_path):
    network = toy.parent / "stripes"
    code, _, _ = run("export", "labels", toy, "--weights", network, "--conditions", "snow", "--out", tmp_path / "labels")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "labels").rglob("*.*")) == ["0.png", "1.png", "labels.json"]
    np.testing.assert_array_equal(read_labels(tmp_path / "labels" / "snow" / "1.png"), STRIPES)
    code, _, err = run("export", "labels", toy, "--weights", network, "--conditions", "hail", "--out", tmp_path / "no")
    assert (code, "no images of hail" in err) == (2, True)


def test_the_matches_of_a_query_are_written_with_their_labels(toy, run, tmp_path):
    network = toy.parent / "stripes"
    arguments = ("--method", "ssmc", "--weights", network, "--out", tmp_path / "m.csv")
    assert run("export", "matches", toy, "--query", FOUND[0], *arguments)[0] == 0
    with (tmp_path / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["inlier"] == "1" for row in rows) > 20
    assert all(row["query_label"] == str(STRIPES[0, round(float(row["x"]))]) for row in rows)
    assert {row["kept"] for row in rows if row["query_label"] != row["point_label"]} <= {"0"}
    assert run("export", "matches", toy, "--query", LOST[0], "--out", tmp_path / "n.csv")[0] == 0
    assert run("export", "matches", toy, "--query", "hail/0.png", "--out", tmp_path / "n.csv")[0] == 2


def test_poses_are_exported_in_every_format(toy, run, tmp_path):
    assert run("export", "poses", toy, "--out", tmp_path / "list.txt")[0] == 0
    np.testing.assert_allclose(read_poses(tmp_path / "list.txt")["snow/0.png"].tvec, POSE.tvec)
    assert run("export", "poses", toy, "--format", "tum", "--out", tmp_path / "tum.txt")[0] == 0
    assert np.loadtxt(tmp_path / "tum.txt").shape == (7, 8)
    for name, images in (("colmap", 2), ("kapture", 5)):
        which = {2: "reference", 5: "queries"}[images]
        assert run("export", "poses", toy, "--format", name, "--images", which, "--out", tmp_path / name)[0] == 0
    assert pycolmap.Reconstruction(str(tmp_path / "colmap")).num_images() == 2
    assert len((tmp_path / "kapture" / "sensors" / "trajectories.txt").read_text().splitlines()) == 7


def test_poses_of_a_list_are_exported_by_whatever_names_it_uses(toy, run, tmp_path):
    (tmp_path / "mine.txt").write_text("2.png 1 0 0 0 7 8 9\n")
    code, _, _ = run("export", "poses", toy, "--poses", tmp_path / "mine.txt", "--out", tmp_path / "out.txt")
    assert code == 0
    assert list(read_poses(tmp_path / "out.txt")) == ["overcast/2.png"]
    (tmp_path / "mine.txt").write_text("0.png 1 0 0 0 7 8 9\n")
    code, _, err = run("export", "poses", toy, "--poses", tmp_path / "mine.txt", "--out", tmp_path / "out.txt")
    assert (code, "'0.png' names 3 of the images, expected one" in err) == (2, True)


def test_pairs_are_exported_as_the_papers_files(toy, run, tmp_path):
    assert run("export", "correspondences", toy, "--out", tmp_path / "pairs")[0] == 0
    files = sorted((tmp_path / "pairs" / FOLDER).glob("*.mat"))
    assert files
    reference, other, found = read_correspondences(files[0])
    assert reference.startswith("overcast/")
    assert other in FOUND + LOST
    np.testing.assert_allclose(found.points_ref, found.points_other, atol=0.01)


def test_the_cache_is_shown_limited_and_cleared(run, capsys, tmp_path):
    cache = DiskCache(cache_folder())
    for k in range(4):
        cache.put("labels", digest(k), bytes(1000))
    code, (row,), _ = run("cache", "show")
    assert (code, row["files"], row["bytes"], row["folder"]) == (0, {"labels": 4}, {"labels": 4000}, str(cache_folder()))
    assert run("cache", "limit", "2.5KB")[1][0]["max_bytes"] == 2500
    assert DiskCache(cache_folder()).use().total_bytes == 2000
    assert cli.main(["cache", "clear"]) == 0
    assert "removed 2 labels in 2 KB" in capsys.readouterr().out
    assert run("cache", "show")[1][0]["files"] == {}
    assert run("cache", "show", "--folder", tmp_path / "none")[1][0]["bytes"] == {}


@pytest.mark.parametrize("arguments", [["scene"], ["export"], ["cache", "shrink"], ["cache", "limit", "much"], ["submission"]])
def test_half_a_command_is_refused(arguments, capsys):
    assert cli.main(arguments) == 2
    assert "usage: fgsn-viewer" in capsys.readouterr().err


def test_sizes_are_read_as_people_write_them():
    found = {text: parse_bytes(text) for text in ("500MB", "1.5 GB", "12", "0", "3kb")}
    assert found == {"500MB": 500_000_000, "1.5 GB": 1_500_000_000, "12": 12, "0": 0, "3kb": 3000}
    assert [bytes_text(count) for count in (0, 999, 1500, 4 << 30)] == ["0 B", "999 B", "1.5 KB", "4.29 GB"]


def test_the_options_of_every_command_stand_before_or_after_the_action(toy, capsys):
    for arguments in (["scene", "--json", "show", str(toy), "--quiet"], ["scene", "--quiet", "show", str(toy), "--json"]):
        assert cli.main(arguments) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["num_queries"] == 5
        assert said.err == ""
