"""The sampler in studies as they come: every kind of parameter, trials that fail, workers side by side."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tuner import samplers
from tuner.samplers.acquisition import front
from tuner.samplers.gp_mcmc import CHAINS, DIAGNOSTICS, GPMCMCSampler
from tuner.samplers.observations import thinned, winsorised

QUICK: dict[str, Any] = {"samples": 4, "leapfrog": 8, "burn_in": 20}
LIMITED: dict[str, BaseDistribution] = {"x": FloatDistribution(-3, 3), "y": FloatDistribution(-3, 3)}
PLANE: dict[str, BaseDistribution] = {"a": FloatDistribution(0, 1), "b": FloatDistribution(1e-4, 1, log=True)}


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study(sampler: GPMCMCSampler, **options: Any) -> optuna.Study:
    return optuna.create_study(sampler=sampler, **options)


def bowl(trial: optuna.Trial) -> float:
    a, b = trial.suggest_float("a", 0, 1), trial.suggest_float("b", 1e-4, 1, log=True)
    return (a - 0.3) ** 2 + (math.log10(b) + 2.5) ** 2 / 10


def filled(values: list[float | None], sampler: GPMCMCSampler, seed: int = 0) -> optuna.Study:
    """A study of the plane with these values; None: a failed trial."""
    made, draw = study(sampler), np.random.default_rng(seed)
    for value in values:
        params = {"a": float(draw.random()), "b": float(10 ** draw.uniform(-4, 0))}
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        made.add_trial(create_trial(state=state, params=params, distributions=PLANE, value=value))
    return made


def proposal(made: optuna.Study) -> tuple[float, ...]:
    trial = made.ask(PLANE)
    return tuple(trial.params[name] for name in PLANE)


@pytest.mark.parametrize("inference", ["mcmc", "map"])
def test_a_bowl_is_found_and_a_sequential_study_repeats_itself(inference: str) -> None:
    found = []
    for _ in range(2):
        made = study(GPMCMCSampler(seed=1, inference=inference, **QUICK))
        made.optimize(bowl, n_trials=16)
        found.append([t.params for t in made.trials])
    assert found[0] == found[1]
    assert made.best_value < 3e-3
    other = study(GPMCMCSampler(seed=2, inference=inference, **QUICK))
    other.optimize(bowl, n_trials=2)
    assert [t.params for t in other.trials] != found[0][:2]


@pytest.mark.parametrize("warm", [False, True])
def test_a_study_gone_on_with_by_a_new_sampler_is_the_undisturbed_one(warm: bool) -> None:
    whole = study(GPMCMCSampler(seed=5, warm=warm, **QUICK))
    whole.optimize(bowl, n_trials=9)
    cut = study(GPMCMCSampler(seed=5, **QUICK))
    for _ in range(9):
        cut.sampler = GPMCMCSampler(seed=5, warm=warm, **QUICK)  # a new process for each trial
        cut.optimize(bowl, n_trials=1)
    assert [t.params for t in cut.trials] == [t.params for t in whole.trials]


def test_chains_go_on_until_there_are_twice_the_observations() -> None:
    made = study(GPMCMCSampler(seed=5, n_startup=4, warm=True, **QUICK))
    made.optimize(bowl, n_trials=20)
    kept = [t.system_attrs.get(CHAINS) for t in made.trials]
    assert kept[:4] == [None] * 4
    assert [each["begun"] for each in kept[4:]] == [4] * 4 + [8] * 8 + [16] * 4
    masses = [each["ends"]["hmc"][0]["mass"] for each in kept[4:]]
    assert masses[0] == masses[3] != masses[4] == masses[11]
    cold = study(GPMCMCSampler(seed=5, n_startup=4, **QUICK))
    cold.optimize(bowl, n_trials=6)
    assert all(CHAINS not in t.system_attrs for t in cold.trials)
    assert [t.params for t in cold.trials[:5]] == [t.params for t in made.trials[:5]]
    assert cold.trials[5].params != made.trials[5].params


def test_chains_of_another_space_or_number_are_not_gone_on_with() -> None:
    made = filled([1.0, 0.8, 0.9, 0.2, 0.5], GPMCMCSampler(seed=0, search_space=PLANE, warm=True, **QUICK))
    made.ask(PLANE)
    made.sampler = GPMCMCSampler(seed=0, search_space=PLANE, chains=2, warm=True, **QUICK)
    made.ask(PLANE)
    assert len(made.trials[-1].system_attrs[CHAINS]["ends"]["hmc"]) == 2
    wider: dict[str, BaseDistribution] = {**PLANE, "b": FloatDistribution(1e-5, 1, log=True)}
    made.sampler = GPMCMCSampler(seed=0, search_space=wider, warm=True, **QUICK)
    made.ask(wider)
    first, _, other = (t.system_attrs[CHAINS] for t in made.trials[-3:])
    assert first["space"] != other["space"]
    assert first["ends"]["hmc"][0]["mass"] != other["ends"]["hmc"][0]["mass"]


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "minimize"]])
def test_workers_side_by_side_repeat_themselves_from_a_database(tmp_path: Path, directions: list[str]) -> None:
    """Chains that go on through a database's JSON are those that go on in memory."""
    found = []
    for storage in (None, f"sqlite:///{tmp_path}/study.db"):
        made = optuna.create_study(storage=storage, directions=directions)
        for _ in range(4):
            asked = []
            for _ in range(3):
                made.sampler = GPMCMCSampler(seed=1, search_space=PLANE, warm=True, **QUICK)
                asked.append(made.ask(PLANE))
            for trial in asked:
                made.tell(trial, [bowl(trial), trial.params["a"]][: len(directions)])  # type: ignore[arg-type]
        found.append([t.params for t in made.trials])
        assert len({tuple(p.values()) for p in found[-1]}) == 12
        assert len(made.trials[-1].system_attrs[CHAINS]["ends"]) == len(directions)
    assert found[0] == found[1]


