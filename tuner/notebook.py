"""A study in a notebook: its trials as a pandas frame, and the dashboard's figures by Plotly, from the dashboard's
data.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any, TypeAlias

from tuner.analysis import curves, history, pareto
from tuner.analysis.access import DatabaseAnalysis
from tuner.errors import Usage
from tuner.metrics import AXES, figure, number
from tuner.run import table_of
from tuner.storage.database import Database
from tuner.studies import study as studies
from tuner.studies.table import Table

Frame: TypeAlias = Any
"""`pandas.DataFrame`."""
Figure: TypeAlias = Any
"""`plotly.graph_objects.Figure`."""

COLOURS = ("#1f6fb4", "#d1495b", "#2a9d6f", "#b07aa1", "#e08e2b", "#5f6b7a")
INK = "#33363b"
NAMES = {"neg_elbo": "−ELBO", "distortion": "D", "rate": "R", "active_units": "active units"}


class Study:
    """A study of a database, as it is each time that it is asked. Nothing is kept open, and nothing is changed.

    Every method raises `tuner.errors.Missing` if there is no such study by now, and `tuner.errors.Usage` for what cannot be
    shown, or where a package is missing: pip install 'text-vae-tuner[notebook]'.

    Attributes:
        name: the study's.
        database: the database's URL.
    """

    def __init__(self, name: str, database: str) -> None:
        self.name, self.database = name, database
        with self._opened():  # so that a name that is none is said at once
            pass

    @contextmanager
    def _opened(self) -> Iterator[studies.Study]:
        with Database(self.database) as database, database.errors():
            yield studies.open_study(database, self.name)

    def trials(self, where: str | None = None, sort: str = "number") -> Frame:
        """All trials, a row each, by their numbers: hyperparameters, figures, times, notes.

        Args:
            where: a condition that they fit, e.g. `r > 5 and rate > 3`.
            sort: a column in whose order they come; `-nll`: the highest first.
        """
        frames = _package("pandas")
        with self._opened() as study:
            table = Table(study).follow()
            numbers = table.select(where, sort)
            return frames.DataFrame(table.values(list(table.heads), numbers)).set_index("number")

    def plot_history(self) -> Figure:
        """Each trial's value by its number, with the best so far; where the values are noisy, with the lowest mean so far."""
        with self._opened() as study:
            found = history.of(study, Table(study).follow())
        try:
            means = history.smoothed(self.database, self.name)
        except Usage:  # of two objectives
            means = {"noise": None}
        figure = _figure("trial", f"{found['judged']} [nats per sentence]")
        figure.add_scatter(
            x=found["number"], y=found["value"], mode="markers", name="trial", text=found["note"],
            marker={"color": COLOURS[0], "opacity": 0.7}, hovertemplate="trial %{x}: %{y:.4g} %{text}<extra></extra>",
        )  # fmt: skip
        lines = [("best so far", found["number"], found["best"], INK, "solid")]
        if means["noise"] is not None:
            lines.append(("lowest mean so far", means["number"], means["best"], COLOURS[1], "dash"))
        for name, x, y, colour, dash in lines:
            figure.add_scatter(x=x, y=y, mode="lines", name=name, line={"shape": "hv", "color": colour, "dash": dash})
        _hold_against(figure, {"exact entropy": found["entropy"], "n-gram model": found["ngram"]})
        return figure

    def plot_curves(self, figure: str = "neg_elbo", where: str | None = None, by: str = "epoch") -> Figure:
        """A learning curve of each trial over each other, the best trial's in another colour.

        Args:
            figure: neg_elbo, distortion, rate, active_units, or one of the technique's own quantities, e.g. beta.
            where: a condition that the trials fit.
            by: epoch or seconds.
        """
        if by not in ("epoch", "seconds"):
            raise Usage(f"by {by!r} is unknown: choose epoch or seconds.", "by")
        with self._opened() as study:
            numbers = None if where is None else Table(study).follow().select(where)
            found, best = curves.of(study, figure, numbers), study.best()
        drawn = _figure(by, NAMES.get(figure, figure))
        places = range(len(found["number"]))
        chosen = [place for place in places if best is not None and found["number"][place] == best.number]
        for name, some, colour, width in (
            ("trials", [place for place in places if place not in chosen], COLOURS[0], 1),
            ("the best trial", chosen, COLOURS[1], 2.5),
        ):
            # One trace for many trials, which gaps part: a thousand traces would take seconds.
            parts = [(found[by][p], found["value"][p], found["number"][p]) for p in some]
            drawn.add_scatter(
                x=[value for x, _, _ in parts for value in [*x, None]], y=[value for _, y, _ in parts for value in [*y, None]],
                customdata=[number for x, _, number in parts for _ in range(len(x) + 1)], mode="lines", name=name,
                line={"color": colour, "width": width}, opacity=0.5 if some is not chosen else 1.0,
                hovertemplate=f"trial %{{customdata}}, {by} %{{x:.4g}}: %{{y:.4g}}<extra></extra>",
            )  # fmt: skip
        return drawn

    def plot_pareto(self, *others: str, x: str = "rate", y: str = "ppl", split: str = "valid") -> Figure:
        """The trials in the plane of two figures, with the fronts, and those of other studies beside.

        Args:
            others: names of studies.
            x: a figure of `tuner.metrics.AXES`, as y.
            split: valid; or test, which confirmations alone have.
        """
        for key, value, known in (("x", x, AXES), ("y", y, AXES), ("split", split, pareto.SPLITS)):
            if value not in known:
                raise Usage(f"{key} {value!r} is unknown: choose one of {', '.join(known)}.", key)
        with self._opened() as study:
            found = DatabaseAnalysis(study.database).pareto([self.name, *others], x, y, split)
        lines = {each["label"]: each["value"] for each in found["levels"]}

        goals = found["x_goal"], found["y_goal"]
        stairs = pareto.has_stairs(*goals)
        figure = _figure(AXES[x].titled, AXES[y].titled)
        for place, own in enumerate(found["studies"]):
            names = [f"{own['study']}/{at} {note}" for at, note in zip(own["number"], own["notes"], strict=True)]
            colour = COLOURS[place % len(COLOURS)]
            figure.add_scatter(
                x=own["x"], y=own["y"], mode="markers", name=own["study"], text=names, marker={"color": colour, "opacity": 0.7},
                hovertemplate="%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>",
            )  # fmt: skip
            for kind in sorted(set(own["made"])) if stairs else ():  # figures of different estimators are not joined
                self._join(figure, own, [at for at in own["front"] if own["made"][at] == kind], colour)
        if len(found["studies"]) > 1 and found["front"] and stairs:
            points = sorted((found["studies"][s]["x"][at], found["studies"][s]["y"][at]) for s, at in found["front"])
            figure.add_scatter(
                x=[point[0] for point in points], y=[point[1] for point in points], mode="lines", name="front of all",
                line={"color": INK, "dash": "dot"},
            )  # fmt: skip
        _hold_against(figure, lines)
        _explain(figure, f"better {pareto.better(*goals)}", found["note"])
        return figure

    @staticmethod
    def _join(figure: Figure, own: Mapping[str, Any], front: Sequence[int], colour: str) -> None:
        points = sorted((own["x"][at], own["y"][at]) for at in front)
        figure.add_scatter(
            x=[point[0] for point in points], y=[point[1] for point in points], mode="lines", showlegend=False,
            line={"color": colour, "width": 1.5}, hoverinfo="skip",
        )  # fmt: skip

    def plot_rates(self, *others: str, split: str = "valid") -> Figure:
        """PPL, accuracy gap and reached minus wanted rate against the target rate. A sweep's points are joined."""
        _package("plotly")
        with self._opened() as study:
            found = DatabaseAnalysis(study.database).rates([self.name, *others], split)

        if not found["series"]:
            raise Usage(f"no trial of {', '.join([self.name, *others])} has held a target rate.")
        panels = list(found["panels"])
        figure = import_module("plotly.subplots").make_subplots(
            rows=1, cols=len(panels), subplot_titles=list(found["panels"].values())
        )
        for place, one in enumerate(found["series"]):
            for column, key in enumerate(panels, 1):
                deviations = one[f"{key}_sd"]
                figure.add_scatter(
                    x=one["target"], y=one[key], name=one["label"], legendgroup=one["label"], showlegend=column == 1,
                    mode="lines+markers" if one["joined"] else "markers", marker={"color": COLOURS[place % len(COLOURS)]},
                    error_y={"array": deviations} if any(deviations) else None, row=1, col=column,
                )  # fmt: skip
        figure.update_layout(template="simple_white", xaxis_title="target rate", legend={"orientation": "h", "y": -0.2})
        _explain(figure, found["note"])
        return figure

    @cached_property
    def _title(self) -> str:
        with self._opened() as study:
            spec = study.spec
            return (
                f"{spec.technique} on {study.facts.text}, model {spec.model}, sampler {spec.sampler}, seed {spec.seed}"
            )

    def __repr__(self) -> str:
        return f"<tuner.Study {self.name}: {self._title}>"

    def _repr_html_(self) -> str:
        with self._opened() as study:
            counts = (
                ", ".join(f"{count} {state}" for state, count in study.trials.shown_counts().items() if count) or "none"
            )
            best, state = study.best(), study.shown_state()
            rows = {
                "state": f"{state}, {study.why}" if study.why else state,
                "trials": f"{counts}; {study.spec.trials} in all",
            }
            rows |= {
                key: value for key, value in (("note", study.spec.note), ("tags", ", ".join(study.spec.tags))) if value
            }
        if best is not None:
            metrics = best.metrics or {}
            keys = dict.fromkeys([*study.spec.objective.split(","), "nll", "ppl", "rate"])
            figures = [f"{AXES[key].label} {number(figure(metrics, key))}" for key in keys if key in metrics]
            given = [f"{key} {number(value)}" for key, value in best.given.items()]
            rows[f"best: trial {best.number}"] = ", ".join([*figures, *given, *best.notes])
        return table_of(f"{self.name}: {self._title}", rows)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise Usage(f"{name} is not installed: pip install 'text-vae-tuner[notebook]'.") from error


def _figure(x: str, y: str) -> Figure:
    _package("plotly")
    figure = import_module("plotly.graph_objects").Figure()
    figure.update_layout(template="simple_white", xaxis_title=x, yaxis_title=y, legend={"orientation": "h", "y": -0.2})
    return figure


def _hold_against(figure: Figure, lines: Mapping[str, float | None]) -> None:
    for label, value in lines.items():
        if value is not None:
            figure.add_hline(y=value, line={"color": INK, "dash": "dot", "width": 1}, annotation_text=label)


def _explain(figure: Figure, *said: str | None) -> None:
    text = "<br>".join(html.escape(each) for each in said if each)
    if text:
        figure.add_annotation(text=text, xref="paper", yref="paper", x=1, y=1.08, showarrow=False, xanchor="right")
