"""State to views: whatever changed is shown once, at the end of the event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QTimer

from fgsn_viewer import display3d, palette
from fgsn_viewer.controller import Controller
from fgsn_viewer.methods import is_sequence
from fgsn_viewer.network_search import vocabulary_sentence
from fgsn_viewer.tables import MatchRows, label_rows
from fgsn_viewer.views.selection_panel import circle_lines, label_lines, match_lines, point_lines

if TYPE_CHECKING:
    from fgsn_viewer.main_window import MainWindow

SHOWS = {
    "scene": ("scene", "references", "images", "labels", "matches", "pose", "map_labels", "selection"),
    "network": ("labels", "map_labels", "network"),
    "query": ("tree", "references", "images", "labels", "matches", "pose", "methods", "truth", "track", "selection"),
    "reference": ("references", "images", "labels", "matches", "pose", "selection"),
    "query_image": ("images", "labels", "matches", "selection"),
    "reference_image": ("images", "labels", "matches", "selection"),
    "query_labels": ("labels", "match_labels", "selection", "network"),
    "reference_labels": ("labels", "match_labels", "selection"),
    "point_labels": ("map_labels", "selection", "network"),
    "method": ("method", "pose", "matches"),
    "labels_from": ("method",),
    "results": ("methods",),
    "circle": ("circle", "selection"),
    "track": ("track", "methods", "pose"),
    "rows": ("evaluation",),
    "evaluation": ("evaluation",),
    "kinds": ("kinds",),
    "localization": ("references", "matches", "pose", "selection"),
    "pair_matches": ("matches", "pose", "selection"),
    "consistency": ("pose", "agreement"),
    "autopsy": ("pose",),
    "outcomes": ("tree", "pose"),
    "overlay": ("overlay", "agreement"),
    "highlight": ("selection",),
    "isolated": ("selection",),
    "selected_match": ("selection",),
    "selected_point": ("selection",),
}
ORDER = (
    "scene", "network", "tree", "references", "method", "images", "labels", "agreement", "matches", "kinds", "match_labels",
    "pose", "methods", "truth", "track", "circle", "map_labels", "overlay", "evaluation", "selection",
)  # fmt: skip


class Presenter(QObject):
    """Binds the state to the passive views of the window, and decides what they say while something is missing."""

    def __init__(self, controller: Controller, window: MainWindow):
        super().__init__(window)
        self._controller, self._state, self._window = controller, controller.state, window
        self._dirty: set[str] = set()
        self._rows: MatchRows | None = None
        self._shares: tuple = (None, None)
        self._timer = QTimer(self, singleShot=True, interval=0)
        self._timer.timeout.connect(self.refresh)
        for record, shown in SHOWS.items():
            getattr(self._state, f"{record}_changed").connect(lambda _value, shown=shown: self.mark(*shown))
        controller.tasks.finished.connect(lambda _channel: self._renew_hints())
        self.mark(*ORDER)

    def mark(self, *parts: str) -> None:
        """Have these parts shown anew at the end of the event."""
        self._dirty.update(parts)
        self._timer.start()

    def refresh(self) -> None:
        """Show everything that is marked."""
        self._timer.stop()
        dirty, self._dirty = self._dirty, set()
        for part in ORDER:
            if part in dirty:
                getattr(self, f"_show_{part}")()

    @property
    def is_clean(self) -> bool:
        return not self._dirty

    def _show_scene(self) -> None:
        scene, window = self._state.scene, self._window
        window.show_scene(scene)
        window.tree.set_scene(scene)
        window.view3d.set_map(scene.map if scene is not None else None)
        window.view3d.set_cameras(_posed(scene))
        if scene is not None:
            window.arrangement.offer_3d(scene.map is not None)
        self._show_tree()

    def _show_network(self) -> None:
        network = self._state.network
        text = "" if network is None else f"{network.name} · {network.device} {network.precision}"
        self._window.show_network(text, self._network_doubt())

    def _network_doubt(self) -> str:
        """Why the labels of the network in use cannot be compared with the map's, or ""."""
        scene, network, labels = self._state.scene, self._state.network, self._state.point_labels
        if scene is None or scene.map is None or network is None or self._state.query_labels is None:
            return ""  # it is not known yet
        if labels is not None and labels.vocabulary == network.vocabulary:
            return ""
        return vocabulary_sentence(scene.map, network.vocabulary)

    def _show_tree(self) -> None:
        query = self._state.query
        self._window.tree.set_outcomes(self._state.outcomes)
        self._window.tree.set_query(None if query is None else query.name)

    def _show_references(self) -> None:
        state = self._state
        self._window.header.set_references(self._controller.ranked_references(), state.reference)
        posed = [image.name for image in _posed(state.scene)]
        shown = state.reference.name if state.reference is not None else None
        self._window.view3d.set_selected_camera(posed.index(shown) if shown in posed else None)
        self._window.header.set_query(state.query, self._controller.can_localize_query())

    def _show_images(self) -> None:
        state = self._state
        titles = [image.name if image is not None else "" for image in (state.reference, state.query)]
        notes = [self._image_note(image) for image in (state.reference, state.query)]
        self._window.compare.set_images(state.reference_image, state.query_image, *titles, *notes)
        images = state.reference, state.query
        self._window.compare.set_conditions(*("" if image is None else image.condition for image in images))

    def _show_labels(self) -> None:
        state, window = self._state, self._window
        sides = state.reference_labels, state.query_labels
        self._shares = tuple(None if side is None else side.shares() for side in sides)
        window.compare.set_labels(*sides)
        window.compare.set_label_hint(
            self._label_hint().split("\n")[0], self._controller.network is not None and not self._is_working()
        )
        self._show_agreement()
        self._show_match_labels()

    def _show_agreement(self) -> None:
        """The table of labels, how far they agree, and the marks on those that agree least."""
        state, window = self._state, self._window
        sides = state.reference_labels, state.query_labels
        known = next((side for side in sides if side is not None), None)
        colors = palette.label_colors(known.num_labels, known.vocabulary) if known else np.zeros((0, 3), np.uint8)
        rows = label_rows(*sides, state.consistency) if known else None
        window.labels.set_labels(rows, colors, known.names if known else None, self._label_hint())
        marks = state.overlay.unstable and state.consistency is not None
        window.labels.set_agreement(state.consistency, state.overlay.unstable)
        window.compare.set_marked(
            state.consistency.least_consistent() if marks else (), state.consistency.mark_hint() if marks else ""
        )

    def _show_matches(self) -> None:
        rows = self._rows = self._controller.match_rows()
        if rows is None:
            self._window.compare.set_matches(None, None)
        else:
            shown = rows.shown()
            points = rows.points_ref[shown], rows.points_query[shown]
            self._window.compare.set_matches(*points, rows.kinds[shown], rows.scores[shown])
        self._show_match_labels()

    def _show_match_labels(self) -> None:
        rows = self._rows
        labels = None if rows is None else rows.labels(self._state.reference_labels, self._state.query_labels)
        self._window.matches.set_matches(rows, labels, self._match_hint())

    def _show_pose(self) -> None:
        state, window = self._state, self._window
        outcome = state.outcomes.get(state.query.name) if state.query is not None else None
        word = outcome.word if outcome is not None else ""
        if state.localization is not None:
            cause = state.autopsy.cause if state.autopsy is not None else ""
            window.pose.set_localization(state.localization, word, state.consistency, cause)
        elif state.pair_matches is not None:
            window.pose.set_pair(state.pair_matches, state.consistency, self._why_no_pose())
        else:
            window.pose.set_empty(self._match_hint("pose"))
        hint = self._why_no_pose() if state.pair_matches is not None else self._match_hint("result to explain")
        window.autopsy.set_autopsy(state.autopsy, word, hint)
        done = state.localization
        window.view3d.set_estimate(*_pose_and_camera(done.result.cam_from_world if done else None, state.query))

    def _show_method(self) -> None:
        method = self._state.method
        self._window.header.set_method(method)
        self._window.actions_.methods[method].setChecked(True)
        self._window.view3d.set_method(method)
        self._window.methods.set_method(method)

    def _show_methods(self) -> None:
        """The table of all answers, and the poses of the methods that are not the chosen one."""
        state, window = self._state, self._window
        window.methods.set_results(state.results, self._match_hint("method has run on this query"))
        window.methods.set_method(state.method)
        found = {name: each.localization.result.cam_from_world for name, each in state.results.items() if name != state.method}
        poses = {name: pose for name, pose in found.items() if pose is not None}
        window.view3d.set_method_poses(poses, state.query.camera if state.query is not None else None)

    def _show_track(self) -> None:
        state = self._state
        index = None if state.track is None else state.track.index_of(state.query)
        self._window.view3d.set_track(state.track, index)

    def _show_circle(self) -> None:
        circle = self._state.circle
        self._window.view3d.set_circle(*((None, None) if circle is None else (circle.positions, circle.scores)))

    def _show_kinds(self) -> None:
        self._window.matches.set_kinds(self._state.kinds)
        self._window.compare.set_kinds(self._state.kinds)

    def _show_evaluation(self) -> None:
        found = self._state.evaluation
        rows, source = (self._state.rows, "") if found is None else (found.rows, found.source)
        self._window.evaluation.set_rows(rows, source)

    def _show_truth(self) -> None:
        query = self._state.query
        shown = query if self._window.shows_truth else None
        self._window.view3d.set_truth(*_pose_and_camera(shown.cam_from_world if shown is not None else None, shown))

    def _show_map_labels(self) -> None:
        self._window.view3d.set_labels(self._state.point_labels)

    def _show_overlay(self) -> None:
        self._window.compare.set_overlay(self._state.overlay.mode, self._state.overlay.opacity)

    def _show_selection(self) -> None:
        state, window = self._state, self._window
        window.compare.set_highlight(state.highlight)
        window.compare.set_isolated(state.isolated)
        window.compare.set_selected_match(self._drawn_match(state.selected_match))
        window.labels.set_isolated(state.isolated)
        window.matches.set_selected(state.selected_match)
        window.view3d.set_highlight(state.highlight if state.highlight is not None else state.isolated)
        window.view3d.set_selected_point(state.selected_point)
        window.compare.set_marks(*self._marks())
        self._show_selected_texts()

    def _marks(self) -> tuple:
        """Where the selected map point is in the reference and, by the estimated or else the known pose, in the query."""
        state = self._state
        scene_map = state.scene.map if state.scene is not None else None
        if state.selected_point is None or scene_map is None or state.query is None:
            return None, None
        estimate = state.localization.result.cam_from_world if state.localization is not None else None
        pose = estimate if estimate is not None else state.query.cam_from_world
        point = state.selected_point
        in_query = display3d.projected(scene_map, point, pose, state.query.camera)
        return display3d.seen_in_reference(scene_map, point, state.reference), in_query

    def _show_selected_texts(self) -> None:
        state = self._state
        label = state.highlight if state.highlight is not None else state.isolated
        known = state.query_labels or state.reference_labels
        labels = None if self._rows is None else self._rows.labels(state.reference_labels, state.query_labels)
        scene_map = state.scene.map if state.scene is not None else None
        lines = label_lines(label, self._shares, known.names if known else None, label == state.isolated)
        lines += match_lines(self._rows, state.selected_match, labels) + circle_lines(state.circle)
        self._window.selection.set_rows(lines + point_lines(state.selected_point, scene_map, state.point_labels))

    def _drawn_match(self, match: int | None) -> int | None:
        """Index of a match among those drawn between the two images, or None."""
        if match is None or self._rows is None:
            return None
        found = np.flatnonzero(self._rows.shown() == match)
        return int(found[0]) if len(found) else None

    def match_of_drawn(self, index: int) -> int | None:
        """The match behind the drawn line ``index``."""
        shown = self._rows.shown() if self._rows is not None else ()
        return int(shown[index]) if 0 <= index < len(shown) else None

    def image_of_camera(self, index: int) -> str | None:
        """Name of the camera that was picked in 3D."""
        posed = _posed(self._state.scene)
        return posed[index].name if 0 <= index < len(posed) else None

    # what is said while something is missing

    def _renew_hints(self) -> None:
        """Work ended: what was not made by it is missing now, not on its way."""
        state = self._state
        missing = {
            "images": state.query_image is None or state.reference_image is None,
            "labels": state.query_labels is None and state.reference_labels is None,
            "match_labels": self._rows is None,
            "pose": state.localization is None and state.pair_matches is None,
        }
        if missing["images"]:
            missing |= {"labels": True, "matches": True, "selection": True}
        self.mark(*(part for part, is_missing in missing.items() if is_missing))

    def _is_working(self) -> bool:
        return self._controller.tasks.is_busy("query") or self._controller.tasks.is_busy("open")

    def _why_no_pose(self) -> str:
        """Why two images were matched to each other in place of a localization."""
        scene, query = self._state.scene, self._state.query
        if scene is None or scene.map is None:
            return "Without a map there is no pose to estimate: open a scene with a map for one."
        if all(image is not query for image in scene.queries):
            return "This image is part of the map, so its pose is known; its matches are those with the reference on the left."
        if scene.map.observations.descriptors is None:
            return "The map has no descriptors to match with: build it again from its images (fgsn-viewer map)."
        return "This query cannot be localized in this map; the log says why."

    def _image_note(self, image) -> str:
        if image is None:
            return ""
        if self._is_working():
            return "Reading…"
        return "The image was not read; the log says why." if image.path.is_file() else "The image file is missing."

    def _label_hint(self) -> str:
        if self._state.scene is None:
            return "Labels of both images appear here once something is open."
        if self._controller.network is None:
            return f"No labels: {self._controller.why_no_network()}."
        return "Labelling…" if self._is_working() else "No labels yet.\nLabels > Label this pair makes them."

    def _match_hint(self, what: str = "matches") -> str:
        state, text = self._state, f"No {what} yet."
        if state.scene is None:
            return f"{text} Open a scene or two photographs."
        if self._is_working():
            return "Localizing…" if self._controller.can_localize_query() else "Matching…"
        if state.query is not None and state.query_image is None and not state.query.path.is_file():
            return f"{text} The image file of the query is missing."
        if self._rows is not None and what == "matches":
            return "No matches were found. Nothing in the two images looks alike enough."
        if is_sequence(state.method) and what != "matches":
            return f"{text} {state.method} follows the whole condition: Localize (R) runs it."
        return f"{text} Localize > Run (R) makes them."


def _posed(scene) -> list:
    return [image for image in scene.reference if image.cam_from_world is not None] if scene is not None else []


def _pose_and_camera(pose, query) -> tuple:
    return (None, None) if pose is None or query is None else (pose, query.camera)
