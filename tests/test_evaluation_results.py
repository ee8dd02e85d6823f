"""What an evaluation leaves on disk, and what two of them tell of each other."""

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from core.errors import InputError
from core.evaluation.compare import compare
from core.evaluation.evaluation_report import evaluation_report
from core.evaluation.journal import append_journal, read_journal
from core.evaluation.paper import paper_recall
from core.evaluation.results import RESULT_KEYS, read_queries_of_result, write_results
from core.evaluation.rows import QueryRow, row_from_json, row_to_json
from core.evaluation.summary import CHANGED, rows_by_kind, rows_by_scene, table_text
from core.geometry import Rigid3d
from core.scene.list_files import read_poses
from core.scene.submission import write_submission


def row(query="snow/0.jpg", error=(0.1, 1.0), method="p3p", labels="", **changes):
    found = error is not None
    made = QueryRow(
        scene="Street 1",
        kind="urban",
        query=query,
        condition=query.split("/")[0],
        changed=not query.startswith("overcast"),
        method=method,
        labels=labels,
        has_truth=True,
        qvec=(1.0, 0.0, 0.0, 0.0) if found else None,
        tvec=(1.0, 2.0, 3.5) if found else None,
        position_error_m=error[0] if found else None,
        rotation_error_deg=error[1] if found else None,
        num_matches=200,
        num_kept=80,
        num_inliers=40 if found else 0,
        inlier_ratio_before=0.2,
        inlier_ratio_after=0.5,
        seconds={"features": 0.5, "pose": 0.25},
        failure=None if found else "no consensus: 3 of 200 matches agree",
    )
    return replace(made, **changes)


ROWS = [
    row("overcast/0.jpg"),
    row("snow/0.jpg", (0.3, 1.0)),
    row("snow/1.jpg", None),
    row("night/0.jpg", None),
    row("overcast/0.jpg", method="ssmc", labels="world-100"),
    row("snow/0.jpg", (0.2, 1.0), method="ssmc", labels="world-100"),
    row("snow/1.jpg", (0.2, 3.0), method="ssmc", labels="world-100"),
    row("night/0.jpg", (7.0, 1.0), method="ssmc", labels="world-100"),
]


def test_the_result_has_exactly_the_agreed_rows(tmp_path):
    write_results(tmp_path, ROWS, {"seed": 3})
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert all(set(entry) == set(RESULT_KEYS) for entry in result["rows"])
    assert len(result["rows"]) == len(result["details"]) == 6
    snow = next(entry for entry in result["rows"] if (entry["method"], entry["condition"]) == ("p3p", "snow"))
    assert snow == {
        "scene": "Street 1",
        "kind": "urban",
        "method": "p3p",
        "labels": "",
        "condition": "snow",
        "num_queries": 2,
        "recall": [0.0, 50.0, 50.0],
        "median_position_error_m": None,
        "median_rotation_error_deg": None,
        "seconds_per_query": 0.75,
    }
    assert result["about"] == {"seed": 3}
    assert read_queries_of_result(tmp_path / "result.json") == ROWS


def test_conditions_of_a_kind_are_pooled_and_the_changed_ones_together():
    pooled = {(r.line, r.condition): r for r in rows_by_kind(ROWS)}
    changed = pooled["ssmc world-100", CHANGED]
    assert (changed.num_queries, changed.num_failed) == (3, 0)
    assert changed.recall == pytest.approx((100 / 3, 200 / 3, 200 / 3))
    assert changed.intervals[1][0] < 200 / 3 < changed.intervals[1][1]
    assert (changed.inlier_ratio_before, changed.inlier_ratio_after) == pytest.approx((0.2, 0.5))
    assert changed.seconds == {"features": 0.5, "pose": 0.25}
    assert pooled["p3p", "all"].num_queries == 4
    assert "urban     changed     ssmc world-100" in table_text([changed])


def test_queries_without_truth_count_nowhere():
    unknown = row("sun/0.jpg", None, has_truth=False)
    assert rows_by_scene([unknown]) == []
    assert [r.num_queries for r in rows_by_scene([*ROWS, unknown])] == [r.num_queries for r in rows_by_scene(ROWS)]


def test_tables_open_as_csv(tmp_path):
    write_results(tmp_path, ROWS, {})
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    all_ssmc = next(entry for entry in table if (entry["condition"], entry["method"]) == ("all", "ssmc"))
    assert float(all_ssmc["recall_medium"]) == 75
    assert float(all_ssmc["recall_medium_low"]) < 75 < float(all_ssmc["recall_medium_high"])
    with (tmp_path / "queries.csv").open(encoding="utf-8", newline="") as file:
        queries = list(csv.DictReader(file))
    assert len(queries) == len(ROWS)
    assert (queries[0]["tvec_2"], queries[2]["failure"]) == ("3.5", "no consensus: 3 of 200 matches agree")


def test_poses_are_written_as_the_benchmark_takes_them(tmp_path):
    write_results(tmp_path, ROWS, {})
    file = tmp_path / "poses" / "Street-1_p3p.txt"
    assert file.read_text(encoding="utf-8").splitlines() == ["overcast/0.jpg 1 0 0 0 1 2 3.5", "snow/0.jpg 1 0 0 0 1 2 3.5"]
    poses = read_poses(file)
    np.testing.assert_allclose(poses["snow/0.jpg"].tvec, [1, 2, 3.5])
    assert not any(line.startswith("#") for line in file.read_text().splitlines())


