"""Worth of the estimates of −log P(x) on trained models, beside a reference of many draws.

    OMP_NUM_THREADS=1 python -m benchmarks.estimators --trials 30 --out estimators

Trains so many configurations of `sfb` and `beta`, drawn at random from their search spaces (trained ones in `--out` are taken as
they are), or takes the finished runs that `--run` names. Of each: S = 1000 from q, the search's tempered estimate, and a
reference from draws of all six q_λ at once, weighted by their mixture's density (the balance heuristic), for the same sentences.
Prints a JSON object a model, then one that sums up: Kendall's τ between the ranking by each estimate and the reference's, each
one's bias by rate, its cost in draws, how often the stated interval holds the reference, and with `--replications` how often it
does for two of the models under so many seeds. `--record` keeps the models' objects in a file, and judges none of them again;
`--plot` draws bias against rate.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from trainers import corpus as corpora
from trainers import evaluation, figures, runs, tempered
from trainers.corpus import Sentence, batches
from trainers.latent.distributions import Conditional, Gaussian
from trainers.models import Batch, SenVAE
from trainers.options import EvaluationOptions
from tuner import space
from tuner.commands.options import settings

RATES = (0.0, 2.0, 5.0, 10.0, 15.0, math.inf)
"""Bins of the table, in nats."""
ROWS = 2048
ESTIMATES = {"q1000": "S = 1000 from q", "tempered": "tempered"}


class Own:
    """A posterior as a proposal: q_λ with λ = 1, a flow's too."""

    def __init__(self, posterior: Conditional) -> None:
        self.posterior, self.log_prob = posterior, posterior.log_prob

    def draw(self, noise: Tensor, _uniform: Tensor) -> tuple[Tensor, Tensor]:
        return self.posterior.transform(noise)


