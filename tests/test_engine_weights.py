"""Weight files: official and own ones load, every wrong one gets its sentence, and none runs code."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
import torch
from engine_networks import RunsCode, official_state, random_network, tiny_config
from safetensors.torch import save_file

from core.engine.network import PSPNet, small_config
from core.engine.weight_folders import read_best, statistics_of, weight_file
from core.engine.weights import NetworkInfo, Preprocessing, load_network, save_network, small_preprocessing
from core.errors import InputError, WeightsError


def tiny_info(**changes) -> NetworkInfo:
    values = {"vocabulary": "streets", "num_labels": 7, "preprocessing": Preprocessing(), "config": tiny_config()}
    return NetworkInfo(**(values | changes))


@pytest.mark.parametrize("base", ["caffe", "torchvision"])
def test_official_checkpoint_loads_with_labels_and_base_read_from_its_weights(tmp_path, base):
    torch.save(official_state(11, base), tmp_path / "cmu-11clusters.pth")
    network, info = load_network(tmp_path / "cmu-11clusters.pth")
    assert (info.num_labels, info.vocabulary, info.config.base) == (11, "cmu-11clusters", base)
    assert info.preprocessing == Preprocessing()
    assert len(info.sha256) == 64
    assert not network.training


def test_checkpoint_without_counters_and_with_the_base_names_of_the_classifiers_loads(tmp_path):
    state = {name: tensor for name, tensor in official_state().items() if not name.endswith("num_batches_tracked")}
    assert len(state) == 564
    for name in ("weight", "bias"):
        state[f"final.conv6.{name}"] = state.pop(f"conv6.{name}")
        state[f"aux.conv6_1.{name}"] = state.pop(f"conv6_1.{name}")
    torch.save(state, tmp_path / "pspnet101_cs_vis.pth")
    network, info = load_network(tmp_path / "pspnet101_cs_vis.pth")
    assert info.num_labels == 11
    assert network.state_dict()["fcn.layer1.conv1.bn.num_batches_tracked"] == 0


def test_bare_official_weights_load_from_safetensors_too(tmp_path):
    state = {name: tensor.half().contiguous() for name, tensor in official_state().items()}
    save_file(state, tmp_path / "net.safetensors")
    network, info = load_network(tmp_path / "net.safetensors")
    assert info.vocabulary == "net"
    assert network.conv6.weight.dtype == torch.float32


def test_checkpoints_in_the_format_of_old_torch_load_and_are_as_safe(tmp_path):
    """The published files were written by torch 1.1, before checkpoints were zip files."""
    old = {"_use_new_zipfile_serialization": False}
    torch.save(official_state(), tmp_path / "old.pth", **old)
    assert (tmp_path / "old.pth").read_bytes()[:2] != b"PK"
    assert load_network(tmp_path / "old.pth")[1].num_labels == 11
    torch.save({"conv6.weight": RunsCode(str(tmp_path / "executed"))}, tmp_path / "evil.pth", **old)
    with pytest.raises(WeightsError, match=r"evil\.pth: not a checkpoint"):
        load_network(tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle_of_a_call(tmp_path / "executed"))
    with pytest.raises(WeightsError, match=r"plain\.pth: not a checkpoint"):
        load_network(tmp_path / "plain.pth")
    assert not (tmp_path / "executed").exists()


def pickle_of_a_call(folder) -> bytes:
    """A pickle of protocol 0 that makes a folder: no torch file at all, and how such files are mostly found."""
    return f"cos\nmkdir\n(V{folder}\ntR.".encode()


@pytest.mark.parametrize("base", ["caffe", "torchvision"])
def test_a_network_of_19_classes_has_the_names_of_cityscapes_and_knows_what_cannot_move(tmp_path, base):
    torch.save(official_state(19, base), tmp_path / "pspnet101_cs_cmu.pth")
    info = load_network(tmp_path / "pspnet101_cs_cmu.pth")[1]
    assert (info.names[0], info.names[18], info.vocabulary) == ("road", "bicycle", "pspnet101_cs_cmu")
    statistics = statistics_of(info)
    assert (statistics.vocabulary, statistics.num_labels) == ("pspnet101_cs_cmu", 19)
    assert statistics.stationary.tolist() == [True] * 11 + [False] * 8


def test_the_best_network_of_the_predecessor_s_folders_is_found_by_its_own_numbers(tmp_path):
    row = {"iter": 100, "val_loss": 0.5, "acc": 0.9, "mean_iu": 0.6, "snapshot": "iter_100_best"}
    (tmp_path / "bestval.txt").write_text(f"{row!r}\n\n")
    (tmp_path / "iter_100_best.pth").write_bytes(b"")
    assert weight_file(tmp_path) == tmp_path / "iter_100_best.pth"
    assert read_best(tmp_path / "bestval.txt")["mean_iu"] == 0.6
    row["snapshot"] = "../elsewhere"
    (tmp_path / "bestval.txt").write_text(repr(row))
    with pytest.raises(WeightsError, match=r"'../elsewhere' is no name of a snapshot"):
        weight_file(tmp_path)


def test_own_network_comes_back_with_everything_that_belongs_to_it(tmp_path):
    network = random_network(tiny_config())
    info = tiny_info(names=tuple("abcdefg"), preprocessing=Preprocessing(crop=321, fit="shrink", channel_order="rgb"))
    save_network(tmp_path / "own.safetensors", network, info)
    loaded, found = load_network(tmp_path / "own.safetensors")
    assert dataclasses.replace(found, path=None, sha256="") == info
    assert found.path == tmp_path / "own.safetensors"
    again = loaded.state_dict()
    assert all(torch.equal(again[name], value) for name, value in network.state_dict().items() if "num_batches" not in name)


def test_half_precision_file_is_half_the_size_and_nearly_the_same_network(tmp_path):
    config = small_config(19)
    network = random_network(config, small_preprocessing(), side=225)
    info = NetworkInfo(vocabulary="v", num_labels=19, preprocessing=small_preprocessing(), config=config)
    save_network(tmp_path / "half.safetensors", network, info, torch.float16)
    assert (tmp_path / "half.safetensors").stat().st_size < 8e6
    x = torch.randn(1, 3, 225, 225)
    with torch.no_grad():
        before, after = network(x).logits, load_network(tmp_path / "half.safetensors")[0](x).logits
    assert (after - before).norm() < 0.01 * before.norm()


def test_an_info_that_does_not_fit_the_network_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="describes another network"):
        save_network(tmp_path / "x.safetensors", PSPNet(tiny_config(9)), tiny_info())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="3 names"):
        tiny_info(names=("a", "b", "c"))
    with pytest.raises(ValueError, match="output_stride 4"):
        tiny_info(preprocessing=Preprocessing(output_stride=4))


def test_a_failed_save_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    network = random_network(tiny_config())
    path = tmp_path / "own.safetensors"
    save_network(path, network, tiny_info())
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(InputError, match=r"own\.safetensors: cannot be written"):
        save_network(path, network, tiny_info())
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["own.safetensors"]


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path):
    torch.save({"conv6.weight": RunsCode(str(tmp_path / "executed"))}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth: not a checkpoint"):
        load_network(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)  # the trap is a real one
    assert (tmp_path / "executed").exists()


def broken_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    torch.save({"conv6.weight": torch.zeros(7, 512, 1, 1)}, buffer)
    whole = buffer.getvalue()
    return {
        "cut.pth": whole[: len(whole) // 2],
        "noise.pth": bytes(range(7, 256)) * 9,
        "empty.pth": b"",
        "text.pth": b"hello there",
    }


@pytest.mark.parametrize("name", ["cut.pth", "noise.pth", "empty.pth", "text.pth"])
def test_files_that_are_no_whole_checkpoint_say_so(tmp_path, name):
    (tmp_path / name).write_bytes(broken_files()[name])
    with pytest.raises(WeightsError, match=f"{name}: not a checkpoint of tensors, or cut off") as caught:
        load_network(tmp_path / name)
    assert str(caught.value).endswith("; expected a state dict saved by torch.save")  # torch's own advice is left out


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_safetensors_files_that_are_broken_say_so(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors: not a whole safetensors file"):
        load_network(tmp_path / "x.safetensors")


def test_cut_off_own_file_says_so(tmp_path):
    save_network(tmp_path / "own.safetensors", random_network(tiny_config()), tiny_info())
    data = (tmp_path / "own.safetensors").read_bytes()
    (tmp_path / "own.safetensors").write_bytes(data[:-100])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_network(tmp_path / "own.safetensors")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2, 3], "found a list; expected a state dict"),
        ({"epoch": 3, "state_dict": {}}, "found a dict with the keys epoch, state_dict; expected a state dict"),
        ({"layer.weight": torch.zeros(3)}, "expected the PSPNet classifier conv6.weight .* its keys are layer.weight"),
        ({"conv6.weight": torch.zeros(3, 512)}, r"its shape is \(3, 512\)"),
        ({"conv6.weight": torch.zeros(3, 512, 1, 1)}, "keys are missing: fcn.layer1.conv1.conv.weight, .* and 559 more"),
    ],
)
def test_checkpoints_of_something_else_say_what_was_found(tmp_path, content, sentence):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=rf"other\.pth: .*{sentence}"):
        load_network(tmp_path / "other.pth")


def test_wrong_shapes_unknown_keys_and_nan_are_named(tmp_path):
    state = official_state() | {"final.conv5_4.conv.weight": torch.zeros(512, 2048, 3, 3), "fcn.layer6.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError) as failure:
        load_network(tmp_path / "x.pth")
    assert "final.conv5_4.conv.weight is (512, 2048, 3, 3), expected (512, 4096, 3, 3)" in str(failure.value)
    assert "1 keys are unknown: fcn.layer6.weight" in str(failure.value)
    torch.save(official_state() | {"conv6.bias": torch.full((11,), float("nan"))}, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"nan\.pth: 1 tensors hold NaN or infinite values: conv6.bias"):
        load_network(tmp_path / "nan.pth")


@pytest.mark.parametrize(
    ("section", "value"), [("config", {"depth": 3}), ("config", []), ("labels", {}), ("preprocessing", None)]
)
def test_own_file_with_a_description_that_cannot_be_used_says_so(tmp_path, section, value):
    good = {"config": dataclasses.asdict(tiny_config()), "preprocessing": {}, "labels": {"vocabulary": "v", "names": None}}
    metadata = {"fgsn-network-1": json.dumps(good | {section: value})}
    save_file({"conv6.weight": torch.zeros(7, 16, 1, 1)}, tmp_path / "own.safetensors", metadata=metadata)
    with pytest.raises(WeightsError, match=r"own\.safetensors: its description cannot be used"):
        load_network(tmp_path / "own.safetensors")


def test_the_same_network_is_always_written_as_the_same_bytes(tmp_path):
    network = PSPNet(tiny_config())
    info = NetworkInfo(vocabulary="v", num_labels=7, preprocessing=Preprocessing(), config=network.config)
    for number in range(4):
        save_network(tmp_path / f"{number}.safetensors", network, info)
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(4)}) == 1


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such weight file"):
        load_network(tmp_path / "none.pth")
