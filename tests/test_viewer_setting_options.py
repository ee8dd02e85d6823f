"""The localizer's settings at the prompt: `localize` and `evaluate` offer the same ones, made from the configs."""

import json
from dataclasses import fields

import pytest
from evaluation_toys import write_toy_scene

from core.errors import InputError
from core.localizer.pipeline import LocalizerConfig
from fgsn_viewer.cli import build_parser, main
from fgsn_viewer.cli_settings import LOCALIZER, localizer_config

COMMANDS = (["localize", "street"], ["evaluate", "street", "--out", "results"])


def parsed(command, *options):
    return build_parser()[0].parse_args([*command, *options])


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_toy_scene(tmp_path_factory.mktemp("toy") / "street")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_options_every_setting_is_the_configs_own(command):
    assert localizer_config(parsed(command)) == LocalizerConfig()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_reaches_its_setting(command):
    given = {
        "--ratio": 0.7,
        "--matches": "nearest",
        "--max-error": 3.5,
        "--min-inliers": 20,
        "--min-iterations": 5,
        "--max-iterations": 77,
        "--prior": "oracle",
        "--gravity-noise": 2.0,
        "--height-noise": 0.5,
        "--retrieval": "always",
        "--retrieval-images": 3,
        "--window": 5,
        "--any-view": True,
        "--count-all": True,
        "--verification": 7.5,
        "--guided-rounds": 3,
        "--min-evidence": 44.0,
        "--min-guided": 33.0,
        "--drive-window": 9,
        "--drive-evidence": 12.5,
        "--causal": True,
    }
    assert given.keys() == LOCALIZER.keys()
    words = [[option] if value is True else [option, str(value)] for option, value in given.items()]
    config = localizer_config(parsed(command, *(word for pair in words for word in pair)))
    for option, name in LOCALIZER.items():
        group, setting = name.split(".")
        assert getattr(getattr(config, group), setting) == given[option]


def test_both_commands_describe_a_setting_in_the_configs_own_words(capsys):
    for command in COMMANDS:
        assert main([command[0], "--help"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        for option, name in LOCALIZER.items():
            group, setting = name.split(".")
            config = getattr(LocalizerConfig(), group)
            words = next(item.metadata["help"] for item in fields(config) if item.name == setting)
            assert option in told
            default = getattr(config, setting)
            assert (words if default is False else f"{words} (default: {default})") in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--ratio", "1.5"], "'1.5' is not a number from 0.1 to 1"),
        (["--ratio", "nan"], "'nan' is not a number from 0.1 to 1"),
        (["--min-inliers", "2.5"], "'2.5' is not a whole number from 4 to 1000"),
        (["--window", "0"], "'0' is not a whole number from 1 to 101"),
        (["--prior", "gps"], "invalid choice: 'gps'"),
        (["--min-iterations", "9", "--max-iterations", "8"], "--min-iterations is 9, expected at most --max-iterations, 8"),
        (["--gravity-noise", "2"], "they need --prior oracle"),
        (["--odometry", "wheels.txt", "--methods", "p3p"], "wheels.txt: cannot be read"),
    ],
)
def test_values_outside_their_range_are_refused_with_the_range(scene, tmp_path, capsys, options, sentence):
    assert main(["evaluate", str(scene), "--out", str(tmp_path), *options]) == 2
    assert sentence in capsys.readouterr().err


def test_an_evaluation_uses_the_settings_and_writes_them_down(scene, tmp_path):
    options = ["--ratio", "0.8", "--max-error", "4", "--conditions", "sun"]
    assert main(["evaluate", str(scene), "--out", str(tmp_path), "--quiet", *options]) == 0
    config = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["about"]["settings"]["p3p"]["config"]
    assert (config["matching"]["ratio"], config["ransac"]["max_error_px"]) == (0.8, 4.0)


def test_settings_that_contradict_each_other_are_refused_by_localize_too():
    with pytest.raises(InputError, match="they need --prior oracle"):
        localizer_config(parsed(COMMANDS[0], "--height-noise", "1"))
