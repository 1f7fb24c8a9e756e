"""Posteriors q(z|x), priors p(z) and the divergence between them."""
