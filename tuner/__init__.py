"""Studies of text-VAE techniques: Bayesian optimisation of their hyperparameters against validation NLL."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.notebook import Study
    from tuner.run import Model

__version__ = "0.1.0"


def load(run: str, database: str | None = None) -> "Model":
    """A trained run's model, for notebooks and scripts: see `tuner.run.Model` for what it can do.

    >>> with tuner.load("sfb-grammar-tiny/3") as model:
    ...     codes = model.encode(["this ship follows the ship"])  # [1, d_z]
    ...     model.decode(codes)

    Args:
        run: a trial as STUDY/NUMBER, or a run's folder.
        database: of the study; the environment's TUNER_DATABASE, or sqlite:///tuner.db, if none is named.

    Raises:
        tuner.errors.Usage: if there is no such run, or it has no weights yet.
        tuner.errors.Fault: if its files are damaged or the model cannot be loaded.
    """
    from tuner.run import opened

    return opened(run, database)


def study(name: str, database: str | None = None) -> "Study":
    """A study, for notebooks and scripts: see `tuner.notebook.Study` for what it can show.

    >>> study = tuner.study("sfb-ptb-small")
    ... study.trials(where="rate > 3")  # a pandas DataFrame
    ... study.plot_pareto("mdr-ptb-small")  # a Plotly figure

    Args:
        name: the study's.
        database: of the study; the environment's TUNER_DATABASE, or sqlite:///tuner.db, if none is named.

    Raises:
        tuner.errors.Usage: if there is no such study.
    """
    import os

    from tuner.defaults import DATABASE
    from tuner.notebook import Study

    return Study(name, database or os.environ.get("TUNER_DATABASE", DATABASE))
