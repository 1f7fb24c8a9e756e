"""Tables of real trials of this project's techniques: for the surrogate problems of `benchmarks.samplers`, and with `--repeated`
points for `benchmarks.replay` and `benchmarks.least_rate`.

    python -m benchmarks.trials --out benchmarks/data/trials.json
    python -m benchmarks.trials --techniques sfb mdr --runs 64 --sentences 2000 --epochs 16 --repeated 5 \\
        --out benchmarks/data/curves.json

For each technique a Sobol design over its search space; each run a small model, one thread. The table holds the hyperparameters,
the validation NLL and the rate of every run, each epoch's −ELBO, rate and, with `--each`, NLL of so many sentences, and the NLL
and rate of runs with other seeds of points of another design. A table that exists is gone on with.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc

from trainers.corpus import load
from trainers.evaluation import evaluate
from trainers.runs import Spec, begin
from tuner import space
from tuner.samplers.cube import Array, Cube

TECHNIQUES = ("sfb", "infovae", "mdr")
SETTINGS = {"d_e": 32, "d_h": 32, "nll_samples": 50, "nll_sentences": 200}
SEEDS = 4
"""Number of runs of each repeated point."""


def trial(
    technique: str, corpus: str, settings: dict[str, Any], params: dict[str, Any], seed: int, each: int
) -> dict[str, Any]:
    """A run's row."""
    spec = Spec(technique, corpus, "tiny", {**settings, **params}, seed=seed)
    options = spec.split()[1]
    text = load(corpus, options.corpus)
    epochs: list[list[float]] = []

    def hear(event: str, facts: dict[str, Any]) -> None:
        if event == "epoch":
            figures = [facts["neg_elbo"], facts["rate"]]
            if each:
                few = replace(options.evaluation, nll_sentences=each, certify=0)
                with torch.random.fork_rng():
                    figures.append(evaluate(training.evaluated, text.splits["valid"], few, seed).nll)
            epochs.append([round(figure, 4) for figure in figures])

    with tempfile.TemporaryDirectory() as folder:
        training = begin(spec, Path(folder), text, hear)
        training.run()
        found = evaluate(training.model, text.splits["valid"], options.evaluation, seed)
    return {"params": params, "nll": round(found.nll, 4), "rate": round(found.rate, 4), "epochs": epochs}


def written(table: dict[str, Any]) -> str:
    """As JSON, a row a line."""
    rows = {
        key: {name: [json.dumps(row) for row in every] for name, every in table[key].items()}
        for key in ("trials", "seeds")
    }
    parts = [f'"{key}": {json.dumps(table[key])}' for key in ("corpus", "settings")]
    for key, each in rows.items():
        lists = [f'"{name}": [\n' + ",\n".join(lines) + "\n]" for name, lines in each.items()]
        parts.append(f'"{key}": {{\n' + ",\n".join(lists) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--techniques", nargs="+", default=TECHNIQUES)
    parser.add_argument("--corpus", default="grammar")
    parser.add_argument("--runs", type=int, default=100, help="Number of runs of each technique.")
    parser.add_argument("--repeated", type=int, default=0, help=f"points of each technique with {SEEDS} seeds each")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--each", type=int, default=0, help="Number of sentences for the NLL after each epoch.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = {"corpus_size": arguments.sentences, "max_epochs": arguments.epochs, **SETTINGS}
    table: dict[str, Any] = {"corpus": arguments.corpus, "settings": settings, "trials": {}, "seeds": {}}
    if arguments.out.exists():
        table = json.loads(arguments.out.read_text(encoding="utf-8"))
        if (table["corpus"], table["settings"]) != (arguments.corpus, settings):
            parser.error(f"{arguments.out} has runs of other settings: name a file that does not exist.")
    for technique in arguments.techniques:
        cube = Cube({p.name: p.distribution() for p in space.load(technique).searched({})})

        def design(count: int, seed: int, cube: Cube = cube) -> Array:
            return cube.spread(qmc.Sobol(len(cube.parts), rng=np.random.default_rng(seed)).random(count))

        rows, repeated = (table[key].setdefault(technique, []) for key in ("trials", "seeds"))
        for number, point in list(enumerate(design(arguments.runs, 0)))[len(rows) :]:
            rows.append(trial(technique, arguments.corpus, settings, cube.decode(point), number, arguments.each))
            print(f"{technique} {number + 1} of {arguments.runs}: NLL {rows[-1]['nll']:.3f}", flush=True)
            arguments.out.write_text(written(table), encoding="utf-8")
        for point in design(arguments.repeated, 7)[len(repeated) :]:
            params = cube.decode(point)
            runs = [trial(technique, arguments.corpus, settings, params, 1000 + seed, 0) for seed in range(SEEDS)]
            repeated.append({"params": params, "runs": [[row["nll"], row["rate"]] for row in runs]})
            arguments.out.write_text(written(table), encoding="utf-8")


if __name__ == "__main__":
    main()
