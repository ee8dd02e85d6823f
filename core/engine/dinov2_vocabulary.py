"""Labels from a frozen DINOv2 backbone: its features, whitened and cut into clusters by k-means as in PAPER 2.2.

Nothing of the backbone learns. The vocabulary is one safetensors file: the backbone under its published names, the
clusters, and what the input must look like; ``load_segmenter`` opens it as any weight file.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.clustering import ClusterModel, fit_clusters
from core.engine.dataset import PairData
from core.engine.device import choose_device
from core.engine.dinov2 import DinoConfig, DinoV2, load_dinov2
from core.engine.fgsn_config import FGSNConfig
from core.engine.network import NetworkOutput
from core.engine.weights import (
    VOCABULARY_FORMAT,
    NetworkInfo,
    Preprocessing,
    check_state,
    described,
    file_sha256,
    read_info,
    read_state,
)
from core.errors import InputError, WeightsError
from core.images import write_atomic
from core.records import Progress
from core.steps import scaled

_TEMPERATURE = 0.1  # of the logits, as of soft targets: confidence is softmax(-distance^2 / temperature)
_MAX_CELLS = 74  # of a crop's side: an ordinary photograph is one crop


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyConfig(DinoConfig):
    """Shape of a backbone with its clusters: ``num_labels`` centroids of ``dims`` values."""

    num_labels: int
    dims: int = 256

    def __post_init__(self) -> None:
        DinoConfig.__post_init__(self)
        if not 1 <= self.num_labels <= 65535 or not 1 <= self.dims <= self.width:
            raise ValueError(f"num_labels {self.num_labels}, dims {self.dims}; expected 1 to 65535 and 1 to {self.width}")

    @property
    def base(self) -> str:
        return self.title

    @property
    def output_stride(self) -> int:
        """Pixels between two neighbouring features."""
        return self.patch


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig(DinoConfig):
    """Shape of a backbone whose features are not cut into labels yet."""

    @property
    def output_stride(self) -> int:
        return self.patch


class DinoFeatures(nn.Module):
    """A backbone as the clustering sees a network: features (N, D, h, w), and no logits.

    A side of L px gives ceil(L / patch) features; at a multiple of the patch plus 1, patches are centred on every
    ``patch``-th pixel from the first to the last (to half a pixel), as PSPNet's features are.
    """

    def __init__(self, backbone: DinoV2) -> None:
        super().__init__()
        self.config = BackboneConfig(**asdict(backbone.config))
        self.backbone = backbone

    def forward(self, x: Tensor) -> NetworkOutput:
        features = self.backbone(_padded(x, self.config.patch)).float()
        return NetworkOutput(features, features[:, :0])


class DinoVocabulary(nn.Module):
    """A backbone with clusters; the logits' largest is the nearest centroid: (2 y c - c^2) / temperature for unit y."""

    def __init__(self, config: VocabularyConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = DinoV2(DinoConfig(**{name: getattr(config, name) for name in DinoConfig.__slots__}))
        self.register_buffer("A", torch.zeros(config.width, config.dims))
        self.register_buffer("b", torch.zeros(config.dims))
        self.register_buffer("centroids", torch.zeros(config.num_labels, config.dims))

    def forward(self, x: Tensor) -> NetworkOutput:
        features = self.backbone(_padded(x, self.config.patch)).float()
        with torch.autocast(x.device.type, enabled=False):
            rows = F.normalize(features.permute(0, 2, 3, 1) @ self.A + self.b, dim=3)
            logits = (2 * rows @ self.centroids.T - self.centroids.square().sum(1)) / _TEMPERATURE
        return NetworkOutput(features, logits.permute(0, 3, 1, 2))


def _padded(x: Tensor, patch: int) -> Tensor:
    """Repeat the border pixels (N, 3, H, W) on all sides, up to whole patches."""
    missing = [-side % patch for side in x.shape[-2:]]
    (top, left) = (count // 2 for count in missing)
    return F.pad(x, (left, missing[1] - left, top, missing[0] - top), mode="replicate") if any(missing) else x


def dino_preprocessing(patch: int = 14, short_side: int = 518) -> Preprocessing:
    """What DINOv2 expects: RGB normalised as for ImageNet; an ordinary photograph is one crop."""
    return Preprocessing(
        short_side=short_side,
        crop=_MAX_CELLS * patch + 1,
        fit="shrink",
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        channel_order="rgb",
        output_stride=patch,
    )


def make_vocabulary(
    backbone: str | Path,
    data: PairData,
    out: str | Path,
    config: FGSNConfig,
    seed: int,
    device: str = "auto",
    short_side: int = 518,
) -> Generator[Progress, None, Path]:
    """Cluster a backbone's features of the reference images of ``data`` and write the vocabulary; return its path.

    Of ``config`` the clusters and the sampling of features count, as in a training's first round. The vocabulary's id is
    the file's stem. Raises InputError or WeightsError.
    """
    from core.engine.targets import FrozenNetwork, reference_features  # needs the segmenter's module, which needs this one

    out = Path(out)
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: a vocabulary is written as .safetensors, got the suffix {out.suffix!r}")
    yield Progress("loading the backbone", 0.0)
    network = load_dinov2(backbone)
    preprocessing = dino_preprocessing(network.config.patch, short_side)
    features = DinoFeatures(network).to(choose_device(device).device)
    collected = yield from scaled(reference_features(FrozenNetwork(features, preprocessing), data, config, seed), 0.0, 0.8)
    clusters = yield from scaled(fit_clusters(collected.rows, config.clusters, seed, collected.noise), 0.8, 1.0)
    save_vocabulary(out, network, clusters, preprocessing)
    return out


def save_vocabulary(path: Path, backbone: DinoV2, clusters: ClusterModel, preprocessing: Preprocessing) -> None:
    """Write backbone and clusters as one file; it appears whole or not at all."""
    shape = asdict(backbone.config) | {"num_labels": clusters.num_clusters, "dims": clusters.A.shape[1]}
    config = VocabularyConfig(**shape)
    info = NetworkInfo(vocabulary=path.stem, num_labels=config.num_labels, preprocessing=preprocessing, config=config)
    state = {f"backbone.{name}": tensor.detach().cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    state |= {name: torch.tensor(getattr(clusters, name)) for name in ("A", "b", "centroids")}
    content = save(state, {VOCABULARY_FORMAT: described(info)})
    write_atomic(path, lambda temporary: Path(temporary).write_bytes(content))


def is_vocabulary(path: Path) -> bool:
    """Whether a file's head says that it is a vocabulary; only that is read."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return VOCABULARY_FORMAT in (file.metadata() or {})
    except SafetensorError:
        return False


def load_vocabulary(path: str | Path) -> tuple[DinoVocabulary, NetworkInfo]:
    """Load what ``save_vocabulary`` wrote, in eval mode on the CPU. Raises FileNotFoundError or WeightsError."""
    path = Path(path)
    state, metadata = read_state(path)
    if VOCABULARY_FORMAT not in metadata:
        raise WeightsError(f"{path}: not a vocabulary of a DINOv2 backbone, expected one that `vocabulary` wrote")
    info = read_info(path, metadata[VOCABULARY_FORMAT], VocabularyConfig)
    if info.config.depth > len(state):
        raise WeightsError(f"{path}: says {info.config.depth} blocks, but holds only {len(state)} tensors")
    with torch.device("meta"):
        network = DinoVocabulary(info.config)
    check_state(path, network, state, "vocabulary")
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return network.eval().requires_grad_(False), replace(info, path=path, sha256=file_sha256(path))
