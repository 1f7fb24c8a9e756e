"""Studies of text-VAE techniques: Bayesian optimisation of their hyperparameters against validation NLL."""

__version__ = "0.1.0"
