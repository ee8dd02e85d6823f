"""DINOv2 backbones in the published key layout give the published function, and their clusters are labels like any others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_networks import RunsCode, photograph
from engine_toys import drain, on_one_thread, toy_set
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.clustering import ClusterConfig, ClusterModel
from core.engine.device import choose_device
from core.engine.dinov2 import DinoConfig, DinoV2, load_dinov2
from core.engine.dinov2_vocabulary import DinoFeatures, dino_preprocessing, load_vocabulary, make_vocabulary, save_vocabulary
from core.engine.fgsn_config import FGSNConfig
from core.engine.segmenter import Segmenter, load_segmenter
from core.engine.targets import FrozenNetwork
from core.engine.weights import load_network
from core.errors import InputError, WeightsError
from core.steps import finish
from fgsn_viewer import cli
from resources import DEMO

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)
BLOCK = {
    "norm1.weight": (1,),
    "norm1.bias": (1,),
    "attn.qkv.weight": (3, 1),
    "attn.qkv.bias": (3,),
    "attn.proj.weight": (1, 1),
    "attn.proj.bias": (1,),
    "ls1.gamma": (1,),
    "norm2.weight": (1,),
    "norm2.bias": (1,),
    "mlp.fc1.weight": (4, 1),
    "mlp.fc1.bias": (4,),
    "mlp.fc2.weight": (1, 4),
    "mlp.fc2.bias": (1,),
    "ls2.gamma": (1,),
}  # shapes in widths


def published_state(width: int = 64, depth: int = 2, registers: int = 0, grid: int = 5, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of the published files, written down without our classes."""
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid**2, width),
        **({"register_tokens": (1, registers, width)} if registers else {}),
        "mask_token": (1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
    }
    for block in range(depth):
        shapes |= {f"blocks.{block}.{name}": tuple(width * n for n in times) for name, times in BLOCK.items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    random = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=random) * shape[-1] ** -0.5 for name, shape in shapes.items()}
    return {name: 1 + 0.3 * value if "norm" in name and "weight" in name else value for name, value in state.items()}


def write_backbone(path: Path, **shape) -> Path:
    torch.save(published_state(**shape), path)
    return path


def cubic_weights(source: int, target: int, factor: float, smooth: bool) -> np.ndarray:
    """Weights (target, source) of a bicubic resize: of every target pixel, from the kernel's definition (Keys 1981)."""
    a, stretch = (-0.5, max(1.0, 1 / factor)) if smooth else (-0.75, 1.0)
    matrix = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) / factor - 0.5
        reach = int(np.ceil(2 * stretch)) + 1
        for k in range(int(np.floor(centre)) - reach, int(np.floor(centre)) + reach + 1):
            t = abs(k - centre) / stretch
            near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
            weight = near if t <= 1 else far if t < 2 else 0.0
            if 0 <= k < source or not smooth:
                matrix[i, min(max(k, 0), source - 1)] += weight
    return matrix / matrix.sum(1, keepdims=True)