def test_the_start_is_one_sobol_sequence_whoever_asks() -> None:
    sampler = GPMCMCSampler(seed=3, search_space=PLANE, n_startup=8)
    one = study(sampler)
    side_by_side = [one.ask(PLANE).params for _ in range(8)]  # eight workers, nothing finished
    assert len({tuple(p.values()) for p in side_by_side}) == 8
    again = study(GPMCMCSampler(seed=3, search_space=PLANE, n_startup=8))
    for expected in side_by_side:
        trial = again.ask(PLANE)
        assert trial.params == expected
        again.tell(trial, 1.0)
    quarter = [(int(p["a"] * 2), int(p["b"] > 1e-2)) for p in side_by_side]
    assert all(quarter.count(cell) == 2 for cell in set(quarter))  # low discrepancy: two points in each quarter


def test_parallel_workers_never_get_the_same_point_and_spread_out() -> None:
    made = filled([1.0, 0.8, 0.9, 0.2, 0.5, 0.7], GPMCMCSampler(seed=0, search_space=PLANE, **QUICK))
    asked = np.array([[t.params["a"], math.log10(t.params["b"]) / 4 + 1] for t in (made.ask(PLANE) for _ in range(6))])
    distances = np.linalg.norm(asked[:, None] - asked[None], axis=-1)[np.triu_indices(6, 1)]
    assert distances.min() > 1e-3
    assert made.trials[-1].system_attrs[DIAGNOSTICS]["pending"] == 5


def test_pending_trials_lower_the_gain_at_their_place() -> None:
    alone = filled([1.0, 0.8, 0.9, 0.2, 0.5, 0.7], GPMCMCSampler(seed=0, search_space=PLANE, **QUICK))
    alone.ask(PLANE)
    first = alone.trials[-1].system_attrs[DIAGNOSTICS]["expected_gain"]
    alone.ask(PLANE)
    assert alone.trials[-1].system_attrs[DIAGNOSTICS]["expected_gain"] < first


EVERYTHING: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-1, 1),
    "step": FloatDistribution(0, 1, step=0.5),
    "int": IntDistribution(1, 3),
    "int_log": IntDistribution(1, 64, log=True),
    "choice": CategoricalDistribution(("a", "b", None)),
    "only": IntDistribution(7, 7),
}


@pytest.mark.parametrize("inference", ["mcmc", "map"])
def test_every_kind_of_parameter_and_direction(inference: str) -> None:
    made = study(GPMCMCSampler(seed=6, inference=inference, **QUICK), direction="maximize")
    for _ in range(18):
        trial = made.ask(EVERYTHING)
        p = trial.params
        assert p["only"] == 7
        gain = -abs(p["float"] - 0.5) - abs(p["int_log"] - 8) / 8 + (p["choice"] == "b") + (p["step"] == 0.5)
        made.tell(trial, gain + (p["int"] == 2))
    assert made.best_params["choice"] == "b"
    assert made.best_value > 1.9


