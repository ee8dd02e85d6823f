"""Which networks are at hand, and which of them speak the labels of the map: the work behind the network box, without Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.records import Progress, Scene, SceneMap
from core.steps import scaled
from fgsn_viewer.labelling import Labelling, network_title
from fgsn_viewer.work_steps import Note, Steps

FITS, DIFFERS = "fits", "differs"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to look in: what it is called, and whether a person added it and may take it out again."""

    title: str
    folder: Path
    is_added: bool = False


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One network that was found. ``network``: how it is asked for; ``found``: what the engine says of it.

    ``fit``: "fits" where the map has labels of its vocabulary, "differs" where it has not, "" without map or vocabulary.
    """

    network: str | Path
    title: str
    place: Place
    found: Any
    fit: str = ""

    @property
    def is_usable(self) -> bool:
        return not self.found.problem and bool(self.found.vocabulary)


def find_networks(labelling: Labelling, places: Sequence[Place], scene: Scene | None) -> Steps:
    """Yield the NetworkRows of every place as they are found, and a Note for a place that cannot be read."""
    shipped = {path.resolve(): name for name, path in labelling.pipelines.available_weights().items()}
    seen: set[Path] = set()
    for number, place in enumerate(places):
        try:
            steps = scaled(labelling.pipelines.list_weights(place.folder), number / len(places), (number + 1) / len(places))
            listed = yield from _named(steps, place)
        except (InputError, OSError) as error:
            yield Note(str(error))
            continue
        new = [found for found in listed if found.path.resolve() not in seen]
        seen |= {found.path.resolve() for found in new}
        yield tuple(_row(found, place, shipped, labelling, scene) for found in new)


def _named(steps: Steps, place: Place) -> Steps:
    """The steps, with the place before what they say."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        yield Progress(f"{place.title}: {step.message}", step.fraction)


def _row(found: Any, place: Place, shipped: dict[Path, str], labelling: Labelling, scene: Scene | None) -> NetworkRow:
    network = shipped.get(found.path.resolve(), found.path)
    fit = "" if scene is None or scene.map is None or not found.vocabulary else DIFFERS
    if fit and labelling.of_points(scene, found.vocabulary) is not None:
        fit = FITS
    return NetworkRow(network, network_title(network), place, found, fit)


def fit_sentence(row: NetworkRow, scene: Scene | None) -> str:
    """Why a network's labels cannot be compared with those of the map, or "" where they can, or where there is no map."""
    if row.fit != DIFFERS or scene is None or scene.map is None:
        return ""
    return vocabulary_sentence(scene.map, row.found.vocabulary)


def vocabulary_sentence(scene_map: SceneMap, vocabulary: str) -> str:
    """That a map has no labels of a vocabulary, and what it takes."""
    has = scene_map.labels.vocabulary if scene_map.labels is not None else ""
    said = f"The map is labelled with {has}, not with {vocabulary}" if has else "The map has no labels"
    return f"{said}: methods that compare labels cannot use this network until it has labelled the map."


@dataclass(frozen=True, slots=True)
class NetworksState:
    """What the box shows: the rows found so far, by place; ``used``: the network that labels are asked from, or None."""

    rows: tuple[NetworkRow, ...] = ()
    places: tuple[Place, ...] = ()
    used: str | Path | None = None
    is_looking: bool = False
    problem: str = ""
    scene: Scene | None = None

    def advice(self, row: NetworkRow) -> str:
        """What a person has to know before using it: why it cannot be used, or that it does not fit the map."""
        return row.found.problem or fit_sentence(row, self.scene)
