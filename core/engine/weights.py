"""Read and write weight files: the official checkpoints, and our own with everything that belongs to them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from core.engine.network import PSPNet, PSPNetConfig, official_config
from core.engine.weight_folders import EXPORTED_WEIGHTS, SNAPSHOT_PREFIX, weight_file
from core.errors import WeightsError
from core.images import write_atomic
from core.world.classes import CLASS_NAMES

FORMAT = "fgsn-network-1"
VOCABULARY_FORMAT = "fgsn-dinov2-vocabulary-1"  # written by core.engine.dinov2_vocabulary
BASE_NAMES = {"final.conv6.": "conv6.", "aux.conv6_1.": "conv6_1."}  # base networks name the classifiers differently


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What a network expects of its input; the defaults are the official ones (PAPER 1.3).

    The image is resized so that its shorter side is ``short_side`` px and no side is over ``max_long_side``, then cut into
    overlapping crops of at most ``crop`` px. ``fit`` "pad": a crop is always ``crop`` px, black where the image ends;
    "shrink": it is no larger than the image, rounded up by repeating its last pixels.
    ``mean``, ``std`` are RGB, 0..255; ``channel_order`` "bgr" or "rgb" applies after them. ``smoothing``: standard deviation,
    in cells of the label map, of a Gaussian over each crop's logits; 0 in the paper. On worlds and photographs a little
    raises agreement and information at once, because single cells flip less.
    """

    short_side: int = 1024
    max_long_side: int = 4096
    crop: int = 713
    fit: str = "pad"
    mean: tuple[float, float, float] = (123.68, 116.779, 103.939)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: str = "bgr"
    output_stride: int = 8
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.fit not in ("pad", "shrink") or self.channel_order not in ("bgr", "rgb"):
            raise ValueError(f"fit {self.fit!r}, channel_order {self.channel_order!r}; expected pad or shrink, bgr or rgb")
        if not 0 <= self.smoothing <= 32:
            raise ValueError(f"smoothing is {self.smoothing}, expected 0 to 32 cells")
        if min(self.short_side, self.crop, self.output_stride) < 1 or len(self.mean) != 3 or min(self.std) <= 0:
            raise ValueError("sizes and standard deviations must be positive, and mean and std have three values")

    @property
    def ramp(self) -> int:
        """Pixels over which a crop's weight rises from its edges."""
        return round(self.crop / 3)

    @property
    def max_stride(self) -> int:
        """Largest distance between neighbouring crops, px."""
        return ceil(self.crop * 2 / 3)


