"""What the sub-commands about weights do; each imports the heavy libraries it needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import InputError
from fgsn_viewer.commands import drain, say

_HEAD = f"{'':40} {'kind':17} {'labels':>6}  {'base':22} {'stationary':10}  {'vocabulary':24} sha256"


def weights(options: argparse.Namespace) -> int:
    from core.engine.weight_listing import list_weights_steps

    found = drain(list_weights_steps(options.folder), options)
    if not found:
        expected = ".pth, .safetensors, training folders or label images"
        raise InputError(f"{options.folder}: no weights found in it or below, expected {expected}")
    if not options.json:
        say(options, {}, _HEAD)
    for one in found:
        say(options, asdict(one) | {"path": str(one.path)}, _line(options.folder, one))
    return 0


def _line(folder: Path, found: Any) -> str:
    """A row of the table; what cannot be used has its reason below it."""
    name = found.path.relative_to(folder).as_posix()
    name = folder.resolve().name if name == "." else name
    labels = "" if found.num_labels is None else str(found.num_labels)
    stationary = "yes" if found.has_stationary else "" if found.num_labels is None else "no"
    facts = f"{found.kind:17} {labels:>6}  {found.base:22} {stationary:10}  {found.vocabulary:24} {found.sha256[:12]}"
    problem = f"\n    {found.problem}" if found.problem else ""
    return f"{name:40} {facts}".rstrip() + problem


def vocabulary(options: argparse.Namespace) -> int:
    """Cluster a backbone's features and count how the labels behave, for the localizer."""
    from core.engine.clustering import ClusterConfig
    from core.engine.dinov2_vocabulary import make_vocabulary
    from core.engine.fgsn_config import FGSNConfig, check_config
    from core.engine.label_statistics import StationaryConfig, write_run_statistics
    from core.engine.season_data import open_pair_data

    clusters = ClusterConfig(num_clusters=options.clusters, max_dims=options.dims, projection=options.projection)
    config = FGSNConfig(clusters=clusters, max_features_per_image=options.features)
    check_config(config)
    data = open_pair_data([path.resolve() for path in options.data])
    steps = make_vocabulary(options.backbone, data, options.out, config, options.seed, options.device, options.short_side)
    out = drain(steps, options)
    rule = StationaryConfig() if options.rule == "official" else None
    statistics = drain(write_run_statistics(out, data, 0, options.seed, options.device, rule), options)
    row = {
        "weights": str(out),
        "vocabulary": statistics.vocabulary,
        "num_labels": statistics.num_labels,
        "stationary": int(statistics.stationary.sum()),
    }
    say(options, row, f"{out}: {row['num_labels']} labels, {row['stationary']} of them of what stays")
    return 0