def test_a_space_that_is_used_up_repeats_without_failing() -> None:
    space: dict[str, BaseDistribution] = {"i": IntDistribution(0, 3), "c": CategoricalDistribution(("x", "y"))}
    made = study(GPMCMCSampler(seed=0, search_space=space, n_startup=2, **QUICK))
    seen = []
    for _ in range(10):
        trial = made.ask(space)
        seen.append(tuple(trial.params.values()))
        made.tell(trial, trial.params["i"] + (trial.params["c"] == "x"))
    assert len(set(seen)) == 8
    assert set(seen[:8]) == set(seen) or len(set(seen[2:])) >= 6  # no model proposal repeats before all are used


def test_conditional_parameters_are_drawn_independently_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    def objective(trial: optuna.Trial) -> float:
        a = trial.suggest_float("a", 0, 1)
        return a + (trial.suggest_float("inner", 0, 1) if trial.suggest_categorical("c", ["x", "y"]) == "x" else 1)

    optuna.logging.set_verbosity(optuna.logging.INFO)
    optuna.logging.enable_propagation()
    try:
        made = study(GPMCMCSampler(seed=0, **QUICK))
        made.optimize(objective, n_trials=14)
    finally:
        optuna.logging.disable_propagation()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    said = [r.message for r in caplog.records if "inner is not in every trial" in r.message]
    assert len(set(said)) == 1
    assert len({t.params["inner"] for t in made.trials if "inner" in t.params}) > 1
    assert made.best_value < 0.5


@pytest.mark.parametrize("values", [[None] * 7, [1.0], [2.0] * 9, [1.0, None, math.nan, 0.5, math.inf, 0.7]])
def test_failures_constants_and_a_single_value_do_not_stop_a_study(values: list[float | None]) -> None:
    made = study(GPMCMCSampler(seed=0, search_space=PLANE, n_startup=1, **QUICK))
    asked = set()
    for value in [*values, 0.4]:
        trial = made.ask(PLANE)
        asked.add(tuple(trial.params.values()))
        if value is None or math.isnan(value):
            made.tell(trial, state=TrialState.FAIL)
        else:
            made.tell(trial, value)
    made.ask(PLANE)
    assert len(asked) == len(values) + 1  # nothing is tried twice


def test_one_diverged_trial_does_not_flatten_the_surrogate() -> None:
    def regret(diverged: bool) -> float:
        found = []
        for seed in range(3):
            made = study(GPMCMCSampler(seed=seed, search_space=PLANE, **QUICK))
            for number in range(14):
                trial = made.ask(PLANE)
                made.tell(trial, 1e6 if diverged and number == 2 else bowl(trial))  # type: ignore[arg-type]
            found.append(made.best_value)
        return float(np.median(found))

    assert regret(True) < 10 * regret(False) + 0.01


