from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_toys import drain, on_one_thread, toy_network, toy_set
from training_toys import RUN, run_config, start_weights

from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterConfig
from core.engine.losses import softmax_divergence
from core.engine.optimization import OptimizationConfig, StepRecord
from core.engine.run_folder import RunFolder, read_log
from core.engine.runs import Note, RunConfig, train_run
from core.engine.segmenter import load_segmenter
from core.engine.validation_losses import ValidationRecord
from core.engine.weights import load_network
from core.errors import InputError, WeightsError

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)


class Killed(BaseException):
    """The process ends here, with no chance to save anything."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set, a start network, and what an unbroken run of eight steps in two rounds left and logged."""
    root = tmp_path_factory.mktemp("runs")
    data, start = toy_set(root / "set", num_views=8), start_weights(root)
    records, path = drain(train_run(start, data, run_config(), root / "unbroken", 3, RUN))
    return {"root": root, "data": data, "start": start, "records": records, "path": path, "log": read_log(root / "unbroken")}


def run_of(made, out, resume=False, config=None, run=RUN):
    return train_run(made["start"], made["data"], config or run_config(), out, 3, run, resume=resume)


def same_result(made, out):
    first, second = (load_network(path / "weights.safetensors")[0].state_dict() for path in (made["path"].parent, out))
    return read_log(out) == made["log"] and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_reports_its_steps_and_validates_on_its_way(made):
    steps = [record for record in made["records"] if isinstance(record, StepRecord)]
    validations = [record for record in made["records"] if isinstance(record, ValidationRecord)]
    assert [record.step for record in steps] == list(range(8))
    assert [record.step for record in validations] == [3, 6, 8]
    assert "left" in steps[0].message
    assert [row["step"] for row in made["log"]] == [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 8]
    assert made["log"][0]["loss"] == steps[0].loss


def test_the_best_validation_is_the_result_and_it_segments(made):
    rows = {row["step"]: row for row in made["log"] if "val_loss_cluster" in row}
    best = min(rows.values(), key=lambda row: row["val_loss_cluster"])
    flags = {record.step: record.best for record in made["records"] if isinstance(record, ValidationRecord)}
    assert [step for step, flag in flags.items() if flag][-1] == best["step"]
    segmenter = load_segmenter(made["path"].parent, device="cpu")
    labels = segmenter.segment(made["data"].view(0).images[0])
    assert labels.num_labels == 6
    assert labels.vocabulary.startswith("fgsn-6-")


@pytest.mark.parametrize("stop", ["step 2 of", "validation pair 2", "step 4 of", "k-means 2", "validation after step 6"])
def test_a_cancelled_run_goes_on_with_the_same_losses(made, tmp_path, stop):
    run = run_of(made, tmp_path / "run")
    seen = [0]
    for record in run:
        seen[0] += record.message.startswith(stop)
        if seen[0] == (2 if stop == "k-means 2" else 1):  # the second clustering
            break
    run.close()
    drain(run_of(made, tmp_path / "run", resume=True))
    assert same_result(made, tmp_path / "run")


@pytest.mark.parametrize("moment", [1, 4, 6, 7, 10, 12, 15])
def test_a_run_killed_while_a_file_is_written_goes_on_with_the_same_losses(made, tmp_path, monkeypatch, moment):
    count = [0]

    def replace_or_die(source, target, original=os.replace):
        count[0] += 1
        if count[0] == moment:
            raise Killed(target)
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_or_die)
        with pytest.raises(Killed):
            drain(run_of(made, tmp_path / "run"))
    drain(run_of(made, tmp_path / "run", resume=True))
    assert same_result(made, tmp_path / "run")


