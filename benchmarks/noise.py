"""Noise of real studies: one configuration with several seeds, against the spread over its search space.

    PTB_DIR=… python -m benchmarks.noise --corpora grammar ptb --seeds 5 --points 8

For each technique on each corpus (cut to `--sentences`) its published values are trained with so many seeds, and a Sobol design
over its space with one seed a point: small models, one thread. Noise is the seeds' standard deviation of the validation NLL, by
tempered importance sampling; `error` is the estimate's own, a part of it; the spread is the design's standard deviation.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc

from trainers.runs import Spec, train
from tuner import space
from tuner.samplers.cube import Cube

TECHNIQUES = ("sfb", "mdr", "beta")
SETTINGS = {"max_epochs": 6, "d_e": 32, "d_h": 32, "nll_sentences": 200, "nll": "tempered"}


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


def figures(technique: str, corpus: str, values: dict[str, Any], seed: int) -> tuple[float, float]:
    """A run's validation NLL and that estimate's own standard error."""
    with tempfile.TemporaryDirectory() as folder:
        found = train(Spec(technique, corpus, "tiny", values, seed=seed), Path(folder), silent)["metrics"]
    return found["nll"], found["estimator"].get("error") or 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="+", default=["grammar", "ptb"])
    parser.add_argument("--techniques", nargs="+", default=TECHNIQUES)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for corpus in arguments.corpora:
        for technique in arguments.techniques:
            shipped = space.load(technique)
            published, _ = shipped.published({})
            cube = Cube({p.name: p.distribution() for p in shipped.searched({})})
            fixed = {**SETTINGS, "corpus_size": arguments.sentences}
            same = [figures(technique, corpus, {**fixed, **published}, seed) for seed in range(arguments.seeds)]
            unit = qmc.Sobol(len(cube.parts), rng=np.random.default_rng(0)).random(arguments.points)
            design = [figures(technique, corpus, {**fixed, **cube.decode(p)}, 0) for p in cube.spread(unit)]
            noise, spread = stdev(nll for nll, _ in same), stdev(nll for nll, _ in design)
            row = {"corpus": corpus, "technique": technique, "noise": noise, "error": fmean(e for _, e in same)}
            rows.append({**row, "spread": spread, "share": noise / spread, "seeds": same, "design": design})
            print(" ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{value}" for key, value in row.items()),
                  f"spread {spread:.3g} share {noise / spread:.2f}", flush=True)  # fmt: skip
            arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
