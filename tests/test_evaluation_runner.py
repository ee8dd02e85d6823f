"""Scenes evaluated by methods: shared work, going on after a kill, processes and a cluster with the same numbers."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_toys import FOUND, LOST, POSE, toy_job, without_times, write_toy_scene

from core.errors import InputError
from core.evaluation.job import Variant, make_variants
from core.evaluation.priors import noisy_position, noisy_prior
from core.evaluation.runner import JOURNAL, Workers, evaluate
from core.localizer.pipeline import LocalizerConfig
from core.localizer.ransac import RansacConfig
from core.records import ImageData
from core.steps import finish


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_toy_scene(tmp_path_factory.mktemp("toy") / "street")


@pytest.fixture(scope="module")
def reference(scene, tmp_path_factory):
    """The rows of one undisturbed run in this process."""
    out = tmp_path_factory.mktemp("reference")
    return finish(evaluate(toy_job([scene], out), out))


def test_every_query_is_answered_by_every_method(reference):
    rows = reference.rows
    assert [(row.query, row.method) for row in rows] == [(q, m) for q in (*FOUND, *LOST) for m in ("p3p", "ssmc")]
    for row in rows:
        assert (row.error is not None and row.error.position_m < 0.05) == (row.query in FOUND)
        assert (row.failure is None) == (row.query in FOUND)
        assert row.changed == (row.condition != "overcast")
        assert row.labels == ("stripes" if row.method == "ssmc" else "")
    assert not any(row.refused for row in rows)


def test_the_semantic_step_keeps_right_matches(reference):
    p3p, ssmc = (next(r for r in reference.rows if (r.query, r.method) == ("sun/1.png", m)) for m in ("p3p", "ssmc"))
    assert p3p.num_kept == p3p.num_matches == ssmc.num_matches > ssmc.num_kept > 0
    assert p3p.inlier_ratio_before == p3p.inlier_ratio_after == ssmc.inlier_ratio_before < ssmc.inlier_ratio_after
    assert set(ssmc.seconds) == {"features", "matching", "labels", "pose"}
    assert ssmc.seconds["features"] == p3p.seconds["features"], "features are found once for all methods"


def test_a_second_run_does_nothing_again(scene, tmp_path):
    finish(evaluate(toy_job([scene], tmp_path), tmp_path))
    labelled = (tmp_path / "labelled.txt").read_text().splitlines()
    assert sorted(labelled) == sorted(["overcast/0.png", "overcast/1.png", *FOUND, *LOST]), "each image is segmented once"
    again = finish(evaluate(toy_job([scene], tmp_path), tmp_path))
    assert again.num_reused == len(again.rows) == 10
    assert (tmp_path / "labelled.txt").read_text().splitlines() == labelled


def test_a_stopped_run_goes_on_where_it_was(scene, reference, tmp_path):
    steps = evaluate(toy_job([scene], tmp_path), tmp_path)
    while "4 of 10 results" not in next(steps).message:
        pass
    steps.close()
    journal = tmp_path / JOURNAL
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn by a ki')
    found = finish(evaluate(toy_job([scene], tmp_path), tmp_path))
    assert found.num_reused == 4
    assert without_times(found.rows) == without_times(reference.rows)
    assert finish(evaluate(toy_job([scene], tmp_path), tmp_path)).num_reused == 10, "what came after the torn line counts"


def test_other_settings_are_other_results(scene, tmp_path):
    finish(evaluate(toy_job([scene], tmp_path, ["p3p"]), tmp_path))
    more = finish(evaluate(toy_job([scene], tmp_path, ["p3p", "ssmc"]), tmp_path))
    assert more.num_reused == 5, "a method more leaves the others"
    assert finish(evaluate(toy_job([scene], tmp_path, ["p3p"], seed=1), tmp_path)).num_reused == 0
    strict = LocalizerConfig(ransac=RansacConfig(min_inliers=1000, min_guided=10_000.0))
    job = replace(toy_job([scene], tmp_path, ["p3p"]), variants=(Variant("p3p", strict),))
    changed = finish(evaluate(job, tmp_path))
    assert changed.num_reused == 0
    assert all(row.failure.startswith("no consensus") for row in changed.rows)


def test_only_the_conditions_asked_for_are_evaluated(scene, tmp_path):
    found = finish(evaluate(toy_job([scene], tmp_path, ["p3p"], conditions=["snow"]), tmp_path))
    assert [row.query for row in found.rows] == ["snow/0.png", "snow/1.png"]
    with pytest.raises(
        InputError, match=r"no query images of the conditions asked for; it has queries of: overcast, sun, snow"
    ):
        finish(evaluate(toy_job([scene], tmp_path, conditions=["fog"]), tmp_path))


def test_an_image_that_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path):
    scene = write_toy_scene(tmp_path / "street")
    (scene / "images" / "sun/0.png").write_bytes(b"no image")
    found = finish(evaluate(toy_job([scene], tmp_path), tmp_path))
    bad = [row for row in found.rows if row.refused]
    assert [(row.query, row.method) for row in bad] == [("sun/0.png", "p3p"), ("sun/0.png", "ssmc")]
    assert all("not a readable image" in row.failure for row in bad)
    assert sum(row.error is not None for row in found.rows) == 6
    assert any(note.startswith("ssmc stripes: 1 of 5 queries could not be used") for note in found.notes)


def test_processes_give_the_same_results(scene, reference, tmp_path):
    found = finish(evaluate(toy_job([scene], tmp_path), tmp_path, Workers(2)))
    assert without_times(found.rows) == without_times(reference.rows)


def test_a_worker_process_that_dies_loses_nothing(scene, reference, tmp_path):
    steps = evaluate(toy_job([scene], tmp_path, pause_s=0.3), tmp_path, Workers(2))
    killed = False
    messages = []
    while True:
        try:
            step = next(steps)
        except StopIteration as done:
            found = done.value
            break
        messages.append(step.message)
        if not killed and "results" in step.message:
            killed = _kill_a_child()
    assert any("A worker process died" in message for message in messages)
    assert without_times(found.rows) == without_times(reference.rows)


def _kill_a_child():
    children = multiprocessing.active_children()
    if children:
        os.kill(children[0].pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    return bool(children)


def test_scenes_of_one_name_are_refused(scene, tmp_path):
    other = write_toy_scene(tmp_path / "other")
    with pytest.raises(InputError, match="is called 'Toy street', as is"):
        finish(evaluate(toy_job([scene, other], tmp_path, ["p3p"]), tmp_path))


def test_methods_that_do_not_exist_or_lack_labels_are_refused():
    with pytest.raises(InputError, match="method 'p4p' is not known; expected some of p3p, ssmc"):
        make_variants(["p4p"], [], LocalizerConfig())
    with pytest.raises(InputError, match="the method 'ssmc' needs labels"):
        make_variants(["p3p", "ssmc"], [], LocalizerConfig())
    assert [v.id for v in make_variants(["p3p", "ssmc"], ["a", "b"], LocalizerConfig())] == ["p3p", "ssmc/a", "ssmc/b"]


def test_priors_of_stated_quality_err_as_stated():
    query = ImageData("sun/0.png", None, "sun", None, POSE)
    down, height = POSE.R @ [0, 0, -1], POSE.center()[2]
    exact = noisy_prior(query, 0, 0)
    np.testing.assert_allclose(exact.gravity_in_camera, down, atol=1e-12)
    assert exact.height_m == pytest.approx(height)
    made = [noisy_prior(replace(query, name=f"sun/{k}.png"), 2.0, 0.5) for k in range(400)]
    angles = np.degrees([np.arccos(np.clip(prior.gravity_in_camera @ down, -1, 1)) for prior in made])
    assert np.sqrt(np.mean(angles**2) / 2) == pytest.approx(2.0, rel=0.1), "along each of two axes"
    assert np.std([prior.height_m - height for prior in made]) == pytest.approx(0.5, rel=0.1)
    assert noisy_prior(query, 2, 1, seed=3).height_m == noisy_prior(query, 2, 1, seed=3).height_m
    with pytest.raises(InputError, match="true pose is not known"):
        noisy_prior(replace(query, cam_from_world=None, path="a.png"), 1, 1)


def test_positions_of_stated_quality_err_level_as_stated():
    query = ImageData("sun/0.png", None, "sun", None, POSE)
    made = [noisy_position(replace(query, name=f"sun/{k}.png"), 4.0) for k in range(400)]
    errors = np.array([prior.position - POSE.center() for prior in made])
    np.testing.assert_allclose(errors.std(axis=0), [4, 4, 0], rtol=0.1, atol=1e-9)
    assert made[0].position_error_m == 4
    with pytest.raises(InputError, match="true pose is not known"):
        noisy_position(replace(query, cam_from_world=None, path="a.png"), 1)


def test_a_sequence_may_be_told_where_it_begins(scene, tmp_path):
    job = toy_job([scene], tmp_path, ["pfsl"])
    told = replace(job.variants[0], name="pfsl, told", start_error_m=4.0)
    rows = finish(evaluate(replace(job, variants=(*job.variants, told)), tmp_path)).rows
    assert not any(row.refused for row in rows)
    by_name = {name: [row.position_error_m for row in rows if row.method == name] for name in ("pfsl", "pfsl, told")}
    assert len(by_name["pfsl"]) == len(by_name["pfsl, told"]) == 5
    assert by_name["pfsl"] != by_name["pfsl, told"]


def test_a_sequence_is_followed_condition_by_condition(scene, tmp_path):
    rows = finish(evaluate(toy_job([scene], tmp_path, ["pfsl"]), tmp_path)).rows
    assert [(row.query, row.method, row.labels) for row in rows] == [(q, "pfsl", "stripes") for q in (*FOUND, *LOST)]
    assert not any(row.refused for row in rows)
    assert all(set(row.seconds) == {"labels", "pose"} for row in rows)
    assert all((row.failure is None) == (row.position_error_m is not None) for row in rows)
    again = finish(evaluate(toy_job([scene], tmp_path, ["pfsl"]), tmp_path))
    assert again.num_reused == 5


def outside_solver(matches, scene_map, camera, config, seed):
    return POSE if len(matches) > 50 else None


def test_an_outside_solver_gets_the_same_matches(scene, tmp_path):
    job = replace(toy_job([scene], tmp_path, ["p3p"]), variants=(Variant("p3p"), Variant("outside", solve=outside_solver)))
    rows = finish(evaluate(job, tmp_path)).rows
    for ours, outside in zip(rows[::2], rows[1::2], strict=True):
        assert (ours.method, outside.method) == ("p3p", "outside")
        assert ours.num_matches == outside.num_matches
        if outside.failure is None:
            assert outside.position_error_m < 1e-9
            assert outside.num_inliers == pytest.approx(ours.num_inliers, rel=0.1)


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="asks /proc whether a process is alive")
def test_workers_end_with_the_process_that_was_killed(tmp_path):
    script = (
        "import os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from core.evaluation.workers import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), end_with_parent)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 60).result()\n"
    )
    (tmp_path / "parent.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    ends = time.monotonic() + 20
    while _is_alive(worker) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not _is_alive(worker)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"  # ended, not yet waited for
    except OSError:
        return False


def test_a_cluster_gives_the_same_results_though_a_worker_dies(scene, reference, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        steps = evaluate(toy_job([scene], tmp_path, pause_s=0.3), tmp_path, Workers(scheduler=cluster.scheduler_address))
        while "results" not in next(steps).message:
            pass
        worker = next(iter(cluster.workers.values()))
        os.kill(worker.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        found = finish(steps)
    assert without_times(found.rows) == without_times(reference.rows)
    lines = (tmp_path / JOURNAL).read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == 10


def test_a_scheduler_that_is_not_there_is_named(scene, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    monkeypatch.setattr("core.evaluation.cluster._CONNECT_S", 1)
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there"):
        finish(evaluate(toy_job([scene], tmp_path, ["p3p"]), tmp_path, Workers(scheduler="tcp://127.0.0.1:9")))
