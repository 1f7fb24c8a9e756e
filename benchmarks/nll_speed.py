"""Importance-sampled NLL: token-samples a second, beside a naive loop, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.nll_speed --corpus ptb --model paper --sentences 32

The naive loop takes a sentence at a time with all its samples, runs the decoder over all of them, words and all, and normalises
every logit. `--run` evaluates a trained model, else one of random weights, as fast. Prints one JSON object: token-samples a
second, the share of the arithmetic bound (what the words alone decide counts once for all samples), the seconds that the whole
validation set would take, and the largest difference from a naive loop in double precision, in nats a sentence.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.speed import machine, megabytes, peak, sample_flops, wait_for
from trainers import corpus as corpora
from trainers import evaluation, objectives
from trainers.corpus import Sentence, batches
from trainers.decoder import GRUCell
from trainers.models import Batch, SenVAE
from trainers.options import Options
from trainers.training import build_model, choose_device


@torch.no_grad()
def ours(model: SenVAE, sentences: Sequence[Sentence], noise: Sequence[torch.Tensor], rows: int) -> torch.Tensor:
    """As `evaluate` does it, with given noise: −log P(x) of each sentence."""
    device, prior = next(model.parameters()).device, model.prior_distribution()
    found = torch.empty(len(sentences), dtype=torch.float64)
    for indices in batches(sentences, evaluation.batch_size(len(noise[0]), rows), None):
        batch = Batch.of([sentences[i] for i in indices], device)
        posterior = model.posterior(batch)
        drawn = evaluation.importance_samples(
            model, batch, posterior, prior, torch.stack([noise[i] for i in indices], 1), rows
        )
        weights = drawn.log_weights.double()
        found[indices] = (math.log(len(weights)) - weights.logsumexp(0)).cpu()
    return found


@torch.no_grad()
def naive(model: SenVAE, sentences: Sequence[Sentence], noise: Sequence[torch.Tensor]) -> torch.Tensor:
    """A sentence at a time, in the model's own precision."""
    weight = next(model.parameters())
    found, prior = torch.empty(len(sentences), dtype=torch.float64), model.prior_distribution()
    for i, sentence in enumerate(sentences):
        batch = Batch.of([sentence], weight.device)
        z, log_q = model.posterior(batch).transform(noise[i][:, None].to(weight.dtype))
        many = batch.repeat(len(z))
        decoder, h = model.decoder, model.initial_state(z[:, 0]).h
        assert isinstance(decoder.cell, GRUCell)
        states, _ = decoder.cell.gru(decoder.embedding(many.inputs), h)
        logits = decoder.output(decoder.to_embedding(states))
        log_p = logits.log_softmax(-1).gather(-1, many.tokens[..., None]).sum((1, 2))
        log_weights = (log_p + prior.log_prob(z)[:, 0] - log_q[:, 0]).double()
        found[i] = math.log(len(z)) - log_weights.logsumexp(0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="ptb")
    parser.add_argument("--model", default="paper")
    parser.add_argument("--run", type=Path, help="Folder of a trained run, of that corpus and model.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--sentences", type=int, default=32)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument(
        "--exact", type=int, default=4, help="Number of sentences that are compared with double precision."
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    changes = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in arguments.set)}
    options = Options.resolve(arguments.model, changes)
    corpus = corpora.load(arguments.corpus, options.corpus)
    device, size = choose_device(arguments.device), len(corpus.vocabulary)
    torch.manual_seed(arguments.seed)
    model = build_model(objectives.create("vanilla", {}), size, options.model, corpus.lengths)
    if arguments.run:
        from trainers import checkpoint

        checkpoint.load_weights(arguments.run / "best.safetensors", model)
    assert isinstance(model, SenVAE)
    model = model.to(device).eval()
    valid = corpus.splits["valid"]
    chosen = evaluation.subset(valid, arguments.sentences)
    noise = [torch.randn(arguments.samples, options.model.d_z, device=device) for _ in chosen]
    work = sum(map(len, chosen)) * arguments.samples

    def timed(what: str) -> tuple[torch.Tensor, float]:
        wait_for(device)
        started = time.perf_counter()
        found = ours(model, chosen, noise, options.evaluation.rows) if what == "ours" else naive(model, chosen, noise)
        wait_for(device)
        return found, time.perf_counter() - started

    ours(model, chosen[:2], [n[:50] for n in noise], options.evaluation.rows)  # not counted
    figures, seconds = timed("ours")
    same, naive_seconds = timed("naive")
    exact = naive(copy.deepcopy(model).double(), chosen[: arguments.exact], noise)
    top, flops = peak(device, torch.float32), sample_flops(options.model, size)
    speed = {"ours": work / seconds, "naive": work / naive_seconds}
    found = {
        **machine(), "corpus": corpus.name, "model": arguments.model, "sentences": len(chosen), "samples": arguments.samples,
        "seed": arguments.seed, "rows": options.evaluation.rows,
        "token_samples_per_second": {name: round(value) for name, value in speed.items()},
        "ratio": round(naive_seconds / seconds, 2),
        "peak_gflops": round(top / 1e9, 1), "mflop_per_token_sample": round(flops / 1e6, 2),
        "fraction_of_bound": {name: round(value * flops / top, 3) for name, value in speed.items()},
        "validation_seconds": round(sum(map(len, valid)) * arguments.samples / speed["ours"]),
        "difference_from_naive": float((figures - same).abs().max()),
        "difference_from_double": float((figures[: arguments.exact] - exact).abs().max()),
        "megabytes": megabytes(),
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
