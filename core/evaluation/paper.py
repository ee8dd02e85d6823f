"""The paper's own numbers on Extended CMU Seasons (PAPER 4.2, 4.3), as a yardstick: its places, not ours."""

from __future__ import annotations

Recall = tuple[float, float, float]
KINDS = ("urban", "suburban", "park")
_NUMBERS: dict[tuple[str, int], tuple[Recall, Recall, Recall]] = {  # method and number of labels: urban, suburban, park
    ("p3p", 0): ((65.3, 70.1, 77.6), (44.5, 49.7, 61.5), (27.3, 30.6, 39.6)),
    ("ssmc", 19): ((75.4, 80.7, 87.1), (56.3, 62.1, 72.0), (35.0, 39.4, 49.0)),
    ("ssmc", 20): ((76.3, 81.7, 87.6), (59.7, 65.7, 75.3), (42.9, 47.7, 56.6)),
    ("ssmc", 100): ((85.3, 91.0, 94.6), (69.5, 76.4, 83.7), (51.4, 57.6, 65.5)),
    ("ssmc", 200): ((81.0, 86.7, 91.1), (67.7, 74.8, 82.8), (50.8, 57.2, 65.0)),
    ("ssmc", 1000): ((78.0, 84.0, 89.2), (62.8, 70.7, 79.6), (45.1, 51.9, 60.9)),
    ("gsmc", 19): ((84.3, 89.4, 93.2), (69.9, 75.9, 83.0), (37.8, 42.0, 49.3)),
    ("gsmc", 200): ((86.4, 91.2, 93.8), (77.0, 82.9, 88.7), (38.9, 43.4, 50.0)),
    ("pfsl", 200): ((95.3, 99.5, 100.0), (87.6, 98.3, 99.9), (64.8, 81.5, 89.3)),
}


def paper_recall(method: str, num_labels: int, kind: str) -> Recall | None:
    """The paper's recall in percent of a method with so many labels (0 for none) on one kind of place, if it has it."""
    found = _NUMBERS.get((method, num_labels))
    return found[KINDS.index(kind)] if found is not None and kind in KINDS else None
