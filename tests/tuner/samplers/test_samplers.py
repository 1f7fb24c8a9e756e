"""Every sampler of the registry, by name, with its options and the mistakes one can make."""

from typing import Any

import optuna
import pytest
from conftest import QUICK
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler

from tuner import samplers
from tuner.errors import Usage
from tuner.samplers import SAMPLERS
from tuner.samplers.grid import values
from tuner.samplers.rehearsal import rehearse

SPACE: dict[str, BaseDistribution] = {
    "r": FloatDistribution(1, 30),
    "alpha": FloatDistribution(1e-3, 1e-1, log=True),
    "d_h": IntDistribution(128, 512, step=64),
    "step": CategoricalDistribution(("additive", "multiplicative")),
}


class NoSampler:
    """A class that is none."""


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def run(name: str, seed: int, trials: int = 7) -> list[dict[str, Any]]:
    study = optuna.create_study()
    for number in range(trials):
        study.sampler = samplers.create(name, QUICK.get(name, {}), seed, number, SPACE)
        trial = study.ask()
        for parameter, distribution in SPACE.items():
            trial._suggest(parameter, distribution)
        p = trial.params
        study.tell(trial, (p["r"] - 6) ** 2 + p["alpha"] + abs(p["d_h"] - 256) + (p["step"] == "additive"))
    return [t.params for t in study.trials]


@pytest.mark.filterwarnings("ignore")  # Optuna's about experimental samplers, BoTorch's about few data
@pytest.mark.parametrize("name", [*samplers.SAMPLERS, "own_sampler:Own"])
def test_proposals_are_of_the_space_repeatable_and_different_by_seed_and_trial(name: str) -> None:
    first = run(name, 0)
    for params in first:
        assert set(params) == set(SPACE)
        assert all(SPACE[key]._contains(SPACE[key].to_internal_repr(value)) for key, value in params.items())
    assert run(name, 0) == first
    assert run(name, 1) != first
    assert len({tuple(p.values()) for p in first}) == len(first)


def test_a_grid_has_every_value_of_a_discrete_and_the_ends_of_a_continuous_one() -> None:
    assert values(FloatDistribution(1, 30), 3) == [1, 15.5, 30]
    assert values(FloatDistribution(1e-4, 1, log=True), 3) == pytest.approx([1e-4, 1e-2, 1])
    assert values(FloatDistribution(0, 1, step=0.5), 9) == [0, 0.5, 1]
    assert values(IntDistribution(128, 256, step=64), 2) == [128, 192, 256]
    assert values(IntDistribution(1, 100, log=True), 3) == [1, 10, 100]
    assert values(CategoricalDistribution(("a", "b")), 1) == ["a", "b"]


@pytest.mark.parametrize("name", ["gp-mcmc", "gp-map", "gp", "tpe", "random", "qmc", "grid", "nsga2"])
def test_the_listed_options_are_those_that_a_sampler_takes(name: str) -> None:
    found = samplers.options(name)
    assert SAMPLERS[name].defaults.items() <= found.items()
    samplers.create(name, found, 0, 0, SPACE)
    assert not {"seed", "search_space", "earlier"} & set(found)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gpp", {}, r"sampler 'gpp' is unknown: choose one of gp-mcmc, gp-map, .*botorch, or your own as module:Class"),
        ("gp-mcmc", {"sample": 3}, r"sampler 'gp-mcmc' has no option 'sample': it has burn_in, chains, .*samples"),
        ("gp-mcmc", {"samples": 0}, r"sampler 'gp-mcmc' refuses its options: samples = 0 is not allowed"),
        ("gp-mcmc", {"seed": 1}, r"has no option 'seed'"),
        ("grid", {"points": 0}, r"points = 0 is not allowed"),
        ("nowhere:Sampler", {}, r"sampler 'nowhere:Sampler' cannot be loaded \(No module named 'nowhere'\)"),
        ("test_samplers:Nothing", {}, r"cannot be loaded .*it must be a class that Python can import"),
        ("test_samplers:NoSampler", {}, r"NoSampler must be a subclass of optuna.samplers.BaseSampler"),
    ],
)
def test_mistakes_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Usage, match=message):
        samplers.create(name, options, 0, 0, SPACE)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna_integration", None)
    with pytest.raises(Usage, match=r"sampler 'botorch' cannot be loaded .*pip install 'text-vae-tuner\[samplers\]'"):
        samplers.create("botorch", {}, 0, 0, SPACE)


def test_options_reach_the_sampler() -> None:
    made = samplers.create("gp-mcmc", {"samples": 20, "burn_in": 7}, 3, 5, SPACE)
    assert (made.samples, made.burn_in, made.seed, made.inference) == (20, 7, 3, "mcmc")  # type: ignore[attr-defined]
    assert isinstance(samplers.create("gp-map", {}, 0, 0, SPACE), BaseSampler)


@pytest.mark.parametrize(
    ("name", "options", "option"),
    [
        ("tpe", {"n_ei_candidates": -5}, "n_ei_candidates"),
        ("tpe", {"n_startup_trials": 6, "gamma": "abc"}, "gamma"),
        ("tpe", {"n_startup_trials": -3, "weights": 1}, "weights"),
        ("gp", {"n_startup_trials": "x"}, "n_startup_trials"),
        ("gp-map", {"n_startup": "x"}, "n_startup"),
        ("cmaes", {"n_startup_trials": 100, "popsize": "many"}, "popsize"),
        ("tpe", {"n_ei_candidates": 10**15}, "n_ei_candidates"),
        ("random", {"n": 1}, "n"),
    ],
)
def test_options_that_no_trial_can_be_proposed_with_are_refused_by_name(
    name: str, options: dict[str, Any], option: str
) -> None:
    with pytest.raises(Usage, match=rf"sampler '{name}'.*{option}") as refused:
        rehearse(name, options, SPACE, ["minimize"])
    assert refused.value.field == f"sampler_options.{option}"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tpe", {"n_startup_trials": 1000, "n_ei_candidates": 10, "multivariate": False}),
        ("gp-mcmc", {"samples": 3, "burn_in": 10, "leapfrog": 5}),
        ("grid", {"points": 3}),
        ("nsga2", {"population_size": 20, "mutation_prob": 0.1}),
        ("cmaes", {"sigma0": 0.2}),
        ("qmc", {"scramble": False}),
        ("own_sampler:Own", {}),
    ],
)
def test_good_options_pass_the_rehearsal(name: str, options: dict[str, Any]) -> None:
    directions = ["minimize", "maximize"] if name in ("tpe", "nsga2") else ["minimize"]
    rehearse(name, options, SPACE, directions)


def test_a_grid_too_large_for_memory_is_refused_before_it_is_made() -> None:
    with pytest.raises(Usage, match=r"points = 300 makes a grid of 1,260,000 combinations, and 100,000 are allowed"):
        samplers.create("grid", {"points": 300}, 0, 0, SPACE)


@pytest.mark.parametrize(("budget", "size"), [(8, 10), (32, 10), (400, 20), (2000, 50), (0, 50)])
def test_a_population_is_sized_to_the_budget(budget: int, size: int) -> None:
    made: Any = samplers.create("nsga2", {}, 0, 0, {}, budget=budget)
    assert made.population_size == size
    own: Any = samplers.create("nsga2", {"population_size": 12}, 0, 0, {}, budget=budget)
    assert own.population_size == 12


@pytest.mark.parametrize("points", [1, 2])
def test_a_grid_of_few_points_is_allowed(points: int) -> None:
    rehearse("grid", {"points": points}, {"r": FloatDistribution(1, 30)}, ("minimize",))
