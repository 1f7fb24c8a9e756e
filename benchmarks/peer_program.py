"""Runs in a peer's own environment (see `benchmarks.peers`): `peer_program.py NAME` reads trials and writes the next point.

A line is {"space", "x", "y", "seed"}: parameters by name, each {"kind": float, int or choice, "low", "high", "log", "step"} or
{"kind", "choices"}; the points, and the values to minimise. SAASBO and GPyOpt get points [n, d] of the unit cube and no space.
"""

import json
import math
import os
import sys
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
Asked = dict[str, Any]


def ax(asked: Asked) -> Any:
    """Ax 1.x: `fast`, its default, with no starts of its own."""
    import logging

    from ax.api.client import Client
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    logging.disable(logging.WARNING)
    client = Client(random_seed=asked["seed"])
    parameters: list[Any] = []
    for name, domain in asked["space"].items():
        if domain["kind"] == "choice":
            parameters.append(
                ChoiceParameterConfig(name, values=domain["choices"], parameter_type="str", is_ordered=False)
            )
        else:
            bounds, scaling = (domain["low"], domain["high"]), "log" if domain["log"] else None
            parameters.append(
                RangeParameterConfig(
                    name, bounds=bounds, parameter_type=domain["kind"], step_size=domain["step"], scaling=scaling
                )
            )
    client.configure_experiment(parameters=parameters)
    client.configure_optimization(objective="-value")
    client.configure_generation_strategy(
        method="fast", initialization_budget=len(asked["x"]), initialize_with_center=False,
        use_existing_trials_for_initialization=True, initialization_random_seed=asked["seed"], torch_device="cpu",
    )  # fmt: skip
    for point, value in zip(asked["x"], asked["y"], strict=True):
        index = client.attach_trial(point)
        client.complete_trial(index, {"value": value})
    (point,) = client.get_next_trials(1).values()
    return point


