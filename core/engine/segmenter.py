"""From an image to its label map (PAPER 1.3), with bounded memory at any size and any number of labels."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from resources import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from core.engine.device import ComputeConfig, choose_device, is_out_of_memory
from core.engine.dinov2_vocabulary import is_vocabulary, load_vocabulary
from core.engine.inference import InferenceNetwork
from core.engine.label_folder import is_label_folder, open_label_folder
from core.engine.tiling import Axis, blend_matrix, classify_tiles, crop_axis, nearest_positions, resized_size, smoothed
from core.engine.weights import NetworkInfo, Preprocessing, load_network
from core.errors import InputError, WeightsError
from core.geometry import Array
from core.records import LabelMap, Progress
from core.steps import finish

BAND_PIXELS = 2 << 20  # resized at once


def available_weights() -> dict[str, Path]:
    """List the shipped networks: name to file."""
    return {path.stem: path for path in sorted(MODELS.glob("*.safetensors")) if not path.stem.endswith(".labels")}


class AnySegmenter(Protocol):
    """What labels images: a network, or something else in its place. ``info`` has its ``path`` and ``sha256``."""

    @property
    def vocabulary(self) -> str: ...

    @property
    def num_labels(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...] | None: ...

    @property
    def info(self) -> Any: ...

    def segment(self, image: Array, source: Path | None = None) -> LabelMap:
        """Label every pixel of an RGB image (H, W, 3) u8; ``source``: the file that it was read from, for who asks."""
        ...


def load_segmenter(weights: str | Path, device: str = "auto", precision: str = "fast") -> AnySegmenter:
    """Load a shipped network by name; or by path a weight file, a run's folder, a vocabulary or a folder of label images.

    ``precision`` "exact": f32; "fast": the quickest format of the device, for at least 99 % of the same labels.
    Raises WeightsError for unknown names and files that do not fit, InputError for devices that are not there.
    """
    compute = choose_device(device, precision)
    path = find_weights(weights)
    if is_label_folder(path):
        return open_label_folder(path)
    network, info = load_vocabulary(path) if is_vocabulary(path) else load_network(path)
    return Segmenter(network, info, compute)


def info_of(weights: str | Path) -> Any:
    """What ``load_segmenter`` knows of a network, a vocabulary or a label folder. Raises as it does."""
    path = find_weights(weights)
    if is_label_folder(path):
        return open_label_folder(path).info
    return (load_vocabulary(path) if is_vocabulary(path) else load_network(path))[1]


def find_weights(weights: str | Path) -> Path:
    """The file of a shipped network's name, or the file itself. Raises WeightsError."""
    shipped = available_weights()
    if str(weights) in shipped:
        return shipped[str(weights)]
    if Path(weights).exists():
        return Path(weights)
    names = ", ".join(shipped) or "none"
    raise WeightsError(f"{weights}: neither a weight file nor the name of a shipped network; shipped: {names}")


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Where the crops of one image lie along each axis of the resized image."""

    y: Axis
    x: Axis

    @property
    def crops(self) -> list[tuple[int, int]]:
        """Row-major indices (iy, ix) of all crops."""
        return [(iy, ix) for iy in range(len(self.y.starts)) for ix in range(len(self.x.starts))]


class Segmenter:
    """One network on one device. ``names``: one a label, or None."""

    def __init__(self, network: nn.Module, info: NetworkInfo, compute: ComputeConfig) -> None:
        self.info = info
        self.compute = compute
        self._network = InferenceNetwork(network, compute)
        self._batch_size = compute.batch_size

    @property
    def vocabulary(self) -> str:
        return self.info.vocabulary

    @property
    def num_labels(self) -> int:
        return self.info.num_labels

    @property
    def names(self) -> tuple[str, ...] | None:
        return self.info.names

    @property
    def device(self) -> str:
        return self.compute.device

    @property
    def precision(self) -> str:
        return self.compute.precision

    def segment(self, image: Array, source: Path | None = None) -> LabelMap:
        """Label every pixel of an RGB image (H, W, 3) u8; a network does not ask for its ``source``."""
        return finish(self.segment_steps(image, source))

    def segment_steps(self, image: Array, source: Path | None = None) -> Generator[Progress, None, LabelMap]:
        """As ``segment``, one step a batch of crops and then one a band of rows; returns the LabelMap."""
        _check_image(image)
        height, width = image.shape[:2]
        plan = plan_crops(height, width, self.info.preprocessing)
        with self.compute.settings():
            pixels = prepare_pixels(image, plan, self.info.preprocessing)
        logits = yield from self._crop_logits(pixels, plan)
        return (yield from self._classify(logits, plan, height, width))

    def _crop_logits(self, pixels: Tensor, plan: CropPlan) -> Generator[Progress, None, Tensor]:
        """Compute every crop's logits, side by side: (crops_y * cells, K, crops_x * cells) f32."""
        y, x = plan.y, plan.x
        shape = (len(y.starts) * y.cells, self.num_labels, len(x.starts) * x.cells)
        logits = torch.empty(shape, device=self.device)
        waiting = plan.crops
        total = len(waiting)
        while waiting:
            yield Progress(f"crop {total - len(waiting) + 1} of {total}", 0.9 * (1 - len(waiting) / total))
            batch = waiting[: self._batch_size]
            try:
                results = self._run(pixels, plan, batch)
            except RuntimeError as error:
                self._batch_size = self._smaller_batch(error, len(batch), plan)
                continue
            for (iy, ix), result in zip(batch, results, strict=True):
                place = logits[iy * y.cells : (iy + 1) * y.cells, :, ix * x.cells : (ix + 1) * x.cells]
                place.copy_(result.transpose(0, 1))
            waiting = waiting[len(batch) :]
        return logits

    def _smaller_batch(self, error: RuntimeError, tried: int, plan: CropPlan) -> int:
        """Halve the batch when the device ran out of memory; other errors go on, and one crop is the least."""
        if not is_out_of_memory(error):
            raise error
        if tried == 1:
            size = f"{plan.y.crop} x {plan.x.crop}"
            raise InputError(
                f"not enough memory on {self.device} for one crop of {size} px; free some or choose cpu"
            ) from error
        return tried // 2

    def _run(self, pixels: Tensor, plan: CropPlan, batch: list[tuple[int, int]]) -> Tensor:
        corners = [(plan.y.starts[iy], plan.x.starts[ix]) for iy, ix in batch]
        crops = torch.stack([pixels[:, top : top + plan.y.crop, left : left + plan.x.crop] for top, left in corners])
        with self.compute.settings():
            logits = self._network(normalise(crops.to(self.device), self.info.preprocessing))
        return smoothed(logits, self.info.preprocessing.smoothing)

    def _classify(self, logits: Tensor, plan: CropPlan, height: int, width: int) -> Generator[Progress, None, LabelMap]:
        """Blend and classify the pixels that the image's size takes, and only those."""
        rows, row_use = nearest_positions(plan.y.length, height)
        columns, column_use = nearest_positions(plan.x.length, width)
        ramp = self.info.preprocessing.ramp
        labels = np.empty((len(rows), len(columns)), np.uint16)
        confidence = np.empty(labels.shape, np.float32)
        tiles = classify_tiles(logits, blend_matrix(plan.y, rows, ramp), blend_matrix(plan.x, columns, ramp))
        for band, span, best, share in tiles:
            labels[band, span] = best.cpu().numpy()
            confidence[band, span] = share.cpu().numpy()
            if span.stop == len(columns):
                yield Progress("labels", 0.9 + 0.1 * band.stop / len(rows))
        enlarge = np.ix_(row_use, column_use)
        return LabelMap(labels[enlarge], self.num_labels, self.vocabulary, confidence[enlarge], self.names)


