"""Other programs as Optuna samplers: `python -m benchmarks.samplers --samplers benchmarks.peers:Ax benchmarks.peers:SMAC`.

Each runs in an environment of its own, a folder of its name below the one that the variable PEERS names. All are optional:

    python3 -m venv peers/ax && peers/ax/bin/pip install torch==2.13.0 ax-platform==1.3.1
    python3 -m venv peers/smac && peers/smac/bin/pip install smac==2.4.1
    python3 -m venv peers/hebo
    peers/hebo/bin/pip install torch==2.13.0 gpytorch==1.15.2 pandas 'scikit-learn<1.6' disjoint-set pymoo==0.6.0
    peers/hebo/bin/pip install --no-deps catboost==1.2.10 paramz==0.10.0 GPy==1.13.2 HEBO==0.3.6
    python3 -m venv peers/saasbo && peers/saasbo/bin/pip install torch==2.13.0 botorch==0.18.1 jax==0.10.2 numpyro==0.22.0
    python3.11 -m venv peers/gpyopt
    peers/gpyopt/bin/pip install 'setuptools<60' wheel numpy==1.23.5 scipy==1.11.4 matplotlib
    peers/gpyopt/bin/pip install --no-build-isolation GPy==1.13.2 GPyOpt==1.2.6

HEBO's own pins exclude this PyTorch's NumPy; it runs without them. A peer is told all finished trials at each proposal, in a
space of its own kind of numbers and categories, and begins with the study's starts. SAASBO and GPyOpt, which have no categories,
are told points of the unit cube.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.samplers.cube import Cube

PROGRAM = Path(__file__).with_name("peer_program.py")


class Peer(BaseSampler):
    """Proposes what another program proposes for the finished trials."""

    name: ClassVar[str]
    """Name of its environment, and of its function in `peer_program`."""
    process: ClassVar[subprocess.Popen[str] | None] = None

    def __init__(self, seed: int, search_space: Mapping[str, BaseDistribution]) -> None:
        self.seed, self.space = seed, dict(search_space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study, trial
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del trial
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            return {}
        values = [t.value for t in done]
        return self.proposal(search_space, [t.params for t in done], values)

    def proposal(
        self, space: dict[str, BaseDistribution], points: list[dict[str, Any]], values: list[float | None]
    ) -> dict[str, Any]:
        """The next parameters, after points with these values."""
        described = {name: _described(distribution) for name, distribution in space.items()}
        found = self._ask({"space": described, "x": points, "y": values, "seed": self.seed})
        return {name: _within(distribution, found[name]) for name, distribution in space.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise NotImplementedError("the starts are given, so this is never asked")

    @classmethod
    def _ask(cls, asked: Mapping[str, Any]) -> Any:
        if cls.process is None:
            python = Path(os.environ["PEERS"]) / cls.name / "bin" / "python"
            command = [str(python), "-W", "ignore", str(PROGRAM), cls.name]
            cls.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert cls.process.stdin is not None
        assert cls.process.stdout is not None
        cls.process.stdin.write(json.dumps(asked) + "\n")
        cls.process.stdin.flush()
        answer = cls.process.stdout.readline()
        if not answer:
            sys.exit(f"{cls.name} has ended: its words stand above.")
        return json.loads(answer)


class InCube(Peer):
    """A peer that knows continuous numbers alone."""

    def proposal(
        self, space: dict[str, BaseDistribution], points: list[dict[str, Any]], values: list[float | None]
    ) -> dict[str, Any]:
        cube = Cube(space)
        asked = {"x": [cube.encode(point).tolist() for point in points], "y": values, "seed": self.seed}
        return cube.decode(np.array(self._ask(asked)))


class Ax(Peer):
    """Ax's own choice of method; its GP from the first proposal on."""

    name = "ax"


class SMAC(Peer):
    """SMAC3's facade for black boxes: a Gaussian process and expected improvement."""

    name = "smac"


class HEBO(Peer):
    name = "hebo"


class SAASBO(InCube):
    """BoTorch's fully Bayesian process with sparse axes, by NUTS at its defaults, and LogEI."""

    name = "saasbo"


class GPyOpt(InCube):
    """The paper's own tool: GPyOpt's GP_MCMC and EI_MCMC."""

    name = "gpyopt"


def _described(distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "choice", "choices": list(distribution.choices)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    step = distribution.step if kind == "float" or distribution.step != 1 else None
    return {"kind": kind, "low": distribution.low, "high": distribution.high, "log": distribution.log, "step": step}


def _within(distribution: BaseDistribution, value: Any) -> Any:
    """A proposed value on the distribution's steps and between its ends, which rounding may have left."""
    if isinstance(distribution, CategoricalDistribution):
        return value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else float(value)
