"""Run generators of core off the GUI thread: progress, cancel, numbered requests.

A task belongs to a channel; starting another in the same channel cancels the one before, whose answers are dropped
from then on. All signals and callbacks arrive in the GUI thread.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from core.errors import InputError
from core.records import Progress

PROGRESS_INTERVAL_MS = 50  # 20 Hz
USER_ERRORS = (InputError, OSError)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task's error: a sentence for the user, and details to copy (empty where the sentence says all)."""

    sentence: str
    details: str = ""


@dataclass(eq=False, slots=True)
class Task:
    """One numbered request. ``on_part`` gets what the generator yields besides progress."""

    channel: str
    number: int
    work: Callable[[], Generator]
    on_result: Callable[[Any], None] | None = None
    on_part: Callable[[Any], None] | None = None
    on_failure: Callable[[Failure], None] | None = None
    quiet: bool = False
    progress: Progress | None = None  # the newest that was not yet shown; written by the worker
    cancelled: threading.Event = field(default_factory=threading.Event)


class TaskRunner(QObject):
    """Run tasks on a few threads and report in the GUI thread."""

    progressed = Signal(str, object)  # channel, Progress
    failed = Signal(str, object)  # channel, Failure
    finished = Signal(str)  # channel: it has no task any more
    idle = Signal()
    _reported = Signal(object, str, object)  # task, kind, payload; emitted in the workers

    def __init__(self, parent: QObject | None = None, num_threads: int = 4):
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="fgsn-task")
        self._newest: dict[str, Task] = {}
        self._running: set[Task] = set()
        self._count = 0
        self._reported.connect(self._receive, Qt.ConnectionType.QueuedConnection)
        self._clock = QTimer(self, interval=PROGRESS_INTERVAL_MS)
        self._clock.timeout.connect(self._show_progress)

    @property
    def is_idle(self) -> bool:
        return not self._running

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that have a task now."""
        return tuple(self._newest)

    def is_busy(self, channel: str) -> bool:
        return channel in self._newest

    def start(self, channel: str, work: Callable[[], Generator], **callbacks: Any) -> Task:
        """Start ``work()``, a generator, in place of the channel's task; see Task for the callbacks."""
        self.cancel(channel)
        self._count += 1
        task = Task(channel, self._count, work, **callbacks)
        self._newest[channel] = task
        self._running.add(task)
        self._clock.start()
        self._pool.submit(_run, task, self._reported.emit)
        return task

    def cancel(self, channel: str | None = None) -> None:
        """Cancel the task of a channel, or of all; it stops at its next yield and answers nothing more."""
        for name in [channel] if channel else list(self._newest):
            task = self._newest.pop(name, None)
            if task is not None:
                task.cancelled.set()
                self.finished.emit(name)

    def close(self) -> None:
        """Cancel everything and wait for the threads."""
        self.cancel()
        self._reported.disconnect(self._receive)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._running.clear()
        self._clock.stop()

    def _receive(self, task: Task, kind: str, payload: Any) -> None:
        current = self._newest.get(task.channel) is task
        if kind != "part":
            self._end(task, kind, payload, current)
        elif current and task.on_part:
            task.on_part(payload)

    def _show_progress(self) -> None:
        for task in list(self._newest.values()):
            progress, task.progress = task.progress, None
            if progress is not None and not task.quiet:
                self.progressed.emit(task.channel, progress)

    def _end(self, task: Task, kind: str, payload: Any, current: bool) -> None:
        self._running.discard(task)
        if current:
            del self._newest[task.channel]
            if kind == "failure":
                self.failed.emit(task.channel, payload)
            callback = {"result": task.on_result, "failure": task.on_failure}.get(kind)
            if callback:
                callback(payload)
            if task.channel not in self._newest:
                self.finished.emit(task.channel)
        if not self._running:
            self._clock.stop()
            self.idle.emit()


def _run(task: Task, report: Callable[[Task, str, Any], None]) -> None:
    """Drive the generator in a worker thread and report every step of it."""
    try:
        report(task, *_drive(task, report))
    except RuntimeError:
        log.debug("the window closed before the task of %s ended", task.channel)


def _drive(task: Task, report: Callable[[Task, str, Any], None]) -> tuple[str, Any]:
    """Return the last report: ("result", value), ("failure", Failure) or ("stopped", None)."""
    generator = None
    try:
        generator = task.work()
        while not task.cancelled.is_set():
            step = next(generator)
            if isinstance(step, Progress):
                task.progress = step
            else:
                report(task, "part", step)
        return "stopped", None
    except StopIteration as stop:
        return "result", stop.value
    except Exception as error:
        return "failure", describe(error)
    finally:
        if generator is not None:
            generator.close()


def describe(error: BaseException) -> Failure:
    """Turn an error into what a person reads: the sentence of input errors, "internal error" with details for the rest."""
    details = "".join(traceback.format_exception(error))
    if isinstance(error, USER_ERRORS):
        log.info("%s", error)
        return Failure(_first_upper(str(error)))
    if isinstance(error, MemoryError):
        return Failure("Not enough memory; try a smaller image or close other programs", details)
    log.error("internal error\n%s", details)
    return Failure(f"Internal error: {type(error).__name__}: {error}", details)


def _first_upper(text: str) -> str:
    return text if "/" in text.split(":")[0] or "\\" in text.split(":")[0] else text[:1].upper() + text[1:]
