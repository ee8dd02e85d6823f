"""The training study on a toy world: every kind of row from start to table, and going on after a stop."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from engine_toys import COLORS, drain, on_one_thread, toy_network, toy_set

from benchmarks.aligned_photographs import AlignedPhotographs, aligned_views, divided, shifted, with_photographs
from benchmarks.study import chosen_rows, main
from benchmarks.study_measure import _pair_mean, heading_row
from benchmarks.study_rows import ROWS, SURFACES
from benchmarks.study_text import StudyResult, study_text
from benchmarks.study_training import OwnLabels, config_of, study_base
from core.engine.dataset import TrainingSet
from core.engine.heading import HeadingAccuracy
from core.engine.weights import NetworkInfo, load_network, save_network, small_preprocessing
from core.errors import InputError

one_thread = pytest.fixture(autouse=True)(on_one_thread)
TINY = ["augmentation.crop=33", "optimization.batch_size=2", "optimization.precision=fp32", "label_scale=1.0"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A start network of four classes, a toy set, two fixed cameras and one place of headings."""
    root = tmp_path_factory.mktemp("study")
    network = toy_network(4)
    seen = replace(small_preprocessing(), short_side=64)
    info = NetworkInfo(vocabulary="toy-4", num_labels=4, preprocessing=seen, config=network.config, names=tuple("abcd"))
    save_network(root / "start.safetensors", network, info)
    toy_set(root / "train")
    toy_set(root / "held-out", num_views=2, seed=9)
    random = np.random.default_rng(0)
    for camera in ("east", "west"):
        blocks = COLORS[random.integers(0, 4, (8, 10)).repeat(8, 0).repeat(8, 1)]
        write_images(root / "photographs" / "tilde_webcam" / camera, [blocks * light for light in (1.0, 0.8, 0.6)])
    wide = COLORS[random.integers(0, 4, (8, 30)).repeat(8, 0).repeat(8, 1)]
    park = root / "photographs" / "grief_stromovka"
    for season, start in (("season_00", 40), ("season_01", 24)):
        write_images(park / season, [wide[:, start : start + 96]] * 8)
    (park / "displacements.txt").write_text("\n".join(f"{number} 16 0" for number in range(8)))
    return root


def write_images(folder, images):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number}.jpg"), image.astype(np.uint8)[..., ::-1])


def study(inputs, work, *more):
    given = ["--work", work, "--out", work / "study.md", "--init", inputs / "start.safetensors", "--steps", "2"]
    given += ["--data", inputs / "train", "--held-out", inputs / "held-out", "--photographs", inputs / "photographs"]
    return main([str(part) for part in (*given, "--short-side", "64", "--quick", "--set", *TINY, *more)])


def test_the_study_runs_from_start_to_tables_and_measures_nothing_twice(inputs, tmp_path, capsys):
    rows = ["classes-19", "classes-19-own", "classes-19-corr", "fgsn-20", "fgsn-20-nocorr", "fgsn-20-again", "fgsn-100-plain"]
    assert study(inputs, tmp_path, "--rows", *rows) == 0
    text = (tmp_path / "study.md").read_text()
    for title in ("19 classes, L_corr", "FGSN 20, no L_corr", "FGSN 20, re-clustered"):
        assert f"| {title} |" in text
    assert "Left out: FGSN 100, start without surfaces" in text
    assert "Plain SIFT" in text
    assert "python3 dev.py study --work" in text
    measured = json.loads((tmp_path / "rows" / "fgsn-20" / "measured.json").read_text())
    assert sorted(measured) == [
        "grief_stromovka",
        "grief_stromovka, far",
        "grief_stromovka, far, held out",
        "grief_stromovka, held out",
        "tilde_webcam",
        "tilde_webcam, held out",
        "worlds",
    ]
    assert measured["worlds"]["all"]["num_correspondences"] == 400
    network, info = load_network(tmp_path / "rows" / "fgsn-20" / "network.safetensors")
    assert (info.vocabulary, network.config.num_labels, info.names) == ("fgsn-20", 20, None)
    assert load_network(tmp_path / "rows" / "classes-19-corr" / "network.safetensors")[1].vocabulary == "toy-4"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").rglob("*.*")}
    assert study(inputs, tmp_path, "--rows", *rows) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").rglob("*.*")} == before
    assert (tmp_path / "study.md").read_text() == text
    assert len(list((tmp_path / "clusters").iterdir())) == 1  # both rows with 20 clusters, and the first of the third's
    capsys.readouterr()


def test_a_row_of_other_settings_is_not_taken_for_this_one(inputs, tmp_path, capsys):
    assert study(inputs, tmp_path, "--rows", "classes-19") == 0
    assert study(inputs, tmp_path, "--rows", "classes-19", "--seed", "5") == 2
    assert "holds a row with another seed" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--init", "--photographs", "--held-out", "--data"])