@torch.no_grad()
def reference(model: SenVAE, sentences: Sequence[Sentence], draws: int, seed: int) -> tuple[float, float, float]:
    """Mean −log P(x) by draws of each q_λ, its standard error by halves, and the median effective sample size's share."""
    prior, each, apart, sizes = model.prior_distribution(), [], [], []
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    per = max(draws // len(tempered.TEMPERS) // 2 * 2, 2)

    def gaussian(found: Conditional) -> Gaussian:
        if isinstance(found, Gaussian):
            return found
        return tempered.moments(found.transform(found.noise(tempered.MOMENT_DRAWS, generator))[0])

    components = gaussian(prior.components)
    for indices in batches(sentences, 16, None):
        batch = Batch.of([sentences[i] for i in indices], device)
        posterior = model.posterior(batch)
        q = gaussian(posterior)
        narrow = [tempered.Proposal.of(q, components, t) for t in tempered.TEMPERS if t < 1]
        proposals: list[Own | tempered.Proposal] = [Own(posterior), *narrow]
        shape = (per, *q.location.shape)
        noise: dict[str, Any] = {"generator": generator, "device": device}
        z = torch.cat([p.draw(torch.randn(shape, **noise), torch.rand(shape[:2], **noise))[0] for p in proposals])
        log_q = torch.stack([p.log_prob(z) for p in proposals]).logsumexp(0) - math.log(len(proposals))
        parts = z.split(max(ROWS // len(indices), 1))
        nll = torch.cat([model.decoder.of_samples(batch, model.initial_state(part.flatten(0, 1))) for part in parts])
        log_w = (prior.log_prob(z) - log_q - nll).double()
        each.append(math.log(len(z)) - log_w.logsumexp(0))
        halves = [math.log(len(z) / 2) - log_w[start::2].logsumexp(0) for start in (0, 1)]
        apart.append(halves[0] - halves[1])
        sizes.append((2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp() / len(z))
    found, difference = torch.cat(each), torch.cat(apart)
    return (
        found.mean().item(),
        float(difference.square().sum().sqrt() / 2 / len(found)),
        torch.cat(sizes).median().item(),
    )


def judge(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """A trained run's figures by each estimator."""
    run = runs.open_run(folder)
    model = run.model.eval()
    assert isinstance(model, SenVAE)
    corpus = corpora.load(arguments.corpus, run.options.corpus)
    chosen = evaluation.subset(corpus.splits["valid"], arguments.sentences)
    found: dict[str, Any] = {"run": folder.name, "technique": run.spec.technique, "values": run.spec.values}

    def timed(name: str, options: EvaluationOptions) -> figures.Metrics:
        started = time.perf_counter()
        metrics = evaluation.evaluate(model, chosen, options, arguments.seed)
        found[f"{name}_seconds"] = round(time.perf_counter() - started, 2)
        found[name] = round(metrics.nll, 4)
        return metrics

    metrics = timed("q1000", EvaluationOptions(nll="q", nll_samples=1000, rows=ROWS))
    found |= {"rate": round(metrics.rate, 2), "q_draws": 1000 * len(chosen)}
    timed("tempered", EvaluationOptions(nll="tempered", rows=ROWS))
    made = tempered.estimate(model, chosen, arguments.seed, ROWS, metrics.rate)
    pilot = tempered.PILOT_DRAWS * min(tempered.PILOT_SENTENCES, len(chosen)) * len(tempered.TEMPERS)
    found |= {"error": made.se, "bias_bound": made.bias, "temper": made.temper, "tempered_draws": made.draws + pilot}
    truth, error, share = reference(model, chosen, arguments.reference, arguments.seed + 1)
    low, high = made.interval
    found |= {"reference": round(truth, 4), "reference_error": error, "reference_ess": round(share, 3)}
    found |= {"q1000_bias": round(metrics.nll - truth, 4), "tempered_bias": round(made.nll - truth, 4)}
    found["covered"] = low - 2 * error <= truth <= high + 2 * error
    return found


def replicated(folder: Path, judged: Mapping[str, Any], arguments: argparse.Namespace) -> float:
    """The share of so many seeds whose interval holds the reference."""
    run = runs.open_run(folder)
    assert isinstance(run.model, SenVAE)
    corpus, truth, error = (
        corpora.load(arguments.corpus, run.options.corpus),
        judged["reference"],
        judged["reference_error"],
    )
    chosen, held = evaluation.subset(corpus.splits["valid"], arguments.sentences), 0
    for seed in range(1000, 1000 + arguments.replications):
        low, high = tempered.estimate(run.model.eval(), chosen, seed, ROWS).interval
        held += low - 2 * error <= truth <= high + 2 * error
    return float(held / arguments.replications)


def trained(arguments: argparse.Namespace) -> list[Path]:
    """Folders of finished runs."""
    if arguments.run:
        return list(arguments.run)
    rng, folders = np.random.default_rng(arguments.seed), []
    for number in range(arguments.trials):
        technique = ("sfb", "beta")[number % 2]
        values: dict[str, Any] = {}
        for parameter in space.load(technique).searched({}):
            assert parameter.low is not None
            assert parameter.high is not None
            low, high = (math.log(v) if parameter.log else v for v in (parameter.low, parameter.high))
            drawn = float(rng.uniform(low, high))
            values[parameter.name] = math.exp(drawn) if parameter.log else drawn
        values |= settings(arguments.set)
        values |= {"nll": "q", "nll_samples": 1, "nll_sentences": 10, "gallery": 0}
        folder = arguments.out / f"{technique}-{number}"
        runs.train(runs.Spec(technique, arguments.corpus, arguments.model, values, number), folder, lambda *_: None)
        folders.append(folder)
    return folders


def summed(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Both estimates over all models, and by rate."""
    truths = [found["reference"] for found in judged]
    table = []
    for low, high in pairwise(RATES):
        part = [found for found in judged if low <= found["rate"] < high]
        if part:
            means = {key: round(float(np.mean([f[key] for f in part])), 3) for key in ("q1000_bias", "tempered_bias")}
            worst = {f"worst_{key}": max((f[key] for f in part), key=abs) for key in ("q1000_bias", "tempered_bias")}
            table.append({"rates": f"{low:g} to {high:g}", "models": len(part), **means, **worst})
    return {
        "models": len(judged),
        "kendall": {key: round(float(kendalltau([f[key] for f in judged], truths)[0]), 4) for key in ESTIMATES},
        "by_rate": table,
        "covered": sum(found["covered"] for found in judged),
        "draws_share": round(float(np.mean([f["tempered_draws"] / f["q_draws"] for f in judged])), 3),
        "seconds_share": round(float(np.mean([f["tempered_seconds"] / f["q1000_seconds"] for f in judged])), 3),
        "resolved": sum(found["bias_bound"] <= tempered.RESOLVED for found in judged),
    }


def plot(judged: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draws each estimate's bias against the rate. A bar is twice the standard error: the reference's, and the tempered
    estimate's own where it is that one's."""
    from matplotlib.figure import Figure  # of the extra plots

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    rates = [found["rate"] for found in judged]
    for (key, label), mark in zip(ESTIMATES.items(), "so", strict=True):
        biases = [found[f"{key}_bias"] for found in judged]
        own = [found["error"] if key == "tempered" else 0.0 for found in judged]
        bars = [2 * math.hypot(found["reference_error"], error) for found, error in zip(judged, own, strict=True)]
        axes.errorbar(rates, biases, bars, fmt=mark, label=label, capsize=2, markersize=4)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("R, nats per sentence")
    axes.set_ylabel("estimate − reference, nats per sentence")
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", help="Folder of a finished run; may be repeated.")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--corpus", default="grammar")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="Option of the trained models.")
    parser.add_argument("--out", type=Path, default=Path("estimators"))
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--reference", type=int, default=6000, help="Number of draws of a sentence.")
    parser.add_argument(
        "--replications", type=int, default=0, help="Number of replications of the models nearest to 3 and 9 nats."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="File of the models' JSON lines; what it has is not judged again.")
    parser.add_argument("--plot", type=Path, help="File of the figure.")
    arguments = parser.parse_args()
    folders = trained(arguments)
    record: Path | None = arguments.record
    judged = [json.loads(line) for line in record.read_text().splitlines()] if record and record.exists() else []
    known = {found["run"] for found in judged}
    for folder in folders:
        if folder.name not in known:
            judged.append(judge(folder, arguments))
            line = json.dumps(judged[-1])
            print(line, flush=True)
            if record:
                with record.open("a") as lines:
                    lines.write(f"{line}\n")
    if arguments.plot:
        plot(judged, arguments.plot)
    summary = summed(judged)
    if arguments.replications:
        places = {folder.name: folder for folder in folders}
        reached = np.array([found["rate"] for found in judged])
        near = {int(np.abs(reached - rate).argmin()) for rate in (3.0, 9.0)}
        summary["replications"] = [
            {
                "run": judged[i]["run"],
                "rate": judged[i]["rate"],
                "covered": replicated(places[judged[i]["run"]], judged[i], arguments),
            }
            for i in sorted(near)
            if judged[i]["run"] in places
        ]
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
