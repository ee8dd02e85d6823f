"""The rows of the training study, as data: what each network is trained with, and which row it is to be compared with."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.aligned_photographs import MICHIGAN, STROMOVKA, TILDE

CLASSES = "classes"  # the start network's own labels, kept
CLUSTERS = "clusters"
SURFACES, PLAIN = "surfaces", "plain"  # start networks: pre-trained on classes and surfaces, on classes alone,
ANNOTATED = "annotated"  # on classes of worlds and of photographs together,
REFINED = "refined"  # and taught after it to tell the points of a view apart (core.engine.contrast)


@dataclass(frozen=True, kw_only=True)
class RowSpec:
    """One network. ``changes``: settings of FGSNConfig by name, as text. ``reclusterings``: how often clusters are made anew,
    evenly over the run. ``length``: steps over those of the study; 0 leaves the start network as it is. ``control``: the row
    that differs in one option, with the same start, clusters, images, steps and seed. ``photographs``: data sets whose
    training part is learnt from beside the worlds (benchmarks.aligned_photographs).
    """

    name: str
    title: str
    kind: str = CLUSTERS
    num_labels: int = 100
    changes: tuple[tuple[str, str], ...] = ()
    reclusterings: int = 0
    length: float = 1.0
    start: str = SURFACES
    control: str = ""
    quick: bool = False
    photographs: tuple[str, ...] = ()


NO_CORR = (("correspondence_weight", "0.0"),)
_QUICK_CLUSTERS = (100, 1000)


def class_rows() -> tuple[RowSpec, ...]:
    """19 classes as they are, and trained on their own labels without and with correspondences (after PAPER 2.3)."""
    own = "classes-19-own"
    return (
        RowSpec(name="classes-19", title="19 classes, as pre-trained", kind=CLASSES, num_labels=19, length=0, quick=True),
        RowSpec(name=own, title="19 classes, own labels, no L_corr", kind=CLASSES, num_labels=19, changes=NO_CORR, quick=True),
        RowSpec(name="classes-19-corr", title="19 classes, L_corr", kind=CLASSES, num_labels=19, control=own, quick=True),
    )


def cluster_rows(count: int) -> tuple[RowSpec, ...]:
    """FGSN with ``count`` clusters, with and without L_corr, clustered once and three times."""
    base, quick = f"fgsn-{count}", count in _QUICK_CLUSTERS
    again = f"{base}-again"
    return (
        RowSpec(name=base, title=f"FGSN {count}", num_labels=count, control=f"{base}-nocorr", quick=quick or count == 20),
        RowSpec(name=f"{base}-nocorr", title=f"FGSN {count}, no L_corr", num_labels=count, changes=NO_CORR, quick=quick),
        RowSpec(name=again, title=f"FGSN {count}, re-clustered", num_labels=count, reclusterings=2, control=base),
        RowSpec(
            name=f"{again}-nocorr",
            title=f"FGSN {count}, re-clustered, no L_corr",
            num_labels=count,
            changes=NO_CORR,
            reclusterings=2,
            control=f"{base}-nocorr",
        ),
    )


def option_rows() -> tuple[RowSpec, ...]:
    """What the paper did not try; each beside FGSN 100."""
    options = (
        ("soft", "soft targets in the other image", (("soft_targets", "other"),)),
        ("reference-only", "changed appearance of the reference only", (("photometric", "reference"),)),
        ("pooled", "features pooled over conditions before clustering", (("pool_conditions", "true"),)),
        ("discriminant", "clusters cut where features hold", (("clusters.projection", "discriminant"),)),
        ("centroids", "classifier from the nearest centroid", (("head", "centroids"),)),
        ("bit-cost", "labels pay for their bits", (("clusters.bit_cost", "0.03"),)),
    )
    rows = [
        RowSpec(name=f"fgsn-100-{name}", title=f"FGSN 100, {title}", changes=changes, control="fgsn-100")
        for name, title, changes in options
    ]
    rows.append(RowSpec(name="fgsn-100-long", title="FGSN 100, three times the steps", length=3, control="fgsn-100"))
    rows.append(RowSpec(name="fgsn-100-plain", title="FGSN 100, start without surfaces", start=PLAIN, control="fgsn-100"))
    refined = "FGSN 100, start taught to tell points apart"
    rows.append(RowSpec(name="fgsn-100-refined", title=refined, start=REFINED, control="fgsn-100"))
    rows.append(RowSpec(name="fgsn-100-annotated", title="FGSN 100, start with CamVid", start=ANNOTATED, control="fgsn-100"))
    return (*rows, *photograph_rows(), *paper_rows())


def photograph_rows() -> tuple[RowSpec, ...]:
    """Worlds and photographs together."""
    some, names = (TILDE, MICHIGAN), "tilde_webcam and grief_michigan"
    return (
        RowSpec(name="fgsn-100-photographs", title=f"FGSN 100, also {names}", photographs=some, control="fgsn-100"),
        RowSpec(
            name="fgsn-100-photographs-more",
            title=f"FGSN 100, also {names} and grief_stromovka",
            photographs=(*some, STROMOVKA),
            control="fgsn-100",
        ),
    )


def paper_rows() -> tuple[RowSpec, ...]:
    """The paper's own ways where the shipped recipe, that the other rows follow, departs from them."""
    optimizer = (
        ("optimization.optimizer", "sgd"),
        ("optimization.learning_rate", "2.5e-3"),
        ("optimization.weight_decay", "1e-4"),
        ("optimization.power", "1.0"),
        ("optimization.warmup", "0"),
        ("optimization.frozen_norm", "true"),
    )
    options = (
        ("paper-optimizer", "SGD and frozen BatchNorm as in the paper, rate 2.5e-3", optimizer),
        ("paper-rate", "the same at the paper's rate 2.5e-5", (*optimizer, ("optimization.learning_rate", "2.5e-5"))),
        ("pairs", "mean over pairs", (("average", "pairs"),)),
        ("both-sides", "gradient through both sides", (("reference_fraction", "none"),)),
        ("hinge", "feature hinge", (("hinge_weight", "1.0"),)),
        ("random-init", "k-means from random points", (("clusters.init", "random"),)),
        ("all-dims", "up to 256 PCA dimensions", (("clusters.max_dims", "256"),)),
    )
    return tuple(
        RowSpec(name=f"fgsn-100-{name}", title=f"FGSN 100, {title}", changes=changes, control="fgsn-100")
        for name, title, changes in options
    )


ROWS = (*class_rows(), *(row for count in (20, 100, 200, 1000) for row in cluster_rows(count)), *option_rows())
