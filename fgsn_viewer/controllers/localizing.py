"""Localizing with every method: what is run in the background, what comes of it, and the records that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QObject, Signal

from core.records import ImageData
from fgsn_viewer.evaluation_rows import Evaluation
from fgsn_viewer.localizing import Answered, Localizing, Way, can_localize
from fgsn_viewer.methods import STYLES, is_sequence, needs_labels
from fgsn_viewer.state import ViewerState
from fgsn_viewer.tasks import Failure, TaskRunner
from fgsn_viewer.work_steps import Found, Note, Steps

CHANNEL = "all"
SCOPES = ("query", "condition", "all", "methods")


class LocalizingController(QObject):
    """Knows the methods. One query's own examination stays with the Controller, whose ``examine`` is given."""

    noted = Signal(str)
    failed = Signal(str, object)

    def __init__(
        self,
        state: ViewerState,
        tasks: TaskRunner,
        localizing: Localizing,
        read_evaluation: Callable[[Path], list[Any]],
        examine: Callable[[], None],
        browsable: Callable[[], tuple[ImageData, ...]],
        parent: QObject | None = None,
    ):
        super().__init__(parent)
        self._state, self._tasks, self._work = state, tasks, localizing
        self._read, self._examine, self._browsable = read_evaluation, examine, browsable
        self._rows: dict[tuple[str, ...], Any] = {}
        self._answers: dict[tuple[str, str, str], Answered] = {}
        state.scene_changed.connect(self._on_scene)
        state.selected_match_changed.connect(lambda _match: self._score_circle())
        state.query_changed.connect(lambda _query: self._show_track())

    @property
    def way(self) -> Way:
        """How queries are localized now."""
        return Way(self._state.method, self._state.labels_from)

    def select_method(self, method: str) -> None:
        """Show what a method makes of the query, and of all that it ran on."""
        if method in STYLES and method != self._state.method:
            self._state.method = method
            self.renew()
            self._examine()

    def renew(self) -> None:
        """Show the outcomes and the track that belong to the method and network that are chosen now."""
        way = self.way
        mine = {name: found.outcome for (name, *key), found in self._answers.items() if tuple(key) == way.key}
        self._state.outcomes = MappingProxyType(mine)
        self._show_track()

    def run(self, scope: str = "query") -> None:
        """Localize: the "query" anew, its "condition", "all" queries, or the query by all "methods"."""
        state = self._state
        if state.scene is None or state.query is None:
            return
        if scope == "methods":
            self._run_methods()
        elif is_sequence(state.method):
            self._follow(scope)
        elif scope == "query":
            self._work.forget(state.scene, state.query, self.way)
            state.localization = None
            self._examine()
        else:
            self._run_queries(self.waiting(scope), [self.way])

    def waiting(self, scope: str = "all") -> tuple[ImageData, ...]:
        """Queries that can be localized and have no result yet: of the query's "condition", or "all"."""
        state = self._state
        queries = self._browsable() if state.scene is not None and state.scene.queries else ()
        if scope == "condition":
            queries = tuple(query for query in queries if query.condition == state.query.condition)
        return tuple(q for q in queries if can_localize(state.scene, q) and q.name not in state.outcomes)

    def take(self, answer: Answered) -> None:
        """Keep an answer: its line in the tables, its mark in the tree, and, for the query shown, its place beside others."""
        state, key = self._state, answer.way.key
        name = answer.localization.query.name
        self._answers[name, *key] = answer
        self._rows[answer.row.identity] = answer.row
        state.rows = tuple(self._rows.values())
        if key == self.way.key:
            state.outcomes = MappingProxyType({**state.outcomes, name: answer.outcome})
        if state.query is not None and name == state.query.name and key == Way(key[0], state.labels_from).key:
            state.results = MappingProxyType({**state.results, key[0]: answer})

    def relabelled(self) -> None:
        """The map has labels now: what methods made without them is found anew."""
        state = self._state
        self._work.forget_labelled()
        self._answers = {key: found for key, found in self._answers.items() if not key[2]}
        self._rows = {key: row for key, row in self._rows.items() if not row.labels}
        state.rows = tuple(self._rows.values())
        state.results = MappingProxyType({name: found for name, found in state.results.items() if not found.way.key[1]})
        if needs_labels(state.method):
            state.localization = None
        self.renew()
        self._examine()

    def show_step(self, index: int) -> str | None:
        """The query of a moment of the track, to select; None where there is none."""
        track = self._state.track
        return track.steps[index].localization.query.name if track is not None and 0 <= index < len(track.steps) else None

    def open_evaluation(self, folder: Path) -> None:
        """Show the results of an evaluation in place of this session's."""

        def read() -> Steps:
            yield Note(f"reading {folder}")
            return Evaluation(str(folder), tuple(self._read(folder)))

        self._tasks.start(
            "evaluation",
            read,
            on_part=self._take_part,
            on_result=lambda found: setattr(self._state, "evaluation", found),
            on_failure=lambda failure: self.failed.emit("opening the evaluation", failure),
        )

    def close_evaluation(self) -> None:
        """Show this session's results again."""
        self._state.evaluation = None

    def _run_methods(self) -> None:
        methods = [name for name in STYLES if not is_sequence(name) and (self._state.labels_from or name == "p3p")]
        ways = [Way(name, self._state.labels_from) for name in methods if name not in self._state.results]
        self._run_queries((self._state.query,), ways)

    def _run_queries(self, queries: Sequence[ImageData], ways: Sequence[Way]) -> None:
        scene = self._state.scene
        if queries and ways:
            count = len(queries) * len(ways)
            done = f"localized {count:,} {'time' if count == 1 else 'times'}"
            self._start(lambda: self._work.localize_all(scene, queries, ways), done)

    def _follow(self, scope: str) -> None:
        """Follow the query's condition, or one condition after the other."""
        state, way = self._state, self.way
        chosen = [query for query in self._browsable() if can_localize(state.scene, query)]
        wanted = {state.query.condition} if scope != "all" else {query.condition for query in chosen}
        groups = [[query for query in chosen if query.condition == each] for each in dict.fromkeys(q.condition for q in chosen)]
        groups = [group for group in groups if group[0].condition in wanted]
        scene = state.scene

        def follow_all() -> Steps:
            for group in groups:
                yield from self._work.follow(scene, group, way)

        if groups:
            self._start(follow_all, f"followed {', '.join(group[0].condition for group in groups)}")

    def _start(self, work: Callable[[], Steps], done: str) -> None:
        self._tasks.start(
            CHANNEL,
            work,
            on_part=self._take_part,
            on_result=lambda _: self._end(done),
            on_failure=self._fail,
        )

    def _end(self, done: str) -> None:
        self.noted.emit(done)
        state = self._state
        answer = state.results.get(state.method)
        if state.localization is None or (answer is not None and answer.localization is not state.localization):
            self._examine()  # there was none, or a drive's end knows better

    def _fail(self, failure: Failure) -> None:
        self.failed.emit("localizing", failure)

    def _take_part(self, part: Any) -> None:
        if isinstance(part, Note):
            self.noted.emit(part.sentence)
        elif isinstance(part, Found) and part.field == "answer":
            self.take(part.value)
        elif isinstance(part, Found) and part.field == "track":
            query = self._state.query
            if query is not None and part.value.condition == query.condition and part.value.way.key == self.way.key:
                self._state.track = part.value
        elif isinstance(part, Found) and part.field == "circle":
            self._state.circle = part.value

    def _show_track(self) -> None:
        """Show the query's condition as it was followed, where that is the method."""
        state = self._state
        if state.scene is None or state.query is None:
            return
        found = self._work.track(state.scene, state.query.condition, self.way) if is_sequence(state.method) else None
        state.track = found

    def _score_circle(self) -> None:
        """Score the circle of the selected match, where the method looks around matches."""
        state = self._state
        self._tasks.cancel("circle")
        answer = state.results.get(state.method)
        if state.selected_match is None or answer is None or not state.method.startswith("gsmc"):
            return
        drawn = state.selected_match < len(answer.localization.matches)  # guided matches have no circle: no pose came of them
        if drawn and answer.localization is state.localization and answer.way.network is not None:
            scene, match = state.scene, state.selected_match
            self._tasks.start(
                "circle", lambda: self._work.circle(scene, answer, match), on_part=self._take_part, on_failure=self._fail
            )

    def _on_scene(self, _scene: Any) -> None:
        self._rows, self._answers = {}, {}
