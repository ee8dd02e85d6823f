"""The seasons benchmark: worlds of their own, tuning that is honest, stages that go on, and its text; on a toy scene."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_toys import StripeLabels, write_toy_scene

from benchmarks import seasons, seasons_lines, seasons_real, seasons_scenes
from benchmarks import seasons_tuning as tuning
from benchmarks.seasons_fit import BY_DESCRIPTORS, Fitted, best_tempering, tempering_name
from benchmarks.seasons_scenes import AIMS, DIFFICULTIES, TEST_SEED, TUNING_SEED, Difficulty, SceneSet
from benchmarks.seasons_table import DRAWN_ALONE, MAJORITY, MATCHES_ALONE, STRICT, UNGUIDED
from core.evaluation.job import Labelling
from core.geometry import Camera
from core.images import write_image
from core.localizer.affinity import AffinityConfig
from core.localizer.affinity_fit import Fit
from core.localizer.matching import MatchConfig
from core.localizer.pipeline import LocalizerConfig
from core.records import Progress
from core.scene.scene import open_scene
from core.steps import finish
from core.world.geometry import KINDS


def _fit(**settings):
    return Fit(AffinityConfig(**settings), 10, 1000, 0.3, 0.5, 0.4)


FITTED = Fitted({BY_DESCRIPTORS: _fit(bias=-2.0), "a": _fit(bias=-3.0, trust=0.7)}, 0.1, {0.1: (1.0, 2.0, 3.0)})


def scene_set(first_seed, count=12):
    return SceneSet(first_seed=first_seed, count=count, num_queries=8, difficulties=DIFFICULTIES)


def test_no_world_is_of_two_purposes():
    """Training takes seeds from 1000 on, validation from 900000 on."""
    used = [scene_set(first).seeds(kind) for first in (TUNING_SEED, TEST_SEED) for kind in KINDS]
    everything = [seed for seeds in used for seed in seeds]
    assert len(set(everything)) == len(everything) == 2 * 3 * 12
    assert min(everything) >= 60_000
    assert max(everything) < 900_000
    assert scene_set(TEST_SEED).seeds_text == "urban 90200 to 90211, suburban 91200 to 91211, park 92200 to 92211"


def test_the_best_setting_of_plain_p3p_is_the_one_that_finds_most_changed_queries(monkeypatch):
    from test_evaluation_results import row

    names = [setting.name for setting in tuning.settings(quick=True)]
    rows = [row("overcast/0.jpg", method=name) for name in names]
    rows += [row("snow/0.jpg", (0.4, 1.0) if name == names[2] else None, method=name) for name in names]
    best, *others = tuning.ranked(rows, quick=True)
    assert (best.setting.name, best.recall) == (names[2], (0, 100, 100))
    assert all(one.recall == (0, 0, 0) for one in others)
    assert best.setting.config().matching.ratio == best.setting.ratio == 0.9
    assert (len(list(tuning.settings())), len(list(tuning.settings(labels="a")))) == (30, 72)


def test_ssmc_is_tuned_in_how_strict_it_is_and_the_papers_rule_is_ranked_alone():
    from test_evaluation_results import row

    settings = list(tuning.settings(labels="a"))
    assert {setting.strictness for setting in settings} == set(tuning.WAYS)
    lax = next(one for one in settings if one.strictness == tuning.Strictness(9, False, True, True) and one.max_error_px == 8)
    config = lax.config("ssmc")
    assert (config.ssmc.window_px, config.ssmc.count_all, config.ssmc.any_view, config.keep_moving) == (9, True, True, False)
    rows = [row("snow/0.jpg", (0.4, 1.0) if one is lax else None, method=one.name, labels="a") for one in settings]
    assert tuning.ranked(rows, labels="a")[0].setting == lax
    assert {one.setting.strictness for one in tuning.ranked(rows, labels="a", strictness=tuning.PAPER)} == {tuning.PAPER}
    assert lax.name == "ratio 0.85, 8 px, 4 inliers, PROSAC, any view's label, within 9 px, all count"


def soft_configs(ratio):
    setting = tuning.Setting(ratio, 8.0, 4, True, likely=tuning.VERIFIED)
    return {name: tuning.drawn_config(setting, fit.config, name) for name, fit in FITTED.fits.items()}


def soft_stages(name="a"):
    """Soft labels with every one of their settings tried, none better than another."""
    tried = {name: [tuning.Tried(setting, (0.0, 0.0, 0.0)) for setting in tuning.drawn_settings(labels=name)]}
    return seasons.soft_stages(tried, replace(FITTED, fits={name: FITTED.fits["a"]}), name)


def test_matches_drawn_by_how_likely_they_are_right_are_tuned_by_themselves():
    affinities = {name: fit.config for name, fit in FITTED.fits.items()}
    made = tuning.drawn_variants(affinities)
    told = [(one.labels, one.config.method, one.config.affinity) for one in made[::8]]
    assert [(labels, method, own.weigh_p3p, own.evidence, own.verification > 0) for labels, method, own in told] == [
        ("", "p3p", True, False, False),
        ("", "p3p", True, True, False),
        ("a", "ssmc-soft", False, False, False),
        ("a", "ssmc-soft", False, True, False),
        ("a", "ssmc-soft", False, True, True),
    ]
    assert [one.config.matching.ratio for one in made[:8:2]] == [0.85, 0.9, 0.95, 1.0]
    assert [one.config.ransac.max_error_px for one in made[:2]] == [5.0, 8.0]
    assert len({(one.labels, one.name) for one in made}) == len(made) == 40


def test_what_drawing_counting_and_verifying_each_add_is_measured_by_itself():
    stages = {name: config.affinity for name, config in soft_stages().items()}
    assert list(stages) == [DRAWN_ALONE, MATCHES_ALONE]
    assert [(own.evidence, own.verification) for own in stages.values()] == [(False, 0.0), (True, 0.0)]
    assert {own.trust for own in stages.values()} == {0.7}


def test_plain_p3p_is_also_measured_as_the_others_are_set(tmp_path):
    labelling = Labelling("a", "stripes", 8, "a", StripeLabels(tmp_path))
    loose, strict = (tuning.Setting(ratio, 8.0, 4, True).config for ratio in (0.95, 0.8))
    paper = {"a": loose("ssmc")}
    soft = soft_configs(0.9)
    made = seasons_lines.method_variants(strict(), {"a": loose("ssmc")}, soft, {}, [labelling], FITTED, paper)
    drawn = "p3p, drawn by descriptors"
    assert [one.id for one in made[:5]] == ["p3p", "p3p, set as SSMC", drawn, f"{STRICT}/a", "ssmc/a"]
    assert [variant.config.method for variant in made[:4]] == ["p3p", "p3p", "p3p", "ssmc"]
    assert [variant.config.matching.ratio for variant in made[:4]] == [0.8, 0.95, 0.9, 0.95]
    assert [variant.config.affinity.weigh_p3p for variant in made[:4]] == [False, False, True, False]
    assert seasons_lines.method_variants(strict(), {"a": strict("ssmc")}, soft, {}, [labelling], FITTED, paper)[1].id == drawn


def test_what_was_fitted_is_what_is_measured(tmp_path):
    labelling = Labelling("a", "stripes", 8, "a", StripeLabels(tmp_path))
    config = {"a": LocalizerConfig()}
    soft = soft_configs(1.0)
    variants = seasons_lines.method_variants(LocalizerConfig(), config, soft, soft_stages(), [labelling], FITTED, config)
    made = {variant.name: variant for variant in variants}
    assert made[DRAWN_ALONE].config.affinity == replace(made["ssmc-soft"].config.affinity, evidence=False, verification=0.0)
    one_label = made[MAJORITY].config
    assert replace(one_label, affinity=replace(one_label.affinity, views=True)) == made["ssmc-soft"].config
    assert made["ssmc-soft"].config.matching.ratio == made["gsmc-soft"].config.matching.ratio == 1.0
    assert made[f"ssmc-soft{UNGUIDED}"].config.guided.rounds == 0 < made["ssmc-soft"].config.guided.rounds
    assert (made["ssmc-soft"].config.affinity.bias, made["ssmc-soft"].config.affinity.trust) == (-3.0, 0.7)
    assert made["gsmc-soft"].config.gsmc.tempering == 0.1
    assert made["p3p, drawn by descriptors"].config.affinity.bias == -2.0
    assert made["p3p"].config == LocalizerConfig()
    told = made["pfsl, start known to 4 m"]
    assert (told.start_error_m, made["pfsl"].start_error_m) == (4.0, 0.0)
    assert told.settings() != made["pfsl"].settings()


def test_the_tempering_that_finds_most_changed_queries_is_taken():
    from test_evaluation_results import row

    rows = [row("snow/0.jpg", (0.4, 1.0) if value == 0.1 else None, method=tempering_name(value)) for value in (0.03, 0.1)]
    best, tried = best_tempering(rows)
    assert (best, tried) == (0.1, {0.03: (0, 0, 0), 0.1: (0, 100, 100)})
    assert best_tempering([])[0] == 0.03


def test_each_kind_has_a_difficulty_of_its_own_that_options_replace():
    def plan(*more):
        return seasons.plan_of(seasons.parser().parse_args(["--work", "somewhere", *more]))

    assert plan().test.difficulties == DIFFICULTIES
    assert set(DIFFICULTIES) == set(AIMS) == set(KINDS)
    changed = plan("--yaw", "3", "--kinds", "urban").tuning.difficulties
    assert changed == {"urban": replace(DIFFICULTIES["urban"], yaw_deg=3.0)}
    assert Difficulty().times(0.5) == Difficulty(spacing_m=1.25, lateral_m=1.0, yaw_deg=12.0)


def test_worlds_of_several_cameras_are_others_and_say_so():
    def scenes(*more):
        return seasons.plan_of(seasons.parser().parse_args(["--work", "somewhere", *more])).test

    one, two = scenes(), scenes("--cameras", "45", "-45")
    assert one == scenes("--cameras", "0")
    assert two.camera_yaws_deg == (45, -45)
    assert seasons_scenes._name(one, "urban") != seasons_scenes._name(two, "urban")
    assert two.difficulty_text.endswith("; cameras turned to the left by 45 and -45 deg")
    with pytest.raises(SystemExit):
        scenes("--cameras", "left")


def test_fewer_frames_to_tune_on_see_as_much_of_the_street():
    options = ["--work", "somewhere", "--queries", "12", "--tuning-queries", "4"]
    plan = seasons.plan_of(seasons.parser().parse_args(options))
    assert (plan.test.num_queries, plan.test.frame_spacing_m) == (12, 2.0)
    assert (plan.tuning.num_queries, plan.tuning.frame_spacing_m) == (4, 6.0)


def test_the_claims_lines_are_those_that_it_puts_in_order(tmp_path):
    labellings = [Labelling(name, "stripes", 8, name, StripeLabels(tmp_path)) for name in "abc"]
    fitted = Fitted(dict.fromkeys((BY_DESCRIPTORS, *"abc"), _fit()), 0.1, {})
    config = dict.fromkeys("abc", LocalizerConfig())
    soft = dict.fromkeys((BY_DESCRIPTORS, *"abc"), LocalizerConfig())
    everything = seasons_lines.method_variants(LocalizerConfig(), config, soft, soft_stages("b"), labellings, fitted, config)
    stages = {f"{name}/b" for name in (DRAWN_ALONE, MATCHES_ALONE, MAJORITY)}
    with_stages = [variant.id for variant in seasons_lines.claimed(everything, labellings, stages=True)]
    assert [name for name in with_stages if name not in stages] == [v.id for v in seasons_lines.claimed(everything, labellings)]
    assert with_stages == [
        "p3p",
        "p3p, drawn by descriptors",
        "ssmc/a",
        "ssmc/b",
        "ssmc/c",
        "ssmc-soft/a",
        "ssmc-soft/b",
        "ssmc-soft/c",
        "gsmc/b",
        "gsmc-soft/b",
        "pfsl/a",
        f"{DRAWN_ALONE}/b",
        f"{MATCHES_ALONE}/b",
        f"{MAJORITY}/b",
        f"p3p{UNGUIDED}",
        f"ssmc-soft{UNGUIDED}/b",
        "pfsl, start known to 4 m/a",
        "p3p-drive",
        "ssmc-drive/b",
        "ssmc-drive, on the road/b",
    ]


@pytest.fixture
def toy_worlds(tmp_path, monkeypatch):
    """Every scene that the benchmark asks for is a toy street; every network labels by stripes."""

    def write_scenes(scenes, folder):
        yield Progress("Rendering")
        paths = [folder / f"{kind}-{scenes.seeds(kind)[0]}" for kind in scenes.kinds]
        for path, kind in zip(paths, scenes.kinds):
            if not path.is_dir():
                write_toy_scene(path, name=path.name, kind=kind)
        return tuple(paths)

    def labelling_of(weights):
        return Labelling(weights, "stripes", 8, weights, StripeLabels(tmp_path / "labelled.txt"))

    monkeypatch.setattr(seasons, "write_scenes", write_scenes)
    monkeypatch.setattr(seasons, "labelling_of", labelling_of)
    monkeypatch.setattr(seasons_lines, "LABEL_METHODS", ("ssmc", "ssmc-soft", "gsmc", "pfsl"))
    return tmp_path


def test_a_quick_run_writes_the_whole_text(toy_worlds, capsys):
    out = toy_worlds / "seasons.md"
    arguments = [
        "--work",
        str(toy_worlds / "work"),
        "--out",
        str(out),
        "--quick",
        "--lines",
        "all",
        "--kinds",
        "urban",
        "--weights",
        "a-19",
        "a-100",
    ]
    assert seasons.main(arguments) == 0
    text = out.read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Tuned first",
        "## Fitted on the tuning worlds",
        "## Changed conditions, all methods",
        "## Who wins, on the same queries",
        "## Where descriptors tell little",
        "## What labels keep of right and wrong matches",
        "## By how many matches are right",
        "## By condition, at (0.5 m, 5°)",
        "## What gravity and height must be worth",
        "## Other libraries on the same matches",
        "## Photographs",
    ]
    assert "test: urban 90200 to 90200; tuning: urban 60000 to 60000" in text
    assert "p3p: 4 settings on the tuning worlds" in text
    assert "| a-100 | " in text.split("## Fitted on the tuning worlds")[1].split("##")[0]
    assert "a-100 has no label statistics" in text
    assert "It is simulated: the true motion" in text
    assert "ssmc a-100: 4 settings on the tuning worlds" in text
    assert "ssmc-soft a-100: 12 settings on the tuning worlds" in text
    assert "p3p, drawn by descriptors: 8 settings on the tuning worlds" in text
    for line in (
        "| p3p |  |",
        "| ssmc | a-100 |",
        "| pfsl | a-19 |",
        "| pfsl, start known to 4 m | a-19 |",
        "| p3p, drawn by descriptors |  |",
        "| ssmc a-19 → ssmc a-100 | urban |",
        "| PoseLib |",
    ):
        assert line in text
    assert "| gsmc, oracle +- 5 deg, 0 m a-100 |" in text
    assert text.count("left out, the photographs are not here") == 4
    assert (toy_worlds / "work" / "test" / "report.html").is_file()
    labelled = (toy_worlds / "labelled.txt").read_text()
    assert seasons.main(arguments) == 0
    assert (toy_worlds / "labelled.txt").read_text() == labelled, "nothing is done twice"
    arguments[arguments.index("all")] = "claim"
    assert seasons.main(arguments) == 0
    text = out.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        title for title in titles if not title.startswith(("## Where descriptors", "## What gravity", "## Other libraries"))
    ]
    assert "| pfsl, start known to 4 m | a-19 |" in text
    assert "| pfsl | a-100 |" not in text


def test_drives_alone_are_at_the_programs_defaults(toy_worlds, capsys):
    out = toy_worlds / "drives.md"
    arguments = ["--work", str(toy_worlds / "work"), "--out", str(out), "--quick", "--lines", "sequences", "--kinds", "urban"]
    assert seasons.main([*arguments, "--weights", "a-19", "a-100"]) == 0
    text = out.read_text(encoding="utf-8")
    assert "tuning: none" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Changed conditions",
        "## Who wins, on the same queries",
        "## By condition, at (0.5 m, 5°)",
    ]
    for line in ("| pfsl | a-19 |", "| pfsl, start known to 4 m | a-100 |", "| ssmc-drive | a-100 |", "| p3p-drive |  |"):
        assert line in text
    assert "| gsmc a-100 → pfsl, start known to 4 m a-100 | urban |" in text
    assert not (toy_worlds / "work" / "tuning").exists()


def test_the_checks_compare_like_with_like():
    plain, semantic = LocalizerConfig(), LocalizerConfig(matching=MatchConfig(ratio=0.95))
    lines = {variant.name: variant for variant in seasons_lines.checked(plain, semantic, "a-100")}
    methods = [variant.config.method for variant in lines.values()]
    assert methods == ["p3p", "p3p", "ssmc", "gsmc", "p3p", "p3p"]
    assert [name for name, variant in lines.items() if variant.solve is not None] == ["PoseLib", "pycolmap"]
    assert lines[f"p3p{UNGUIDED}"].config.guided.rounds == 0
    assert lines["ssmc"].config.matching.ratio == 0.95
    assert lines["gsmc"].config.matching.ratio == seasons_lines.GSMC_RATIO


def test_the_checks_alone_need_no_soft_labels(toy_worlds, capsys):
    out = toy_worlds / "checks.md"
    arguments = ["--work", str(toy_worlds / "work"), "--out", str(out), "--quick", "--lines", "checks", "--kinds", "urban"]
    assert seasons.main([*arguments, "--weights", "a-19", "a-100"]) == 0
    text = out.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Tuned first",
        "## Other libraries on the same matches",
        "## What gravity and height must be worth",
        "## The lines they are compared with",
    ]
    assert "| p3p, no guided matches | " in text.split("## Other libraries")[1].split("##")[0]
    assert "| PoseLib | " in text
    assert "| pycolmap | " in text
    assert "| gsmc a-100 | " in text, "the fine network's"
    (oracle,) = [line for line in text.splitlines() if line.startswith("| gsmc, oracle +- 5 deg, 0 m a-100 |")]
    gain, _, won, lost, _ = [cell.strip() for cell in oracle.split("|")[-6:-1]]
    assert np.sign(float(gain)) == np.sign(int(won) - int(lost))
    assert "soft" not in text.split("## Tuned first")[1]
    assert not (toy_worlds / "work" / "fit").exists()
    assert (toy_worlds / "work" / "test" / "report.html").is_file()


def test_photographs_are_changed_as_the_text_says():
    pixels = np.full((100, 60, 3), 120, np.uint8)
    assert seasons_real.night_tone(pixels).mean() < 40
    hazy = seasons_real.haze(pixels)
    assert hazy[45].mean() > 170 > 150 > hazy[99].mean() > 120
    np.testing.assert_array_equal(seasons_real.night_tone(pixels), seasons_real.night_tone(pixels))


def test_kapture_poses_are_read_with_their_rigs(tmp_path):
    sensors = tmp_path / "sensors"
    sensors.mkdir()
    (sensors / "sensors.txt").write_text("# kapture\ncam, , camera, PINHOLE, 40, 30, 50, 50, 19.5, 14.5\n")
    (sensors / "rigs.txt").write_text("rig, cam, 1, 0, 0, 0, 0, 0, -0.1\n")
    (sensors / "trajectories.txt").write_text("7, rig, 1, 0, 0, 0, 1, 2, 3\n")
    (sensors / "records_camera.txt").write_text("7, cam, a/b.jpg\n")
    (image,) = seasons_real._kapture(tmp_path)
    np.testing.assert_allclose(image.cam_from_world.tvec, [1, 2, 2.9])
    assert (image.camera.model, image.camera.width) == ("PINHOLE", 40)
    assert image.path == sensors / "records_data" / "a" / "b.jpg"


def test_a_facade_with_laser_poses_becomes_a_scene(shared_data, tmp_path):
    source = shared_data("strecha")
    finish(seasons_real.write_strecha(source, tmp_path / "scene"))
    scene = open_scene(tmp_path / "scene")
    assert (len(scene.reference), len(scene.queries), scene.notes) == (4, 4, ())
    assert len(scene.map.points3D) > 300
    assert max(scene.queries[0].camera.width, scene.queries[0].camera.height) == seasons_real.MAX_SIDE
    assert all(query.cam_from_world is not None for query in scene.queries)


def test_images_are_copied_no_larger_than_needed(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((600, 2048, 3), np.uint8))
    camera = Camera.pinhole(2048, 600, 1000.0)
    image = replace(seasons_real.ImageData("a.png", Path(tmp_path / "a.png")), camera=camera)
    made = seasons_real._add(image, "a.png", "day", tmp_path / "out")
    assert (made.camera.width, made.camera.height, made.camera.K[0, 0]) == (1024, 300, 500)
    assert made.path.is_file()
