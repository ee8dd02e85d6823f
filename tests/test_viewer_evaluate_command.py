"""`evaluate` at the prompt: results, going on, comparison for CI, and what it says of bad input."""

import json

import pytest
from evaluation_toys import FOUND, texture, write_toy_scene

from core.images import write_image
from core.records import Progress
from fgsn_viewer.cli import main
from fgsn_viewer.commands_evaluation import BROKEN, NetworkLabels, changes_only, labelling_of
from resources import MODELS


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_toy_scene(tmp_path_factory.mktemp("toy") / "street")


@pytest.fixture(scope="module")
def evaluated(scene, tmp_path_factory):
    """The folder of a finished evaluation."""
    out = tmp_path_factory.mktemp("evaluated")
    assert main(["evaluate", str(scene), "--out", str(out), "--quiet"]) == 0
    return out


def test_an_evaluation_leaves_tables_poses_and_a_report(evaluated):
    result = json.loads((evaluated / "result.json").read_text(encoding="utf-8"))
    assert [(row["condition"], row["num_queries"]) for row in result["rows"]] == [("overcast", 1), ("sun", 2), ("snow", 2)]
    assert [row["recall"] for row in result["rows"]] == [[100] * 3, [100] * 3, [50] * 3]
    assert (evaluated / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len((evaluated / "poses" / "Toy-street_p3p.txt").read_text().splitlines()) == len(FOUND)
    assert {"table.csv", "queries.csv"} <= {path.name for path in evaluated.iterdir()}


def test_the_table_is_printed_and_a_second_run_says_that_it_reused_the_first(scene, evaluated, capsys):
    assert main(["evaluate", str(scene), "--out", str(evaluated)]) == 0
    told = capsys.readouterr()
    assert "urban     changed     p3p                                4        75.0 %        75.0 %" in told.out
    assert "(5 results of before)" in told.out
    assert main(["evaluate", str(scene), "--out", str(evaluated), "--json", "--quiet"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["condition"] for line in lines} == {"overcast", "sun", "snow", "changed", "all"}


def test_nothing_broken_is_exit_code_0_and_something_broken_3(evaluated, tmp_path, capsys):
    before = evaluated / "result.json"
    scene = write_toy_scene(tmp_path / "street")
    assert main(["evaluate", str(scene), "--out", str(tmp_path / "same"), "--compare", str(before), "--quiet"]) == 0
    assert "5 results compared" in capsys.readouterr().out
    write_image(scene / "images" / "sun/0.png", texture(9))
    write_image(scene / "images" / "snow/1.png", texture(0))
    code = main(["evaluate", str(scene), "--out", str(tmp_path / "other"), "--compare", str(before), "--quiet"])
    assert code == BROKEN == 3
    told = capsys.readouterr().out
    assert "broken: Toy street, sun/0.png, p3p:" in told
    assert "-> no pose" in told
    assert "fixed: Toy street, snow/1.png, p3p: no pose ->" in told
    assert "1 broken, 1 fixed" in told


def test_methods_with_labels_take_the_networks_named(scene, tmp_path, capsys):
    if not (MODELS / "world-19.safetensors").is_file():
        pytest.skip("the shipped networks are not here")
    arguments = ["evaluate", str(scene), "--methods", "p3p", "ssmc", "--weights", "world-19", "--conditions", "sun"]
    assert main([*arguments, "--out", str(tmp_path), "--quiet", "--device", "cpu"]) == 0
    assert "ssmc world-19" in capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert [(row["method"], row["labels"]) for row in result["rows"]] == [("p3p", ""), ("ssmc", "world-19")]
    assert result["about"]["num_labels"] == {"world-19": 19}
    settings = result["about"]["settings"]["p3p"]
    assert (settings["method"], "odometry" in settings) == ("p3p", False), "only sequences are told of odometry"
    labelling = labelling_of("world-19", "cpu")
    assert (labelling.name, labelling.num_labels, labelling.make) == ("world-19", 19, NetworkLabels("world-19", "cpu"))


def test_what_sequences_are_told_is_asked_for_and_written_down(scene, tmp_path):
    if not (MODELS / "world-19.safetensors").is_file():
        pytest.skip("the shipped networks are not here")
    arguments = ["evaluate", str(scene), "--methods", "pfsl", "--weights", "world-19", "--conditions", "sun", "--device", "cpu"]
    told = ["--odometry", "none", "--start-error", "4"]
    assert main([*arguments, *told, "--out", str(tmp_path), "--quiet"]) == 0
    settings = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["about"]["settings"]["pfsl/world-19"]
    assert (settings["odometry"], settings["start_error_m"]) == ("none", 4.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "p4p"], "method 'p4p' is not known; expected some of p3p, ssmc"),
        (["--methods", "ssmc"], "the method 'ssmc' needs labels; name networks with --weights"),
        (["--methods", "ssmc", "--weights", "nowhere"], "nowhere: neither a weight file nor the name of a shipped network"),
        (["--conditions", "fog"], "has no query images of the conditions asked for"),
        (["--compare", "nothing.json"], "nothing.json: no such result file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(scene, tmp_path, capsys, arguments, sentence):
    assert main(["evaluate", str(scene), "--out", str(tmp_path), *arguments]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("fgsn-viewer evaluate: ")
    assert sentence in told


def test_scenes_that_cannot_be_evaluated_are_named(tmp_path, capsys):
    write_image(tmp_path / "photos" / "a.png", texture())
    assert main(["evaluate", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "has no map to localize in" in capsys.readouterr().err


def test_a_log_gets_a_line_only_where_the_work_went_on():
    shown = []
    watch = changes_only(shown.append)
    for fraction in (0.1, 0.1, 0.1, 0.2, 0.2):
        watch(Progress("working", fraction))
    assert [step.fraction for step in shown] == [0.1, 0.2]
