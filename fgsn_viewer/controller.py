"""Intent to task, result to state. The only file that knows both the pipelines of core and the state of the window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from core.records import ImageData, Localization
from fgsn_viewer.bootstrap import Pipelines, core_pipelines
from fgsn_viewer.controllers.localizing import LocalizingController
from fgsn_viewer.controllers.mapping import CHANNEL as MAPPING
from fgsn_viewer.controllers.mapping import MappingController
from fgsn_viewer.controllers.networks import NetworksController
from fgsn_viewer.controllers.opening import OpeningController
from fgsn_viewer.controllers.training import CHANNEL as TRAINING
from fgsn_viewer.controllers.training import TrainingController
from fgsn_viewer.display import GUIDED
from fgsn_viewer.localizing import can_localize
from fgsn_viewer.methods import by_labels_alone
from fgsn_viewer.opening import Opened
from fgsn_viewer.state import ViewerState
from fgsn_viewer.tables import MatchRows, localization_rows, pair_rows
from fgsn_viewer.tasks import Failure, TaskRunner
from fgsn_viewer.work import Request, Workbench, first_reference, map_index
from fgsn_viewer.work_steps import Found, Note
from resources import DEFAULT_WEIGHTS

log = logging.getLogger(__name__)


class Controller(QObject):
    """Turns what a person wants into tasks, and their answers into state."""

    noted = Signal(str)  # a sentence for the log
    failed = Signal(str, object)  # what was tried, Failure
    opened = Signal(object)  # paths that were opened, for the list of recent scenes
    networks_changed = Signal(object)  # names of the networks at hand
    thumbnail_found = Signal(str, object)  # image name, (h, w, 3) u8 or None

    def __init__(
        self,
        state: ViewerState,
        tasks: TaskRunner,
        pipelines: Callable[[], Pipelines] = core_pipelines,
        network: str | Path | None = None,
        runs: Path = Path("runs"),
        parent: QObject | None = None,
    ):
        super().__init__(parent)
        self.state, self.tasks = state, tasks
        self._bench = Workbench(pipelines())
        calls = self._bench.pipelines
        self.localizing = LocalizingController(
            state, tasks, self._bench.localizing, calls.read_evaluation, self.examine, self.browsable, self
        )
        self.localizing.noted.connect(self._note)
        self.localizing.failed.connect(self._fail)
        self.opening = OpeningController(calls, tasks, self)
        self.opening.taken.connect(self._take_scene)
        self.opening.failed.connect(self._fail)
        self.network_box = NetworksController(state, tasks, self._bench.labelling, lambda: self.network, self)
        self.mapping = MappingController(self._bench.labelling, tasks, self)
        self.mapping.noted.connect(self._note)
        self.training = TrainingController(calls, tasks, runs, self)
        self.training.network_made.connect(self.select_network)
        self.training.noted.connect(self._note)
        self._networks: Mapping[str, Path] = {}
        self._networks_known = False
        self._files: tuple[Path, ...] = ()  # networks that were opened from files
        self._wanted = network  # by the user, "" for no labels; None: what the scene asks for
        self._reference_is_chosen = False

    # opening

    def start(self) -> None:
        """Load the libraries and look for networks, off the GUI thread."""
        self.tasks.start(
            "start", self._bench.networks, on_result=self._take_networks, on_failure=lambda f: self._fail("loading", f)
        )

    def open(self, paths: Sequence[Path], query: str | None = None) -> None:
        """Open a scene, a COLMAP model, a folder of images, or two photographs (reference, query)."""
        self.opening.open(paths, query)

    def close_scene(self) -> None:
        self._stop_scene_tasks()
        self.state.scene = None

    def _take_scene(self, opened: Opened) -> None:
        scene = opened.scene
        self._stop_scene_tasks()
        self.state.scene = scene
        self._renew_network()
        counts = _count(len(scene.reference), "reference image"), _count(len(scene.queries), "query", "queries")
        self._note(f"opened {scene.name}: {', '.join(counts)}")
        for note in scene.notes:
            self._note(note)
        self.opened.emit(opened.paths)
        self.state.point_labels = scene.map.labels if scene.map is not None else None  # until a network asks for its own
        wanted = opened.query or scene.start_query
        try:
            shown = scene.queries or scene.reference
            first = scene.image(wanted) if wanted else next((image for image in shown if image.path.is_file()), shown[0])
        except KeyError as error:
            self._fail("selecting", Failure(str(error.args[0])))
            first = scene.images[0]
        self.select_query(first.name)

    def _stop_scene_tasks(self) -> None:
        for channel in ("query", "all", "circle", "thumbnails"):
            self.tasks.cancel(channel)

    # choosing

    def select_query(self, name: str) -> None:
        """Show an image of the scene as the query, beside the best reference that is known."""
        scene = self.state.scene
        query = self._image(name)
        if scene is None or query is None or query is self.state.query:
            return
        self._reference_is_chosen = False
        self.state.query = query
        self.state.reference = first_reference(scene, query)
        self.examine()

    def select_reference(self, name: str) -> None:
        """Show this reference image beside the query; the localization no longer chooses."""
        reference = self._image(name)
        if reference is None or reference is self.state.reference:
            return
        self._reference_is_chosen = True
        self.state.reference = reference
        self.examine()

    def step_query(self, step: int) -> None:
        """Go to the next (1) or previous (-1) image in the order of the tree."""
        names = [image.name for image in self.browsable()]
        if names and self.state.query is not None and self.state.query.name in names:
            self.select_query(names[(names.index(self.state.query.name) + step) % len(names)])
        elif names:
            self.select_query(names[0])

    def step_condition(self, step: int) -> None:
        """Go to the image with the same place in the next or previous condition."""
        groups: dict[str, list[ImageData]] = {}
        for image in self.browsable():
            groups.setdefault(image.condition, []).append(image)
        query = self.state.query
        if query is None or query.condition not in groups:
            return
        conditions = list(groups)
        place = groups[query.condition].index(query)
        there = groups[conditions[(conditions.index(query.condition) + step) % len(conditions)]]
        self.select_query(there[min(place, len(there) - 1)].name)

    def browsable(self) -> tuple[ImageData, ...]:
        """The images that one steps through, by condition: the queries, or all where there are none."""
        scene = self.state.scene
        if scene is None:
            return ()
        images = scene.queries or scene.reference
        return tuple(image for condition in scene.conditions for image in images if image.condition == condition)

    def select_network(self, network: str | Path | None) -> None:
        """Use a network by name or file for the labels; "" for none, None for what the scene asks for."""
        if isinstance(network, Path) and network not in self._files:
            self._files = (*self._files, network)
            self.networks_changed.emit(self.networks())
        self._wanted = network
        self.state.network = None
        self._renew_network()
        self.examine()

    def _renew_network(self) -> None:
        """What was made with labels of another network goes; what this one made before is shown again."""
        if self.state.labels_from != self.network:
            self.state.labels_from = self.network
            self.localizing.renew()

    @property
    def network(self) -> str | Path | None:
        """The network that labels are asked from now, or None."""
        if self._wanted == "":
            return None
        asked = self._wanted or (self.state.scene.weights if self.state.scene else "") or DEFAULT_WEIGHTS
        if isinstance(asked, Path) or asked in self._networks or Path(asked).is_file():
            return asked
        return asked if self._wanted else next(iter(self._networks), None)

    def networks(self) -> tuple[str | Path, ...]:
        """The networks at hand: names of shipped ones, then files that were opened."""
        return (*self._networks, *self._files)

    def why_no_network(self) -> str:
        """A clause that says why no network labels the images, and what to do."""
        if self._wanted == "":
            return "no network is chosen; choose one in Labels > Network"
        return (
            "no network is installed; open a network file in Labels > Network"
            if self._networks_known
            else "the network is loading"
        )

    def label_pair(self) -> None:
        """Label both images, or say why that cannot be."""
        if self.network is None:
            self._fail("labelling", Failure(f"No labels: {self.why_no_network()}"))
        elif not self.tasks.is_busy("query"):
            self.examine()

    def label_map_with(self, network: str | Path) -> None:
        """Use a network, and label the map's points with it."""
        if network != self.network:
            self.select_network(network)
        self.label_map()

    def label_map(self) -> None:
        """Label the map's points with the network in use, for this session, so that methods can compare with them."""
        scene, network = self.state.scene, self.network
        if scene is None or scene.map is None or network is None:
            self._fail("labelling", Failure(f"No labels: {self.why_no_network() if scene and scene.map else 'no map is open'}"))
            return
        self.tasks.start(
            "all",
            lambda: self._bench.label_map(scene, network),
            on_part=self._take_part,
            on_result=lambda _: self.localizing.relabelled(),
            on_failure=lambda failure: self._fail("labelling", failure),
        )

    # localizing

    def localize(self) -> None:
        """Run the localization of the shown query anew."""
        self.localizing.run("query")

    def localize_all(self) -> None:
        """Localize every query that has no result yet, in the background; marks appear as results come."""
        self.localizing.run("all")

    def can_localize_query(self) -> bool:
        """Whether the shown query can be localized in the scene's map."""
        state = self.state
        return state.scene is not None and state.query is not None and can_localize(state.scene, state.query)

    def waiting_queries(self) -> tuple[ImageData, ...]:
        """Queries that can be localized and have no result yet."""
        return self.localizing.waiting("all")

    def show_moment(self, index: int) -> None:
        """Select the query of a moment of the track."""
        name = self.localizing.show_step(index)
        if name is not None:
            self.select_query(name)

    def open_row(self, query: str, method: str) -> None:
        """Show a query as a method localized it, from a line of the evaluation."""
        if self._image(query) is None:
            self._fail("selecting", Failure(f"{query}: not in the scene that is open; open the scene of that evaluation first"))
            return
        self.select_query(query)
        self.localizing.select_method(method)

    def show_kinds(self, kinds: frozenset[int]) -> None:
        """Show matches of these kinds only."""
        self.state.kinds = frozenset(kinds)

    def cancel(self) -> None:
        """Stop whatever runs; what is shown stays. A training, and a map that is built, go on beside other work, and stop
        when they are all there is.
        """
        if not self.tasks.is_idle:
            self._note("cancelled")
        others = [name for name in self.tasks.channels if name not in (TRAINING, MAPPING)]
        for channel in others or self.tasks.channels:
            self.tasks.cancel(channel)

    # one selection, shown everywhere

    def highlight(self, label: int | None) -> None:
        self.state.highlight = None if label is None or label < 0 else int(label)

    def isolate(self, label: int | None) -> None:
        """Show one label alone; the same label again, or None, shows all."""
        self.set_isolated(None if label == self.state.isolated else label)

    def set_isolated(self, label: int | None) -> None:
        """Show this label alone; None or a negative one shows all."""
        self.state.isolated = None if label is None or label < 0 else int(label)

    def set_overlay(self, mode: str | None = None, opacity: float | None = None) -> None:
        overlay = self.state.overlay
        opacity = overlay.opacity if opacity is None else float(np.clip(opacity, 0, 1))
        self.state.overlay = replace(overlay, mode=mode or overlay.mode, opacity=opacity)

    def mark_unstable(self, on: bool | None = None) -> None:
        """Mark the least consistent labels in both images, or not; None: the other way round."""
        overlay = self.state.overlay
        self.state.overlay = replace(overlay, unstable=not overlay.unstable if on is None else on)

    def select_match(self, index: int | None) -> None:
        """Select a match, and its map point with it."""
        localization = self.state.localization
        rows = self.match_rows()
        count = len(rows or ())
        index = None if index is None or not 0 <= index < count else int(index)
        self.state.selected_match = index
        if localization is not None:
            self.state.selected_point = None if index is None else int(rows.point_ids[index])

    def select_point(self, point: int | None) -> None:
        """Select a map point, and the best match of it with it."""
        rows = self.match_rows()
        found = np.flatnonzero(rows.point_ids == point) if rows is not None and point is not None else ()
        best = max(found, key=lambda i: (rows.inliers[i], rows.kinds[i] == GUIDED, rows.scores[i]), default=None)
        self.state.selected_match = None if best is None else int(best)
        self.state.selected_point = None if point is None else int(point)

    # what the views read

    def match_rows(self) -> MatchRows | None:
        """The matches of what is shown, as table columns, or None when there are none yet."""
        scene, reference = self.state.scene, self.state.reference
        if self.state.localization is not None:
            image = None if reference is None else map_index(scene, reference)
            return localization_rows(self.state.localization, scene.map, image)
        if self.state.pair_matches is not None:
            return pair_rows(self.state.pair_matches, reference.name)
        return None

    def ranked_references(self) -> list[tuple[ImageData, int | None]]:
        """References to choose from: (image, inliers seen in it), best first; inliers None where unknown."""
        scene = self.state.scene
        if scene is None:
            return []
        ranking = self.state.localization.ranking if self.state.localization is not None else ()
        inliers = {scene.map.images[index].name: count for index, count in ranking}
        images = [image for image in scene.reference if image is not self.state.query]
        order = sorted(range(len(images)), key=lambda i: (-inliers.get(images[i].name, -1), i))
        return [(images[i], inliers.get(images[i].name)) for i in order]

    def request_thumbnails(self, names: Sequence[str]) -> None:
        images = [image for image in map(self._image, names) if image is not None]
        self.tasks.start(
            "thumbnails",
            lambda: self._bench.thumbnails(images),
            on_part=lambda part: self.thumbnail_found.emit(*part),
            quiet=True,
        )

    # answers

    def examine(self) -> None:
        """Compute what is missing for what is selected now; replaces the request before."""
        state = self.state
        if state.scene is None or state.query is None:
            return
        self._renew_network()
        request = Request(state.scene, state.query, state.reference, self.localizing.way, not self._reference_is_chosen)
        self.tasks.start(
            "query",
            lambda: self._bench.examine(request),
            on_part=self._take_part,
            on_failure=lambda failure: self._fail(f"working on {request.query.name}", failure),
        )

    def _take_part(self, part: Any) -> None:
        if isinstance(part, Note):
            self._note(part.sentence)
        elif isinstance(part, Found):
            self._take_found(part.field, part.value)

    def _take_found(self, field: str, value: Any) -> None:
        if field == "answer":
            self.localizing.take(value)
            return
        setattr(self.state, field, MappingProxyType(value) if field == "results" else value)
        if field == "localization":
            self._log_localization(value)

    def _log_localization(self, done: Localization) -> None:
        result = done.result
        counts = f"{len(done.features)} keypoints, {len(done.matches)} matches, {result.stats.num_inliers} inliers"
        said = "followed by its labels" if by_labels_alone(result.method) else counts
        self._note(f"{done.query.name}, {result.method}: {said}" + (f"; {result.failure}" if result.failure else ""))

    def _take_networks(self, networks: Mapping[str, Path]) -> None:
        self._networks, self._networks_known = dict(networks), True
        self.networks_changed.emit(self.networks())
        if self.state.query is not None and self.state.query_labels is None and self.network is not None:
            self.examine()

    def _note(self, sentence: str) -> None:
        log.info("%s", sentence)
        self.noted.emit(sentence)

    def _fail(self, what: str, failure: Failure) -> None:
        self._note(failure.sentence)
        self.failed.emit(what, failure)

    def _image(self, name: str) -> ImageData | None:
        scene = self.state.scene
        return next((image for image in scene.images if image.name == name), None) if scene is not None else None


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
