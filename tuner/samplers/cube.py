"""Optuna's distributions as the unit cube, and back.

A number is one coordinate, on a log scale where its distribution is; whole numbers and steps sit in the middle of equal cells. A
categorical is one coordinate per choice, 1/√2 at the choice taken and 0 elsewhere, so that two choices are 1 apart.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]
CORNER = 1 / math.sqrt(2)


class Number:
    """A float or int distribution as one coordinate."""

    def __init__(self, distribution: FloatDistribution | IntDistribution) -> None:
        self.distribution = distribution
        self.step = distribution.step if not distribution.log or isinstance(distribution, IntDistribution) else None
        half = self.step / 2 if self.step else 0.0
        low, high = distribution.low - half, distribution.high + half
        self.low, self.high = (math.log(low), math.log(high)) if distribution.log else (low, high)
        self.width, self.continuous = 1, self.step is None
        self.size = math.inf if self.step is None else round((distribution.high - distribution.low) / self.step) + 1

    def encode(self, value: Any) -> Array:
        shown = math.log(value) if self.distribution.log else float(value)
        return np.array([(shown - self.low) / (self.high - self.low)])

    def decode(self, part: Array) -> Any:
        place = self.low + float(np.clip(part[0], 0.0, 1.0)) * (self.high - self.low)
        value, d = math.exp(place) if self.distribution.log else place, self.distribution
        if self.step:
            value = d.low + round((value - d.low) / self.step) * self.step
        value = min(max(value, d.low), d.high)
        return round(value) if isinstance(d, IntDistribution) else float(value)

    def spread(self, unit: Array) -> Array:
        return unit[:, None]

    def values(self) -> list[Any]:
        """All values of a number with steps."""
        assert self.step
        low, high, whole = self.distribution.low, self.distribution.high, isinstance(self.distribution, IntDistribution)
        found = [min(low + place * self.step, high) for place in range(int(self.size))]
        return [round(value) for value in found] if whole else found

    def others(self, value: Any) -> list[Any]:
        """The next values down and up; none for a continuous number."""
        if not self.step:
            return []
        low, high, reach = self.distribution.low, self.distribution.high, self.step / 2  # 0.2 + 0.1 exceeds 0.3
        near = [v for v in (value - self.step, value + self.step) if low - reach < v < high + reach]
        inside = [min(max(v, low), high) for v in near]
        return [round(v) if isinstance(self.distribution, IntDistribution) else v for v in inside]


class Choice:
    """A categorical distribution as one coordinate per choice."""

    continuous = False

    def __init__(self, distribution: CategoricalDistribution) -> None:
        self.distribution = distribution
        self.width = self.size = len(distribution.choices)

    def encode(self, value: Any) -> Array:
        part = np.zeros(self.width)
        part[self.distribution.choices.index(value)] = CORNER
        return part

    def decode(self, part: Array) -> Any:
        return self.distribution.choices[int(np.argmax(part))]

    def spread(self, unit: Array) -> Array:
        taken = np.minimum((unit * self.width).astype(int), self.width - 1)
        corners: Array = CORNER * np.eye(self.width)[taken]
        return corners

    def values(self) -> list[Any]:
        return list(self.distribution.choices)

    def others(self, value: Any) -> list[Any]:
        return [choice for choice in self.distribution.choices if choice != value]


class Cube:
    """A search space of k parameters as the cube of d coordinates. Parameters of a single value take no coordinate."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.space = dict(sorted(space.items()))
        self.parts: dict[str, Number | Choice] = {}
        for name, distribution in self.space.items():
            if distribution.single():
                continue
            if isinstance(distribution, CategoricalDistribution):
                self.parts[name] = Choice(distribution)
            elif isinstance(distribution, (FloatDistribution, IntDistribution)):
                self.parts[name] = Number(distribution)
            else:
                raise TypeError(f"parameter {name} has the distribution {distribution}, which has no place in a cube")
        ends = np.cumsum([part.width for part in self.parts.values()], dtype=int)
        self.slices = {
            name: slice(int(end) - part.width, int(end))
            for (name, part), end in zip(self.parts.items(), ends, strict=True)
        }
        self.d = int(ends[-1]) if len(ends) else 0
        self.continuous = np.array(
            [part.continuous for part in self.parts.values() for _ in range(part.width)], dtype=bool
        )

    @property
    def size(self) -> float:
        """Number of points; infinite with a continuous parameter."""
        return math.prod(part.size for part in self.parts.values())

    def holds(self, params: Mapping[str, Any]) -> bool:
        """True if these are values of this space."""
        return all(
            name in params and distribution._contains(distribution.to_internal_repr(params[name]))
            for name, distribution in self.space.items()
        )

    def encode(self, params: Mapping[str, Any]) -> Array:
        """[d]"""
        return np.concatenate([np.zeros(0), *(part.encode(params[name]) for name, part in self.parts.items())])

    def decode(self, point: Array) -> dict[str, Any]:
        """The nearest values, those of single-valued parameters included."""
        fixed = {name: _only(d) for name, d in self.space.items() if name not in self.parts}
        return fixed | {name: part.decode(point[self.slices[name]]) for name, part in self.parts.items()}

    def snap(self, point: Array) -> Array:
        """The nearest point that some parameters have."""
        return self.encode(self.decode(point))

    def spread(self, unit: Array) -> Array:
        """Points of values [m, d] from uniform numbers [m, k]."""
        points = np.concatenate([part.spread(u) for part, u in zip(self.parts.values(), unit.T, strict=True)], 1)
        return points if self.continuous.all() else np.array([self.snap(point) for point in points])

    def neighbours(self, point: Array) -> Array:
        """Points with one discrete parameter changed, a number by one step: [m, d]."""
        params = self.decode(point)
        found: Sequence[Array] = [
            self._changed(point, name, part.encode(value))
            for name, part in self.parts.items()
            for value in part.others(params[name])
        ]
        return np.array(found).reshape(-1, self.d)

    def unused(self, point: Array, taken: Array) -> Array:
        """The point [d], or if it is one of `taken` [n, d] the nearest by steps that is none; itself if there is none left."""
        used = {_key(other) for other in taken}
        seen, queue = {_key(point)}, deque([point])
        while queue:
            here = queue.popleft()
            if _key(here) not in used:
                return here
            for near in self.neighbours(here):
                if (key := _key(near)) not in seen:
                    seen.add(key)
                    queue.append(near)
        return point

    def every(self) -> Array:
        """All points [size, d] of a space without a continuous coordinate."""
        encoded = [[part.encode(value) for value in part.values()] for part in self.parts.values()]
        return np.array([np.concatenate(parts) for parts in product(*encoded)])

    def untried(self, taken: Array) -> NDArray[np.bool_]:
        """True for coordinates [d] of a category that none of `taken` [n, d] has."""
        categories = np.zeros(self.d, dtype=bool)
        for name, part in self.parts.items():
            categories[self.slices[name]] = isinstance(part, Choice)
        return categories & ~(taken > 0).any(0)

    def distinct(self, points: Array) -> int:
        """Number of different points among [n, d]."""
        return len({_key(point) for point in points})

    def _changed(self, point: Array, name: str, part: Array) -> Array:
        changed = point.copy()
        changed[self.slices[name]] = part
        return changed


def _key(point: Array) -> bytes:
    """Key of a point; points that differ by rounding alone have equal keys."""
    return (point.round(9) + 0.0).tobytes()


def _only(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low
