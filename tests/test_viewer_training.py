"""Training from the window: the form made from a config, the dialog both ways, the controller with a toy engine."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from viewer_fakes import Calls, ToyTraining, toy_pipelines, toy_scene

from core.errors import SceneError
from fgsn_viewer.controllers.training import TrainingController
from fgsn_viewer.labelling import network_title
from fgsn_viewer.settings_spec import setting_specs, with_values
from fgsn_viewer.tasks import TaskRunner
from fgsn_viewer.training_run import TrainingRequest, TrainingRun, TrainingState, latest_run, new_run
from fgsn_viewer.training_work import Presets
from fgsn_viewer.views.loss_plot import LossPlot, smoothed
from fgsn_viewer.views.settings_form import SettingsForm
from fgsn_viewer.views.training_dialog import TrainingDialog, duration

CHOICES = {"mode": ("slow", "quick")}
PRESETS = Presets({"Toy": ToyTraining(), "Long": ToyTraining(num_clusters=99)}, CHOICES)


def test_every_setting_of_a_config_becomes_a_field_with_its_unit_range_and_kind():
    specs = {spec.path: spec for spec in setting_specs(ToyTraining(), CHOICES)}
    assert list(specs) == [
        "optimization.iterations", "optimization.rate", "optimization.mode", "num_clusters", "pooled", "share",
    ]  # fmt: skip
    assert {path: spec.kind for path, spec in specs.items()} == {
        "optimization.iterations": "int",
        "optimization.rate": "float",
        "optimization.mode": "choice",
        "num_clusters": "int",
        "pooled": "bool",
        "share": "float",
    }
    assert specs["optimization.rate"].unit == "1/step"
    assert specs["share"].optional
    assert specs["num_clusters"].title == "Clusters"


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("optimization.iterations", "0", "Iterations is 0, expected a whole number from 1 to 1000"),
        ("optimization.iterations", "2.5", "Iterations is '2.5', expected a whole number from 1 to 1000"),
        ("optimization.rate", "fast", "Rate is 'fast', expected a number from 0"),
        ("optimization.rate", "nan", "Rate is nan, expected a number from 0"),
        ("num_clusters", "", "Clusters is '', expected a whole number from 1"),
        ("share", "1.2", "Share is 1.2, expected a number from 0 to 1 or nothing"),
    ],
)
def test_a_value_that_does_not_fit_is_said_in_a_sentence(path, text, said):
    spec = next(spec for spec in setting_specs(ToyTraining(), CHOICES) if spec.path == path)
    with pytest.raises(ValueError, match=f"^{said}$"):
        spec.parse(text)


def test_values_go_back_into_the_config_at_any_depth():
    changed = with_values(ToyTraining(), {"optimization.rate": 0.25, "num_clusters": 7, "share": None})
    assert (changed.optimization.rate, changed.optimization.iterations) == (0.25, 6)
    assert (changed.num_clusters, changed.share) == (7, None)


@pytest.fixture
def form(qtbot):
    form = SettingsForm()
    qtbot.addWidget(form)
    form.set_specs(setting_specs(ToyTraining(), CHOICES), ("num_clusters", "optimization.rate"))
    form.show()
    return form


def test_the_form_shows_what_matters_and_folds_the_rest(form):
    assert form.editor("num_clusters").isVisible()
    assert not form.editor("optimization.mode").isVisible()
    form.fold.click()
    assert form.editor("optimization.mode").isVisible()


def test_the_form_gives_back_the_values_that_it_was_made_with(form):
    specs = setting_specs(ToyTraining(), CHOICES)
    assert form.values() == {spec.path: spec.value for spec in specs}


def test_what_is_typed_is_told_and_what_is_set_is_not(form, qtbot):
    told = []
    form.changed.connect(lambda: told.append(True))
    form.set_values({"num_clusters": 5, "pooled": True, "share": None, "optimization.mode": "quick"})
    assert told == []
    assert form.values() | {"num_clusters": 5, "pooled": True, "share": None, "optimization.mode": "quick"} == form.values()
    qtbot.keyClicks(form.editor("num_clusters"), "0")
    assert told
    assert form.values()["num_clusters"] == 50


@pytest.fixture
def dialog(qtbot):
    dialog = TrainingDialog()
    qtbot.addWidget(dialog)
    dialog.set_networks([("toy", "toy"), ("street, run 1", "/runs/x/run/weights.safetensors")], "toy")
    dialog.set_presets(PRESETS)
    dialog.show()
    return dialog


READY = TrainingState(scene="Toy street", phase="ready", facts="2 image pairs with 10 correspondences")


def test_start_tells_the_network_and_only_what_differs_from_the_preset(dialog, qtbot):
    dialog.show_state(READY)
    dialog.form.set_values({"num_clusters": 20})
    with qtbot.waitSignal(dialog.start_requested) as told:
        dialog.start.click()
    assert told.args == ["toy", "Toy", {"num_clusters": 20}]


def test_a_preset_fills_the_form(dialog):
    dialog.show_state(READY)
    dialog.preset.setCurrentText("Long")
    assert dialog.form.values()["num_clusters"] == 99


@pytest.mark.parametrize("text", ["x", "13"])
def test_values_that_do_not_fit_are_said_in_the_dialog_and_nothing_starts(dialog, text):
    dialog.show_state(READY)
    told = []
    dialog.start_requested.connect(lambda *args: told.append(args))
    dialog.form.editor("num_clusters").setText(text)
    dialog.start.click()
    assert told == []
    assert text in dialog.problem
    dialog.form.editor("num_clusters").setText("12")
    assert dialog.problem == ""


def test_without_correspondences_the_dialog_says_why_and_offers_no_start(dialog):
    dialog.show_state(TrainingState(scene="Toy street", phase="failed", problem="/scene: no place in two conditions"))
    assert dialog.problem == "/scene: no place in two conditions"
    assert not dialog.start.isEnabled()
    assert not dialog.form.editor("num_clusters").isEnabled()


def test_while_it_runs_the_dialog_says_how_far_and_offers_to_stop(dialog, qtbot):
    state = TrainingState(
        scene="Toy street",
        phase="running",
        facts="facts",
        message="step 3 of 6",
        fraction=0.5,
        seconds_left=130,
        images_per_second=2.25,
        curves={"L_class": ([0, 1, 2], [3.0, 2.0, 1.0])},
    )
    dialog.show_state(state)
    assert dialog._message.text() == "Step 3 of 6 · 2.2 images/s · 2 min left"
    assert dialog._bar.value() == 500
    assert dialog.plot.names == ("L_class",)
    assert not dialog.start.isVisible()
    with qtbot.waitSignal(dialog.cancel_requested):
        dialog.stop.click()


def test_a_run_that_waits_can_be_resumed_and_one_that_is_done_can_be_used(dialog, qtbot, tmp_path):
    request = TrainingRequest("toy", "Toy")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.txt").write_text("3")
    dialog.show_state(TrainingState(phase="ready", facts="facts", run=TrainingRun(tmp_path, request)))
    assert dialog.resume.isVisible()
    assert dialog.start.text() == "Start anew"
    assert not dialog.use.isVisible()
    with qtbot.waitSignal(dialog.resume_requested):
        dialog.resume.click()
    dialog.show_state(TrainingState(phase="done", facts="facts", run=TrainingRun(tmp_path, request, tmp_path / "w")))
    assert not dialog.resume.isVisible()
    with qtbot.waitSignal(dialog.use_requested):
        dialog.use.click()


def test_the_loss_plot_draws_what_it_is_given_and_forgets_the_rest(qtbot):
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.set_curves({"L_class": ([0, 1], [2.0, 1.0]), "validation": ([1], [1.5])})
    plot.set_curves({"L_class": ([0, 1, 2], [2.0, 1.0, 0.5])})
    assert plot.names == ("L_class",)
    plot.set_curves({})
    assert plot.names == ()


def test_a_smoothed_curve_is_the_mean_of_the_last_values():
    assert smoothed(np.array([4.0, 2.0, 0.0, 6.0]), window=2).tolist() == [4.0, 3.0, 1.0, 3.0]
    assert len(smoothed(np.zeros(0))) == 0


@pytest.mark.parametrize(("seconds", "words"), [(42, "42 s"), (700, "12 min"), (11_100, "3 h 05 min")])
def test_durations_are_said_as_a_clock_says_them(seconds, words):
    assert duration(seconds) == words


class Bench:
    """A training controller without a window."""

    def __init__(self, root, qtbot):
        self.calls, self.scene, self.qtbot, self.root = Calls(), toy_scene(root / "scene"), qtbot, root
        self.calls.training_gate.set()
        self.tasks = TaskRunner()
        self.control = TrainingController(toy_pipelines(lambda path: self.scene, self.calls), self.tasks, root / "runs")
        self.shown, self.networks = [], []
        self.control.changed.connect(self.shown.append)
        self.control.network_made.connect(self.networks.append)

    def wait(self):
        self.qtbot.waitUntil(lambda: self.tasks.is_idle, timeout=30_000)

    def prepare(self):
        self.control.prepare(self.scene)
        self.wait()
        return self

    def start_and_stop(self):
        self.calls.training_gate.clear()
        self.control.start("toy", "Toy", {"num_clusters": 20})
        self.qtbot.waitUntil(lambda: len(self.control.state.curves.get("L_class", ((),))[0]) == 3)
        self.control.cancel()
        self.wait()
        return self


@pytest.fixture
def bench(qtbot, tmp_path):
    bench = Bench(tmp_path, qtbot)
    yield bench
    bench.tasks.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fgsn-task")]


def test_preparing_says_what_the_scene_offers_to_learn_from(bench):
    state = bench.prepare().control.state
    assert state.phase == "ready"
    assert state.facts == "2 image pairs with 10 correspondences in overcast, snow"
    assert state.can_start
    assert not state.can_resume


def test_a_scene_without_correspondences_says_so_and_nothing_can_start(bench):
    bench.calls.data_error = SceneError("/scene: no correspondences here")
    state = bench.prepare().control.state
    assert (state.phase, state.problem) == ("failed", "/scene: no correspondences here")
    bench.control.start("toy", "Toy", {})
    assert bench.tasks.is_idle
    assert bench.calls.trained == []


def test_a_run_ends_with_a_network_that_can_be_used(bench):
    bench.prepare().control.start("toy", "Toy", {"num_clusters": 20})
    bench.wait()
    state = bench.control.state
    assert state.phase == "done"
    assert bench.calls.trained[0][1].num_clusters == 20
    steps, losses = state.curves["L_class"]
    assert steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert losses[0] == 2.0
    assert state.curves["L_corr"][1].tolist() == [1.5] * 6
    bench.control.use_result()
    assert bench.networks == [state.result]
    assert network_title(state.result) == "scene, run 1"


def test_stopping_keeps_the_run_and_resuming_goes_on_where_it_stopped(bench):
    bench.prepare().start_and_stop()
    state = bench.control.state
    assert state.phase == "stopped"
    assert state.can_resume
    bench.calls.training_gate.set()
    bench.control.resume()
    bench.wait()
    assert [first for _, _, first in bench.calls.trained] == [0, 3]
    assert bench.calls.trained[1][1].num_clusters == 20
    assert bench.control.state.phase == "done"


def test_a_run_that_was_stopped_waits_for_the_next_window(bench, qtbot):
    bench.prepare().start_and_stop()
    bench.calls.training_gate.set()
    later = TrainingController(toy_pipelines(lambda path: bench.scene, bench.calls), bench.tasks, bench.root / "runs")
    later.prepare(bench.scene)
    bench.wait()
    assert later.state.can_resume
    assert later.state.curves["L_class"][0].tolist() == [0, 1, 2]
    later.resume()
    bench.wait()
    assert later.state.phase == "done"
    assert later.state.curves["L_class"][0].tolist() == [0, 1, 2, 3, 4, 5]  # the first three from its log


def test_settings_that_the_engine_refuses_are_said_and_leave_no_run(bench):
    bench.prepare().control.start("toy", "Toy", {"num_clusters": 13})
    assert "13 clusters are not allowed" in bench.control.state.problem
    assert not (bench.root / "runs").exists()


def test_runs_are_numbered_and_a_damaged_request_is_passed_over(tmp_path):
    first = new_run(tmp_path, TrainingRequest("toy", "Toy", {"share": None}, 3))
    second = new_run(tmp_path, TrainingRequest("other", "Toy"))
    assert [first.folder.name, second.folder.name] == ["0001", "0002"]
    assert latest_run(tmp_path).request.network == "other"
    (second.folder / "request.json").write_text("{not json")
    found = latest_run(tmp_path)
    assert (found.request.network, found.request.values, found.request.seed) == ("toy", {"share": None}, 3)
    assert latest_run(tmp_path / "nothing") is None
