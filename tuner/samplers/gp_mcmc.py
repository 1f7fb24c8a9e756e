"""Bayesian optimisation as in Pelsmaeker & Aziz (2019, table 7; Snoek et al. 2012), as a sampler for any Optuna study.

A Gaussian process with an ARD Matérn 5/2 kernel; amplitude, noise, mean and length-scales marginalised by HMC; expected
improvement averaged over the samples and over fantasies of what the pending trials will find. Optuna's constraints
(`Trial.set_constraint`) have a process each.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.logging import get_logger
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from tuner.samplers import GIVEN, hmc
from tuner.samplers.acquisition import Acquisition, LogEHVI, LogEI, LogHolds, Product, front, highest
from tuner.samplers.cube import Cube
from tuner.samplers.gp import Posterior, Processes, mode, prior_mode
from tuner.samplers.observations import Observations, squashed, standardised, thinned, winsorised

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ends = Mapping[str, Sequence[hmc.End]]
Chains = Mapping[str, Sequence[hmc.Chain]]

DIAGNOSTICS = "gp:diagnostics"
"""Name of the system attribute of a trial that holds the diagnostics of its proposal."""
CHAINS = "gp:chains"
"""Name of the system attribute of a trial that holds the ends of its chains, from which a later trial's can go on."""
CANDIDATES, AROUND_BEST = 1024, 200
EVEN = math.log(0.5)
"""Log probability of keeping the constraints from which a point may be the one to improve on: likelier kept than not."""


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of a proposal."""

    observations: int
    pending: int
    samples: int
    divergences: int = 0
    acceptance: float | None = None
    r_hat: float | None = None
    """Largest R̂ over the hyperparameters; None for too few draws."""
    expected_gain: float | None = None
    """Expected improvement of the proposal, in the objective's unit; None for two objectives."""


@dataclass(frozen=True)
class Memory:
    """Ends of a proposal's chains. They are kept on its trial, so that they outlive the sampler and are equal for all
    workers.
    """

    space: str
    begun: int
    """Number of observations when these chains were begun anew."""
    ends: Mapping[str, Sequence[hmc.End]]
    """Ends of the chains, by the outcome that they are of."""

    def plain(self) -> dict[str, Any]:
        ends = {
            of: [{"place": e.place.tolist(), "step": e.step, "mass": e.mass.tolist()} for e in each]
            for of, each in self.ends.items()
        }
        return {"space": self.space, "begun": self.begun, "ends": ends}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Memory":
        ends = {
            of: [hmc.End(np.array(e["place"]), e["step"], np.array(e["mass"])) for e in each]
            for of, each in plain["ends"].items()
        }
        return cls(plain["space"], plain["begun"], ends)


@dataclass(frozen=True)
class Outcome:
    """One figure of the observations, as the model has it."""

    y: Array  # [n] standardised, to be minimised
    thetas: Array  # [S, d + 3] draws of its process's hyperparameters
    most: float = math.inf
    """Upper limit of a constraint's outcome."""


@dataclass(frozen=True)
class Known:
    """Observations from which a proposal is made."""

    x: Array  # [n, d] this study's points first, then another's
    objectives: Sequence[Outcome]
    own: int
    """Number of points that are this study's."""
    pending: Array  # [p, d]
    constraints: Sequence[Outcome]


@dataclass(frozen=True)
class Standard:
    """Values as a process sees them."""

    y: Array  # [n] this study's first, then another's
    unit: float
    """Unit of the standardised values, in the values' own unit."""
    zero: float
    """Standardised value of this study's 0."""