KILLED = """
import os, signal, sys, torch
sys.path[:0] = [{tests!r}, {root!r}]
torch.set_num_threads(1)
from pathlib import Path
from training_toys import RUN, run_config
from core.engine.dataset import TrainingSet
from core.engine.runs import train_run
original, folder = os.replace, Path(sys.argv[1])
def die(source, target):
    if str(target).endswith("snapshot.safetensors") and (folder / "run" / "frozen_1.safetensors").is_file():
        os.kill(os.getpid(), signal.SIGKILL)
    original(source, target)
os.replace = die
for _ in train_run(folder / "start.safetensors", TrainingSet(folder / "set"), run_config(), folder / "run", 3, RUN): pass
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_between_two_rounds_leaves_a_run_that_goes_on(made, tmp_path):
    root = Path(__file__).resolve().parent.parent
    for name in ("set", "start.safetensors"):
        (tmp_path / name).symlink_to(made["root"] / name)
    code = KILLED.format(tests=str(root / "tests"), root=str(root))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert RunFolder(tmp_path / "run").read_state().step == 3
    assert list((tmp_path / "run").glob(".*"))  # what was being written
    drain(run_of(made, tmp_path / "run", resume=True))
    assert not list((tmp_path / "run").glob(".*"))
    assert same_result(made, tmp_path / "run")


@pytest.mark.parametrize("what", ["snapshot.safetensors", "weights.safetensors"])
def test_a_full_disk_is_one_sentence_and_the_last_good_state_stays(made, tmp_path, monkeypatch, what):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = run_of(made, tmp_path / "run")
    for record in run:
        if isinstance(record, StepRecord) and record.step == 1:
            break
    with monkeypatch.context() as patch:
        if what == "snapshot.safetensors":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match=rf"{what}: cannot be written \(No space left on device\)"):
            drain(run)
    assert RunFolder(tmp_path / "run").read_state().step == 2
    assert not list((tmp_path / "run").glob(".*"))
    drain(run_of(made, tmp_path / "run", resume=True))
    assert same_result(made, tmp_path / "run")


def test_a_run_is_not_overwritten_and_not_mixed_with_another(made, tmp_path):
    with pytest.raises(InputError, match="unbroken: holds a run already"):
        drain(run_of(made, made["path"].parent))
    with pytest.raises(InputError, match=r"run\.json: the run has other settings: config\.optimization\.iterations is 8"):
        drain(run_of(made, made["path"].parent, resume=True, config=run_config(9)))
    steps, path = drain(run_of(made, made["path"].parent, resume=True))
    assert path == made["path"]
    assert not [step for step in steps if isinstance(step, StepRecord)]


def test_a_run_that_learnt_nothing_is_begun_anew_with_other_settings(made, tmp_path):
    many = run_config(clusters=ClusterConfig(num_clusters=1000))
    with pytest.raises(InputError, match="features for 1000 clusters"):
        drain(run_of(made, tmp_path / "run", config=many))
    run = run_of(made, tmp_path / "run", config=run_config(clusters=ClusterConfig(num_clusters=7, num_iterations=3)))
    assert next(step for step in run if "k-means 3" in step.message)
    run.close()
    drain(run_of(made, tmp_path / "run"))
    assert same_result(made, tmp_path / "run")


def test_going_on_removes_what_was_half_written_and_nothing_else(made, tmp_path):
    run = run_of(made, tmp_path / "run")
    next(step for step in run if isinstance(step, StepRecord))
    run.close()
    (tmp_path / "run" / ".gitignore").write_text("*")
    (tmp_path / "run" / ".fgsn-abc.part.json").write_text("{")
    next(step for step in run_of(made, tmp_path / "run", resume=True) if isinstance(step, StepRecord))
    assert [path.name for path in (tmp_path / "run").glob(".*")] == [".gitignore"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_other_things_and_a_file_are_refused_and_left_alone(made, tmp_path, resume):
    (tmp_path / ".env").write_text("mine")
    with pytest.raises(InputError, match=r"holds \.env and no run, expected a new or an empty folder"):
        next(run_of(made, tmp_path, resume=resume))
    with pytest.raises(InputError, match=r"\.env: is a file, expected a folder"):
        next(run_of(made, tmp_path / ".env", resume=resume))
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"augmentation": AugmentationConfig(min_scale=5.0)}, "augmentation.min_scale is 5.0, expected at most max_scale, 2.0"),
        ({"label_scale": 20000.0}, "label_scale is 20000.0, expected at least 0 at most 4"),
        ({"clusters": ClusterConfig(num_clusters=70000)}, "num_clusters is 70000, expected at least 1 at most 65535"),
        ({"optimization": OptimizationConfig(batch_size=1)}, "the batch size is 1, expected at least 2"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(made, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        next(run_of(made, tmp_path / "run", config=replace(run_config(), **changes)))
    assert not (tmp_path / "run").exists()


def test_an_unknown_start_of_the_clusters_is_refused():
    with pytest.raises(InputError, match=r"clusters\.init is 'foo', expected one of random, k-means\+\+"):
        ClusterConfig(init="foo")


def test_points_that_the_check_leaves_out_are_told_before_the_training(made, tmp_path):
    class Told:
        notes = ("2 of 4 correspondences lie outside",)

        def __len__(self):
            return len(made["data"])

        def view(self, index):
            return made["data"].view(index)

    run = train_run(made["start"], Told(), run_config(), tmp_path / "run", 0, replace(RUN, validation_share=0.0))
    assert next(step.message for step in run if isinstance(step, Note)) == Told.notes[0]


def test_broken_and_foreign_files_are_refused(made, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(made["start"].read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"broken\.safetensors: not a whole safetensors file"):
        next(train_run(tmp_path / "broken.safetensors", made["data"], run_config(), tmp_path / "run", 0, RUN))
    run = run_of(made, tmp_path / "run")
    for record in run:
        if isinstance(record, StepRecord):
            break
    run.close()
    (tmp_path / "run" / "snapshot.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"snapshot\.safetensors: not a training snapshot"):
        drain(run_of(made, tmp_path / "run", resume=True))


def test_more_clusters_than_features_and_constant_images_are_one_sentence(made, tmp_path):
    many = run_config(clusters=ClusterConfig(num_clusters=1000))
    with pytest.raises(InputError, match="features for 1000 clusters"):
        drain(run_of(made, tmp_path / "many", config=many))

    class Grey:
        def __len__(self):
            return len(made["data"])

        def view(self, index):
            view = made["data"].view(index)
            return replace(view, images=np.full_like(view.images, 128))

    run = replace(RUN, validation_share=0.0)
    with pytest.raises(InputError, match="do not vary"):
        drain(train_run(made["start"], Grey(), run_config(), tmp_path / "grey", 0, run))


def test_without_validation_the_last_network_is_the_result(made, tmp_path):
    run = RunConfig(validation_share=0.0, official_layout=False)
    steps, path = drain(run_of(made, tmp_path / "run", config=run_config(3, 0), run=run))
    assert not [step for step in steps if isinstance(step, ValidationRecord)]
    state = RunFolder(tmp_path / "run").read_state()
    weights = load_network(path)[0].state_dict()
    assert all(torch.equal(weights[n.removeprefix("network.")], t) for n, t in state.tensors.items() if "conv6.w" in n)


def test_a_run_may_start_from_a_network_of_another_number_of_labels(made, tmp_path):
    start = start_weights(tmp_path, toy_network(num_labels=11))
    _, path = drain(train_run(start, made["data"], run_config(1, 0), tmp_path / "run", 0, replace(RUN, validation_pairs=1)))
    assert load_network(path)[1].num_labels == 6


def test_tensorboard_gets_every_number(made, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    drain(run_of(made, tmp_path / "run", config=run_config(2, 0), run=replace(RUN, tensorboard=True)))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    assert [event.step for event in events.Scalars("val_loss_cluster")] == [2]


def test_images_that_agree_have_no_divergence():
    scores = torch.randn(4, 7)
    assert softmax_divergence(scores, scores).abs().max() < 1e-6
