"""The encoder: a network over a sentence's words, and one vector of its states, from which the posterior is made.

B: sentences; N: tokens of all of them; w: units of a token's state, both directions' beside each other.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainers import recurrent
from trainers.options import ModelOptions
from trainers.recurrent import Packing
from trainers.transformer import TransformerEncoder

Encoder = nn.GRU | nn.LSTM | TransformerEncoder


def make(options: ModelOptions) -> Encoder:
    """The encoder that goes with the decoder's cell."""
    if options.cell == "transformer":
        return TransformerEncoder(options)
    network = nn.GRU if options.cell == "gru" else nn.LSTM
    return network(
        options.d_e,
        options.encoder_units,
        options.encoder_layers,
        batch_first=True,
        bidirectional=options.bidirectional,
    )


def width(options: ModelOptions) -> int:
    """Width w of a state; a transformer's state is of both directions as it is."""
    both = options.bidirectional and options.cell != "transformer"
    return (1 + both) * options.encoder_units


def states(network: Encoder, embedded: Tensor, packing: Packing, precision: str) -> Tensor:
    """States [N, w] of words [N, d_e], both in packed order."""
    if isinstance(network, TransformerEncoder):
        found: Tensor = network(embedded, packing, precision)
        return found
    directions = 1 + network.bidirectional
    start = embedded.new_zeros(directions * network.num_layers, len(packing.order), network.hidden_size)
    cell = start if isinstance(network, nn.LSTM) else None
    return recurrent.outputs(network, embedded, packing, start, cell, precision)


def last(found: Tensor, packing: Packing, units: int) -> Tensor:
    """The states where each direction ends: the last word's, and the first word's in the columns from `units` on (PA eq. 14)."""
    end = found[:, :units].index_select(0, packing.last)
    if found.shape[1] == units:
        return end
    first = packing.mirrored.index_select(0, packing.last)
    return torch.cat([end, found[:, units:].index_select(0, first)], dim=-1)


def mean(found: Tensor, packing: Packing, units: int) -> Tensor:
    """The mean of a sentence's states (Long et al. 2019)."""
    del units
    total = found.new_zeros(len(packing.order), found.shape[1]).index_add(0, packing.sentence, found)
    return total / packing.lengths[:, None]


def largest(found: Tensor, packing: Packing, units: int) -> Tensor:
    """Each unit's largest value in a sentence (Long et al. 2019)."""
    del units
    lowest = found.new_full((len(packing.order), found.shape[1]), -torch.inf)
    return lowest.scatter_reduce(0, packing.sentence[:, None].expand_as(found), found, "amax")


POOLINGS: dict[str, Callable[[Tensor, Packing, int], Tensor]] = {"last": last, "mean": mean, "max": largest}
"""Functions that pool states [N, w] in packed order to one vector a sentence [B, w]; `units`: those of one direction."""