def test_inputs_that_are_not_there_are_named(inputs, tmp_path, capsys, option):
    given = ["--work", str(tmp_path), "--out", str(tmp_path / "study.md"), "--rows", "classes-19"]
    assert main([*given, option, str(tmp_path / "nothing")]) == 2
    assert f"{tmp_path / 'nothing'}: no such f" in capsys.readouterr().err


def test_a_row_without_its_start_network_is_refused(tmp_path, capsys, inputs):
    given = ["--work", str(tmp_path), "--init", str(inputs / "start.safetensors"), "--rows", "fgsn-100-plain"]
    assert main(given) == 2
    assert "--init-plain" in capsys.readouterr().err


def test_networks_are_measured_as_they_see_images_themselves(inputs, tmp_path, monkeypatch):
    from benchmarks import study_measure

    def scaled(*_):
        raise AssertionError("the network's own short side was replaced")

    monkeypatch.setattr(study_measure, "at_short_side", scaled)
    assert study_measure.MeasureConfig().short_side is None
    assert study_measure.MeasureConfig().heading_every == 1
    part = {"worlds": lambda segment: numbers_of(64)}
    monkeypatch.setattr(study_measure, "parts", lambda *_: part)
    given = (inputs / "start.safetensors", tmp_path / "measured.json", None, None, study_measure.MeasureConfig(), 0)
    assert drain(study_measure.measure_row(*given))[1]["worlds"]["seen"] == 64


def numbers_of(value):
    yield from ()
    return {"seen": value}


def test_only_some_viewpoints_are_trained_on_when_asked(inputs, tmp_path):
    assert study(inputs, tmp_path, "--rows", "fgsn-20", "--views", "2") == 0
    assert "2 viewpoints to train on" in (tmp_path / "study.md").read_text()


def test_unknown_rows_are_refused_with_what_there_is(inputs, tmp_path, capsys):
    assert study(inputs, tmp_path, "--rows", "fgsn-7") == 2
    assert "no rows called fgsn-7; expected some of classes-19" in capsys.readouterr().err


def test_every_row_has_its_settings_and_differs_from_its_control_in_one_option():
    base = study_base()
    by_name = {row.name: row for row in ROWS}
    assert len(by_name) == len(ROWS)
    assert {row.num_labels for row in ROWS} == {19, 20, 100, 200, 1000}
    for row in ROWS:
        config = config_of(row, base, 600)
        if not row.control:
            continue
        control = by_name[row.control]
        options = ("changes", "reclusterings", "length", "start", "num_labels", "kind", "photographs")
        different = [name for name in options if getattr(row, name) != getattr(control, name)]
        assert len(different) == 1, row.name
        assert (config == config_of(control, base, 600)) == (row.start != SURFACES or bool(row.photographs)), row.name


def test_three_clusterings_divide_the_steps_and_longer_rows_have_more():
    base, rows = study_base(), {row.name: row for row in ROWS}
    assert config_of(rows["fgsn-100-again"], base, 600).recluster_every == 200
    assert config_of(rows["fgsn-100-long"], base, 600).optimization.iterations == 1800
    assert config_of(rows["classes-19-corr"], base, 600).optimization.head_factor == 1


def test_the_quick_study_is_a_part_of_the_whole():
    assert set(chosen_rows(None, quick=True)) < set(chosen_rows(None, quick=False)) == set(ROWS)
    assert [row.name for row in chosen_rows(["fgsn-20", "classes-19"], quick=False)] == ["classes-19", "fgsn-20"]
    with pytest.raises(InputError, match="no rows called x"):
        chosen_rows(["x"], quick=False)


def test_own_labels_are_what_the_network_says():
    import torch

    network = toy_network(4).eval()
    images = torch.randn(1, 3, 33, 41, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = network(images)
    features = output.features[0].permute(1, 2, 0).reshape(-1, output.features.shape[1])
    expected = output.logits[0].argmax(0).reshape(-1)
    assert torch.equal(OwnLabels.of(network).assign(features), expected)


def test_means_over_drawn_photographs_leave_out_a_photograph_with_itself():
    table = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]], float)
    assert _pair_mean(table, np.ones(3)) == pytest.approx(2)
    assert _pair_mean(table, np.array([2, 1, 0])) == pytest.approx(1)
    assert _pair_mean(table, np.array([3, 0, 0])) == 0