def small_preprocessing() -> Preprocessing:
    """Choose for the shipped networks: an ordinary photograph is one crop, seen as large as in training; values about -2..2."""
    return Preprocessing(
        short_side=512,
        crop=1409,
        fit="shrink",
        smoothing=1.0,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        channel_order="rgb",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """What a weight file says besides its weights. ``names``: one a label, or None; ``path``, ``sha256`` of the file."""

    vocabulary: str
    num_labels: int
    preprocessing: Preprocessing
    config: Any  # PSPNetConfig, or what else knows its num_labels and output_stride
    names: tuple[str, ...] | None = None
    path: Path | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.num_labels != self.config.num_labels:
            raise ValueError(f"num_labels {self.num_labels}, but the network has {self.config.num_labels}")
        if self.preprocessing.output_stride != self.config.output_stride:
            stride = self.preprocessing.output_stride
            raise ValueError(f"output_stride {stride}, but the network has {self.config.output_stride}")
        if self.names is not None and len(self.names) != self.num_labels:
            raise ValueError(f"{len(self.names)} names, expected one for each of {self.num_labels} labels")


def load_network(path: str | Path) -> tuple[PSPNet, NetworkInfo]:
    """Load a network in eval mode on the CPU, f32, from a bare official ``.pth``, a ``.safetensors`` file or a run's folder.

    The official files say nothing about themselves: the number of labels and the base come from the weights, the
    vocabulary is the file's stem, or its folder's name where the published code chose the file's; 19 labels are the
    Cityscapes classes, as there. Raises FileNotFoundError, or WeightsError that says what does not fit.
    """
    path = weight_file(Path(path))
    state, metadata = read_state(path)
    if VOCABULARY_FORMAT in metadata:
        raise WeightsError(
            f"{path}: a vocabulary of a DINOv2 backbone, which segments but learns no further; expected a PSPNet"
        )
    state = {_official_name(name): tensor for name, tensor in state.items()}
    info = read_info(path, metadata[FORMAT]) if FORMAT in metadata else _official_info(path, state)
    with torch.device("meta"):
        network = PSPNet(info.config)
    check_state(path, network, state)
    network.load_state_dict(_complete(network, state), assign=True)
    return network.eval(), replace(info, path=path, sha256=file_sha256(path))


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors by name and the file's metadata, on the CPU. Raises FileNotFoundError or WeightsError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file")
    return _read_safetensors(path) if path.suffix == ".safetensors" else (_read_pth(path), _beside(path))


def save_network(path: str | Path, network: PSPNet, info: NetworkInfo, dtype: torch.dtype = torch.float32) -> None:
    """Write weights and info as safetensors; the file appears whole or not at all.

    Convolutions are stored as ``dtype`` (f16 halves the file), everything else as it is; loading gives f32 again.
    """
    path = Path(path)
    if network.config != info.config:
        raise ValueError(f"{path}: the info describes another network: {info.config}, expected {network.config}")
    state = {
        name: tensor.detach().cpu().to(dtype if tensor.ndim == 4 else tensor.dtype).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    metadata = {FORMAT: described(info)}  # one entry: safetensors writes several in any order
    write_atomic(path, lambda temporary: Path(temporary).write_bytes(save(state, metadata)))  # save_file hides a full disk


def described(info: NetworkInfo) -> str:
    """What a weight file says of itself, as JSON."""
    labels = {"vocabulary": info.vocabulary, "names": info.names}
    sections = {"config": asdict(info.config), "preprocessing": asdict(info.preprocessing), "labels": labels}
    return json.dumps(sections, sort_keys=True)


def _beside(path: Path) -> dict[str, str]:
    """The description of a ``.pth`` that our training wrote; empty for others."""
    file = path.with_suffix(".json")
    try:
        return {FORMAT: file.read_text(encoding="utf-8")} if file.is_file() else {}
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path}: its description {file.name} is no UTF-8 text (byte {error.start})") from error


def _read_pth(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running anything that the file brings."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises a dozen types on foreign bytes
        raise WeightsError(
            f"{path}: not a checkpoint of tensors, or cut off, or one that would run code; "
            "expected a state dict saved by torch.save"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        found = f"a dict with the keys {_some(state)}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise WeightsError(f"{path}: found {found}; expected a state dict, names to tensors")
    return state


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a whole safetensors file ({error})") from error


def _official_name(name: str) -> str:
    for found, official in BASE_NAMES.items():
        if name.startswith(found):
            return official + name[len(found) :]
    return name


def _official_info(path: Path, state: dict[str, Tensor]) -> NetworkInfo:
    if {"cls_token", "patch_embed.proj.weight"} <= set(state):
        raise WeightsError(f"{path}: a DINOv2 backbone, which has no labels; `vocabulary --backbone` makes a file that has")
    classifier = state.get("conv6.weight")
    if classifier is None or classifier.ndim != 4:
        found = f"its keys are {_some(state)}" if classifier is None else f"its shape is {tuple(classifier.shape)}"
        raise WeightsError(f"{path}: expected the PSPNet classifier conv6.weight of shape (labels, 512, 1, 1); {found}")
    base = "torchvision" if "fcn.conv1.weight" in state else "caffe"
    num_labels = len(classifier)
    if not 1 <= num_labels <= 65535:
        raise WeightsError(f"{path}: conv6.weight has {num_labels} labels, expected 1 to 65535")
    return NetworkInfo(
        vocabulary=_official_vocabulary(path),
        num_labels=num_labels,
        preprocessing=Preprocessing(),
        config=official_config(num_labels, base),
        names=CLASS_NAMES if num_labels == len(CLASS_NAMES) else None,
    )


def _official_vocabulary(path: Path) -> str:
    """The file's stem; of exports and snapshots, whose names are alike in every folder, the folder's name."""
    chosen = path.name == EXPORTED_WEIGHTS or path.name.startswith(SNAPSHOT_PREFIX)
    return (path.resolve().parent.name or path.stem) if chosen else path.stem


def read_info(path: Path, description: str, config_kind: type = PSPNetConfig) -> NetworkInfo:
    """Read what ``described`` wrote, its config as a ``config_kind``. Raises WeightsError."""
    try:
        sections = json.loads(description)
        config = _record(config_kind, sections["config"])
        preprocessing = _record(Preprocessing, sections["preprocessing"])
        labels = sections["labels"]
        names = labels["names"] and tuple(labels["names"])
        return NetworkInfo(
            vocabulary=labels["vocabulary"],
            num_labels=config.num_labels,
            preprocessing=preprocessing,
            config=config,
            names=names,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its description cannot be used ({type(error).__name__}: {error})") from error


def _record(kind: type, values: dict[str, Any]) -> Any:
    known = {item.name for item in fields(kind)}
    if not isinstance(values, dict) or set(values) - known:
        raise ValueError(f"unknown settings {_some(set(values) - known)} of {kind.__name__}, expected {sorted(known)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def check_state(path: Path, network: nn.Module, state: dict[str, Tensor], kind: str = "PSPNet") -> None:
    """Raise WeightsError where names, shapes or values of the tensors are not those of a network of this ``kind``."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    wrong = [
        f"{name} is {tuple(state[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    parts = [f"{len(missing)} keys are missing: {_some(missing)}"] * bool(missing)
    parts += [f"{len(wrong)} have the wrong shape: {_some(wrong)}"] * bool(wrong)
    parts += [f"{len(unknown)} keys are unknown: {_some(unknown)}"] * bool(unknown)
    if parts:
        raise WeightsError(f"{path}: does not fit this {kind}; " + "; ".join(parts))
    _check_values(path, state)


def _check_values(path: Path, state: dict[str, Tensor]) -> None:
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    if broken:
        raise WeightsError(f"{path}: {len(broken)} tensors hold NaN or infinite values: {_some(broken)}")


def _complete(network: PSPNet, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cast to f32 and add the counters that some files lack."""
    complete = {name: torch.zeros((), dtype=torch.int64) for name in network.state_dict() if name not in state}
    return complete | {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _some(names: Any) -> str:
    """Join up to four names, and say how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more if names else "none"