def reference_features(state: dict[str, Tensor], image: Tensor, num_registers: int) -> Tensor:
    """Patch features (rows, columns, width) of one image (3, H, W), step by step in f64 with torch's own attention."""
    state = {name: value.double() for name, value in state.items()}
    width, grid = state["cls_token"].shape[2], round((state["pos_embed"].shape[1] - 1) ** 0.5)
    rows, columns = image.shape[1] // 14, image.shape[2] // 14
    patches = image.double().reshape(3, rows, 14, columns, 14).permute(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    tokens = patches @ state["patch_embed.proj.weight"].reshape(width, -1).T + state["patch_embed.proj.bias"]
    places = state["pos_embed"][0, 1:].reshape(grid, grid, width).numpy()
    if (rows, columns) != (grid, grid):
        offset = 0.0 if num_registers else 0.1
        down, across = (cubic_weights(grid, n, (n + offset) / grid, bool(num_registers)) for n in (rows, columns))
        places = np.einsum("rg,ch,ghw->rcw", down, across, places)
    tokens = tokens + torch.from_numpy(places.reshape(rows * columns, width))
    first = state["cls_token"][0] + state["pos_embed"][0, :1]
    x = torch.cat([first, *([state["register_tokens"][0]] if num_registers else []), tokens])
    for block in range(sum(name.endswith("ls1.gamma") for name in state)):
        of = {name: state[f"blocks.{block}.{name}"] for name in BLOCK}
        attention = nn.MultiheadAttention(width, width // 64, batch_first=True, dtype=torch.float64)
        names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        given = ("attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias")
        attention.load_state_dict({name: of[other] for name, other in zip(names, given, strict=True)})
        y = F.layer_norm(x, (width,), of["norm1.weight"], of["norm1.bias"], 1e-6)[None]
        x = x + of["ls1.gamma"] * attention(y, y, y, need_weights=False)[0][0]
        y = F.layer_norm(x, (width,), of["norm2.weight"], of["norm2.bias"], 1e-6)
        y = y @ of["mlp.fc1.weight"].T + of["mlp.fc1.bias"]
        y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
        x = x + of["ls2.gamma"] * (y @ of["mlp.fc2.weight"].T + of["mlp.fc2.bias"])
    x = F.layer_norm(x, (width,), state["norm.weight"], state["norm.bias"], 1e-6)
    return x[1 + num_registers :].reshape(rows, columns, width)


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (3, 8), (9, 4)])
def test_features_are_those_of_a_step_by_step_reference(tmp_path, registers, rows, columns):
    path = write_backbone(tmp_path / "dinov2.pth", width=128, registers=registers)
    image = torch.randn(3, 14 * rows, 14 * columns, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = load_dinov2(path)(image[None])[0].permute(1, 2, 0)
        expected = reference_features(torch.load(path), image, registers)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("width", "depth", "parameters", "title"),
    [
        (384, 12, 22_056_576, "DINOv2 ViT-S/14"),
        (768, 12, 86_580_480, "DINOv2 ViT-B/14"),
        (1024, 24, 304_368_640, "DINOv2 ViT-L/14"),
    ],
)
def test_the_published_sizes_have_exactly_the_published_names_and_numbers_of_weights(width, depth, parameters, title):
    with torch.device("meta"):
        network = DinoV2(DinoConfig(width=width, depth=depth))
    assert sum(value.numel() for value in network.state_dict().values()) == parameters
    assert len(network.state_dict()) == 7 + 14 * depth
    assert network.config.title == title
    if width == 384:
        expected = published_state(width, depth, grid=37)
        assert {name: value.shape for name, value in network.state_dict().items()} == {k: v.shape for k, v in expected.items()}


def test_vit_s_with_registers_loads_from_its_file_with_its_shape_read_from_the_weights(tmp_path):
    path = write_backbone(tmp_path / "dinov2_vits14_reg4_pretrain.pth", width=384, depth=12, registers=4, grid=37)
    network = load_dinov2(path)
    assert network.config == DinoConfig(width=384, depth=12, num_registers=4, grid=37, patch=14)
    assert network.config.title == "DINOv2 ViT-S/14, 4 registers"
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())


def test_a_backbone_that_would_run_code_is_refused_and_runs_none(tmp_path):
    torch.save(published_state() | {"norm.bias": RunsCode(tmp_path / "executed")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth: not a checkpoint of tensors"):
        load_dinov2(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)  # the trap is a real one
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cls_token": None}, "not a DINOv2 backbone; its keys are pos_embed"),
        ({"blocks.1.ls1.gamma": None}, "does not fit this DINOv2 width 64/14; 1 keys are missing: blocks.1.ls1.gamma"),
        ({"extra": torch.zeros(1)}, "1 keys are unknown: extra"),
        ({"norm.bias": torch.full((64,), float("nan"))}, "1 tensors hold NaN or infinite values: norm.bias"),
        ({"pos_embed": torch.zeros(1, 25, 64)}, r"pos_embed is \(1, 25, 64\), expected \(1, 17, 64\)"),
        ({"pos_embed": torch.zeros(26, 64)}, r"have \(2, 4, 3\) dimensions"),
        ({"pos_embed": torch.zeros(1, 26, 65)}, "not a DINOv2 backbone .*a width that is a multiple of 64"),
        ({"blocks.0.mlp.w12.weight": torch.zeros(1)}, "a DINOv2 ViT-g, whose gated MLP is not supported"),
        ({"blocks.99999999.norm1.weight": torch.zeros(64)}, "names block 99999999, but holds only"),
    ],
)
def test_files_of_something_else_say_what_was_found(tmp_path, changes, sentence):
    state = {name: value for name, value in (published_state() | changes).items() if value is not None}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"x\.pth: .*{sentence}"):
        load_dinov2(tmp_path / "x.pth")