def test_the_text_shows_intervals_gaps_and_differences_from_controls():
    rows = {row.name: row for row in ROWS}
    worse = {"worlds": {"all": {"kappa": 0.4, "mutual_information_bits": 2.0}}}
    better = {"worlds": {"all": {"kappa": 0.45, "mutual_information_bits": 2.5, "intervals": {"kappa": [0.4, 0.5]}}}}
    found = [(rows["fgsn-100-nocorr"], worse), (rows["fgsn-100"], better), (rows["fgsn-200"], None)]
    text = study_text(StudyResult(rows=found, facts=["Seed 0."]))
    assert "| FGSN 100 | 0.450 [0.400, 0.500] | 2.50 | - | - |" in text
    assert "| FGSN 100 | FGSN 100, no L_corr | +0.050 | +0.50 | - |" in text
    assert "- Not run yet: FGSN 200." in text


def test_headings_have_an_interval_around_their_share():
    found = HeadingAccuracy((), np.array([1.0, -30, 5, 2, 90, 3, 1, 0]), 20)
    row = heading_row(found, seed=0)
    assert row["accuracy"] == 0.75
    assert row["intervals"]["accuracy"][0] < 0.75 < row["intervals"]["accuracy"][1]


def test_nothing_is_left_half_written_when_a_row_is_stopped(inputs, tmp_path):
    from benchmarks.study_training import load_start, train_row
    from core.engine.settings import changed

    base = study_base()
    for text in TINY:
        base = changed(base, *text.split("="))
    row = next(row for row in ROWS if row.name == "fgsn-20")
    given = (row, config_of(row, base, 4), load_start(inputs / "start.safetensors"), TrainingSet(inputs / "train"), 0)
    stopped = train_row(*given, tmp_path / "row", "cpu", tmp_path / "clusters")
    for step in stopped:
        if getattr(step, "step", -1) == 1:
            break
    stopped.close()
    assert not (tmp_path / "row" / "network.safetensors").exists()
    steps, path = drain(train_row(*given, tmp_path / "row", "cpu", tmp_path / "clusters"))
    assert [step.step for step in steps if hasattr(step, "step")] == [2, 3]
    assert path.is_file()


def test_rows_that_learn_photographs_train_on_them_and_are_judged_on_others(inputs, tmp_path):
    assert study(inputs, tmp_path, "--rows", "fgsn-100-photographs", "fgsn-20") == 0  # no grief_michigan here
    assert "because --photographs has no grief_michigan" in (tmp_path / "study.md").read_text()
    joined = with_photographs(TrainingSet(inputs / "train"), inputs / "photographs", ("tilde_webcam",))
    names = [joined.view(index).name for index in range(len(joined))]
    assert [name for name in names if name.startswith("1/")] == ["1/east/0"]
    row = next(row for row in ROWS if row.name == "fgsn-100-photographs")
    numbers = {"tilde_webcam": {"kappa": 0.5}, "grief_michigan, far": {"kappa": 0.25}, "worlds": {"all": {"kappa": 0.125}}}
    text = study_text(StudyResult(rows=[(row, numbers | {"tilde_webcam, held out": {"kappa": 0.75}})], facts=[]))
    assert "0.750" in text
    assert "0.125" in text
    assert "0.500" not in text
    assert "0.250" not in text


def test_places_are_trained_on_or_held_out_but_never_both():
    frames = [f"{number:04d}" for number in range(20, 60)]
    for name, places, counts in (("tilde_webcam", "abc", (2, 1)), ("grief_michigan", "12345", (3, 2))):
        trained, held_out = divided(name, list(places))
        assert not trained & held_out
        assert (len(trained), len(held_out)) == counts
    trained, held_out = divided("grief_stromovka", frames)
    assert max(trained) == "0039"
    assert min(held_out) == "0042"  # neighbouring frames show the same trees


def test_shifted_matches_show_the_same_thing_and_stay_above_the_horizon():
    random = np.random.default_rng(3)
    wide = random.integers(0, 255, (40, 120))
    first, second = wide[:, 30:90], np.roll(wide, 2, axis=0)[:, 20:80]  # x + 10, y + 2
    points = shifted((60, 40), (60, 40), (10.0, 2.0), 0.6, 1)
    here, there = (side.astype(int) for side in (points.points_ref, points.points_other))
    assert np.array_equal(first[here[:, 1], here[:, 0]], second[there[:, 1], there[:, 0]])
    assert (there[:, 1].max(), there[:, 0].max(), len(here)) == (23, 59, 50 * 22)


def test_the_published_shifts_become_views_without_copies_of_a_file(shared_data):
    views = aligned_views(shared_data("grief_michigan"))
    assert sum(len(view.shifts) for view in views) == 328
    assert {view.place for view in views} == {f"place {number}" for number in range(1, 6)}
    frames = AlignedPhotographs(aligned_views(shared_data("grief_stromovka")), 8)
    assert len(frames) == 40
    moved = frames.view(0).correspondences[0]
    assert np.allclose(moved.points_other - moved.points_ref, [-124, -2])
