"""The localization methods as the window shows them: order, fixed hue, line style, what they need. No pipelines here."""

from __future__ import annotations

from dataclasses import dataclass

P3P, PFSL = "p3p", "pfsl"
P3P_DRIVE, SSMC_DRIVE = "p3p-drive", "ssmc-drive"


@dataclass(frozen=True, slots=True)
class MethodStyle:
    """``color`` and ``dashes`` (lengths in line widths, () for a solid line) are the method's own everywhere."""

    color: str
    dashes: tuple[float, ...]
    help: str
    needs_labels: bool = True


STYLES: dict[str, MethodStyle] = {
    P3P: MethodStyle("#4FC3F7", (), "Every match goes to RANSAC", needs_labels=False),
    "ssmc": MethodStyle("#F48FB1", (5, 2.5), "Matches whose label is not that of the map point are dropped"),
    "ssmc-soft": MethodStyle("#CE93D8", (7, 2, 1.5, 2), "Matches are drawn by how well their two labels go together"),
    "gsmc": MethodStyle("#FFB74D", (2, 2), "Matches are drawn by what labels are seen around their circle of camera places"),
    "gsmc-soft": MethodStyle("#BCAAA4", (6, 2, 1.5, 2, 1.5, 2), "As gsmc, with labels that may turn into each other"),
    PFSL: MethodStyle("#9FA8DA", (7, 1.5), "Particles follow the whole condition by labels alone"),
    P3P_DRIVE: MethodStyle(
        "#80CBC4", (3, 1.5), "Poses by p3p, joined by odometry over the whole condition", needs_labels=False
    ),
    SSMC_DRIVE: MethodStyle("#AED581", (9, 2, 3, 2), "Poses by ssmc-soft, joined by odometry over the whole condition"),
}


def needs_labels(method: str) -> bool:
    return STYLES[method].needs_labels


def is_sequence(method: str) -> bool:
    """Whether a method follows a whole condition, not a single query."""
    return method in (PFSL, P3P_DRIVE, SSMC_DRIVE)


def by_labels_alone(method: str) -> bool:
    """Whether a method compares no descriptors, so that its answers have no matches."""
    return method == PFSL
