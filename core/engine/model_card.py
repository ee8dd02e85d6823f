"""Model cards: what a shipped network was made from, with what command, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.engine.dataset import TrainingSet
from core.engine.label_weaknesses import LabelWeakness

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

- Trained on rendered streets: the numbers on worlds say little about photographs, and less about other cameras, indoor
  places, or seasons and lights that the worlds lack.
- Cluster ids mean nothing by themselves and are not comparable between two trainings.
- Agreement and kappa rise when labels are few or uneven: read them with mutual information and effective labels.
"""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CardFacts:
    """What a card says where it was measured. ``weakest``: least consistent labels on unseen worlds; ``names``: of labels;
    ``num_stationary`` and how many there are in effect; ``headings``: share of right headings and pairs by set of
    photographs; ``far``: kappa and bits there; ``semantics``: numbers of core.engine.semantics on annotated photographs.
    """

    weakest: Sequence[LabelWeakness] = ()
    names: Sequence[str] | None = None
    num_stationary: int | None = None
    effective_stationary: float | None = None
    headings: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    far: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    semantics: Mapping[str, float] | None = None


def model_card(
    vocabulary: str,
    num_labels: int,
    config: Any,
    seed: int,
    command: str,
    data: Sequence[TrainingSet],
    report: dict[str, list[dict[str, Any]]],
    facts: CardFacts | None = None,
) -> str:
    """Write the card (Markdown) of the network for ``vocabulary``, made from ``data`` by the shipped recipe ``config``."""
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
    return "\n".join([*parts, *card_sections(facts or CardFacts()), _LIMITS])


def card_sections(facts: CardFacts) -> list[str]:
    """The sections of what was measured besides consistency; none for what was not."""
    return [section for section in (_photographs(facts), _stationary(facts), _weakest(facts)) if section]


def _photographs(facts: CardFacts) -> str:
    lines = [
        f"- Heading on {name}, from label agreement alone: right on {100 * share:.1f} % of {pairs} pairs."
        for name, (share, pairs) in facts.headings.items()
    ]
    lines += [
        f"- Above the horizon on {name}, moved by the true shift: kappa {kappa:.3f}, mutual information {bits:.2f} bits."
        for name, (kappa, bits) in facts.far.items()
    ]
    if facts.semantics is not None:
        nmi, purity, miou = (facts.semantics[name] for name in ("nmi", "purity", "held_out_miou"))
        lines.append(
            f"- Against CamVid's annotations (validation part): NMI {nmi:.3f}, purity {purity:.3f}, mIoU {miou:.3f} when every "
            "label stands for the class most common in it in the other half of the images."
        )
    return "## On other photographs\n\n" + "\n".join(lines) + "\n" if lines else ""


def _stationary(facts: CardFacts) -> str:
    if facts.num_stationary is None:
        return ""
    effective = "" if facts.effective_stationary is None else f", {facts.effective_stationary:.1f} in effect (2^entropy)"
    return f"## Stationary labels\n\n{facts.num_stationary} labels count as stationary{effective}.\n"


def _weakest(facts: CardFacts) -> str:
    """Labels as a table, least consistent first."""
    if not facts.weakest:
        return ""
    lines = ["| label | points, % | kappa | worst condition | kappa there | lies on |", "| --- | --- | --- | --- | --- | --- |"]
    for found in facts.weakest:
        name = str(found.label) if facts.names is None else facts.names[found.label]
        classes = ", ".join(f"{what} {100 * share:.0f} %" for what, share in found.classes)
        numbers = f"{100 * found.share:.1f} | {found.kappa:.3f} | {found.worst_condition} | {found.worst_kappa:.3f}"
        lines.append(f"| {name} | {numbers} | {classes} |")
    about = "Kappa of each label against all others at correspondences in unseen worlds; rarer labels are left out."
    return f"## The labels that hold least\n\n{about}\n\n" + "\n".join(lines) + "\n"


def _making(config: Any, seed: int, command: str, data: Sequence[TrainingSet], num_clusters: int) -> str:
    worlds, views, images = (sum(counts) for counts in zip(*((len(d.shards), len(d), d.num_images) for d in data), strict=True))
    height, width = data[0].image_size
    lines = [
        "## Made from\n",
        f"- Data: worlds {worlds}, viewpoints {views}, images {images} of {width}x{height} px; no photograph.",
        f"- Seed: {seed}. Command: `{command or 'train_shipped_models'}`.",
        f"- Classes{_beside(config.pretraining)}: {_steps(config.pretraining.optimization)}.",
    ]
    if num_clusters:
        refinement, fgsn = config.refinement, config.fgsn
        vocabulary = next(one for one in config.vocabularies if one.num_clusters == num_clusters)
        discriminant = fgsn.clusters.projection == "discriminant"
        whitening = "whitened by how they differ between seasons" if discriminant else "PCA whitening"
        cost = f", each label paying {vocabulary.bit_cost:g} of squared distance a bit" if vocabulary.bit_cost else ""
        lines.append(
            f"- Then classes{_beside(refinement)} on worlds of their own, and to tell the points of a view apart by what holds "
            f"between conditions (contrast, weight {refinement.contrast_weight:g}): {_steps(refinement.optimization)}."
        )
        lines.append(
            f"- Then {num_clusters} clusters of its features ({whitening}, L2, k-means, once{cost}); the nearest is the label."
        )
        if vocabulary.kept_start < 1:
            lines.append(
                f"- Then {_steps(fgsn.optimization)}, with L_class (weight {fgsn.class_weight:g}) and L_corr (weight "
                f"{fgsn.correspondence_weight:g}), gradient through the reference or the other image in turn; "
                f"{100 * vocabulary.kept_start:.0f} % of the weights from before these steps."
            )
    return "\n".join(lines) + "\n"


def _beside(config: Any) -> str:
    """What is learnt beside the classes."""
    *names, last = config.surface_names or ("",)
    listed = f"{', '.join(names)} and {last}" if names else last
    return f", with {listed} of surfaces" if config.surface_weight and listed else ""


def _steps(config: Any) -> str:
    return f"{config.iterations} steps of {config.batch_size} crops, {config.optimizer}, rate {config.learning_rate:g}"


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
