"""A table of real trials of this project's techniques, for the surrogate problems of `benchmarks.samplers`.

    python -m benchmarks.trials --runs 100 --out benchmarks/data/trials.json

For each technique a Sobol design over its search space; each run a small model on the embedded grammar, one thread. The table
holds the hyperparameters, the validation NLL and the rate of every run.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc

from trainers.runs import Spec, train
from tuner import space
from tuner.samplers.cube import Cube

TECHNIQUES = ("sfb", "infovae", "mdr")
SETTINGS = {"corpus_size": 1000, "max_epochs": 6, "d_e": 32, "d_h": 32, "nll_samples": 50, "nll_sentences": 200}


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="of each technique")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table: dict[str, list[dict[str, Any]]] = {}
    for technique in TECHNIQUES:
        searched = {p.name: p.distribution() for p in space.load(technique).searched({})}
        cube = Cube(searched)
        points = cube.spread(qmc.Sobol(len(cube.parts), rng=np.random.default_rng(0)).random(arguments.runs))
        table[technique] = []
        for number, point in enumerate(points):
            params = cube.decode(point)
            with tempfile.TemporaryDirectory() as folder:
                spec = Spec(technique, "grammar", "tiny", {**SETTINGS, **params}, seed=number)
                metrics = train(spec, Path(folder), silent)["metrics"]
            table[technique].append({"params": params, "nll": metrics["nll"], "rate": metrics["rate"]})
            print(f"{technique} {number + 1} of {arguments.runs}: NLL {metrics['nll']:.3f}", flush=True)
            arguments.out.write_text(json.dumps({"settings": SETTINGS, "trials": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
