"""The lines of the seasons benchmark: which method runs with which settings and labels, and what is compared with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from benchmarks.seasons_fit import BY_DESCRIPTORS, Fitted
from benchmarks.seasons_solvers import poselib_p3p, pycolmap_p3p
from benchmarks.seasons_table import (
    DRAWN_ALONE,
    GPS_ERROR_M,
    LAX,
    MAJORITY,
    MATCHES_ALONE,
    ON_THE_ROAD,
    START_KNOWN,
    STRICT,
    UNGUIDED,
    WEIGHTED,
)
from core.evaluation.job import Labelling, Variant
from core.localizer.gravity import PriorConfig
from core.localizer.pipeline import LocalizerConfig

LABEL_METHODS = ("ssmc", "ssmc-soft", "gsmc", "gsmc-soft", "pfsl")
GRAVITY_ERRORS_DEG, HEIGHT_ERRORS_M = (0.0, 1.0, 2.0, 5.0), (0.0, 0.3, 1.0)
GSMC_RATIO = 0.9


def fine(labellings: Sequence[Labelling]) -> Labelling:
    """The network that the claim is about: the second, after a coarse one."""
    return labellings[min(1, len(labellings) - 1)]


def method_variants(
    plain: LocalizerConfig,
    semantic: Mapping[str, LocalizerConfig],
    soft: Mapping[str, LocalizerConfig],
    stages: Mapping[str, LocalizerConfig],
    labellings: Sequence[Labelling],
    fitted: Fitted,
    strict: Mapping[str, LocalizerConfig],
) -> tuple[Variant, ...]:
    """Plain P3P as tuned, and every method with every network as SSMC and the soft labels were tuned and fitted.

    ``WEIGHTED`` draws by descriptors in the same RANSAC as the methods that draw by labels too: only what they find beyond
    it is owed to labels. ``stages``: soft labels that go less far. ``MAJORITY`` knows one label a point, as the paper does.
    ``strict``: the best settings of SSMC that drop as the paper does. GSMC takes a second a query: it runs with the fine
    network alone, hard on matches of the usual ratio, soft on those of the other soft methods. Sequences begin without being
    told where, and also where a GPS-like position puts them.
    """
    chosen, same = fine(labellings).name, replace(semantic[fine(labellings).name], method=plain.method)
    made = [Variant("p3p", plain)]
    if same.matching != plain.matching or same.ransac != plain.ransac:
        made.append(Variant("p3p, set as SSMC", same))
    made.append(Variant(WEIGHTED, soft[BY_DESCRIPTORS]))
    made += [Variant(STRICT, strict[labelling.name], labelling.name) for labelling in labellings]
    for method, labelling in product(LABEL_METHODS, labellings):
        config = replace(fitted.config(semantic[labelling.name], labelling.name), method=method)
        if method == "ssmc-soft":
            made.append(Variant(method, soft[labelling.name], labelling.name))
        elif not method.startswith("gsmc"):
            made.append(Variant(method, config, labelling.name))
        elif labelling.name == chosen:
            own = few_matches(config) if method == "gsmc" else replace(soft[chosen], gsmc=config.gsmc, method=method)
            made.append(Variant(method, own, chosen))
    one_label = replace(soft[chosen], affinity=replace(soft[chosen].affinity, views=False))
    made += [Variant(name, config, chosen) for name, config in stages.items()]
    made.append(Variant(MAJORITY, one_label, chosen))
    made += [unguided(Variant("p3p", plain)), unguided(Variant("ssmc-soft", soft[chosen], chosen))]
    made += [replace(variant, name=START_KNOWN, start_error_m=GPS_ERROR_M) for variant in made if variant.is_sequence]
    return tuple(made) + drive_variants(soft, chosen)


def drive_variants(soft: Mapping[str, LocalizerConfig], labels: str) -> tuple[Variant, ...]:
    """Drives by the poses that descriptors alone give, and by soft labels; these too as they are known on the road."""
    by_descriptors = replace(soft[BY_DESCRIPTORS], method="p3p-drive")
    by_labels = replace(soft[labels], method="ssmc-drive")
    causal = replace(by_labels, drive=replace(by_labels.drive, causal=True))
    return (
        Variant("p3p-drive", by_descriptors),
        Variant("ssmc-drive", by_labels, labels),
        Variant(f"ssmc-drive{ON_THE_ROAD}", causal, labels),
    )


def claimed(methods: Sequence[Variant], labellings: Sequence[Labelling], stages: bool = False) -> tuple[Variant, ...]:
    """What the claim puts in order: P3P, SSMC and its soft form with all labels, both kinds of GSMC with the fine ones, and
    sequences with the coarse ones, which place a camera best. ``stages``: soft labels that go less far, too.
    """
    lines = {"p3p", WEIGHTED, *(f"{name}/{labelling.name}" for name in ("ssmc", "ssmc-soft") for labelling in labellings)}
    with_fine = ["gsmc", "gsmc-soft", f"ssmc-soft{UNGUIDED}", *([DRAWN_ALONE, MATCHES_ALONE, MAJORITY] if stages else [])]
    with_fine += ["ssmc-drive", f"ssmc-drive{ON_THE_ROAD}"]
    lines |= {"p3p-drive", f"p3p{UNGUIDED}", *(f"{name}/{fine(labellings).name}" for name in with_fine)}
    lines |= {f"{name}/{labellings[0].name}" for name in ("pfsl", START_KNOWN)}
    return tuple(variant for variant in methods if variant.id in lines)


def checked(plain: LocalizerConfig, semantic: LocalizerConfig, labels: str) -> tuple[Variant, ...]:
    """The lines of the checks: other libraries beside plain P3P without what they do not have, and GSMC beside SSMC."""
    alone, gsmc = Variant("p3p", plain), replace(few_matches(semantic), method="gsmc")
    lines = (alone, unguided(alone), Variant("ssmc", replace(semantic, method="ssmc"), labels), Variant("gsmc", gsmc, labels))
    return lines + outside_variants(plain)


def followed(labellings: Sequence[Labelling]) -> tuple[Variant, ...]:
    """Every method at the program's defaults: of single images and of drives with the fine labels, PFSL with all."""
    chosen = fine(labellings).name
    with_fine = [Variant(name, LocalizerConfig(method=name), chosen) for name in ("ssmc", "ssmc-soft", "gsmc", "ssmc-drive")]
    pfsl = [Variant("pfsl", LocalizerConfig(method="pfsl"), labelling.name) for labelling in labellings]
    known = [replace(variant, name=START_KNOWN, start_error_m=GPS_ERROR_M) for variant in pfsl]
    plain = [Variant(name, LocalizerConfig(method=name)) for name in ("p3p", "p3p-drive")]
    return (*plain, *with_fine, *pfsl, *known)