def test_winsorising_cuts_impossible_values_at_both_ends() -> None:
    values = np.array([1.0, 2.0, 3.0, 1e6])
    np.testing.assert_allclose(winsorised(values), [1, 2, 3, 2.5 + 5 * 1.5])
    np.testing.assert_array_equal(winsorised(values[:3]), values[:3])
    np.testing.assert_allclose(winsorised(np.array([1.0, 1.0, 1.0, 2.0, 1e6])), [1, 1, 1, 2, 6])
    np.testing.assert_array_equal(winsorised(np.array([5.0])), [5])
    np.testing.assert_array_equal(winsorised(np.array([-1e6, 1.0, 2.0])), [-1e6, 1, 2])  # of three who can say
    cut = winsorised(np.array([-1e6, 1.0, 2.0, 3.0, 4.0, 1e6]))
    np.testing.assert_allclose(cut, [2.5 - 10 * 2.5, 1, 2, 3, 4, 2.5 + 5 * 25])
    good = np.array([-9.0, 1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(winsorised(good), good)  # a good value is welcome


def test_one_spuriously_low_value_does_not_flatten_the_surrogate() -> None:
    made = filled([-1e6, 1.0, 0.8, 0.2, 0.5, 0.7, 0.3, 0.9], GPMCMCSampler(seed=0, search_space=PLANE, inference="map"))
    proposal(made)
    assert made.trials[-1].system_attrs[DIAGNOSTICS]["expected_gain"] < 100


def test_points_of_the_start_do_not_repeat_in_whole_numbers_or_after_failures() -> None:
    """Eight points of nine values would repeat one another, whether the trials fail or are under way."""
    space: dict[str, BaseDistribution] = {"k": IntDistribution(1, 9)}
    for fail in (False, True):
        made, seen = optuna.create_study(), []
        for _ in range(9):
            made.sampler = GPMCMCSampler(seed=3, search_space=space, n_startup=9)
            trial = made.ask(space)
            seen.append(trial.params["k"])
            if fail:
                made.tell(trial, state=TrialState.FAIL)
        assert sorted(seen) == list(range(1, 10))


@pytest.mark.parametrize("inference", ["mcmc", "map"])
def test_every_category_is_tried_before_the_model_repeats_one(inference: str) -> None:
    choices = ("a", "b", "c", "d", "e", "f")
    space: dict[str, BaseDistribution] = {**PLANE, "c": CategoricalDistribution(choices)}
    for seed in range(4):
        made = study(GPMCMCSampler(seed=seed, search_space=space, n_startup=4, inference=inference, **QUICK))
        for _ in range(8):
            trial = made.ask(space)
            made.tell(trial, trial.params["a"] + "fbcaed".index(trial.params["c"]))
        tried = [t.params["c"] for t in made.trials]
        left = len(choices) - len(set(tried[:4]))
        assert len(set(tried[: 4 + left])) == 6


def test_noisy_repeats_are_taken_for_noise() -> None:
    made, draw = study(GPMCMCSampler(seed=0, search_space=PLANE, **QUICK)), np.random.default_rng(0)
    for a in (0.2, 0.8):
        for _ in range(8):
            params = {"a": a, "b": 0.01}
            value = a + 0.05 * float(draw.standard_normal())
            made.add_trial(create_trial(params=params, distributions=PLANE, value=value))
    assert proposal(made)[0] < 0.6  # towards the better half, however lucky one of the worse was


def test_observations_beyond_the_limit_are_thinned_by_rule() -> None:
    sampler = GPMCMCSampler(seed=0, search_space=PLANE, max_observations=20, **QUICK)
    values = np.random.default_rng(0).standard_normal(500)
    kept = thinned(values, 20)
    assert len(kept) == len(set(kept.tolist())) == 20
    assert set(np.argsort(values)[:10]) <= set(kept.tolist())
    rest = np.sort(np.setdiff1d(kept, np.argsort(values)[:10]))
    assert np.diff(rest).max() < 120  # evenly over the study
    made = filled([float(v) for v in values], sampler)
    proposal(made)
    assert made.trials[-1].system_attrs[DIAGNOSTICS]["observations"] == 20


@pytest.mark.parametrize("inference", ["mcmc", "map"])
def test_another_studys_observations_take_the_place_of_a_start(inference: str) -> None:
    """Whatever the other study's level: here every value of it is 40 higher."""
    first = study(GPMCMCSampler(seed=0, **QUICK))
    first.optimize(bowl, n_trials=12)
    earlier = [{"params": t.params, "value": t.values[0] + 40} for t in first.trials]
    second = study(GPMCMCSampler(seed=9, search_space=PLANE, inference=inference, earlier=earlier, **QUICK))
    for _ in range(5):
        trial = second.ask(PLANE)
        second.tell(trial, bowl(trial))  # type: ignore[arg-type]
    facts = [t.system_attrs[DIAGNOSTICS] for t in second.trials]  # no start of its own
    assert [each["observations"] for each in facts] == [12, 13, 14, 15, 16]
    assert second.trials[0].values[0] < np.median([t.values[0] for t in first.trials])
    assert second.best_value <= 1.5 * first.best_value + 1e-3
    few = study(GPMCMCSampler(seed=9, search_space=PLANE, n_startup=4, earlier=earlier[:2], **QUICK))
    few.optimize(bowl, n_trials=3)
    assert [DIAGNOSTICS in t.system_attrs for t in few.trials] == [False, False, True]
    with pytest.raises(ValueError, match="for one objective only, to be minimised"):
        study(GPMCMCSampler(search_space=PLANE, earlier=earlier), direction="maximize").ask(PLANE)


def test_more_observations_of_another_study_than_the_limit_are_thinned() -> None:
    draw = np.random.default_rng(0)
    earlier = [{"params": {"a": float(a), "b": 0.01}, "value": float(a)} for a in draw.random(50)]
    made = study(GPMCMCSampler(seed=0, search_space=PLANE, earlier=earlier, max_observations=20, **QUICK))
    proposal(made)
    assert made.trials[0].system_attrs[DIAGNOSTICS]["observations"] == 10


def test_chains_report_their_r_hat_and_divergences() -> None:
    values = [1.0, 0.8, 0.2, 0.5, 0.7, 0.3, 0.9, 0.4]
    made = filled(values, GPMCMCSampler(seed=0, search_space=PLANE, chains=2, samples=8, burn_in=100))
    proposal(made)
    facts = made.trials[-1].system_attrs[DIAGNOSTICS]
    assert facts["samples"] == 16
    assert facts["divergences"] == 0
    assert 0.8 < facts["r_hat"] < 3
    assert 0 < facts["acceptance"] <= 1


def test_wrong_options_are_refused() -> None:
    for options, message in (
        ({"inference": "vi"}, "inference = 'vi' is not allowed: it must be 'mcmc' or 'map'"),
        ({"samples": 0}, "samples = 0 is not allowed: it must be at least 1"),
        ({"warm_burn_in": -1}, "warm_burn_in = -1 is not allowed: it must be at least 0"),
        ({"burn_in": -1}, "burn_in = -1 is not allowed: it must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            GPMCMCSampler(**options)  # type: ignore[arg-type]
    several = optuna.create_study(directions=["minimize"] * 3, sampler=GPMCMCSampler(search_space=PLANE))
    with pytest.raises(ValueError, match="has one objective or two"):
        several.ask(PLANE)


@pytest.mark.parametrize("inference", ["mcmc", "map"])
def test_two_objectives_fill_a_front_better_than_chance(inference: str) -> None:
    """Schaffer's problem: the front is a² against (a − 1)², reached where b has its best value; one trial far from it fails."""

    def area(sampler: optuna.samplers.BaseSampler) -> float:
        made = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
        failed = False
        for _ in range(18):
            trial = made.ask(PLANE)
            a, off = trial.params["a"], abs(math.log10(trial.params["b"]) + 2)
            if off > 1.5 and not failed:
                made.tell(trial, state=TrialState.FAIL)
                failed = True
            else:
                made.tell(trial, [a**2 + off, -((a - 1) ** 2) - off])
        assert failed, "a trial failed"
        points = front(np.array([[t.values[0], -t.values[1]] for t in made.trials if t.values]))
        inside = points[(points < 1).all(1)]
        ends = [*inside[1:, 0], 1.0] if len(inside) else []
        return float(sum((end - f) * (1 - s) for (f, s), end in zip(inside, ends, strict=True)))

    chance = area(optuna.samplers.RandomSampler(seed=0))
    assert area(GPMCMCSampler(seed=0, inference=inference, search_space=PLANE, **QUICK)) > chance + 0.1


def limited(sampler: str, workers: int = 1) -> optuna.Study:
    """The bowl's minimum is at (2, …), and x may be 1 at most: what it is over 1 by is told with noise."""
    draw, made = np.random.default_rng(3), optuna.create_study()
    while len(made.trials) < 18:
        asked = []
        for _ in range(workers):
            made.sampler = samplers.create(sampler, {"n_startup": 4}, 0, len(made.trials), LIMITED)
            asked.append(made.ask(LIMITED))
        for trial in asked:
            x = trial.params["x"]
            trial.set_constraint("x", x - 1.0 + 0.1 * float(draw.standard_normal()))
            made.tell(trial, (x - 2) ** 2 + trial.params["y"] ** 2)
    return made


@pytest.mark.parametrize(("sampler", "workers"), [("gp-map", 1), ("gp-map", 3), ("gp-mcmc", 1)])
def test_a_constraint_is_kept_with_a_margin_for_its_noise(sampler: str, workers: int) -> None:
    last = [trial.params["x"] for trial in limited(sampler, workers).trials[10:]]
    assert 0.5 < np.median(last) < 1.0
    assert sum(x > 1.1 for x in last) <= 2


def test_two_objectives_keep_a_constraint() -> None:
    made = optuna.create_study(directions=["minimize", "minimize"])
    while len(made.trials) < 14:
        made.sampler = samplers.create("gp-map", {"n_startup": 4}, 0, len(made.trials), LIMITED)
        trial = made.ask(LIMITED)
        x, y = trial.params["x"], trial.params["y"]
        trial.set_constraint("x", x - 1.0)
        made.tell(trial, [(x - 2) ** 2 + y**2, (x - 1.5) ** 2 + (y - 1) ** 2])
    assert sum(trial.params["x"] > 1.0 for trial in made.trials[6:]) <= 3


def test_another_studys_constraints_are_seen_too() -> None:
    """Another study's points alone tell where the constraint holds: this study's first proposal keeps it."""
    earlier = [
        {"params": {"x": float(x), "y": float(y)}, "value": (x - 2) ** 2 + y**2, "constraints": {"x": x - 1.0}}
        for x in np.linspace(-3, 3, 7)
        for y in (-1.0, 1.0)
    ]
    made = optuna.create_study(sampler=GPMCMCSampler(search_space=LIMITED, inference="map", earlier=earlier))
    assert 0.0 < made.ask(LIMITED).params["x"] < 1.05