def smac(asked: Asked) -> Any:
    """SMAC3's `BlackBoxFacade`, told the trials as its own starts."""
    import logging
    import tempfile

    from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace, Float, Integer
    from smac import BlackBoxFacade, Scenario
    from smac.runhistory.dataclasses import TrialInfo, TrialValue

    logging.disable(logging.WARNING)
    space = ConfigurationSpace(seed=asked["seed"])
    steps = {}
    for name, domain in asked["space"].items():
        if domain["kind"] == "choice":
            space.add(CategoricalHyperparameter(name, domain["choices"]))
        elif domain["step"] and domain["kind"] == "int":  # ConfigSpace's numbers have no steps: it counts them
            steps[name] = domain
            space.add(Integer(name, (0, (domain["high"] - domain["low"]) // domain["step"])))
        else:
            kind = Float if domain["kind"] == "float" else Integer
            space.add(kind(name, (domain["low"], domain["high"]), log=domain["log"]))
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(space, output_directory=folder, n_trials=1000, deterministic=True, seed=asked["seed"])
        facade = BlackBoxFacade(
            scenario, _told, initial_design=BlackBoxFacade.get_initial_design(scenario, n_configs=0),
            overwrite=True, logging_level=False,
        )  # fmt: skip
        for point, value in zip(asked["x"], asked["y"], strict=True):
            counted = {k: (v - steps[k]["low"]) // steps[k]["step"] if k in steps else v for k, v in point.items()}
            facade.tell(TrialInfo(Configuration(space, values=counted), seed=0), TrialValue(cost=value))
        found = dict(facade.ask().config)
    return {k: steps[k]["low"] + v * steps[k]["step"] if k in steps else _plain(v) for k, v in found.items()}


def hebo(asked: Asked) -> Any:
    import numpy as np
    import pandas as pd
    from hebo.design_space.design_space import DesignSpace
    from hebo.optimizers.hebo import HEBO

    parameters = []
    for name, domain in asked["space"].items():
        if domain["kind"] == "choice":
            parameters.append({"name": name, "type": "cat", "categories": domain["choices"]})
        elif domain["step"] and domain["kind"] == "int":
            parameters.append(
                {"name": name, "type": "step_int", "lb": domain["low"], "ub": domain["high"], "step": domain["step"]}
            )
        else:
            kind = {("float", False): "num", ("float", True): "pow", ("int", False): "int", ("int", True): "pow_int"}
            bounds = {"lb": domain["low"], "ub": domain["high"]}
            parameters.append({"name": name, "type": kind[domain["kind"], domain["log"]], **bounds})
    np.random.seed(asked["seed"] % 2**31)
    search = HEBO(DesignSpace().parse(parameters), rand_sample=1, scramble_seed=asked["seed"])
    search.observe(pd.DataFrame(asked["x"]), np.array(asked["y"])[:, None])
    found = search.suggest(n_suggestions=1).iloc[0].to_dict()
    return {name: _plain(value) for name, value in found.items()}


def saasbo(asked: Asked) -> Any:
    """`SaasFullyBayesianSingleTaskGP`, NUTS with 256 steps of warm-up and 128 samples, each sixteenth kept; LogEI."""
    import torch
    from botorch.acquisition.logei import qLogExpectedImprovement
    from botorch.fit import fit_fully_bayesian_model_nuts
    from botorch.models.fully_bayesian import SaasFullyBayesianSingleTaskGP
    from botorch.optim.optimize import optimize_acqf

    torch.set_num_threads(1)
    torch.manual_seed(asked["seed"])
    x, y = torch.tensor(asked["x"], dtype=torch.double), torch.tensor(asked["y"], dtype=torch.double)[:, None]
    gain = -(y - y.mean()) / y.std().clamp(min=1e-9)
    model = SaasFullyBayesianSingleTaskGP(x, gain)
    fit_fully_bayesian_model_nuts(model, warmup_steps=256, num_samples=128, thinning=16, disable_progbar=True)
    improvement = qLogExpectedImprovement(model, best_f=gain.max())
    bounds = torch.stack([torch.zeros(x.shape[1]), torch.ones(x.shape[1])]).double()
    found, _ = optimize_acqf(improvement, bounds, q=1, num_restarts=10, raw_samples=512)
    return found[0].tolist()


def gpyopt(asked: Asked) -> Any:
    """The paper's settings: GP_MCMC with an ARD Matérn 5/2 kernel, EI_MCMC, 10 samples, 100 burn-in, 20 leapfrog steps."""
    import GPy
    import numpy as np
    from GPyOpt.methods import BayesianOptimization

    x, y = np.array(asked["x"]), np.array(asked["y"])[:, None]
    np.random.seed(asked["seed"] % 2**31)
    d = x.shape[1]
    search = BayesianOptimization(
        f=None,
        domain=[{"name": f"x{i}", "type": "continuous", "domain": (0, 1)} for i in range(d)],
        X=x,
        Y=y,
        model_type="GP_MCMC",
        acquisition_type="EI_MCMC",
        kernel=GPy.kern.Matern52(d, ARD=True),
        n_samples=10,
        n_burnin=100,
        leapfrog_steps=20,
        normalize_Y=True,
    )
    return search.suggest_next_locations()[0].tolist()


def _told(config: Any, seed: int = 0) -> float:
    """Stands for the objective that SMAC would call; it is told the values instead."""
    del config, seed
    raise NotImplementedError


def _plain(value: Any) -> Any:
    """A NumPy number as Python's."""
    return value.item() if hasattr(value, "item") else value


PEERS = {"ax": ax, "smac": smac, "hebo": hebo, "saasbo": saasbo, "gpyopt": gpyopt}

if __name__ == "__main__":
    ask = PEERS[sys.argv[1]]
    answers, sys.stdout = sys.stdout, sys.stderr  # what a peer prints is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        assert all(math.isfinite(value) for value in asked["y"])
        answers.write(json.dumps(ask(asked)) + "\n")
        answers.flush()
