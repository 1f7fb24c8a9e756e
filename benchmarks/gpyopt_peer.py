"""Runs in GPyOpt's own environment (see `benchmarks.gpyopt`): reads {"x", "y", "seed"} a line, writes the next point.

The paper's settings: GP_MCMC with an ARD Matérn 5/2 kernel, EI_MCMC, 10 samples, 100 burn-in, 20 leapfrog steps, batch size 1.
"""

import json
import sys
import time

import GPy
import numpy as np
from GPyOpt.methods import BayesianOptimization

for line in sys.stdin:
    asked = json.loads(line)
    x, y = np.array(asked["x"]), np.array(asked["y"])[:, None]
    np.random.seed(asked["seed"] % 2**31)
    d = x.shape[1]
    started = time.perf_counter()
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
    point = search.suggest_next_locations()[0].tolist()
    sys.stdout.write(json.dumps({"point": point, "seconds": time.perf_counter() - started}) + "\n")
    sys.stdout.flush()
