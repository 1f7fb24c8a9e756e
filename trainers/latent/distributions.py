"""Distributions of the latent code: Gaussian, flow, mixture; and the divergence between posterior and prior.

B: sentences (or mixture components); d: latent dimensions; S: samples; … : any leading shape.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

CHUNK_DENSITIES = 8_000_000
"""Number of densities held at once where a mixture's density needs no gradient: 32 MB in 32 bits."""


class Conditional(ABC):
    """A conditional density q(z|·), one for each of B conditions."""

    @abstractmethod
    def transform(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Standard normal noise […, B, d] → z […, B, d] ~ q and log q(z) […, B]; differentiable."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """The log density log q(z|·) of any z […, B or 1, d]: […, B]."""

    @abstractmethod
    def __getitem__(self, index: Tensor) -> "Conditional":
        """The conditions at these places [n]."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """[B, d]"""

    def repeated(self, copies: int) -> "Conditional":
        """The joint density of so many independent codes of each condition, side by side: [B, copies·d]."""
        return Repeated(self, copies)

    def noise(self, samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise that `transform` takes: [S, B, d]."""
        like = self.like
        return torch.randn((samples, *self.shape), generator=generator, device=like.device, dtype=like.dtype)

    def codes(self, noise: Tensor, spread: float) -> Tensor:
        """Codes z […, B, d] from noise, `spread` times as far from the centre in standard deviations; 0: the centre."""
        return self.transform(noise * spread)[0]

    @property
    def dimensions(self) -> int:
        """Dimensions of the surface that codes lie on."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Numbers held for each pair of a code and a condition while its density is computed."""
        return self.shape[1]

    @property
    def mean(self) -> Tensor | None:
        """E[z] [B, d], where it has a closed form."""
        return None

    @property
    def entropy(self) -> Tensor | None:
        """−E[log q(z|·)] [B], where it has a closed form; the density of any code is cheap then."""
        return None

    def divergence(self, prior: "Conditional") -> tuple[Tensor, Tensor | None] | None:
        """KL(q(z|·) ‖ p(z)) [B] to a prior of one condition and, where it is a sum over dimensions, of each [B, d].

        None where it has no closed form.
        """
        del prior
        return None

    def tempered(self, prior: "Conditional", temper: float) -> "Conditional | None":
        """The density q^λ p^(1−λ) by its integral, where that is of q's family, for a prior of one condition."""
        del prior, temper
        return None

    def nearest(self, z: Tensor) -> Tensor:
        """The codes nearest to z […, d] that may be drawn: z itself, unless codes lie on a surface."""
        return z

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor of the right type and device."""


@dataclass(frozen=True)
class Gaussian(Conditional):
    """N(u, diag s²) with u, s [B, d] (PA eq. 3)."""

    location: Tensor
    scale: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.location.shape

    @property
    def like(self) -> Tensor:
        return self.location

    @property
    def normal(self) -> Normal:
        return Normal(self.location, self.scale, validate_args=False)

    def transform(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        log_q = -(0.5 * noise.square() + self.scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
        return self.location + self.scale * noise, log_q

    def log_prob(self, z: Tensor) -> Tensor:
        log_q: Tensor = self.normal.log_prob(z).sum(-1)
        return log_q

    def __getitem__(self, index: Tensor) -> "Gaussian":
        return Gaussian(self.location[index], self.scale[index])

    @property
    def mean(self) -> Tensor:
        return self.location

    @property
    def entropy(self) -> Tensor:
        each: Tensor = self.normal.entropy().sum(-1)
        return each

    def divergence(self, prior: Conditional) -> tuple[Tensor, Tensor] | None:
        if not isinstance(prior, Gaussian):
            return None
        per_dimension = kl_divergence(self.normal, prior.normal)
        return per_dimension.sum(-1), per_dimension

    def repeated(self, copies: int) -> "Gaussian":
        return Gaussian(self.location.repeat(1, copies), self.scale.repeat(1, copies))


@dataclass(frozen=True)
class Repeated(Conditional):
    """Π_a q(z^a|·): `copies` independent codes side by side, [B, copies·d]."""

    base: Conditional
    copies: int

    @property
    def shape(self) -> torch.Size:
        count, d = self.base.shape
        return torch.Size((count, self.copies * d))

    @property
    def like(self) -> Tensor:
        return self.base.like

    @property
    def width(self) -> int:
        return self.copies * self.base.width

    def _apart(self, joined: Tensor) -> Tensor:
        """[…, copies·d] → [copies, …, d]."""
        apart: Tensor = joined.unflatten(-1, (self.copies, -1)).movedim(-2, 0)
        return apart

    def transform(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        z, log_q = self.base.transform(self._apart(noise))
        return z.movedim(0, -2).flatten(-2), log_q.sum(0)

    def codes(self, noise: Tensor, spread: float) -> Tensor:
        return self.base.codes(self._apart(noise), spread).movedim(0, -2).flatten(-2)

    @property
    def dimensions(self) -> int:
        return self.copies * self.base.dimensions

    def log_prob(self, z: Tensor) -> Tensor:
        return self.base.log_prob(self._apart(z)).sum(0)

    def __getitem__(self, index: Tensor) -> "Repeated":
        return Repeated(self.base[index], self.copies)


class Step(ABC):
    """One invertible map of a flow, conditioned on each of B sentences."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers held for each code and condition."""

    @abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Maps z […, B, d] to g(z) […, B, d] and log |det ∂g/∂z| […, B]."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """The z […, B, d] with g(z) = y; differentiable where autograd is on."""

    @abstractmethod
    def __getitem__(self, index: Tensor) -> "Step":
        """The conditions at these places [n]."""


@dataclass(frozen=True)
class Flow(Conditional):
    """A flow z = g_T ∘ … ∘ g_1(z_0), z_0 Gaussian: log q(z) = log N(z_0) − Σ_t log |det J_t| (PA eq. 7, 16k, 18k)."""

    base: Gaussian
    steps: Sequence[Step]

    @property
    def shape(self) -> torch.Size:
        return self.base.shape

    @property
    def like(self) -> Tensor:
        return self.base.like

    @property
    def width(self) -> int:
        return max([self.shape[1], *(step.width for step in self.steps)])

    def transform(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        z, log_q = self.base.transform(noise)
        for step in self.steps:
            z, log_det = step.forward(z)
            log_q = log_q - log_det
        return z, log_q

    def log_prob(self, z: Tensor) -> Tensor:
        log_det = torch.zeros((), device=z.device, dtype=z.dtype)
        for step in reversed(self.steps):
            z = step.inverse(z)
            log_det = log_det + step.forward(z)[1]
        return self.base.log_prob(z) - log_det

    def __getitem__(self, index: Tensor) -> "Flow":
        return Flow(self.base[index], [step[index] for step in self.steps])


@dataclass(frozen=True)
class Mixture:
    """1/B Σ_b q(z|b), uniform over the conditions of `components`: a prior (PA eq. 9, 10), or the aggregate posterior q(z).

    N(0, I) is the mixture of one component. With several `copies` the density is that of so many independent codes side by side.
    """

    components: Conditional
    copies: int = 1

    def log_prob(self, z: Tensor) -> Tensor:
        """The log density log p(z) of z […, copies·d]: […]."""
        if self.copies > 1:
            return Mixture(self.components).log_prob(z.unflatten(-1, (self.copies, -1))).sum(-1)
        count, d = self.components.shape
        flat = z.reshape(-1, d)
        parts = [self.components.log_prob(part[:, None]).logsumexp(-1) for part in flat.split(self._rows(len(flat)))]
        return (torch.cat(parts) - math.log(count)).reshape(z.shape[:-1])

    def log_prob_of_own(self, z: Tensor, own: Tensor, log_q: Tensor) -> Tensor:
        """The log density of codes z [n, d], each drawn from the component `own` [n], whose log density there is log_q [n].

        That density is taken as it is known, since the inverse of a narrow flow, in 32 bits, can miss its own code.
        """
        found = []
        for part, places, known in zip(*(each.split(self._rows(len(z))) for each in (z, own, log_q)), strict=True):
            pairs = self.components.log_prob(part[:, None]).nan_to_num(-math.inf, math.inf, -math.inf)
            found.append(pairs.scatter(1, places[:, None], known[:, None]).logsumexp(-1))
        return torch.cat(found) - math.log(self.components.shape[0])

    def _rows(self, count: int) -> int:
        """Number of codes whose densities under all components are computed at a time."""
        if torch.is_grad_enabled():
            return max(count, 1)
        return max(CHUNK_DENSITIES // (self.components.shape[0] * self.components.width), 1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` draws [count, copies·d]. Reparameterised: uniform weights leave the choice of component free of parameters."""
        device = self.components.like.device
        chosen = torch.randint(self.components.shape[0], (count * self.copies,), generator=generator, device=device)
        picked = self.components[chosen]
        return picked.transform(picked.noise(1, generator))[0][0].view(count, -1)

    @property
    def single(self) -> Conditional | None:
        """The one distribution that it is, of all copies together, if it is a mixture of one."""
        if self.components.shape[0] > 1:
            return None
        return self.components if self.copies == 1 else self.components.repeated(self.copies)


def divergence(
    q: Conditional, p: Mixture, z: Tensor, log_q: Tensor, log_p: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """KL(q(z|x) ‖ p(z)) of each sentence [B] and, where it has a closed form, of each dimension [B, d].

    In closed form where the posterior has one under this prior; otherwise the mean of log q(z|x) − log p(z) over the given
    samples z [S, B, d] with log q(z|x) [S, B] (PA eq. 11, there S = 1), which may be negative. log_p saves computing it again.
    """
    prior = p.single
    closed = None if prior is None else q.divergence(prior)
    if closed is not None:
        return closed
    return (log_q - (p.log_prob(z) if log_p is None else log_p)).mean(0), None
