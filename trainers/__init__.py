"""Training and evaluation of one text VAE. Knows nothing of studies; `python -m trainers` is its command."""
