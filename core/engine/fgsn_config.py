"""The settings of cluster training: defaults are the paper's (PAPER 2.2 to 2.4); every departure says its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.engine.augmentation import AugmentationConfig
from core.engine.clustering import ClusterConfig
from core.engine.optimization import OptimizationConfig, paper_optimization
from core.engine.settings import check_ranges
from core.errors import InputError
from core.records import setting

CHOICES = {
    "labels": ("crop", "image"),
    "crops": ("centred", "random"),
    "photometric": ("none", "reference", "other", "both"),
    "soft_targets": ("none", "other", "both"),
    "average": ("pairs", "matches"),
    "head": ("fresh", "centroids"),
}


@dataclass(frozen=True, kw_only=True)
class FGSNConfig:
    """``augmentation``: its ``crop`` counts always, its zoom and roll with random crops, its strength with photometric."""

    optimization: OptimizationConfig = field(default_factory=paper_optimization)
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(crop=713, flip=False))
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    max_reference_images: int = setting(0, minimum=0, help="reference images whose features are clustered; 0: all")
    max_features_per_image: int = setting(500, minimum=2, help="features of a reference image that are clustered")
    pool_conditions: bool = setting(
        False, help="cluster features averaged over the conditions at corresponding points: clusters then ignore the season"
    )
    recluster_every: int = setting(
        10_000, minimum=0, help="steps between clusterings; 0: cluster once, which localized best in the paper"
    )
    labels: str = setting(
        "crop",
        help="crop: the frozen network labels each reference crop, and a match counts where both crops show it; image: whole "
        "images, once a clustering: faster, and a match counts where the crop that learns shows it",
    )
    label_scale: float = setting(
        0.0,
        minimum=0,
        maximum=4,
        help="whole images are enlarged this much for features and labels; 0: resized as for segmentation",
    )
    crops: str = setting(
        "centred", help="centred: resized images around a match; random: zoomed and turned too, for rendered or few images"
    )
    photometric: str = setting(
        "none", help="whose colours and light change at random: none, reference, other, both; for rendered or few images"
    )
    soft_targets: str = setting(
        "none", help="other, both: these images learn shares by distance to centroids; hard labels flip at cluster borders"
    )
    num_targets: int = setting(5, minimum=1, help="centroids that share a soft target")
    temperature: float = setting(0.1, minimum=1e-6, help="of soft targets: shares are softmax(-distance^2 / temperature)")
    correspondence_weight: float = setting(1.0, minimum=0, help="weight of L_corr; 0 is the control without it")
    class_weight: float = setting(1.0, minimum=0, help="weight of L_class")
    hinge_weight: float = setting(0.0, minimum=0, help="weight of the feature hinge; the paper's networks have 0")
    reference_fraction: float | None = setting(
        0.5, minimum=0, maximum=1, help="share of turns of the reference; None: both sides"
    )
    average: str = setting(
        "pairs", help="pairs: mean over a pair's matches, then over pairs; matches: over all, which steadies small batches"
    )
    head: str = setting(
        "fresh",
        help="the classifier of each clustering. fresh: linear, from random weights, as in the paper; centroids: the nearest "
        "centroid, the rule that made the labels, so that learning starts from labels that are right already",
    )
    sharpness: float = setting(10.0, minimum=0.1, help="of the centroids' rule: logits fall by this with distance squared")

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")

    @property
    def images_per_pair(self) -> int:
        """Images of a pair that a gradient flows through."""
        return 2 if self.reference_fraction is None else 1

    @property
    def images_per_pass(self) -> int:
        """Images that the network sees at once in training."""
        return self.pairs_per_draw * (2 if self.hinge_weight > 0 else self.images_per_pair)

    @property
    def pairs_per_draw(self) -> int:
        """``batch_size`` counts images that a gradient flows through."""
        return max(1, self.optimization.batch_size // self.images_per_pair)

    @property
    def needs_both_crops(self) -> bool:
        """Whether matches must lie in both crops of a pair: the labels or the hinge come from the other one."""
        return self.labels == "crop" or self.hinge_weight > 0


def check_config(config: FGSNConfig) -> None:
    """Raise InputError for a number out of its range, and for settings that do not go together."""
    check_ranges(config)
    zoom = config.augmentation
    if zoom.min_scale > zoom.max_scale:
        raise InputError(f"augmentation.min_scale is {zoom.min_scale}, expected at most max_scale, {zoom.max_scale}")
