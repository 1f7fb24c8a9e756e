"""A study in a notebook: a frame and figures of the dashboard's data, and the example's cells as they stand."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filled import fill, held
from seeded import figures, made, trial_row
from sqlalchemy import insert
from stub_study import make

import tuner
from tuner.errors import Missing, Usage
from tuner.notebook import Study
from tuner.run import Model
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies.amendment import amend

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "study.ipynb"
COUNT = 12


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("notebook")
    database = Database(f"sqlite:///{folder}/t.db", create=True)
    study = made(database, folder, "mine", "sfb", COUNT, budget=20)
    lacking: dict[str, Any] = {"value": None, "values": None, "metrics": None}
    failed = trial_row(study, COUNT, state="failed", reason="error", message="<b>out of luck", **lacking)
    database.run(lambda session: session.execute(insert(TrialRow), [failed]))
    made(database, folder, "other", "beta", 5)
    amend(study, {"note": "<script>owned()</script>", "tags": ["night"]})
    yield database.secret_url
    database.close()


@pytest.fixture
def study(url: str) -> Study:
    return tuner.study("mine", url)


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def test_trials_are_a_frame(study: Study) -> None:
    found = study.trials()
    assert isinstance(found, pd.DataFrame)
    assert list(found.index) == list(range(COUNT + 1))
    assert found.loc[3, "nll"] == figures("sfb", 3)[1]["nll"]
    assert found.loc[3, "r"] == figures("sfb", 3)[0]["r"]
    assert found.loc[COUNT, "state"] == "failed"
    assert pd.isna(found.loc[COUNT, "nll"])
    some = study.trials(where="rate > 5", sort="-nll")
    wanted = [n for n in range(COUNT) if figures("sfb", n)[1]["rate"] > 5]
    assert sorted(some.index) == wanted
    assert list(some["nll"]) == sorted(some["nll"], reverse=True)
    assert found["nll"].dtype == float


def test_history_has_the_values_and_the_best_so_far(study: Study) -> None:
    found = traces(study.plot_history())
    values = [figures("sfb", n)[1]["nll"] for n in range(COUNT)]
    assert list(found["trial"].y[:COUNT]) == values
    assert list(found["best so far"].y[:COUNT]) == [min(values[: n + 1]) for n in range(COUNT)]
    lines = study.plot_history().layout.annotations
    assert [line.text for line in lines] == ["exact entropy"]


def test_curves_of_all_trials_and_of_some(study: Study) -> None:
    found = traces(study.plot_curves("rate"))
    best = min(range(COUNT), key=lambda n: figures("sfb", n)[1]["nll"])
    assert set(found["the best trial"].customdata) == {best}
    assert set(found["trials"].customdata) == set(range(COUNT)) - {best}
    assert list(found["the best trial"].y) == [3.0, 4.0, 5.0, None]
    some = traces(study.plot_curves("beta", where="number < 3", by="seconds"))
    assert set(some["trials"].customdata) | set(some["the best trial"].customdata) == {0, 1, 2}
    with pytest.raises(Usage, match="has no curve"):
        study.plot_curves("nix")
    with pytest.raises(Usage, match="choose epoch or seconds"):
        study.plot_curves(by="days")


def test_fronts_of_several_studies(study: Study) -> None:
    figure = study.plot_pareto("other", y="nll")
    found = traces(figure)
    assert len(found["mine"].x) == COUNT
    assert len(found["other"].x) == 5
    assert figure.layout.xaxis.title.text == "R [nats per sentence]"
    points = [
        (m["rate"], m["nll"]) for t, k in (("sfb", COUNT), ("beta", 5)) for n in range(k) for m in [figures(t, n)[1]]
    ]
    front = sorted(p for p in points if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points))
    assert list(zip(found["front of all"].x, found["front of all"].y, strict=True)) == front
    assert any("better" in each.text for each in figure.layout.annotations)
    with pytest.raises(Usage, match="x 'nix' is unknown"):
        study.plot_pareto(x="nix")
    with pytest.raises(Missing):
        study.plot_pareto("nothing")


def test_rates_join_no_search(study: Study) -> None:
    found = study.plot_rates()
    assert {trace.mode for trace in found.data} == {"markers"}
    assert len(found.data) == 3
    assert [each.text for each in found.layout.annotations][:1] == ["PPL [per token]"]


def test_a_point_of_one_run_has_no_deviation(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    fill(make(database, tmp_path, 3), *(held(1.0, 1.0, ppl) for ppl in (90.0, 92.0)), held(5.0, 5.0, 80.0))
    database.close()
    ppl, *_ = tuner.study("s", database.secret_url).plot_rates().data
    assert list(ppl.error_y.array) == [pytest.approx(2**0.5), None]


def test_a_study_shows_itself_without_markup(study: Study, url: str) -> None:
    shown = study._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "night" in shown
    assert f"{COUNT} complete, 1 failed; 20 in all" in shown
    assert "mine" in repr(study)
    with pytest.raises(Missing, match="'nothing'"):
        tuner.study("nothing", url)


def test_a_package_that_is_missing_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ask in (("pandas", study.trials), ("plotly", study.plot_history), ("plotly", study.plot_rates)):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
        with pytest.raises(Usage, match=rf"{name} is not installed: pip install 'text-vae-tuner\[notebook\]'"):
            ask()


def test_the_example_runs_and_has_been_run(url: str, tmp_path: Path) -> None:
    notebook = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells if not "".join(cell["source"]).startswith("import"))
    code = "\n".join("".join(cell["source"]) for cell in cells)
    code = code.replace('"sfb-grammar-tiny"', '"mine"').replace('"beta-grammar-tiny"', '"other"')
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "TUNER_DATABASE": url},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_run_shows_itself_too() -> None:
    model = object.__new__(Model)
    model.run, model.technique, model.d_z, model.words = "a<b>/3", "sfb", 8, 1234
    model.spec, model.metrics = {"options": {"tokens": "sentencepiece:2000"}}, {"nll": 15.123456, "collapsed": False}
    assert "a&lt;b&gt;/3" in model._repr_html_()
    assert "<tr><th>NLL</th><td>15.12 nats per sentence</td></tr>" in model._repr_html_()
    model.metrics = None
    assert "<tr><th>pieces</th><td>1,234</td></tr>" in model._repr_html_()
