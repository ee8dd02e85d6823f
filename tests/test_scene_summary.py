"""What a scene holds, in numbers: counted by hand on a toy scene, and on a rendered street of which all is known."""

from __future__ import annotations

from dataclasses import replace

from viewer_fakes import toy_scene, without_descriptors

from core.records import QueryPrior
from core.scene.summary import CameraCount, ConditionCount, summarize


def test_conditions_cameras_points_and_queries_are_counted(tmp_path):
    found = summarize(toy_scene(tmp_path))
    assert found.conditions == (
        ConditionCount("overcast", 3, 0),
        ConditionCount("snow", 0, 2),
        ConditionCount("night", 0, 2),
    )
    assert found.cameras == (CameraCount("PINHOLE", 64, 48, 7),)
    assert (found.num_images, found.num_queries, found.num_queries_with_pose, found.num_points) == (7, 4, 4, 30)
    assert (found.vocabulary, found.num_labels, found.notes) == ("toy", 12, ("one note",))
    assert found.missing == ()


def test_what_is_not_there_is_said_with_what_it_prevents(tmp_path):
    scene = without_descriptors(toy_scene(tmp_path))
    (tmp_path / "snow/0001.png").unlink()
    unknown = [replace(query, cam_from_world=None) for query in scene.queries]
    unknown[0] = replace(unknown[0], camera=None)
    scene = replace(scene, queries=tuple(unknown), map=replace(scene.map, labels=None))
    assert summarize(scene).missing == (
        "1 of 7 image files not on disk (the first: snow/0001.png).",
        "The map has no descriptors: nothing can be matched with it until it is built anew.",
        "The map's points have no labels: methods that compare labels need them.",
        "1 of 4 queries without intrinsics: a pose needs its camera.",
        "No query has a known pose: errors cannot be told.",
    )


def test_without_a_map_the_summary_says_what_to_do(tmp_path):
    found = summarize(toy_scene(tmp_path, with_map=False))
    assert found.num_points is None
    assert found.missing == ("No map: queries cannot be localized until one is built from the photographs.",)
    assert "points" not in dict(found.rows())


def test_what_the_notes_say_is_not_said_twice(tmp_path):
    scene = toy_scene(tmp_path, with_map=False)
    notes = "A folder of images without a map.", "The lists name 2 images twice."
    assert summarize(replace(scene, notes=notes)).notes == notes[1:]


def test_priors_are_counted_by_kind(tmp_path):
    scene = toy_scene(tmp_path)
    priors = [QueryPrior(gravity_in_camera=[0, 1, 0]), QueryPrior(gravity_in_camera=[0, 1, 0], height_m=1.5), None, None]
    queries = tuple(replace(query, prior=prior) for query, prior in zip(scene.queries, priors, strict=True))
    found = summarize(replace(scene, queries=queries))
    assert found.priors == (("gravity", 2), ("height", 1))
    assert dict(found.rows())["priors"] == "gravity 2, height 1"


def test_the_rows_read_as_sentences_do(tmp_path):
    rows = dict(summarize(toy_scene(tmp_path)).rows())
    assert rows["images"] == "7: 3 of reference, 4 to be localized"
    assert rows["queries"] == "4, all with a known pose"
    assert rows["cameras"] == "PINHOLE 64 × 48"
    assert rows["points"].startswith("30, ")
    assert rows["labels"] == "12 of toy"


def test_many_cameras_are_listed_by_the_most_used(tmp_path):
    scene = toy_scene(tmp_path)
    sizes = [64, 64, 64, 65, 66, 67, 68]
    images = [
        replace(image, camera=replace(image.camera, width=width)) for image, width in zip(scene.images, sizes, strict=True)
    ]
    found = summarize(replace(scene, reference=tuple(images[:3]), queries=tuple(images[3:])))
    assert found.cameras[0] == CameraCount("PINHOLE", 64, 48, 3)
    assert dict(found.rows())["cameras"].endswith(" and 1 more")


def test_a_rendered_street_is_counted_as_it_was_written(small_world_scene):
    found = summarize(small_world_scene)
    assert (found.layout, found.num_images, found.num_queries) == ("scene file", 8, 2)
    assert found.conditions == (ConditionCount("overcast", 6, 2),)
    assert found.num_points > 50
    assert not any("not on disk" in sentence for sentence in found.missing)
