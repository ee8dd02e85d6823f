"""Model cards: what a shipped network was made from, with what command, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.engine.dataset import TrainingSet

_COLUMNS = {
    "condition": "condition",
    "view": "view",
    "num_pairs": "pairs",
    "agreement": "agreement",
    "chance": "chance",
    "kappa": "kappa",
    "mutual_information_bits": "mutual information, bits",
    "nmi": "NMI",
    "effective_labels": "effective labels",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
}

_LIMITS = """## Limits

- Trained on rendered streets alone, in minutes: the numbers on worlds say nothing about photographs.
- Where such networks tend to go wrong on photographs: trunks and bare crowns, grass against pavement against road, snow
  on roads, dark woods, heavy clouds, water.
- Cluster ids mean nothing by themselves and are not comparable between two trainings.
- Agreement and kappa rise when labels are few or uneven: read them with mutual information and effective labels.
"""


def model_card(
    vocabulary: str,
    num_labels: int,
    config: Any,
    seed: int,
    command: str,
    data: TrainingSet,
    report: dict[str, list[dict[str, Any]]],
) -> str:
    """Write the card (Markdown) of the network that knows ``vocabulary``, made by the shipped recipe ``config``."""
    is_classes = vocabulary == "cityscapes-19"
    what = "the 19 Cityscapes classes" if is_classes else f"{num_labels} self-supervised cluster labels"
    name = "world-19" if is_classes else vocabulary
    parts = [
        f"# {name}\n\nA small PSPNet for {what}, trained on the project's own rendered worlds only.\n",
        _making(config, seed, command, data, 0 if is_classes else num_labels),
        "## On worlds it has never seen\n\n"
        f"Worlds: {config.held_out_worlds.num_worlds}, seeds from {config.held_out_worlds.first_seed}; labels at exact "
        "correspondences between the reference condition and the named one.\n\n" + table(report["worlds"]),
    ]
    if report["photographs"]:
        parts.append(
            "## On photographs of fixed cameras\n\nEvery fourth pixel against itself in another photograph of the view, what "
            "moves included; means over the pairs of a view. Never trained on.\n\n" + table(report["photographs"])
        )
    return "\n".join([*parts, _LIMITS])


def _making(config: Any, seed: int, command: str, data: TrainingSet, num_clusters: int) -> str:
    first = config.pretraining.optimization
    surfaces = ", with material, height, size and facing of surfaces" if config.pretraining.surface_weight else ""
    lines = [
        "## Made from\n",
        f"- Data: worlds {len(data.shards)}, viewpoints {len(data)}, images {data.num_images} of "
        f"{data.image_size[1]}x{data.image_size[0]} px; no photograph.",
        f"- Seed: {seed}. Command: `{command or 'train_shipped_models'}`.",
        f"- Classes{surfaces}: {first.iterations} steps of {first.batch_size} crops, {first.optimizer}, "
        f"rate {first.learning_rate:g}.",
    ]
    if num_clusters:
        second, fgsn = config.fgsn.optimization, config.fgsn
        lines.append(
            f"- Then {num_clusters} clusters of its features (PCA whitening, L2, k-means, once) and "
            f"{second.iterations} steps of {second.batch_size} crops with L_class (weight {fgsn.class_weight:g}) and L_corr "
            f"(weight {fgsn.correspondence_weight:g}), gradient through the reference or the other image in turn."
        )
    return "\n".join(lines) + "\n"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of the rows' known columns; numbers with three digits after the point."""
    columns = [name for name in _COLUMNS if any(name in row for row in rows)]
    lines = [" | ".join(_COLUMNS[name] for name in columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row.get(name)) for name in columns) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
