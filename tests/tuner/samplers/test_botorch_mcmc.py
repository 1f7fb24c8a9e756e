"""The paper's sampler in BoTorch, held to its closed-form twin."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from botorch.utils.transforms import is_ensemble
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from tuner import samplers
from tuner.samplers.botorch_mcmc import batched
from tuner.samplers.cube import Cube
from tuner.samplers.gp import prior_mode
from tuner.samplers.gp_mcmc import DIAGNOSTICS

SPACE: dict[str, BaseDistribution] = {
    "a": FloatDistribution(0, 1),
    "b": FloatDistribution(1e-4, 1, log=True),
    "c": CategoricalDistribution(("x", "y", "z")),
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def value(params: dict[str, Any]) -> float:
    return (params["a"] - 0.3) ** 2 + (math.log10(params["b"]) + 2.5) ** 2 / 10 + 0.3 * (params["c"] != "y")


def filled(objectives: int, seed: int, limited: bool = False) -> optuna.Study:
    """A study of nine trials; limited: with the constraint that a is at least a half."""
    made, draw = optuna.create_study(directions=["minimize"] * objectives), np.random.default_rng(seed)
    for number in range(9):
        params = {"a": float(draw.random()), "b": float(10 ** draw.uniform(-4, 0)), "c": "xyz"[number % 3]}
        values = [value(params), params["a"]][:objectives]
        constraints = {"least": 0.5 - params["a"]} if limited else None
        made.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=SPACE, values=values, constraints=constraints, system_attrs={}
            )
        )
    return made


def proposal(name: str, made: optuna.Study, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """The point of the cube that a sampler proposes, and how it came about."""
    made.sampler = samplers.create(name, {"samples": 6, "burn_in": 30, **options}, 0, len(made.trials), SPACE)
    params = made.ask(SPACE).params
    return Cube(SPACE).encode(params), made.trials[-1].system_attrs[DIAGNOSTICS]


def test_the_model_is_one_of_botorchs_ensembles() -> None:
    assert is_ensemble(batched(prior_mode(2)[None], np.random.default_rng(0).random((3, 2)), np.arange(3.0)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_proposes_what_gp_mcmc_proposes(seed: int) -> None:
    twin, twins = proposal("gp-mcmc", filled(1, seed))
    found, facts = proposal("botorch-mcmc", filled(1, seed))
    np.testing.assert_allclose(found, twin, atol=2e-3)
    assert facts["expected_gain"] == pytest.approx(twins["expected_gain"], rel=1e-4)
    assert {**facts, "expected_gain": 0} == {**twins, "expected_gain": 0}


def test_a_trial_under_way_is_kept_away_from_and_lowers_what_is_to_be_gained() -> None:
    made = filled(1, 0)
    first, alone = proposal("botorch-mcmc", made)
    second, beside = proposal("botorch-mcmc", made)
    assert np.abs(first - second).max() > 0.02
    assert beside["pending"] == 1
    assert beside["expected_gain"] < alone["expected_gain"]


def test_noisy_improvement_is_the_plain_one_where_there_is_no_noise() -> None:
    plain, _ = proposal("botorch-mcmc", filled(1, 1))
    noisy, _ = proposal("botorch-mcmc", filled(1, 1), noisy=True, draws=256)
    np.testing.assert_allclose(noisy, plain, atol=0.1)


def test_a_constraint_is_kept() -> None:
    free, _ = proposal("botorch-mcmc", filled(1, 0))
    held, _ = proposal("botorch-mcmc", filled(1, 0, limited=True))
    assert free[0] < 0.45 < held[0]


def test_two_objectives_are_proposed_for_as_by_gp_mcmc() -> None:
    options = {"samples": 3}
    twin, _ = proposal("gp-mcmc", filled(2, 0), **options)
    found, _ = proposal("botorch-mcmc", filled(2, 0), draws=32, **options)
    np.testing.assert_allclose(found, twin, atol=0.15)


def test_torchs_own_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    proposal("botorch-mcmc", filled(1, 0), noisy=True, draws=4)
    assert torch.equal(before, torch.get_rng_state())


def test_no_draws_are_refused() -> None:
    with pytest.raises(samplers.Usage, match="draws = 0 is not allowed: it must be at least 1"):
        samplers.create("botorch-mcmc", {"draws": 0}, 0, 0, SPACE)
