"""Search spaces: the shipped files, a user's own, and what is refused with file, key, value and rule."""

from pathlib import Path

import pytest

from tuner import space
from tuner.errors import Usage
from tuner.space import Space, parse, parse_value

GOOD = """
technique = "sfb"
[parameters.r]
type = "float"
low = 2
high = 8.5
[parameters.d_z]
type = "int"
low = 4
high = 64
log = true
default = 16
[parameters.tied]
type = "categorical"
choices = [true, false]
"""


@pytest.mark.parametrize("technique", space.techniques())
def test_shipped_spaces_are_whole(technique: str) -> None:
    shipped = space.load(technique)
    assert shipped.technique == technique
    assert shipped.paper
    assert shipped.formula
    assert shipped.summary
    for parameter in shipped.parameters:
        assert parameter.meaning
        assert parameter.distribution() is not None
        if parameter.paper is not None:
            assert parameter.accepts(parameter.paper)
    assert Space.of(shipped.plain()) == shipped


def test_techniques_are_grouped_by_the_papers_that_brought_them() -> None:
    groups = dict(space.by_paper())
    assert [s.technique for s in groups["Bowman et al. 2016"]] == ["annealing", "word-dropout"]
    assert [s.technique for s in groups["Zhao et al. 2018a"]] == ["lagvae"]
    assert sorted(s.technique for group in groups.values() for s in group) == space.techniques()
    years = [group[0].origin[0] for group in groups.values()]
    assert years == sorted(years)
    assert all(years)


def test_methods_domains() -> None:
    r, alpha, gamma, epsilon = (space.load("sfb")[name] for name in ("r", "alpha", "gamma", "epsilon"))
    assert (r.low, r.high, r.log, r.paper) == (1, 30, False, 6.467)
    assert (alpha.low, alpha.high, alpha.log, alpha.paper) == (1e-3, 1e-1, True, 0.01)
    assert (gamma.low, gamma.high, gamma.paper) == (1, 1.5, 1.05)
    assert (epsilon.low, epsilon.high, epsilon.paper) == (0.5, 1, 1)
    assert [p.name for p in space.load("sfb").searched({})] == ["r", "alpha", "gamma", "epsilon"]
    assert [p.name for p in space.load("mdr").searched({})] == ["r"]
    assert (space.load("annealing")["gamma"].low, space.load("annealing")["gamma"].high) == (1e-6, 1e-2)
    assert (space.load("beta")["beta"].low, space.load("beta")["beta"].high) == (0.1, 1)
    assert (space.load("rnnlm")["dropout"].high, space.load("rnnlm")["d_h"].high) == (0.7, 512)


def test_a_users_own_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    own = space.read(file)
    assert [p.domain for p in own.parameters] == ["2 to 8.5", "whole number 4 to 64 (log)", "one of True, False"]
    assert own.corners({"r": 3.0}) == [{"d_z": 4, "tied": True}, {"d_z": 64, "tied": False}]


def test_every_choice_is_a_corner() -> None:
    own = parse(GOOD.replace("[true, false]", '["a", "b", "c"]'), "my.toml")
    assert [c["tied"] for c in own.corners({})] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'technique = "sfb"',
            'technique = "sbf"',
            r"my.toml: technique = 'sbf' is not allowed: it must be one of .*sfb",
        ),
        ("high = 8.5", "high = 1", r"parameters.r.low = 2 is not allowed: it must not exceed high = 1"),
        ("high = 8.5", "hihg = 8.5", r"parameters.r.hihg = 8.5 is not allowed: the keys of a hyperparameter are"),
        ("high = 8.5", "", r"parameters.r.high = None is not allowed: it must be a finite number"),
        ("high = 8.5", "high = nan", r"parameters.r.high = nan is not allowed: it must be a finite number"),
        ("high = 8.5", 'high = "x"', r"parameters.r.high = 'x' is not allowed: it must be a finite number"),
        (
            "high = 8.5",
            'high = 8.5\npaper = "ours"',
            r"parameters.r.paper = 'ours' is not allowed: it must be a finite number",
        ),
        ("high = 8.5", "high = 8.5\ndefault = 9", r"parameters.r.default = 9.0 is not allowed: it must be 2 to 8.5"),
        ("low = 4", "low = 0", r"parameters.d_z.low = 0 is not allowed: with log = true it must be above 0"),
        ("low = 4", "low = 4.5", r"parameters.d_z.low = 4.5 is not allowed: it must be a whole number"),
        (
            "log = true",
            "log = true\nstep = 2",
            r"parameters.d_z.step = 2 is not allowed: it cannot go together with log",
        ),
        ("log = true", 'log = "yes"', r"parameters.d_z.log = 'yes' is not allowed: it must be true or false"),
        (
            'type = "int"',
            'type = "integer"',
            r"parameters.d_z.type = 'integer' is not allowed: it must be one of float",
        ),
        ("choices = [true, false]", "choices = []", r"parameters.tied.choices = \[\] is not allowed"),
        (
            "choices = [true, false]",
            "choices = [true, 1]",
            r"choices = \[True, 1\] is not allowed: no choice may be there twice",
        ),
        (
            "high = 8.5",
            "high = 8.5\nstep = 1e-300",
            r"r.step = 1e-300 is not allowed: it must be at least a .*th of high − low",
        ),
        (
            "high = 8.5",
            "high = 8.5\nstep = 2.5",
            r"r.step = 2.5 is not allowed: it must divide high − low: set high = 7,",
        ),
        ("choices = [true, false]", "low = 1", r"parameters.tied.choices = None is not allowed"),
        (
            'technique = "sfb"',
            'technique = "sfb"\ncolour = 1',
            r"colour = 1 is not allowed: a search space has the keys",
        ),
        ("[parameters.r]", "[parameters.r", r"my.toml is not TOML"),
    ],
)
def test_bad_files_are_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(Usage, match=message):
        parse(GOOD.replace(old, new, 1), "my.toml")


