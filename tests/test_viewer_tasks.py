"""Tasks off the GUI thread: progress, cancel, stale answers, errors."""

from __future__ import annotations

import threading
import time

import pytest

from core.errors import InputError
from core.records import Progress
from fgsn_viewer.tasks import PROGRESS_INTERVAL_MS, TaskRunner, describe


@pytest.fixture
def tasks(qtbot):
    runner = TaskRunner()
    yield runner
    runner.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fgsn-task")]


def until(gate: threading.Event, result: object = None):
    """A task that works until the gate opens."""
    while not gate.wait(0.002):
        yield Progress("working")
    return result


def test_a_task_runs_off_the_gui_thread_and_answers_in_it(qtbot, tasks):
    where = {}

    def work():
        where["work"] = threading.current_thread()
        yield Progress("one", 0.5)
        return 42

    def take(value):
        where["answer"], where["value"] = threading.current_thread(), value

    with qtbot.waitSignal(tasks.finished):
        tasks.start("a", work, on_result=take)
    assert where["value"] == 42
    assert where["answer"] is threading.main_thread()
    assert where["work"] is not threading.main_thread()


def test_what_a_task_yields_besides_progress_arrives_in_order(qtbot, tasks):
    parts = []

    def work():
        for number in range(5):
            yield Progress("step")
            yield number

    with qtbot.waitSignal(tasks.finished):
        tasks.start("a", work, on_part=parts.append)
    assert parts == [0, 1, 2, 3, 4]


def test_a_newer_request_drops_the_answer_of_the_older_one(qtbot, tasks):
    gate, answers = threading.Event(), []
    tasks.start("a", lambda: until(gate, "old"), on_result=answers.append)
    with qtbot.waitSignal(tasks.idle):
        tasks.start("a", lambda: iter_result("new"), on_result=answers.append)
    gate.set()
    qtbot.waitUntil(lambda: tasks.is_idle)
    assert answers == ["new"]


def iter_result(value):
    yield Progress("quick")
    return value


def test_an_answer_that_was_on_its_way_when_its_task_was_replaced_is_dropped(qtbot, tasks):
    answers, ended = [], threading.Event()

    def work():
        try:
            yield Progress("one")
            return "stale"
        finally:
            ended.set()

    tasks.start("a", work, on_result=answers.append)
    assert ended.wait(2)
    time.sleep(0.02)  # the report is posted, and not yet received: this thread has been busy
    tasks.start("a", lambda: iter_result("new"), on_result=answers.append)
    qtbot.waitUntil(lambda: tasks.is_idle)
    assert answers == ["new"]


def test_cancel_closes_the_generator_at_its_next_yield(qtbot, tasks):
    closed, answers = threading.Event(), []

    def work():
        try:
            while True:
                yield Progress("forever")
                time.sleep(0.001)
        except GeneratorExit:
            closed.set()
            raise

    tasks.start("a", work, on_result=answers.append)
    with qtbot.waitSignal(tasks.finished):
        tasks.cancel("a")
    assert closed.wait(2)
    qtbot.waitUntil(lambda: tasks.is_idle)
    assert answers == []
    assert not tasks.is_busy("a")


def test_channels_do_not_disturb_each_other(qtbot, tasks):
    gate, answers = threading.Event(), []
    tasks.start("slow", lambda: until(gate, "slow"), on_result=answers.append)
    with qtbot.waitSignal(tasks.finished):
        tasks.start("quick", lambda: iter_result("quick"), on_result=answers.append)
    assert tasks.is_busy("slow")
    gate.set()
    qtbot.waitUntil(lambda: tasks.is_idle)
    assert answers == ["quick", "slow"]


def test_progress_is_throttled(qtbot, tasks):
    seen = []
    tasks.progressed.connect(lambda _channel, progress: seen.append(progress))

    def work():
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            yield Progress("busy")

    with qtbot.waitSignal(tasks.finished):
        tasks.start("a", work)
    assert 1 <= len(seen) <= 300 / PROGRESS_INTERVAL_MS + 2


def test_the_last_words_before_a_long_silence_are_shown(qtbot, tasks):
    gate, seen = threading.Event(), []
    tasks.progressed.connect(lambda _channel, progress: seen.append(progress.message))

    def work():
        for word in ("reading", "matching", "labelling"):
            yield Progress(word)
        gate.wait(5)

    tasks.start("a", work)
    qtbot.waitUntil(lambda: "labelling" in seen)
    gate.set()
    qtbot.waitUntil(lambda: tasks.is_idle)


def test_a_quiet_task_shows_no_progress(qtbot, tasks):
    seen = []
    tasks.progressed.connect(lambda *args: seen.append(args))
    with qtbot.waitSignal(tasks.finished):
        tasks.start("a", lambda: iter_result(1), quiet=True)
    assert seen == []


def test_bad_input_is_told_in_its_own_sentence(qtbot, tasks):
    def work():
        yield Progress("reading")
        raise InputError("scene/x.jpg: the image is cut off after 12 bytes")

    failures = []
    with qtbot.waitSignal(tasks.finished):
        tasks.start("a", work, on_failure=failures.append)
    assert failures[0].sentence == "scene/x.jpg: the image is cut off after 12 bytes"
    assert failures[0].details == ""


def test_an_error_inside_is_called_internal_and_keeps_its_details_for_copying(qtbot, tasks, caplog):
    def work():
        yield Progress("dividing")
        return 1 / 0

    failures = []
    with qtbot.waitSignal(tasks.failed):
        tasks.start("a", work, on_failure=failures.append)
    assert failures[0].sentence == "Internal error: ZeroDivisionError: division by zero"
    assert "Traceback" in failures[0].details
    assert "Traceback" not in failures[0].sentence


def test_an_error_before_the_first_step_is_told_too(qtbot, tasks):
    failures = []
    with qtbot.waitSignal(tasks.failed):
        tasks.start("a", lambda: open_missing(), on_failure=failures.append)
    assert "no such file" in failures[0].sentence


def open_missing():
    raise FileNotFoundError("a/b.png: no such file")


def test_a_task_may_start_the_next_one_in_its_own_channel(qtbot, tasks):
    answers = []

    def again(value):
        answers.append(value)
        if len(answers) < 3:
            tasks.start("a", lambda: iter_result(value + 1), on_result=again)

    tasks.start("a", lambda: iter_result(0), on_result=again)
    qtbot.waitUntil(lambda: tasks.is_idle and not tasks.is_busy("a"))
    assert answers == [0, 1, 2]


def test_close_stops_a_task_that_still_runs(qtbot):
    runner = TaskRunner()
    runner.start("a", lambda: until(threading.Event()))
    started = time.monotonic()
    runner.close()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("text", "shown"), [("the map is empty", "The map is empty"), ("a/b.png: no image", "a/b.png: no image")]
)
def test_a_sentence_starts_with_a_capital_unless_a_path_leads_it(text, shown):
    assert describe(InputError(text)).sentence == shown


def test_running_out_of_memory_is_said_in_words():
    assert "memory" in describe(MemoryError()).sentence
