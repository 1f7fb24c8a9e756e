"""Training's tokens a second, beside a naive loop of the same model, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.train_speed --corpus ptb --model paper --steps 40

Both see the same random batches of the whole training text (`--set 'batching="length"'` gives ours those of near-equal length).
The naive loop pads them, decodes the padding too, logits included, and takes PyTorch's plain Adam. The loops take turns, so that
both see the same machine. `--set 'precision="bfloat16"'`, or tf32, is for ours alone. Prints one JSON object: tokens a second
(padding is none), the share of the arithmetic bound (the forward and backward pass's products at the machine's measured peak in
that precision), and how far the two loops' losses on equal batches are apart.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.speed import machine, megabytes, peak, training_flops, wait_for
from trainers import corpus as corpora
from trainers import objectives
from trainers.corpus import Sentence, batches
from trainers.decoder import PAD_INDEX, GRUCell
from trainers.latent.distributions import Gaussian
from trainers.models import Batch, SenVAE
from trainers.options import Options
from trainers.precision import multiplying
from trainers.training import Training, build_model

TURNS = 5


class Naive:
    """Loop that one would write first."""

    def __init__(self, model: SenVAE, options: Options, sentences: int) -> None:
        self.model, self.options, self.sentences = model.train(), options, sentences
        self.optimizer = torch.optim.Adam(model.parameters(), lr=options.training.learning_rate, foreach=False)
        self.device = next(model.parameters()).device

    def loss(self, sentences: Sequence[Sentence]) -> torch.Tensor:
        """D + R of a padded batch."""
        batch, model = Batch.of(sentences, self.device), self.model
        decoder = model.decoder
        assert isinstance(decoder.cell, GRUCell)
        packed = pack_padded_sequence(decoder.embedding(batch.tokens).detach(), batch.lengths, True, False)
        posterior = model.posterior_of(torch.cat([*model.encoder(packed)[1]], dim=-1))
        z, _ = posterior.transform(posterior.noise(1))
        assert isinstance(posterior, Gaussian)
        own = torch.distributions.Normal(posterior.location, posterior.scale)
        rate = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).sum(-1)
        states, _ = decoder.cell.gru(self.dropout(decoder.embedding(batch.inputs)), model.initial_state(z[0]).h)
        logits = decoder.output(decoder.to_embedding(self.dropout(states)))
        nll = F.cross_entropy(logits.flatten(0, 1), batch.tokens.flatten(), reduction="none", ignore_index=PAD_INDEX)
        return (nll.view_as(batch.tokens).sum(-1) + rate).mean()

    def dropout(self, states: torch.Tensor) -> torch.Tensor:
        """One mask [B, 1, ·] for all steps of a sentence."""
        rate = self.options.model.dropout if self.model.training else 0.0
        return states * states.new_empty(len(states), 1, states.shape[2]).bernoulli_(1 - rate) / (1 - rate)

    def step(self, sentences: Sequence[Sentence]) -> None:
        loss = self.loss(sentences) + self.model.weight_decay(self.sentences)
        self.optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(self.model.parameters(), self.options.training.clip)
        self.optimizer.step()
        loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="ptb")
    parser.add_argument("--model", default="paper")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=40, help="Number of steps of each loop.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    changes: dict[str, Any] = {
        key: json.loads(value) for key, _, value in (pair.partition("=") for pair in arguments.set)
    }
    options = Options.resolve(arguments.model, {**changes, "device": arguments.device})
    corpus = corpora.load(arguments.corpus, options.corpus)
    train, size = corpus.splits["train"], len(corpus.vocabulary)
    torch.manual_seed(arguments.seed)
    objective = objectives.create("vanilla", {})
    model = build_model(objective, size, options.model, corpus.lengths)
    naive_model = build_model(objective, size, replace(options.model, precision="float32"), corpus.lengths)
    assert isinstance(model, SenVAE)
    assert isinstance(naive_model, SenVAE)
    naive_model.load_state_dict(model.state_dict())
    training = Training(
        model, objective, corpus, options.training, arguments.seed, Path(tempfile.mkdtemp()), lambda *_: None
    )
    device = training.device
    naive = Naive(naive_model.to(device), options, len(train))

    apart = 0.0
    model.eval(), naive_model.eval()
    for indices in itertools.islice(batches(train, options.training.batch_size, 1, by_length=False), 4):
        sentences = [train[i] for i in indices]
        torch.manual_seed(0)
        ours = objective.loss(objective.measure(model, Batch.of(sentences, device))).item()
        torch.manual_seed(0)
        apart = max(apart, abs(ours / naive.loss(sentences).item() - 1))
    model.train(), naive_model.train()

    def order(by_length: bool) -> list[list[Sentence]]:
        found = batches(train, options.training.batch_size, arguments.seed, by_length)
        return [[train[i] for i in indices] for indices in itertools.islice(found, arguments.steps + TURNS)]

    def timed(step: Any, part: list[list[Sentence]]) -> tuple[int, float]:
        step(part[0])  # not counted
        wait_for(device)
        started = time.perf_counter()
        for sentences in part[1:]:
            step(sentences)
        wait_for(device)
        return sum(len(s) for sentences in part[1:] for s in sentences), time.perf_counter() - started

    by_length = options.training.batching == "length"
    loops = {"ours": (lambda s: training._step(s, []), order(by_length)), "naive": (naive.step, order(False))}
    totals = {name: [0, 0.0] for name in loops}
    for turn in range(TURNS):
        for name, (step, all_of) in loops.items():
            tokens, seconds = timed(step, all_of[turn::TURNS])
            totals[name][0] += tokens
            totals[name][1] += seconds
    speed = {name: tokens / seconds for name, (tokens, seconds) in totals.items()}
    precision = options.model.precision
    with multiplying(precision):
        top = peak(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    flops = training_flops(options.model, size)
    found = {
        **machine(), "corpus": corpus.name, "model": arguments.model, "steps": arguments.steps, "seed": arguments.seed,
        "precision": precision,
        "tokens_per_second": {name: round(value, 1) for name, value in speed.items()},
        "ratio": round(speed["ours"] / speed["naive"], 2),
        "peak_gflops": round(top / 1e9, 1), "mflop_per_token": round(flops / 1e6, 2),
        "fraction_of_bound": {name: round(value * flops / top, 3) for name, value in speed.items()},
        "relative_loss_difference": apart, "epoch_seconds": round(sum(map(len, train)) / speed["ours"], 1),
        "megabytes": megabytes(),
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
