"""A recurrent layer's forward and backward pass over a random batch, by the ways to do without padding.

    OMP_NUM_THREADS=1 python -m benchmarks.recurrent --corpus ptb

For each cell and number of units, microseconds a token of: `ours`, what trainers/recurrent.py takes; `packed`, PyTorch's own
layer over its packed sequences; `groups`, PyTorch's layer over four groups of like length, each padded; `padded`, the whole batch
padded. One layer in one direction, with as many inputs as units. Prints one JSON object.
"""

import argparse
import itertools
import json
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from benchmarks.speed import machine, seconds
from trainers import corpus as corpora
from trainers import recurrent
from trainers.corpus import batches
from trainers.options import CorpusOptions
from trainers.recurrent import Packing

CPU = torch.device("cpu")
GROUPS = 4
BATCHES = 3


def ways(network: nn.GRU | nn.LSTM, lengths: Tensor) -> dict[str, Callable[[], None]]:
    """A pass of each way over sentences of these lengths."""
    packing, units = Packing.of(lengths, CPU), network.hidden_size
    tokens = torch.randn(int(lengths.sum()), units, requires_grad=True)
    padded = torch.zeros(len(lengths), int(lengths.max()), units).requires_grad_()
    start = torch.zeros(1, len(lengths), units)
    cell = start if isinstance(network, nn.LSTM) else None

    def backward(out: Tensor) -> None:
        network.zero_grad()
        out.backward(torch.ones_like(out))

    def ours() -> None:
        backward(recurrent.outputs(network, tokens, packing, start, cell, "float32"))

    def packed() -> None:
        backward(network(PackedSequence(tokens, torch.tensor(packing.sizes)))[0].data)

    def groups() -> None:
        ordered = lengths[packing.order]
        parts = [padded[i : i + len(own), : int(own.max())] for i, own in groups_of(ordered)]
        backward(torch.cat([network(part)[0].flatten(0, 1) for part in parts]))

    return {"ours": ours, "packed": packed, "groups": groups, "padded": lambda: backward(network(padded)[0])}


def groups_of(ordered: Tensor) -> list[tuple[int, Tensor]]:
    """Beginning of each group, and its lengths."""
    size = -(-len(ordered) // GROUPS)
    return [(start, ordered[start : start + size]) for start in range(0, len(ordered), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="ptb")
    parser.add_argument("--units", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--batch", type=int, default=64, help="Number of sentences.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train = corpora.load(arguments.corpus, CorpusOptions()).splits["train"]
    chosen = itertools.islice(batches(train, arguments.batch, arguments.seed, by_length=False), BATCHES)
    lengths = [torch.from_numpy(np.array([len(train[i]) for i in indices])) for indices in chosen]
    torch.manual_seed(arguments.seed)
    found = []
    for kind, units in itertools.product((nn.GRU, nn.LSTM), arguments.units):
        network = kind(units, units, batch_first=True)
        totals: dict[str, float] = {}
        for each in lengths:
            for name, way in ways(network, each).items():
                totals[name] = totals.get(name, 0.0) + seconds(way, CPU, 3)
        tokens = sum(int(each.sum()) for each in lengths)
        microseconds = {name: round(total / tokens * 1e6, 2) for name, total in totals.items()}
        found.append({"cell": kind.__name__.lower(), "units": units, "microseconds": microseconds})
    print(json.dumps({**machine(), "corpus": arguments.corpus, "batch": arguments.batch, "layers": found}))


if __name__ == "__main__":
    main()
