"""Data only: one TOML file per technique with the domain of each hyperparameter (read by `tuner.space`)."""