def _check_image(image: Array) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"an image of shape {image.shape}, {image.dtype}; expected RGB (H, W, 3) uint8 with at least one pixel"
        )


def plan_crops(height: int, width: int, preprocessing: Preprocessing) -> CropPlan:
    """Decide the size at which an image is seen and where its crops lie."""
    seen_height, seen_width = resized_size(height, width, preprocessing)
    return CropPlan(crop_axis(seen_height, preprocessing), crop_axis(seen_width, preprocessing))


def prepare_pixels(image: Array, plan: CropPlan, preprocessing: Preprocessing) -> Tensor:
    """Resize RGB (H, W, 3) u8 to the plan's size, padded to the end of the last crops; returns (3, h, w) u8."""
    source = torch.from_numpy(image if image.flags.writeable else image.copy()).permute(2, 0, 1)[None]
    pixels = resize_bilinear(source, plan.y.length, plan.x.length)
    missing = (0, plan.x.padded - plan.x.length, 0, plan.y.padded - plan.y.length)
    if not any(missing):
        return pixels[0]
    if preprocessing.fit == "pad":
        return F.pad(pixels, missing)[0]
    return F.pad(pixels.float(), missing, mode="replicate").to(torch.uint8)[0]


def resize_bilinear(image: Tensor, height: int, width: int) -> Tensor:
    """Resize (1, 3, H, W) u8 as Pillow's BILINEAR does: rows first, then columns, averaging where it shrinks.

    Band by band, because f64 copies of a very large image do not fit; torch's own u8 resize rounds too coarsely.
    """
    bands = image.split(max(1, BAND_PIXELS // image.shape[3]), dim=2)
    wide = torch.cat([_resize(band, band.shape[2], width) for band in bands], dim=2)
    bands = wide.split(max(1, BAND_PIXELS // wide.shape[2]), dim=3)
    return torch.cat([_resize(band, height, band.shape[3]) for band in bands], dim=3)


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[2:] == (height, width):
        return image
    resized = F.interpolate(image.double().contiguous(), (height, width), mode="bilinear", antialias=True)
    return (resized + 0.5).floor_().clamp_(0, 255).to(torch.uint8)


def normalise(crops: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Subtract the mean and divide by the deviation (N, 3, h, w) in RGB order, then order the channels (PAPER 1.3)."""
    mean = torch.tensor(preprocessing.mean, device=crops.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=crops.device)[:, None, None]
    values = (crops.float() - mean) / std
    return values.flip(1) if preprocessing.channel_order == "bgr" else values
