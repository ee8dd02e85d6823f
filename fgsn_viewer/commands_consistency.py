"""What the sub-commands that measure labels do; each imports the heavy libraries it needs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.images import read_image, read_labels
from core.records import LabelMap, LabelStatistics
from fgsn_viewer.commands import drain, segmenter_for, write

_MAX_SHARE = 0.9  # as of `train`
_NUMBERS = ("agreement", "chance", "kappa", "nmi", "mutual_information_bits", "effective_labels", "num_correspondences")


def consistency(options: argparse.Namespace) -> int:
    if options.images and (options.intervals or options.max_views):
        raise InputError("--intervals and --max-views are about the pairs of a scene; two images are one pair")
    if options.seed is not None and not options.intervals:
        raise InputError("--seed is of the bootstrap; it needs --intervals")
    if options.images:
        row = _of_images(options)
    elif options.scene is None or options.labels:
        raise InputError("two images are needed, got none; only --scene without --labels measures all pairs of a scene")
    else:
        row = _of_scene(options)
    write(json.dumps(row) if options.json else "\n".join(_lines(row)))
    return 0


def _of_images(options: argparse.Namespace) -> dict[str, Any]:
    from core.engine.consistency import consistency_at_points

    if len(options.images) != 2:
        raise InputError(f"{options.images[0]}: two images are needed, got {len(options.images)}")
    first, second = options.images
    maps = _label_maps(options)
    points = _points_between(options, first, maps[0], second, maps[1])
    stats = consistency_at_points(maps[0].at(points.points_ref), maps[1].at(points.points_other), maps[0].num_labels)
    row = numbers(stats)
    if options.per_condition:
        row["per_condition"] = [{"condition": second.parent.name, "num_pairs": 1} | numbers(stats)]
    if options.per_label:
        row["per_label"] = label_rows(stats, maps[0].names)
    return row


def _label_maps(options: argparse.Namespace) -> list[LabelMap]:
    if not options.labels:
        segmenter = segmenter_for(options)
        return [segmenter.segment(read_image(path), path) for path in options.images]
    labels = [read_labels(path) for path in options.images]
    num_labels = 1 + max(int(image.max(initial=0)) for image in labels)
    return [LabelMap(image, num_labels, "") for image in labels]


def _points_between(options: argparse.Namespace, first: Path, labels: LabelMap, second: Path, other: LabelMap):
    from core.engine.image_pairs import aligned_points, points_of_file, points_of_scene

    if options.scene is not None:
        return points_of_scene(options.scene, first, second)
    sides = (first, labels.labels.shape, second, other.labels.shape)
    return aligned_points(*sides) if options.aligned else points_of_file(options.correspondences, *sides)


def _of_scene(options: argparse.Namespace) -> dict[str, Any]:
    from core.engine.consistency import bootstrap_intervals
    from core.engine.season_data import notes_of, open_pair_data
    from core.engine.validation import consistency_rows, labels_of_pairs, pooled_stats

    data = open_pair_data([options.scene])
    segmenter = segmenter_for(options)
    pairs = drain(labels_of_pairs(segmenter.segment, data, options.max_views), options)
    for note in notes_of(data):
        sys.stderr.write(f"{note}\n")
    stats = pooled_stats(pairs)
    rows = consistency_rows(pairs, lambda pair: pair.condition)
    row = numbers(stats) | {"per_condition": [{"condition": one.pop("group")} | one for one in rows]}
    if options.per_label:
        row["per_label"] = label_rows(stats, segmenter.names)
    if options.intervals:
        found = bootstrap_intervals([pair.labels for pair in pairs], segmenter.num_labels, options.seed or 0)
        row["intervals"] = {name: [_or_none(bound) for bound in bounds] for name, bounds in found.items()}
    return row


def numbers(stats: Any) -> dict[str, Any]:
    """The numbers of ConsistencyStats that the command prints, in its order."""
    row = stats.as_row()
    return {name: row[name] for name in _NUMBERS}


def label_rows(stats: Any, names: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """One row a label that occurs: its shares on the two sides, how much of it keeps, its own kappa."""
    from core.engine.consistency import label_kappas

    total = max(1, stats.num_correspondences)
    rows = []
    for label, kappa in enumerate(label_kappas(stats).tolist()):
        a, b, equal = (int(counts[label]) for counts in (stats.counts_a, stats.counts_b, stats.counts_equal))
        if a or b:
            name = {} if names is None else {"name": names[label]}
            shares = {"share_first": a / total, "share_second": b / total, "kept": equal / a if a else None}
            rows.append({"label": label} | name | shares | {"kappa": _or_none(kappa)})
    return rows


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _lines(row: dict[str, Any]) -> list[str]:
    """The record as text: the numbers, then a table for each list."""
    lines = [_line("all", row)]
    lines += [_line(one["condition"] or "(none)", one) for one in row.get("per_condition", ())]
    for one in row.get("per_label", ()):
        kept, kappa = ("   -  " if value is None else f"{value:6.3f}" for value in (one["kept"], one["kappa"]))
        lines.append(
            f"label {one['label']:4d}  {one.get('name', ''):14}  share {one['share_first']:.3f}  kept {kept}  kappa {kappa}"
        )
    for name, (low, high) in row.get("intervals", {}).items():
        lines.append(f"95 % of {name}: " + ("not known of one pair" if low is None else f"{low:.3f} to {high:.3f}"))
    return lines


def _line(name: str, row: dict[str, Any]) -> str:
    return (
        f"{name:16} kappa {row['kappa']:.3f}  {row['mutual_information_bits']:.3f} bits  nmi {row['nmi']:.3f}  "
        f"agreement {row['agreement']:.3f} (chance {row['chance']:.3f})  {row['effective_labels']:.1f} effective labels  "
        f"{row['num_correspondences']} points"
    )


def stationary(options: argparse.Namespace) -> int:
    from core.engine.label_statistics import label_statistics
    from core.engine.season_data import open_pair_data
    from core.scene.label_statistics import label_statistics_path, save_label_statistics, save_stationary_indices

    data = _held_out(open_pair_data(options.data), options)
    segmenter = segmenter_for(options)
    out = options.out or label_statistics_path(segmenter.info.path)
    _require_no_shipped_file(out, options)
    config = _stationary_config(options)
    statistics = drain(label_statistics(segmenter.segment, data, options.max_pairs, config), options)
    count = int(statistics.stationary.sum())
    if not count:
        raise InputError(f"{out}: not written, no label is stationary; correspondences as sparse as these need --rule relative")
    save_label_statistics(out, statistics)
    if options.official:
        save_stationary_indices(options.official, statistics)
    rows = _share_rows(statistics, segmenter.names)
    if options.json:
        write(json.dumps({"out": str(out), "num_labels": statistics.num_labels, "num_stationary": count, "labels": rows}))
        return 0
    for row in rows:
        word = "stationary" if row["stationary"] else ""
        write(f"label {row['label']:4d}  {row.get('name', ''):14}  {100 * row['correspondence_share']:7.3f} %  {word}".rstrip())
    write(f"{out}: {count} of {statistics.num_labels} labels are stationary")
    return 0


def _held_out(data: Any, options: argparse.Namespace) -> Any:
    """The places that a training with this share and seed only validates on (PAPER 2.6), or all."""
    from core.engine.season_data import split

    if options.validation_share is None:
        if options.seed is not None:
            raise InputError("--seed says which places a training kept apart; it needs --validation-share")
        return data
    if options.validation_share > _MAX_SHARE:
        raise InputError(f"--validation-share is {options.validation_share}, expected at most {_MAX_SHARE}")
    return split(data, options.validation_share, options.seed or 0)[1]


def _require_no_shipped_file(out: Path, options: argparse.Namespace) -> None:
    from core.engine.segmenter import available_weights

    if options.out is None and str(options.weights) in available_weights() and out.is_file():
        raise InputError(f"{out}: ships with the network {options.weights}; name a file of your own with --out")


def _stationary_config(options: argparse.Namespace):
    from dataclasses import replace

    from core.engine.label_statistics import StationaryConfig, relative_stationary

    official = StationaryConfig(every=options.every)
    config = official if options.rule == "official" else relative_stationary(options.every)
    return config if options.threshold is None else replace(config, threshold=options.threshold)


def _share_rows(statistics: LabelStatistics, names: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """One row a label: how much of it lies on correspondences, in how many of them it is, whether it is stationary."""
    seen = statistics.joint.sum(axis=1)
    return [
        {"label": label}
        | ({} if names is None else {"name": names[label]})
        | {
            "correspondence_share": float(statistics.correspondence_share[label]),
            "num_correspondences": int(seen[label]),
            "stationary": bool(statistics.stationary[label]),
        }
        for label in range(statistics.num_labels)
    ]