def test_names_are_shortened_as_each_benchmark_wants_them(tmp_path):
    pose = Rigid3d([1, 0, 0, 0], [0, 0, 1])
    write_submission(tmp_path / "a.txt", {"night/rear/1417.jpg": pose}, "camera")
    assert (tmp_path / "a.txt").read_text().startswith("rear/1417.jpg 1 0 0 0")
    write_submission(tmp_path / "b.txt", {"slice2/query/img_1.jpg": pose}, "basename")
    assert (tmp_path / "b.txt").read_text().startswith("img_1.jpg 1 0 0 0")
    with pytest.raises(InputError, match=r"two images would be called '1\.jpg'"):
        write_submission(tmp_path / "c.txt", {"sun/1.jpg": pose, "snow/1.jpg": pose}, "basename")


def test_broken_and_fixed_queries_are_told_apart():
    before = [row("snow/0.jpg"), row("snow/1.jpg", None), row("sun/0.jpg"), row("sun/1.jpg", (9.0, 1.0)), row("sun/2.jpg")]
    after = [row("snow/0.jpg", (0.6, 1)), row("snow/1.jpg"), row("sun/0.jpg", (0.4, 4)), row("sun/1.jpg", None)]
    found = compare(before, after)
    assert found.num_compared == 4
    assert [change.after.query for change in found.broken] == ["snow/0.jpg"]
    assert [change.after.query for change in found.fixed] == ["snow/1.jpg"]
    assert [gone.query for gone in found.missing] == ["sun/2.jpg"]
    assert found.broken[0].text == "Street 1, snow/0.jpg, p3p: 0.10 m, 1.00 deg -> 0.60 m, 1.00 deg"
    assert found.fixed[0].text.endswith("no pose -> 0.10 m, 1.00 deg")


@pytest.mark.parametrize("content", ["", "{}", '{"queries": [{"scene": 1}]}', '{"queries": 3}', "[]"])
def test_a_file_that_is_no_result_is_named(tmp_path, content):
    file = tmp_path / "result.json"
    with pytest.raises(InputError, match=f"^{file}: no such result file"):
        read_queries_of_result(file)
    file.write_text(content)
    with pytest.raises(InputError, match=f"^{file}: not the result.json of an evaluation"):
        read_queries_of_result(file)


def test_a_journal_outlives_torn_lines_and_keeps_the_last_of_each(tmp_path):
    path = tmp_path / "finished.jsonl"
    assert read_journal(path) == {}
    append_journal(path, [{"key": "a", "value": 1}, {"key": "b", "value": 2}])
    with path.open("ab") as file:
        file.write(b'{"key": "c", "val\xff')
    append_journal(path, [{"key": "a", "value": 3}])
    append_journal(path, [{"key": "d", "value": 4}])
    assert {key: entry["value"] for key, entry in read_journal(path).items()} == {"a": 3, "b": 2, "d": 4}


def test_rows_survive_the_journal():
    for one in ROWS:
        assert row_from_json(json.loads(json.dumps(row_to_json(one)))) == one
    told = replace(ROWS[0], evidence=71.5, label_fit=1.25, guided_evidence=33.0, guided_matches=14)
    assert row_from_json(json.loads(json.dumps(row_to_json(told)))) == told


def test_a_result_of_before_evidence_was_told_is_still_compared_with():
    entry = row_to_json(ROWS[0])
    since = ("evidence", "label_fit", "guided_evidence", "guided_matches")
    older = {key: value for key, value in entry.items() if key not in since}
    assert row_from_json(older) == ROWS[0]
    with pytest.raises(TypeError):
        row_from_json({key: value for key, value in entry.items() if key != "num_matches"})


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data + " "


def test_the_report_needs_no_other_file_and_shows_the_papers_numbers():
    page = evaluation_report("Methods <compared>", "Lead & notes", ROWS, {"world-100": 100}, ["A note."])
    reader = _Links()
    reader.feed(page)
    assert reader.links == []
    assert "@import" not in page
    assert "prefers-color-scheme:dark" in page
    assert "[65.3 / 70.1 / 77.6]" in page, "plain P3P of the paper beside ours"
    assert "[85.3 / 91.0 / 94.6]" in page, "SSMC with 100 labels of the paper"
    assert "Methods &lt;compared&gt;" in page
    assert "A note." in reader.text
    assert page.count("<polyline") == 4, "two lines in each of two charts"
    assert "+33.3" in page, "the gain over plain P3P on the changed conditions"
    assert "no consensus" in reader.text


def test_a_report_of_nothing_known_still_tells_why():
    page = evaluation_report("Night", "One query", [row("night/0.jpg", None, has_truth=False)], {})
    assert "no consensus" in page
    assert "<polyline" not in page


def test_the_papers_numbers_are_found_by_method_labels_and_kind():
    assert paper_recall("ssmc", 100, "park") == (51.4, 57.6, 65.5)
    assert paper_recall("p3p", 0, "suburban") == (44.5, 49.7, 61.5)
    assert paper_recall("ssmc-soft", 100, "urban") is None
    assert paper_recall("ssmc", 100, "indoors") is None
