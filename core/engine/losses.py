"""The losses of PAPER 2.3, over tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = 255  # class target of void pixels
UNLABELLED = -1  # cluster target of cells without one: 255 may be a cluster
AUX_WEIGHT = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class MatchCells:
    """Where correspondences fall in a batch of label maps: ``image``, ``y``, ``x`` and reference ``label``, all (M,) i64."""

    image: Tensor
    y: Tensor
    x: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)


def class_loss(logits: Tensor, labels: Tensor, ignore: int = UNLABELLED) -> Tensor:
    """L_class = mean over labelled cells of -log softmax(logits)_label.

    ``logits`` (N, K, h, w), ``labels`` (N, h, w) i64; 0 (with a gradient of 0) when no cell is labelled.
    """
    labelled = (labels != ignore).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), labels, ignore_index=ignore, reduction="sum") / labelled


def correspondence_loss(logits: Tensor, cells: MatchCells) -> Tensor:
    """One side of L_corr = CE(logits_ref[x_r], l) + CE(logits_other[x_o], l): the mean of CE over the matches.

    ``logits`` (N, K, h, w) of that side; the label is always the one of the reference. 0 without matches.
    """
    if len(cells) == 0:
        return logits.sum() * 0.0
    at_matches = logits[cells.image, :, cells.y, cells.x].float()
    return F.cross_entropy(at_matches, cells.label)


def with_auxiliary(main: Tensor, auxiliary: Tensor | None, weight: float = AUX_WEIGHT) -> Tensor:
    """main + 0.4 auxiliary; main alone for a network without the auxiliary head."""
    return main if auxiliary is None else main + weight * auxiliary


def reference_turns(num_pairs: int, probability: float | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Alternating back-propagation: whose gradient flows, (P,) bool for the reference and for the other image.

    With ``probability`` (0.5 in the paper) the gradient of a pair flows through its reference (L_class and the
    reference part of L_corr), otherwise through the other image only (its part of L_corr). None: through both.
    """
    if probability is None:
        both = torch.ones(num_pairs, dtype=torch.bool)
        return both, both
    turn = torch.rand(num_pairs, generator=generator) < probability
    return turn, ~turn


def cells_of_points(points: Tensor, size: int | tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Cells (M, 2) i64 (x, y) of the label map that px points (M, 2) fall into.

    ``size`` (height, width) of the image in px, ``cells`` (h, w) of the map. Bilinear upsampling with align_corners
    puts the outermost cells onto the outermost pixels, so cell = round(x (w - 1) / (width - 1)).
    """
    height, width = (size, size) if isinstance(size, int) else size
    scale = points.new_tensor([(cells[1] - 1) / max(1, width - 1), (cells[0] - 1) / max(1, height - 1)])
    limit = torch.tensor([cells[1] - 1, cells[0] - 1], device=points.device)
    return torch.minimum((points * scale).round().long().clamp(min=0), limit)


def usage_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the label shares mean(softmax(logits)) over the batch; its maximum is log K for even use."""
    shares = logits.float().softmax(1).mean(dim=(0, 2, 3))
    return -(shares * shares.clamp(min=1e-12).log()).sum()


def segmentation_loss(logits: Tensor, aux_logits: Tensor | None, labels: Tensor, upsample: int = 1) -> Tensor:
    """Supervised CE against class labels (N, H, W), void left out, plus 0.4 times the auxiliary head's CE.

    The logits are upsampled bilinearly (align_corners) by ``upsample`` and the labels sampled at that size.
    """
    if upsample > 1:
        size = [upsample * side for side in logits.shape[2:]]
        logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    main = class_loss(logits, resize_labels(labels, logits.shape[2:]), IGNORE)
    if aux_logits is None:
        return main
    return with_auxiliary(main, class_loss(aux_logits, resize_labels(labels, aux_logits.shape[2:]), IGNORE))


def resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pick labels (N, H, W) at the cells (h, w) of an align_corners grid; corners keep their place."""
    height, width = labels.shape[1:]
    rows = torch.linspace(0, height - 1, size[0], device=labels.device).round().long()
    columns = torch.linspace(0, width - 1, size[1], device=labels.device).round().long()
    return labels[:, rows][:, :, columns]
