"""Frequency with which a model differs from itself: the share of p < .05 among evaluations of one model with different seeds.

    OMP_NUM_THREADS=1 python -m benchmarks.calibration RUN… --seeds 60 --samples-seeds 24

A test that is right calls 5 % of such pairs different. Of each run and estimator: the share with the estimates' own errors and
biases in it, with the errors alone, and with neither, which takes a tempered figure for a mean of sentences that it is not.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainers.corpus import Sentence
from trainers.evaluation import evaluate, subset
from trainers.models import SenVAE
from trainers.options import EvaluationOptions
from trainers.runs import corpus_of, open_run
from trainers.tempered import order
from tuner.analysis.significance import LEVEL, Run, Sentences, bootstrap

RESAMPLES = 2000
ROWS = 2048


def tempered(model: SenVAE, sentences: Sequence[Sentence], seed: int) -> Run:
    made = evaluate(model, sentences, EvaluationOptions(nll="tempered", rows=ROWS), seed).tempered
    assert made is not None
    return Run(made.each, tuple(made.corrections.values()), order(len(sentences)), made.bias)


def from_q(model: SenVAE, sentences: Sequence[Sentence], seed: int) -> Run:
    return Run(
        np.array(evaluate(model, sentences, EvaluationOptions(nll_samples=1000, rows=ROWS), seed).each), bias=None
    )


def shares(runs: Sequence[Run], tokens: Sequence[int]) -> dict[str, float]:
    """The share of pairs with p < .05, among all pairs of evaluations of one model, by what the test contains."""

    def of(run: Run) -> Sentences:
        return Sentences("", {"proposal": "q", "samples": 0}, np.array(tokens, dtype=np.float64), (run,))

    naive = [replace(run, nll=run.nll - run.nll.mean() + run.estimate, corrections=(), bias=0.0) for run in runs]
    found = [bootstrap(of(a), of(b), "", RESAMPLES) for a, b in itertools.combinations(runs, 2)]
    plain = [bootstrap(of(a), of(b), "", RESAMPLES) for a, b in itertools.combinations(naive, 2)]
    return {
        "with error and bias": float(np.mean([one.p < LEVEL for one in found])),
        "with error": float(np.mean([one.p_without_bias < LEVEL for one in found])),
        "with neither": float(np.mean([one.p < LEVEL for one in plain])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=60, help="Number of evaluations by the tempered estimate.")
    parser.add_argument("--samples-seeds", type=int, default=24, help="Number of evaluations by S = 1000 from q.")
    arguments = parser.parse_args()
    for folder in arguments.runs:
        run = open_run(folder)
        assert isinstance(run.model, SenVAE)
        sentences = subset(corpus_of(run).splits["valid"], arguments.sentences)
        rate = evaluate(run.model, sentences, EvaluationOptions(nll_samples=1), 0).rate
        for name, once, seeds in (("tempered", tempered, arguments.seeds), ("q", from_q, arguments.samples_seeds)):
            made = [once(run.model, sentences, seed) for seed in range(seeds)]
            found = shares(made, [len(sentence) for sentence in sentences])
            pairs = seeds * (seeds - 1) // 2
            facts = {"run": folder.name, "rate": rate, "estimator": name, "sentences": len(sentences), "pairs": pairs}
            print(json.dumps({**facts, "nll": float(np.mean([one.estimate for one in made])), **found}), flush=True)


if __name__ == "__main__":
    main()