def unguided(variant: Variant) -> Variant:
    """The same without looking again for points near where the pose puts them."""
    config = replace(variant.config, guided=replace(variant.config.guided, rounds=0))
    return replace(variant, name=variant.name + UNGUIDED, config=config)


def lax_variants(methods: Sequence[Variant]) -> tuple[Variant, ...]:
    """Plain P3P, SSMC and its soft form on every keypoint's nearest point, as where descriptors tell little."""
    made = []
    for variant in methods:
        if variant.name in ("p3p", "ssmc", "ssmc-soft"):
            config = replace(variant.config, matching=replace(variant.config.matching, ratio=1.0))
            made.append(replace(variant, name=f"{variant.name}{LAX}", config=config))
    uniform = replace(made[0].config, ransac=replace(made[0].config.ransac, progressive=False))
    return (replace(made[0], name=f"p3p, uniform{LAX}", config=uniform), *made)


def few_matches(config: LocalizerConfig) -> LocalizerConfig:
    """GSMC's own matches: no more than the ratio of the literature gives (PAPER 3.2), because each costs milliseconds."""
    return replace(config, matching=replace(config.matching, ratio=min(config.matching.ratio, GSMC_RATIO)))


def sensitivity_variants(gsmc: Variant) -> tuple[Variant, ...]:
    """GSMC with the true gravity and height made wrong by stated errors, one at a time."""
    errors = [(deg, 0.0) for deg in GRAVITY_ERRORS_DEG] + [(0.0, metres) for metres in HEIGHT_ERRORS_M if metres]
    made = []
    for deg, metres in errors:
        prior = PriorConfig(source="oracle", gravity_noise_deg=deg, height_noise_m=metres)
        name = f"gsmc, oracle +- {deg:g} deg, {metres:g} m"
        made.append(replace(gsmc, name=name, config=replace(gsmc.config, prior=prior)))
    return tuple(made)


def outside_variants(config: LocalizerConfig) -> tuple[Variant, ...]:
    return Variant("PoseLib", config, solve=poselib_p3p), Variant("pycolmap", config, solve=pycolmap_p3p)
