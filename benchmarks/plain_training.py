"""Cluster training as PAPER 2.3 and 2.4 word it, in the way of the published loop: the yardstick of training speed.

One pair a step, in f32, a new loader for every step, samples a chunk at a time. Shares no code with the engine's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])


class PlainPairs(Dataset):
    """Pairs of image files with matches: (reference path, other path, points (N, 2), points (N, 2))."""

    def __init__(self, pairs: list[tuple], crop: int, short_side: int) -> None:
        self.pairs, self.crop, self.short_side = pairs, crop, short_side
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int):
        reference, other, *points = self.pairs[index]
        anchor = self.random.integers(len(points[0]))
        images, inside, moved = [], np.ones(len(points[0]), bool), []
        for path, at in zip((reference, other), points):
            image, here = self._cropped(path, at, anchor)
            images.append(torch.from_numpy(((image - MEAN) / STD).transpose(2, 0, 1)).float())
            inside &= ((here >= 0) & (here <= self.crop - 1)).all(1)
            moved.append(here)
        return images[0], images[1], torch.from_numpy(moved[0][inside]), torch.from_numpy(moved[1][inside])

    def _cropped(self, path, points, anchor):
        image = cv2.imread(str(path))[..., ::-1]
        scale = self.short_side / min(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        points = (points + 0.5) * scale - 0.5
        limit = np.maximum(np.array(image.shape[1::-1]) - self.crop, 0)
        start = np.clip(np.round(points[anchor] - self.crop / 2), 0, limit).astype(int)
        crop = np.zeros((self.crop, self.crop, 3), np.float32)
        part = image[start[1] : start[1] + self.crop, start[0] : start[0] + self.crop]
        crop[: part.shape[0], : part.shape[1]] = part
        return crop, points - start


def plain_training(
    network: nn.Module, labels_of, pairs: list[tuple], crop: int, short_side: int = 1024, chunk: int = 50
) -> Iterator[float]:
    """Train for ever; yields the loss of each step.

    ``labels_of``: features (1, D, h, w) of the frozen copy to labels (1, h, w). ``chunk``: samples that are read together.
    """
    data = PlainPairs(pairs, crop, short_side)
    frozen = copy.deepcopy(network).eval()
    network.eval()  # BatchNorm with the statistics that it has; dropout is active
    network.dropout.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=2.5e-5, momentum=0.9, weight_decay=1e-4, nesterov=True)
    while True:
        samples = [next(iter(DataLoader(data, batch_size=1, shuffle=True))) for _ in range(chunk)]
        for reference, other, points_ref, points_other in samples:
            with torch.no_grad():
                labels = labels_of(frozen(reference).features)
            yield _step(
                network,
                optimizer,
                (reference, other),
                (points_ref[0], points_other[0]),
                labels,
                crop,
                data.random.random() < 0.5,
            )


def _step(network, optimizer, images, points, labels, crop, of_reference) -> float:
    side = labels.shape[-1]
    cells = [(at / crop * side + 0.5).long().clamp(0, side - 1) for at in points]
    targets = labels[0, cells[0][:, 1], cells[0][:, 0]]
    outputs = []
    for is_reference, image in zip((True, False), images):
        with torch.set_grad_enabled(is_reference == of_reference):
            outputs.append(network.forward_train(image))
    loss = 0.0
    for weight, name in ((1.0, "logits"), (0.4, "aux_logits")):
        used = getattr(outputs[0 if of_reference else 1], name)
        at = cells[0 if of_reference else 1]
        if len(targets):
            loss = loss + weight * F.cross_entropy(used[0, :, at[:, 1], at[:, 0]].T, targets)
        if of_reference:
            loss = loss + weight * F.cross_entropy(used, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())
