"""Transformers: pre-norm layers with rotary positions (Vaswani et al. 2017; Xiong et al. 2020; Su et al. 2021).

Rows are tokens in any order, so that norms and products see no padding; attention alone is over padded sentences, by PyTorch's
own kernels. A decoder's sentence has one more place, before its first word, where the code enters: as a word of its own (prefix),
or as what that place is in every layer, whose key and value the words attend to (memory).

B: sentences; T: places of the longest; M: rows; d: units; H: heads; h: units of a head; L: layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.options import ModelOptions
from trainers.recurrent import Packing

BASE = 10_000.0
"""Base of the rotary angles: a place times BASE^(−2i/h) for the i-th pair of units."""


def rotated(x: Tensor, first: int = 0) -> Tensor:
    """Rotates x […, T, h]: the i-th pair of units of each place is turned by its angle; the first place is number
    `first`.
    """
    half = x.shape[-1] // 2
    rates = BASE ** (-torch.arange(half, device=x.device, dtype=torch.float64) / half)
    places = torch.arange(first, first + x.shape[-2], device=x.device, dtype=torch.float64)
    angles = places[:, None] * rates
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Layer(nn.Module):
    """A pre-norm layer: x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, units: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.inner_norm = nn.LayerNorm(units), nn.LayerNorm(units)
        self.project, self.attended = nn.Linear(units, 3 * units), nn.Linear(units, units)
        self.widen, self.narrow = nn.Linear(units, inner), nn.Linear(inner, units)

    def projected(self, x: Tensor) -> Tensor:
        """Queries, keys and values [M, 3d] beside each other, from x [M, d]."""
        found: Tensor = self.project(self.attention_norm(x))
        return found

    def heads_of(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, 3d] → queries, keys and values, each [B, H, T, h]."""
        apart = projected.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return apart[0], apart[1], apart[2]

    def finished(self, x: Tensor, attended: Tensor) -> Tensor:
        """The layer's output from its input and what attention found, all [M, d]."""
        x = x + self.attended(attended)
        found: Tensor = x + self.narrow(F.gelu(self.widen(self.inner_norm(x))))
        return found


class Stack(nn.Module):
    """L layers and a last norm."""

    def __init__(self, layers: int, options: ModelOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(options.d_h, options.heads, options.d_f) for _ in range(layers))
        self.norm = nn.LayerNorm(options.d_h)

    def forward(self, x: Tensor, place: Tensor, size: tuple[int, int], mask: Tensor | None, given: Tensor) -> Tensor:
        """Outputs [M, d] of all rows at once.

        Args:
            x: the words [M', d]; the last B of the M rows are those before the first words, where there are such.
            place: of each of the M rows in the padded sentences, sentence·T + place.
            size: B and T.
            mask: the places that may be attended to [B, 1, 1, T]; None: all that are not behind.
            given: what the first places are in the first layer, or in each [1 or L, B, d]; [0, ·, ·] where there are none.
        """
        words = len(x)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if number < len(given):
                x = torch.cat([x[:words], given[number].to(x.dtype)])
            projected = layer.projected(x)
            padded = projected.new_zeros(size[0] * size[1], projected.shape[1]).index_copy(0, place, projected)
            q, k, v = layer.heads_of(padded.view(*size, -1))
            found = F.scaled_dot_product_attention(rotated(q), rotated(k), v, attn_mask=mask, is_causal=mask is None)
            x = layer.finished(x, found.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, place))
        out: Tensor = self.norm(x)
        return out

    def step(self, x: Tensor, cache: Tensor | None, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One place on: x [B, d] → outputs [B, d] and the keys and values of all places so far [L, 2, B, H, T, h]."""
        kept = []
        first = 0 if cache is None else cache.shape[-2]
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if given is not None and number < len(given):
                x = given[number]
            q, k, v = layer.heads_of(layer.projected(x)[:, None])
            q, k = rotated(q, first), rotated(k, first)
            if cache is not None:
                k, v = torch.cat([cache[number, 0], k], dim=2), torch.cat([cache[number, 1], v], dim=2)
            kept.append(torch.stack([k, v]))
            x = layer.finished(x, F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))
        return self.norm(x), torch.stack(kept)


class TransformerEncoder(nn.Module):
    """States of a sentence's words, which see all others, or those before them where it is not bidirectional."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.bidirectional = options.bidirectional
        self.read = nn.Linear(options.d_e, options.d_h)
        self.stack = Stack(options.encoder_layers, options)

    def forward(self, embedded: Tensor, packing: Packing, precision: str) -> Tensor:
        """Words [N, d_e] in packed order → states [N, d_h]."""
        size = len(packing.order), len(packing.sizes)
        places = torch.arange(size[1], device=embedded.device)
        mask = (places < packing.lengths[:, None])[:, None, None] if self.bidirectional else None
        with torch.autocast(embedded.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            nothing = embedded.new_empty(0, 0, 0)
            place = packing.sentence * size[1] + packing.step
            out: Tensor = self.stack(self.read(embedded), place, size, mask, nothing)
        return out.to(embedded.dtype)
