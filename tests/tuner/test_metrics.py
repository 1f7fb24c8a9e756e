"""Figures and fields of answers: one declaration each, from which all that lists them is made."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tuner.metrics import FIGURES, METRICS, Estimator, Figures, Metrics, figure, tempered_of

ROOT = Path(__file__).parents[2]
DECLARED = """    zest: Annotated[float | None, Metric("zest", "grains", "max", "grains of zest a sentence", shown=True)]
    nll: Annotated["""
FIELD = '''    mood: str
    """Mood of the study's people."""
    waiting_for_workers: bool'''
LOOK = """
import json
from pathlib import Path
from typing import get_args
from api import bodies, schemas
from tuner.metrics import AXES, SHOWN, figure
from tuner.studies.table import heads
print(json.dumps({
    "axis": AXES["zest"].titled, "head": heads({})["zest"].label, "column": "zest" in SHOWN,
    "told": "zest" in get_args(bodies.Metric), "value": figure({"zest": 2.5}, "zest"),
    "answer": schemas.Metrics.model_fields["zest"].description, "field": schemas.Summary.model_fields["mood"].description,
    "whole": schemas.Study.model_fields["mood"].annotation is str,
}))
"""


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_new_figure_and_a_new_field_take_one_declaration_each(tmp_path: Path) -> None:
    for folder in ("tuner", "api", "search_spaces"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    replaced(tmp_path / "tuner" / "metrics.py", "    nll: Annotated[", DECLARED)
    replaced(tmp_path / "tuner" / "studies" / "answers.py", "    waiting_for_workers: bool", FIELD)
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{LOOK}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout) == {
        "axis": "zest [grains]", "head": "zest", "column": True, "told": True, "value": 2.5,
        "answer": "grains of zest a sentence", "field": "Mood of the study's people.", "whole": True,
    }  # fmt: skip


def test_figures_are_those_that_have_a_type() -> None:
    assert tuple(Figures.__annotations__) == METRICS == tuple(FIGURES)
    assert {"collapsed", "estimator", "test", *METRICS} == set(Metrics.__annotations__)


def test_what_a_tempered_estimate_says_of_itself_is_found_beside_another_too() -> None:
    own = Estimator(temper=0.5, error=0.25, bias=0.125)
    assert figure(Metrics(nll=1.0, estimator=own), "error") == 0.25
    assert figure(Metrics(nll=1.0, estimator=Estimator(proposal="q", tempered=own)), "bias") == 0.125
    assert tempered_of(Metrics(nll=1.0, estimator=Estimator(proposal="exact"))) == {}
    assert (figure(Metrics(nll=1.0), "temper"), figure(Metrics(nll=1.0), "rate")) == (None, None)
