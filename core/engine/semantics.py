"""How much labels say of classes (PAPER 4.5): information, purity, and what a majority vote makes of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from core.engine.consistency import class_iou, entropy_bits
from core.engine.dataset import PairData
from core.errors import InputError
from core.geometry import Array
from core.records import LabelMap, Progress

Segment = Callable[[Array], LabelMap]
VOID = 255


@dataclass(frozen=True, slots=True)
class SemanticStats:
    """Numbers of a (labels x classes) table of pixels.

    ``nmi`` = 2 I / (H(labels) + H(classes)); ``homogeneity`` = I / H(classes): each label is of one class;
    ``completeness`` = I / H(labels): each class is of one label; ``purity``: share of the pixels in the majority class of
    their label; ``majority_miou``: mean IoU when every label stands for its majority class.
    ``held_out_miou``: the same with the majority of the other half of the images, NaN where there is no other half:
    many labels gain from a vote in which the judged pixels took part.
    """

    num_pixels: int
    nmi: float
    homogeneity: float
    completeness: float
    purity: float
    majority_miou: float
    held_out_miou: float = float("nan")

    def as_row(self) -> dict[str, float]:
        """The numbers as a plain dict."""
        return asdict(self)


def label_class_counts(labels: Array, classes: Array, num_labels: int, num_classes: int, void: int = VOID) -> Array:
    """Pixels (num_labels, num_classes) i64 of two maps of one size; ``void`` is left out."""
    labels, classes = np.asarray(labels).ravel(), np.asarray(classes).ravel()
    kept = classes != void
    index = labels[kept].astype(np.int64) * num_classes + classes[kept]
    return np.bincount(index, minlength=num_labels * num_classes).reshape(num_labels, num_classes)


def semantic_stats(counts: Array, halves: tuple[Array, Array] | None = None) -> SemanticStats:
    """Numbers of a table (labels, classes); ``halves``: the tables of two halves of the images, that add up to it."""
    of_labels, of_classes, joint = (entropy_bits(table) for table in (counts.sum(1), counts.sum(0), counts))
    information = max(0.0, of_labels + of_classes - joint)
    held_out = float("nan")
    if halves is not None and all(half.sum() for half in halves):
        held_out = mean_iou(sum(majority_confusion(*pair) for pair in (halves, halves[::-1])))
    return SemanticStats(
        num_pixels=int(counts.sum()),
        nmi=2 * information / (of_labels + of_classes) if of_labels + of_classes > 0 else 0.0,
        homogeneity=information / of_classes if of_classes > 0 else 0.0,
        completeness=information / of_labels if of_labels > 0 else 0.0,
        purity=float(counts.max(1).sum() / max(1, counts.sum())),
        majority_miou=mean_iou(majority_confusion(counts, counts)),
        held_out_miou=held_out,
    )


def majority_confusion(voting: Array, judged: Array) -> Array:
    """Confusion (classes, classes), row true, of ``judged`` when labels stand for the majority class in ``voting``.

    A label that did not vote stands for the class most common in ``voting``.
    """
    meaning = np.where(voting.sum(1) > 0, voting.argmax(1), voting.sum(0).argmax())
    confusion = np.zeros((judged.shape[1], judged.shape[1]), np.int64)
    np.add.at(confusion.T, meaning, judged)
    return confusion


def mean_iou(confusion: Array) -> float:
    """Mean IoU over the classes that the truth holds; NaN without pixels."""
    return float(np.nanmean(class_iou(confusion))) if confusion.sum() else float("nan")


def semantics_of_images(
    segment: Segment, data: PairData, names: Sequence[str], max_images: int | None = None
) -> Generator[Progress, None, SemanticStats]:
    """Compare labels with the classes of annotated images, at most ``max_images`` of them, evenly spread (first condition).

    Neighbouring images of a drive show one place, so the halves for ``held_out_miou`` are its first and its second part.
    Raises InputError for data without annotated images.
    """
    count = len(data) if max_images is None else min(max_images, len(data))
    chosen = np.unique(np.linspace(0, len(data) - 1, count).round().astype(int)) if len(data) else []
    tables: list[Array] = []
    for done, index in enumerate(chosen):
        view = data.view(int(index))
        labels = segment(np.asarray(view.images[0]))
        tables.append(label_class_counts(labels.labels, view.classes[0], labels.num_labels, len(names)))
        yield Progress(f"classes of image {done + 1} of {len(chosen)}", (done + 1) / len(chosen))
    if not tables:
        raise InputError("no annotated images to compare labels with, expected at least one")
    middle = len(tables) // 2
    halves = (sum(tables[:middle]), sum(tables[middle:])) if middle else None
    return semantic_stats(sum(tables), halves)
