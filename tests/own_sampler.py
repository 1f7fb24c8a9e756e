"""A sampler of a user's own, named as `own_sampler:Own`."""

from optuna.samplers import RandomSampler


class Own(RandomSampler):
    """Draws at random."""
