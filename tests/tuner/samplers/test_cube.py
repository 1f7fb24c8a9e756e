"""Optuna's distributions in the unit cube and back."""

from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.samplers.cube import Cube
from tuner.samplers.grid import values

SPACE: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-2, 3),
    "log": FloatDistribution(1e-6, 1e-2, log=True),
    "step": FloatDistribution(0, 1, step=0.25),
    "int": IntDistribution(2, 9),
    "int_step": IntDistribution(128, 512, step=64),
    "int_log": IntDistribution(1, 1000, log=True),
    "choice": CategoricalDistribution(("a", True, 3, None)),
    "only": FloatDistribution(5, 5),
    "only_choice": CategoricalDistribution(("x",)),
}
VALUES: dict[str, list[Any]] = {
    "float": [-2, 0.3, 3],
    "log": [1e-6, 3e-5, 1e-2],
    "step": [0, 0.25, 1],
    "int": [2, 7, 9],
    "int_step": [128, 320, 512],
    "int_log": [1, 31, 1000],
    "choice": ["a", None, 3],
    "only": [5.0] * 3,
    "only_choice": ["x"] * 3,
}


def test_values_come_back_as_they_were() -> None:
    cube = Cube(SPACE)
    assert cube.d == 6 + 4
    for i in range(3):
        params = {name: values[i] for name, values in VALUES.items()}
        point = cube.encode(params)
        assert ((point >= 0) & (point <= 1)).all()
        back = cube.decode(point)
        assert back == pytest.approx(params) if i < 0 else set(back) == set(params)
        for name, value in params.items():
            assert back[name] == (pytest.approx(value) if isinstance(value, float) else value)
            assert type(back[name]) is type(value) or isinstance(value, int)
        np.testing.assert_allclose(cube.snap(point), point)


def test_every_point_of_the_cube_is_some_valid_value() -> None:
    cube = Cube(SPACE)
    for point in np.random.default_rng(0).uniform(-0.1, 1.1, (200, cube.d)):
        assert cube.holds(cube.decode(point))


def test_spread_is_uniform_over_values() -> None:
    cube = Cube(
        {"c": CategoricalDistribution(("a", "b", "c")), "i": IntDistribution(1, 4), "f": FloatDistribution(0, 2)}
    )
    points = cube.spread(np.random.default_rng(0).random((6000, 3)))
    values = [cube.decode(p) for p in points]
    for name, options in (("c", "abc"), ("i", range(1, 5))):
        for option in options:
            share = sum(v[name] == option for v in values) / 6000
            assert share == pytest.approx(1 / len(list(options)), abs=0.03)
    assert np.mean([v["f"] for v in values]) == pytest.approx(1, abs=0.05)


def test_neighbours_change_one_discrete_value_by_one_step() -> None:
    cube = Cube(SPACE)
    params = {name: values[1] for name, values in VALUES.items()}
    near = [cube.decode(p) for p in cube.neighbours(cube.encode(params))]
    changed = [(name, v[name]) for v in near for name in params if v[name] != pytest.approx(params[name])]
    assert len(changed) == len(near)
    assert sorted(map(str, changed)) == sorted(
        map(
            str,
            [
                ("step", 0.0), ("step", 0.5), ("int", 6), ("int", 8), ("int_step", 256), ("int_step", 384),
                ("int_log", 30), ("int_log", 32), ("choice", "a"), ("choice", True), ("choice", 3),
            ],
        )
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high", "step"), [(0, 0.3, 0.1), (0, 0.7, 0.1), (0.1, 0.9, 0.2), (0.05, 0.95, 0.05)])
def test_rounding_leaves_no_step_out(low: float, high: float, step: float) -> None:
    """0.2 + 0.1 is more than 0.3."""
    distribution = FloatDistribution(low, high, step=step)
    cube = Cube({"a": distribution})
    every = [cube.decode(point)["a"] for point in cube.every()]
    assert len(every) == cube.size
    assert max(every) == high
    assert all(distribution._contains(value) for value in every)
    taken = np.array([cube.encode({"a": value}) for value in every if value != high])
    assert cube.decode(cube.unused(taken[0], taken))["a"] == high
    points = values(distribution, 5)
    assert points == pytest.approx(sorted(every))
    assert all(distribution._contains(value) for value in points)


def test_choices_are_one_apart() -> None:
    cube = Cube({"c": CategoricalDistribution(("a", "b", "c"))})
    a, b = cube.encode({"c": "a"}), cube.encode({"c": "b"})
    assert np.linalg.norm(a - b) == pytest.approx(1)


def test_other_spaces_values_are_not_held() -> None:
    cube = Cube({"r": FloatDistribution(1, 30)})
    assert cube.holds({"r": 3.0, "more": 1})
    assert not cube.holds({"r": 31.0})
    assert not cube.holds({})


def test_all_points_of_a_space_of_many_choices_are_made_at_once() -> None:
    choices = tuple(f"c{n}" for n in range(1000))
    cube = Cube({"a": CategoricalDistribution(choices), "b": IntDistribution(1, 2, log=True)})
    every = [cube.decode(point) for point in cube.every()]
    assert every == [{"a": a, "b": b} for a in choices for b in (1, 2)]
