from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_toys import drain, on_one_thread, toy_set
from training_toys import RUN, run_config, start_weights

from core.engine.distributed import SINGLE, Group, process_group
from core.engine.run_folder import RunFolder, read_log
from core.engine.runs import train_run
from core.engine.weights import load_network

ROOT = Path(__file__).resolve().parent.parent
one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)

WORKER = """
import sys, torch
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from training_toys import RUN, run_config
from core.engine.dataset import TrainingSet
from core.engine.distributed import process_group
from core.engine.runs import train_run
torch.set_num_threads(1)
folder = Path(sys.argv[1])
start, data = folder / "start.safetensors", TrainingSet(folder / "set")
with process_group("cpu") as group:
    for _ in train_run(start, data, run_config(5, 3), folder / "two", 3, RUN, group=group):
        pass
"""


def in_two_processes(script: Path, *arguments: Path) -> subprocess.CompletedProcess:
    """Run a script by torchrun; by address, because a bare machine may not know its own name."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    local = ["--local-addr", "127.0.0.1", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    command = [sys.executable, *torchrun, *local, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed training")
def test_two_processes_have_the_loss_curve_of_one_with_the_same_batch(tmp_path):
    """BatchNorm statistics are frozen, as in the paper; the pairs follow from their numbers, so the batches are the same."""
    data, start = toy_set(tmp_path / "set", num_views=8), start_weights(tmp_path)
    (tmp_path / "worker.py").write_text(WORKER.format(tests=str(ROOT / "tests"), root=str(ROOT)))
    done = in_two_processes(tmp_path / "worker.py", tmp_path)
    assert done.returncode == 0, done.stderr
    config = run_config(5, 3)
    config = replace(config, optimization=replace(config.optimization, batch_size=2))
    drain(train_run(start, data, config, tmp_path / "one", 3, RUN))
    one, two = read_log(tmp_path / "one"), read_log(tmp_path / "two")
    assert len(one) == len(two) == 7
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6), json.dumps(b)
    first, second = (load_network(tmp_path / name)[0].state_dict() for name in ("one", "two"))
    assert all(torch.allclose(first[name], second[name], rtol=1e-3, atol=1e-5) for name in first)


STOPPED = """
import sys, threading, torch
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from training_toys import RUN, run_config
from core.engine.dataset import TrainingSet
from core.engine.distributed import process_group
from core.engine.runs import train_run
from fgsn_viewer.commands_training import _until
torch.set_num_threads(1)
folder, stop = Path(sys.argv[1]), threading.Event()
start, data = folder / "start.safetensors", TrainingSet(folder / "set")
with process_group("cpu") as group:
    steps = train_run(start, data, run_config(50, 0, 50), folder / "two", 3, RUN, group=group)
    try:
        for step in _until(steps, stop, group):
            if group.rank == 1 and getattr(step, "step", 0) == 1:
                stop.set()
    except KeyboardInterrupt:
        (folder / f"stopped_{{group.rank}}").write_text(str(step.step))
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed training")
def test_all_processes_stop_after_the_same_step_and_keep_it_when_one_is_asked_to(tmp_path):
    toy_set(tmp_path / "set", num_views=8)
    start_weights(tmp_path)
    (tmp_path / "worker.py").write_text(STOPPED.format(tests=str(ROOT / "tests"), root=str(ROOT)))
    done = in_two_processes(tmp_path / "worker.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"stopped_{rank}").read_text() for rank in (0, 1)] == ["1", "1"]
    assert RunFolder(tmp_path / "two").read_state().step == 2


def test_one_process_alone_talks_to_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as group:
        assert group is SINGLE
    assert Group().leads
    assert not Group(rank=1, size=2).leads
    assert SINGLE.mean({"loss": 2.0}) == {"loss": 2.0}
    assert (SINGLE.any(True), SINGLE.any(False)) == (True, False)


def test_accumulated_passes_are_one_step_of_the_whole_batch(tmp_path):
    data, start = toy_set(tmp_path / "set", num_views=8), start_weights(tmp_path)
    logs = []
    for name, sizes in (("whole", {"batch_size": 4}), ("parts", {"batch_size": 2, "accumulate": 2})):
        config = run_config(3, 0)
        config = replace(config, optimization=replace(config.optimization, **sizes))
        drain(train_run(start, data, config, tmp_path / name, 3, RUN))
        logs.append(read_log(tmp_path / name))
    for a, b in zip(*logs, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)