def test_a_step_that_divides_its_domain_in_decimals_is_taken() -> None:
    assert parse(GOOD.replace("high = 8.5", "high = 2.3\nstep = 0.1", 1), "my.toml")["r"].step == 0.1


def test_a_missing_file_and_one_without_parameters() -> None:
    with pytest.raises(Usage, match=r"no\.toml cannot be read"):
        space.read(Path("no.toml"))
    with pytest.raises(Usage, match="parameters = None is not allowed"):
        parse('technique = "sfb"', "my.toml")


@pytest.mark.parametrize("value", [0.5, 31, "x", True, float("nan")])
def test_values_outside_of_the_domain(value: object) -> None:
    with pytest.raises(Usage, match=r"r = .* is out of sfb's domain: r must be 1 to 30; choose a value inside"):
        space.load("sfb").checked({"r": value})  # type: ignore[dict-item]


def test_checked_values_have_their_parameters_type() -> None:
    checked = space.load("sfb").checked({"r": 5, "step": "additive", "max_epochs": 3})
    assert checked == {"r": 5.0, "step": "additive", "max_epochs": 3}
    assert isinstance(checked["r"], float)
    assert isinstance(space.load("rnnlm").checked({"d_h": 128.0})["d_h"], int)


def test_set_values_keep_their_types() -> None:
    assert [parse_value(t) for t in ("3", "3.0", "1e-3", "true", "false", "cuda")] == [
        3,
        3.0,
        1e-3,
        True,
        False,
        "cuda",
    ]
    assert isinstance(parse_value("3"), int)


def test_a_domain_ends_where_a_schedule_would_not_end_in_the_plan() -> None:
    own = space.load("annealing")
    found = own.within({"gamma": (1 / 756, 1.0)}, {"gamma": 2 / 756}, {})
    gamma = found["gamma"]
    assert (gamma.low, gamma.high, gamma.default) == (1 / 756, 1e-2, 2 / 756)
    assert found.published({}) == ({"gamma": 2 / 756}, False)  # the published one would not end
    assert Space.of(found.plain()) == found
    assert own.within({"gamma": (1 / 756, 1.0)}, {"gamma": 2e-5}, {"gamma": 1e-3}) == own  # set by hand
    long = own.within({"gamma": (1e-5, 1.0)}, {"gamma": 2e-5}, {})
    assert (long["gamma"].low, long.published({})) == (1e-5, ({"gamma": 2e-5}, True))
    few = own.within({"gamma": (0.25, 1.0)}, {"gamma": 0.5}, {})["gamma"]
    assert (few.low, few.high, few.default) == (0.25, 0.25, 0.25)


def test_a_whole_numbers_domain_is_narrowed_to_whole_numbers() -> None:
    found = space.load("pretrained-fb").within({"anneal_epochs": (0, 9)}, {"anneal_epochs": 4}, {})["anneal_epochs"]
    assert (found.low, found.high, found.default) == (5, 9, 5)
    assert isinstance(found.high, int)
    assert isinstance(found.default, int)
    assert space.load("mdr").within({}, {}, {}) == space.load("mdr")
