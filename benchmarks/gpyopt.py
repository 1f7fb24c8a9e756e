"""GPyOpt 1.2.6, the paper's own tool, as an Optuna sampler: `--samplers benchmarks.gpyopt:GPyOptSampler`.

It needs old packages, so it runs in an environment of its own, whose Python the variable GPYOPT_PYTHON names:

    python3.11 -m venv gpyopt
    gpyopt/bin/pip install 'setuptools<60' wheel numpy==1.23.5 scipy==1.11.4 matplotlib
    gpyopt/bin/pip install --no-build-isolation GPy==1.13.2 GPyOpt==1.2.6
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from tuner.samplers.cube import Cube


class GPyOptSampler(BaseSampler):
    """Proposes what GPyOpt's GP_MCMC and EI_MCMC propose for the finished trials; continuous spaces only."""

    peer: subprocess.Popen[str] | None = None

    def __init__(self, seed: int, search_space: Mapping[str, BaseDistribution]) -> None:
        self.seed, self.space = seed, dict(search_space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study, trial
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        del trial
        cube = Cube(search_space)
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            return {}
        asked = {"x": [cube.encode(t.params).tolist() for t in done], "y": [t.value for t in done], "seed": self.seed}
        return cube.decode(np.array(self._ask(asked)["point"]))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise NotImplementedError("the starts are given, so this is never asked")

    @classmethod
    def _ask(cls, asked: Mapping[str, Any]) -> dict[str, Any]:
        if cls.peer is None:
            command = [os.environ["GPYOPT_PYTHON"], "-W", "ignore", str(Path(__file__).with_name("gpyopt_peer.py"))]
            cls.peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert cls.peer.stdin is not None
        assert cls.peer.stdout is not None
        cls.peer.stdin.write(json.dumps(asked) + "\n")
        cls.peer.stdin.flush()
        answer: dict[str, Any] = json.loads(cls.peer.stdout.readline())
        return answer