class GPMCMCSampler(BaseSampler):
    """Proposes where the expected improvement is highest, or for two objectives the expected hypervolume improvement; with
    constraints where it is by the probability that nine in ten evaluations keep them.

    Args:
        seed: every random choice is made from (seed, trial number), so a sequential study repeats itself, and workers that share
            a study share one quasi-random start.
        search_space: the space, where it is known and the same for all trials. Without it the parameters that all finished
            trials have in common are modelled, and others drawn independently of them.
        n_startup: trials from a Sobol sequence before the model, enqueued ones not counted; None: 4 for up to 3 parameters, 2 a
            parameter above.
        inference: `mcmc` marginalises the hyperparameters, `map` takes their mode.
        samples, leapfrog, burn_in: of HMC, the paper's 10, 20 and 100.
        thin: iterations a sample; 1 keeps each (GPyOpt's default is 10).
        chains: chains of so many samples each, from different starts; R̂ needs 4 samples a chain.
        warm: whether chains go on from the last proposal's ends, after `warm_burn_in` iterations. The posterior has changed
            since, by an observation and by standardising anew, so these ends are no more than a start; chains are begun anew
            whenever there are twice the observations since they were, for their mass grows stale. Cheaper, but not the default:
            with few observations a chain can stay for several proposals where all is noise, and one from the mode does not.
        earlier: finished trials of another study that minimised, each its `params`, its `value` and, where this one has
            constraints, its `constraints`. The model sees them beside this study's, and they count as its quasi-random start.
        fantasies: draws of the pending trials' values, a sample.
        max_observations: beyond, the better half of so many is kept and the rest evenly thinned by number.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        search_space: Mapping[str, BaseDistribution] | None = None,
        n_startup: int | None = None,
        inference: str = "mcmc",
        samples: int = 10,
        leapfrog: int = 20,
        burn_in: int = 100,
        thin: int = 1,
        chains: int = 1,
        warm: bool = False,
        warm_burn_in: int = 20,
        earlier: Sequence[Mapping[str, Any]] = (),
        fantasies: int = 4,
        max_observations: int = 200,
    ) -> None:
        if inference not in ("mcmc", "map"):
            raise ValueError(f"inference = {inference!r} is not allowed: it must be 'mcmc' or 'map'.")
        counts = {
            "samples": samples, "leapfrog": leapfrog, "thin": thin, "chains": chains, "fantasies": fantasies,
            "max_observations": max_observations,
        }  # fmt: skip
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} = {value} is not allowed: it must be at least 1.")
        for name, least in (("burn_in", burn_in), ("warm_burn_in", warm_burn_in), ("n_startup", n_startup or 0)):
            if least < 0:
                raise ValueError(f"{name} = {least} is not allowed: it must be at least 0.")
        self.seed, self.search_space, self.n_startup, self.inference = seed, search_space, n_startup, inference
        self.samples, self.leapfrog, self.burn_in, self.thin, self.chains = samples, leapfrog, burn_in, thin, chains
        self.warm, self.warm_burn_in, self.earlier = warm, warm_burn_in, earlier
        self.fantasies, self.max_observations = fantasies, max_observations
        self._intersection = IntersectionSearchSpace()
        self._told: set[str] = set()

    def _generator(self, number: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, *purpose.encode()])

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del trial
        return dict(self.search_space) if self.search_space is not None else self._intersection.calculate(study)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that not all trials have: from a Sobol sequence of its own, whatever was observed."""
        if (
            trial.number >= self._startup(1)
            and param_name not in self._told
            and study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ):
            self._told.add(param_name)
            get_logger("optuna").info(f"{param_name} is not in every trial, so it is drawn independently of the model.")
        return self._quasi_random(Cube({param_name: param_distribution}), trial.number, param_name)[param_name]

    def _startup(self, parameters: int) -> int:
        if self.n_startup is not None:
            return self.n_startup
        return 4 if parameters <= 3 else 2 * parameters

    def _quasi_random(self, cube: Cube, number: int, purpose: str = "start") -> dict[str, Any]:
        """Point `number` of a scrambled Sobol sequence that only the seed decides."""
        if not cube.parts:
            return cube.decode(np.zeros(0))
        engine = qmc.Sobol(len(cube.parts), scramble=True, rng=self._generator(0, purpose))
        if number:
            engine.fast_forward(number)
        return cube.decode(cube.spread(engine.random(1))[0])

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if len(study.directions) > 2:
            raise ValueError("GPMCMCSampler has one objective or two: use nsga2 for a study of more.")
        if not search_space:
            return {}
        if self.earlier and study.directions != [StudyDirection.MINIMIZE]:
            raise ValueError("GPMCMCSampler takes earlier trials for one objective only, to be minimised.")
        before = study.get_trials(deepcopy=False)[: trial.number]
        given = sum(search_space.keys() <= t.system_attrs.get(GIVEN, {}).keys() for t in before)
        cube, place = Cube(search_space), trial.number - given
        found = Observations.of(study, cube, trial.number)
        enough = place + len(self.earlier) >= self._startup(len(cube.parts))
        if not enough or not (len(found.x) or self.earlier) or not cube.parts:
            return cube.decode(cube.unused(cube.encode(self._quasi_random(cube, place)), found.taken))
        memory = self._memory(study, trial, _digest(search_space), len(found.x) + len(self.earlier))
        point, diagnostics, chains = self._propose(cube, found, trial.number, memory.ends)
        study._storage.set_trial_system_attr(trial._trial_id, DIAGNOSTICS, asdict(diagnostics))
        if self.warm and chains:
            kept = replace(memory, ends={of: [chain.end for chain in each] for of, each in chains.items()})
            study._storage.set_trial_system_attr(trial._trial_id, CHAINS, kept.plain())
        return cube.decode(point)

    def _memory(self, study: Study, trial: FrozenTrial, space: str, observations: int) -> Memory:
        """Ends that the latest earlier proposal in this space left, if its chains may be gone on with; else a memory
        without ends.
        """
        if self.warm:
            for other in reversed(study.get_trials(deepcopy=False)[: trial.number]):
                if CHAINS in other.system_attrs and other.system_attrs[CHAINS]["space"] == space:
                    found = Memory.of(other.system_attrs[CHAINS])
                    if observations < 2 * found.begun:
                        return found
                    break
        return Memory(space, observations, {})

    def _before(self, cube: Cube, limited: Sequence[str]) -> tuple[Array, Array, Array]:
        """The other study's points [k, d], values [k] and constraints [k, c] that the model sees."""
        x = np.array([cube.encode(each["params"]) for each in self.earlier]).reshape(len(self.earlier), cube.d)
        values = np.array([each["value"] for each in self.earlier])
        limits = np.array([[each["constraints"][name] for name in limited] for each in self.earlier])
        kept = thinned(values, self._limit)
        limits = limits.reshape(len(values), len(limited))
        return x[kept], winsorised(values)[kept] if len(values) else values, limits[kept]

    @staticmethod
    def _standard(x: Array, y: Array, before: Array, values: Array) -> Standard:
        """Values y [n] at this study's points x and another's `values` [k] at `before`, standardised.

        Another study's values are standardised by themselves, since its level is another: a larger corpus or model has a lower
        NLL everywhere. This study's are then in the other's unit, and their level is what the other's process has at their
        points. Their own mean and spread would not do: a warm study's first points are all good ones, not average ones.
        """
        if not len(before):
            standard, spread = standardised(y)
            return Standard(standard, spread, -float(y.mean()) / spread)
        standard, spread = standardised(values)
        if not len(y):
            return Standard(standard, spread, -float(values.mean()) / spread)
        theta = mode(Posterior(before, standard), prior_mode(before.shape[1]))
        level = float(Processes.fit(theta[None], before, standard).predict(x)[0].mean()) - float(y.mean()) / spread
        return Standard(np.concatenate([y / spread + level, standard]), spread, level)

    @property
    def _limit(self) -> int:
        """Observations of one study that the model sees at most."""
        return self.max_observations // (2 if self.earlier else 1)

    def _propose(self, cube: Cube, found: Observations, number: int, ends: Ends) -> tuple[Array, Diagnostics, Chains]:
        """The point of highest expected improvement, with a process for each objective and each constraint."""
        kept = np.unique(np.concatenate([thinned(column, self._limit) for column in found.y.T]))
        own = found.x[kept]
        names = found.limited or tuple(sorted({name for each in self.earlier for name in each.get("constraints", ())}))
        before, values, limits = self._before(cube, names)
        x = np.concatenate([own, before])
        every: dict[str, Sequence[hmc.Chain]] = {}

        def outcome(standard: Standard, purpose: str, most: float = math.inf) -> Outcome:
            thetas, chains = self._hyperparameters(Posterior(x, standard.y), number, purpose, ends)
            if chains:
                every[purpose] = chains
            return Outcome(standard.y, thetas, most)

        alone = found.y.shape[1] == 1
        standards = [self._standard(own, column, before, values) for column in found.y[kept].T]
        objectives = [outcome(each, "hmc" if alone else f"hmc {place}") for place, each in enumerate(standards)]
        constraints = []
        for place, name in enumerate(names):
            mine = found.constraints[kept, place] if found.limited else np.zeros(0)
            drawn = squashed(np.concatenate([mine, limits[:, place]]))
            standard = self._standard(own, drawn[: len(mine)], before, drawn[len(mine) :])
            constraints.append(outcome(standard, f"constraint {name}", standard.zero))
        known = Known(x, objectives, len(own), found.pending, constraints)
        acquisition = self._improvement(known, number)
        seen = np.stack([each.y for each in objectives], 1)
        leaders = x[[int(np.flatnonzero((seen == point).all(1))[0]) for point in front(seen)]]
        point = highest(acquisition, cube, self._candidates(cube, leaders, number), found.taken)
        gain = math.exp(float(acquisition(point[None])[0])) * standards[0].unit if alone else None
        chains = [chain for each in every.values() for chain in each]
        facts = self._diagnostics(len(x), len(found.pending), len(objectives[0].thetas), chains, gain)
        return point, facts, every

    def _improvement(self, known: Known, number: int) -> Acquisition:
        """The acquisition to be maximised: for one objective the expected improvement, for two that of the hypervolume,
        each times the probability that the constraints hold.

        Its reference point is the worst value seen of each, and a tenth of the range beyond; fantasies are one a sample there.
        """
        generator = self._generator(number, "fantasies")
        count = self.fantasies if len(known.objectives) == 1 else 1
        models, limits = (
            [self._conditioned(each.thetas, known.x, each.y, known.pending, count, generator) for each in outcomes]
            for outcomes in (known.objectives, known.constraints)
        )
        factors = [LogHolds(model, each.most) for model, each in zip(limits, known.constraints, strict=True)]
        own, pending = known.x[: known.own], known.pending
        keeps = np.ones(len(own), dtype=bool)
        for factor in factors if len(own) else ():
            keeps &= factor(own) >= EVEN
        drawn = [factor.holds(pending) for factor in factors] or [np.ones((1, len(pending), 1), dtype=bool)]
        kept = np.all(drawn, axis=0)  # [S, p, F]
        if len(models) == 1:
            return Product([LogEI(models[0], self._incumbent(models[0], own, pending, keeps, kept)), *factors])
        points = np.concatenate([own, pending])
        means = np.concatenate([model.predict(points)[0] for model in models], 2)  # [S, own + p, 2]
        fronts = [
            front(each[np.concatenate([keeps, mine[:, 0]])])
            for each, mine in zip(means, np.broadcast_to(kept, (len(means), *kept.shape[1:])), strict=True)
        ]
        return Product([LogEHVI(models[0], models[1], fronts, reference(known)), *factors])

    @staticmethod
    def _incumbent(processes: Processes, own: Array, pending: Array, keeps: Flags, kept: Flags) -> Array:
        """The value to be improved on, for each sample and fantasy: [S, F].

        The lowest mean, not the lowest value, for under noise that one was lucky; and that of the average over the samples, since
        one that takes everything for noise has a high lowest mean of its own and would drown the others' improvements in its own.
        This study's points alone count, so that another's best is tried here too; while there are none, its average does.
        A pending trial counts by what it finds in the fantasy.

        Args:
            keeps: which of `own` keep the constraints [n]: only those count, and while none does the highest mean.
            kept: which of `pending` do, in each fantasy [S, p, F].
        """
        means = processes.predict(own)[0].mean((0, 2)) if len(own) else np.zeros(1)
        lowest = means[keeps].min() if keeps.any() else means.max()
        found = np.where(kept, processes.predict(pending)[0], np.inf).min(1, initial=np.inf)  # [S, F]
        best: Array = np.broadcast_to(np.minimum(found, lowest), (len(processes.mean), processes.alpha.shape[2]))
        return best

    @staticmethod
    def _conditioned(
        thetas: Array, x: Array, y: Array, pending: Array, fantasies: int, generator: np.random.Generator
    ) -> Processes:
        """The processes given what was seen, and `fantasies` draws of what the pending trials will find."""
        processes = Processes.fit(thetas, x, y)
        if not len(pending):
            return processes
        drawn = processes.draw(pending, fantasies, generator)  # [S, p, F]
        seen = np.broadcast_to(y[:, None], (len(thetas), len(y), fantasies))
        return Processes.fit(thetas, np.concatenate([x, pending]), np.concatenate([seen, drawn], 1))

    @staticmethod
    def _diagnostics(
        observations: int, pending: int, samples: int, chains: Sequence[hmc.Chain], gain: float | None
    ) -> Diagnostics:
        r_hat = float(hmc.r_hat(np.array([chain.samples for chain in chains])).max()) if chains else math.nan
        return Diagnostics(
            observations=observations,
            pending=pending,
            samples=samples,
            divergences=sum(chain.divergences for chain in chains),
            acceptance=float(np.mean([chain.acceptance for chain in chains])) if chains else None,
            r_hat=r_hat if math.isfinite(r_hat) else None,
            expected_gain=gain,
        )

    def _hyperparameters(
        self, density: Posterior, number: int, purpose: str, ends: Ends
    ) -> tuple[Array, Sequence[hmc.Chain]]:
        """Samples [S, d + 3] of the posterior with their chains, or its mode alone."""
        generator = self._generator(number, purpose)
        start = prior_mode(density.d)
        if self.inference == "map":
            wide = start + generator.standard_normal((2, density.d + 3))
            return max((mode(density, s) for s in (start, *wide)), key=lambda t: density(t)[0])[None], []
        starts: list[Array | hmc.End] = [*ends.get(purpose, ())]
        burn_in = self.warm_burn_in
        if len(starts) != self.chains or any(density(end.place)[0] == -math.inf for end in ends[purpose]):
            first = mode(density, start)
            starts = [first, *(first + 0.5 * generator.standard_normal((self.chains - 1, len(first))))]
            burn_in = self.burn_in
        chains = [
            hmc.sample(density, place, self.samples, self.leapfrog, burn_in, generator, self.thin) for place in starts
        ]
        return np.concatenate([chain.samples for chain in chains]), chains

    def _candidates(self, cube: Cube, leaders: Array, number: int) -> Array:
        """Sobol points, and points around the best observations [k, d] at several distances: [m, d]."""
        generator = self._generator(number, "candidates")
        unit = qmc.Sobol(len(cube.parts), scramble=True, rng=generator).random(CANDIDATES)
        best = leaders[np.arange(AROUND_BEST) % len(leaders)]
        width = 10 ** generator.uniform(-3, -0.5, (AROUND_BEST, 1))
        near = np.clip(best + width * generator.standard_normal((AROUND_BEST, cube.d)), 0, 1)
        if not cube.continuous.all():
            near = np.unique(np.array([cube.snap(point) for point in near]), axis=0)
        return np.concatenate([cube.spread(unit), near])


def reference(known: Known) -> Array:
    """The worst value seen of each objective, and a tenth of the range beyond: [objectives]."""
    values = np.stack([outcome.y for outcome in known.objectives], 1)
    worst: Array = values.max(0) + 0.1 * np.ptp(values, axis=0)
    return worst


def _digest(space: Mapping[str, BaseDistribution]) -> str:
    text = ";".join(f"{name}={distribution_to_json(space[name])}" for name in sorted(space))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
