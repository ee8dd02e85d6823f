"""The losses of PAPER 2.3, over tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = 255  # class target of void pixels
UNLABELLED = -1  # cluster target of cells without one: 255 may be a cluster
AUX_WEIGHT = 0.4
HINGE_MARGIN = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class MatchCells:
    """Where matches fall in a batch of label maps: ``image``, ``y``, ``x`` (M,) i64; what the reference is there:
    ``label`` (M, T) i64 with shares ``share`` (M, T) f32 that add up to 1. T = 1 for hard labels. ``weight`` (M,) f32 of
    the correspondences: validation heeds it, training does not (PAPER 2.1).
    """

    image: Tensor
    y: Tensor
    x: Tensor
    label: Tensor
    share: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def chosen(self, rows: Tensor) -> MatchCells:
        """Only these rows: an index or a mask (M,) bool."""
        return MatchCells(*(getattr(self, name)[rows] for name in ("image", "y", "x", "label", "share", "weight")))

    def of(self, maps: Tensor) -> Tensor:
        """Values (M, C) f32 of maps (N, C, h, w) at the cells."""
        return maps[self.image, :, self.y, self.x].float()


def class_loss(logits: Tensor, labels: Tensor, ignore: int = UNLABELLED) -> Tensor:
    """L_class = mean over labelled cells of -log softmax(logits)_label.

    ``logits`` (N, K, h, w), ``labels`` (N, h, w) i64; 0 (with a gradient of 0) when no cell is labelled.
    """
    labelled = (labels != ignore).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), labels, ignore_index=ignore, reduction="sum") / labelled


def target_losses(scores: Tensor, label: Tensor, share: Tensor) -> Tensor:
    """-sum_t share_t log softmax(scores)_label_t of every row (R,); ``scores`` (R, K), ``label``, ``share`` (R, T)."""
    return -(share * scores.float().log_softmax(1).gather(1, label)).sum(1)


def pair_mean(values: Tensor, image: Tensor, num_images: int, num_pairs: int, pooled: bool = False) -> Tensor:
    """Mean over the pairs of the batch of the mean over a pair's rows: ``values`` (R,) of ``image`` (R,) i64.

    A pair without rows counts as 0. ``pooled``: one mean over all rows, so that pairs with many rows count more, times
    the share of the pairs that ``num_images`` images (those with a turn) are.
    """
    if len(values) == 0:
        return values.sum()
    if pooled:
        return values.mean() * (num_images / num_pairs)
    rows = torch.bincount(image)[image]
    return (values / rows).sum() / num_pairs


def hinge_losses(features: Tensor, others: Tensor, margin: float = HINGE_MARGIN) -> Tensor:
    """max(0, 0.8 - <f, g>) of every match (M,), over L2-normalised features (M, D) of its two ends (hingeF, PAPER 2.3)."""
    cosine = (F.normalize(features, dim=1) * F.normalize(others, dim=1)).sum(1)
    return (margin - cosine).clamp(min=0)


def with_auxiliary(main: Tensor, auxiliary: Tensor | None, weight: float = AUX_WEIGHT) -> Tensor:
    """main + 0.4 auxiliary; main alone for a network without the auxiliary head."""
    return main if auxiliary is None else main + weight * auxiliary


def cells_of_points(points: Tensor, size: int | tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Cells (M, 2) i64 (x, y) of the label map that px points (M, 2) fall into.

    ``size`` (height, width) of the image in px, ``cells`` (h, w) of the map. Bilinear upsampling with align_corners
    puts the outermost cells onto the outermost pixels, so cell = round(x (w - 1) / (width - 1)). The published code takes
    int(x w / width + 0.5), up to one cell further towards the right and the bottom.
    """
    height, width = (size, size) if isinstance(size, int) else size
    scale = points.new_tensor([(cells[1] - 1) / max(1, width - 1), (cells[0] - 1) / max(1, height - 1)])
    limit = torch.tensor([cells[1] - 1, cells[0] - 1], device=points.device)
    return torch.minimum((points * scale).round().long().clamp(min=0), limit)


def softmax_divergence(scores: Tensor, others: Tensor) -> Tensor:
    """KL(softmax(scores) || softmax(others)) of every row (R,) in nats; both (R, K)."""
    log_p, log_q = scores.float().log_softmax(1), others.float().log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def feature_distances(features: Tensor, others: Tensor) -> Tensor:
    """max(|f - g|^2, 0.64 D) of every match (M,), features (M, D): the published validation loss, floor and all (PAPER 2.5)."""
    return (features - others).square().sum(1).clamp(min=0.64 * features.shape[1])


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