def test_features_lie_where_the_tiling_expects_them(tmp_path):
    """A backbone that only averages: the features of a ramp are the ramp at every 14th pixel, to half a pixel."""
    network = DinoFeatures(load_dinov2(write_backbone(tmp_path / "x.pth", depth=1)))
    seen = []
    network.backbone.forward = lambda x: seen.append(F.avg_pool2d(x, 14)) or seen[-1]
    ramp = torch.arange(141.0).expand(3, 85, 141)[None]
    found = network(ramp).features
    assert found.shape == (1, 3, 7, 11)
    np.testing.assert_allclose(found[0, 0, 3, 1:-1], 14 * np.arange(1, 10), atol=0.51)
    assert network(torch.zeros(1, 3, 84, 140)).features.shape == (1, 3, 6, 10)


def vocabulary(folder: Path, num_labels: int = 8, **shape) -> Path:
    """A vocabulary whose centroids are features of a photograph."""
    backbone = load_dinov2(write_backbone(folder / "backbone.pth", **shape))
    preprocessing = dino_preprocessing(short_side=99)
    features = FrozenNetwork(DinoFeatures(backbone), preprocessing).image_features(photograph(120, 160))
    rows = features.flatten(1).T
    _, std = rows.mean(0), rows.std(0)
    model = ClusterModel(np.diag(1 / std.numpy()), -(rows.mean(0) / std).numpy(), np.zeros((1, rows.shape[1])))
    centroids = model.project(rows)[:: max(1, len(rows) // num_labels)][:num_labels]
    path = folder / "street-8.safetensors"
    save_vocabulary(path, backbone, ClusterModel(model.A, model.b, centroids.numpy()), preprocessing)
    return path


def test_a_vocabulary_labels_a_photograph_by_the_nearest_centroid(tmp_path):
    path = vocabulary(tmp_path)
    segmenter = load_segmenter(path, "cpu", "exact")
    assert (segmenter.vocabulary, segmenter.num_labels, segmenter.names) == ("street-8", 8, None)
    assert len(segmenter.info.sha256) == 64
    image = photograph(99, 127)  # seen as it is: 8 x 10 features, centred on every 14th pixel
    found = segmenter.segment(image)
    assert found.labels.shape == (99, 127)
    state = load_file(path)
    clusters = ClusterModel(*(state[name].numpy() for name in ("A", "b", "centroids")))
    frozen = FrozenNetwork(DinoFeatures(load_dinov2(tmp_path / "backbone.pth")), segmenter.info.preprocessing)
    features = frozen.image_features(image)
    expected = clusters.assign(features.flatten(1).T).reshape(features.shape[1:]).numpy()
    np.testing.assert_array_equal(found.labels[::14, ::14], expected)
    assert len(np.unique(expected)) > 3
    assert found.confidence.min() >= 1 / 8 - 1e-6


def test_fast_and_exact_and_many_crops_give_nearly_the_same_labels(tmp_path):
    path = vocabulary(tmp_path)
    image = photograph(99, 150)
    exact, fast = (load_segmenter(path, "cpu", precision).segment(image).labels for precision in ("exact", "fast"))
    assert (exact == fast).mean() > 0.97
    network, info = load_vocabulary(path)
    wide = Segmenter(network, info, choose_device("cpu", "exact")).segment(photograph(60, 1500)).labels
    assert wide.shape == (60, 1500)


def test_a_vocabulary_cannot_be_trained_on_and_other_files_are_no_vocabularies(tmp_path):
    path = vocabulary(tmp_path)
    with pytest.raises(WeightsError, match=r"street-8\.safetensors: a vocabulary of a DINOv2 backbone"):
        load_network(path)
    save_file({"A": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors: not a vocabulary of a DINOv2 backbone"):
        load_vocabulary(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"backbone\.pth: a DINOv2 backbone, which has no labels; `vocabulary"):
        load_segmenter(tmp_path / "backbone.pth")


@pytest.mark.parametrize("change", [{"width": 128}, {"depth": 10**9}, {"num_labels": 0}, {"what": 1}, {"dims": 3}])
def test_a_vocabulary_with_a_description_that_does_not_fit_says_so(tmp_path, change):
    path = vocabulary(tmp_path)
    described = json.loads(_metadata(path)["fgsn-dinov2-vocabulary-1"])
    described["config"] |= change
    save_file(load_file(path), path, metadata={"fgsn-dinov2-vocabulary-1": json.dumps(described)})
    with pytest.raises(WeightsError, match=r"street-8\.safetensors: (its description|does not fit|says 1000000000 blocks)"):
        load_segmenter(path)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_training_data_of_any_kind_gives_a_vocabulary_that_is_the_same_each_time(tmp_path):
    data = toy_set(tmp_path / "set", num_views=6)
    backbone = write_backbone(tmp_path / "b.pth")
    config = FGSNConfig(clusters=ClusterConfig(num_clusters=6, max_dims=16, num_iterations=4), max_features_per_image=40)
    files = []
    for name in ("one", "two"):
        steps, out = drain(make_vocabulary(backbone, data, tmp_path / name / "v.safetensors", config, 0, "cpu", 65))
        fractions = [step.fraction for step in steps]
        assert fractions == sorted(fractions)
        files.append(out.read_bytes())
    assert files[0] == files[1]
    segmenter = load_segmenter(out, "cpu")
    labels = segmenter.segment(np.asarray(data.view(0).images[0]))
    assert (labels.num_labels, labels.vocabulary) == (6, "v")
    assert len(np.unique(labels.labels)) > 1
    with pytest.raises(InputError, match=r"v\.pth: a vocabulary is written as \.safetensors"):
        finish(make_vocabulary(backbone, data, tmp_path / "v.pth", config, 0, "cpu", 65))


def run(capsys, *arguments: object) -> dict:
    """Run a command; its last row."""
    assert cli.main([str(argument) for argument in (*arguments, "--json", "--quiet")]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_from_a_backbone_to_a_pose_by_commands_alone(tmp_path, capsys):
    """A vocabulary from a scene's images, a photograph segmented, the map labelled, a query localized with the labels."""
    scene, weights = tmp_path / "scene", tmp_path / "dino-20.safetensors"
    shutil.copytree(DEMO, scene)
    queries = (DEMO / "queries.txt").read_text().splitlines()
    (scene / "queries.txt").write_text("".join(f"{line}\n" for line in queries if line.startswith("overcast/0040")))
    backbone = write_backbone(tmp_path / "dinov2_tiny_pretrain.pth")
    few = ["--clusters", 20, "--dims", 32, "--features", 60, "--short-side", 113]
    made = run(capsys, "vocabulary", "--backbone", backbone, "--data", scene, "--out", weights, *few)
    assert (made["vocabulary"], made["num_labels"]) == ("dino-20", 20)
    assert made["stationary"] > 0
    assert (tmp_path / "dino-20.labels.safetensors").is_file()
    photo = scene / "images" / "overcast" / "0000.jpg"
    assert run(capsys, "segment", photo, "--weights", weights, "--out", tmp_path / "labels")["num_present"] > 3
    assert run(capsys, "label", scene, "--weights", weights)["vocabulary"] == "dino-20"
    found = run(capsys, "localize", scene, "--method", "ssmc-soft", "--weights", weights)
    assert found["failure"] is None
    assert found["position_error_m"] < 1
    assert found["label_agreement"] > 1.5 / 20  # a random backbone still sees colours
