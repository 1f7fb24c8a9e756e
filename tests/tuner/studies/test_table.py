"""Trials as a table: conditions, orders and columns, on the command line, over the API, and as wide as a terminal."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import application
from fastapi.testclient import TestClient
from filled import fill, metrics
from seeded import figures, made, trial_row
from sqlalchemy import insert, update
from stub_study import make

from tuner import space
from tuner.analysis import comparison, history
from tuner.commands.render import trial_table
from tuner.commands.tables import Column, Table
from tuner.errors import Usage
from tuner.metrics import number
from tuner.storage.database import Database
from tuner.storage.tables import TrialRow
from tuner.studies import expressions
from tuner.studies.study import Study
from tuner.studies.table import Table as TrialTable

ROWS = {
    "r": [1.0, 5.0, None],
    "rate": [4.0, 2.0, 3.0],
    "state": ["complete", "failed", "running"],
    "note": ["", "Out of memory", None],
}


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("r > 2", [1]),
        ("r > 5 and rate > 3", []),
        ("r>=5 or rate >= 4", [0, 1]),
        ("not r > 2", [0, 2]),  # a trial without r has none above 2
        ("r != 5", [0]),
        ("r < rate", [0]),
        ("2 < rate and (r = 1 or state = running)", [0, 2]),
        ("state = 'Complete' or note ~ \"out of\"", [0, 1]),
        ("rate > 1e-3 AND NOT (rate == 2 OR rate == +4)", [2]),
    ],
)
def test_a_condition_chooses(condition: str, rows: list[int]) -> None:
    assert expressions.parse(condition, ["r", "rate"], ["state", "note"]).rows(ROWS, 3) == rows


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("rte > 3", "names 'rte', which is no column: choose of r, rate, state"),
        ("r > 'high'", "compares the text 'high' with r, a figure"),
        ("r >", "lacks a name or a number at its end"),
        ("(r > 3", "lacks a closing parenthesis"),
        ("r > 3 rate", "goes on with 'rate'"),
        ("r ; 3", "has '; 3' where a name"),
        ("r", "compares 'r' with nothing"),
        ("r ~ 3", "looks for a text in a figure"),
        ("(" * 400 + "r > 3", "within each other"),
        ("not " * 120 + "r > 3", "within each other"),
        ("r > " + "3" * 600, "may have 500"),
        ("__import__('os') > 3", "compares '__import__' with nothing"),
    ],
)
def test_what_is_no_condition_is_said_in_a_sentence(condition: str, said: str) -> None:
    with pytest.raises(Usage, match=r"^the condition ['\"].*: .*\.$") as error:
        expressions.parse(condition, ["r", "rate"], ["state"])
    assert said in str(error.value)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """Twelve complete trials, one that failed and one that was pruned."""
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    found = made(database, tmp_path, "s", "sfb", 12, budget=20)
    lacking = {"value": None, "values": None, "metrics": None}
    rows = [
        trial_row(found, 12, state="failed", reason="error", message="out of luck", **lacking),
        trial_row(found, 13, state="pruned", reason="pruned", message="below the median", **lacking),
    ]
    database.run(lambda session: session.execute(insert(TrialRow), rows))
    yield found
    database.close()


def test_trials_are_chosen_and_ordered_by_any_column(study: Study) -> None:
    table = TrialTable(study).follow()
    nll = {n: figures("sfb", n)[1]["nll"] for n in range(12)}
    rate = {n: figures("sfb", n)[1]["rate"] for n in range(12)}
    assert table.select(order="nll") == [*sorted(nll, key=nll.__getitem__), 12, 13]
    assert table.select(order="-nll") == [*sorted(nll, key=nll.__getitem__, reverse=True), 12, 13]  # without one: last
    assert table.select("rate > 10 and state = complete") == [n for n in rate if rate[n] > 10]
    assert table.select("note ~ LUCK or note ~ median", "-number") == [13, 12]
    assert table.select(state="pruned") == [13]
    assert table.values(["r", "state"], [12, 0])["state"] == ["failed", "complete"]
    with pytest.raises(Usage, match="order 'nl' is no column of study 's': choose of number, state, r, "):
        table.select(order="nl")


def test_the_table_follows_the_study(study: Study) -> None:
    table = TrialTable(study).follow()
    row = trial_row(
        study, 14, state="running", value=None, values=None, metrics=None, lease_until=9e9, revision=study.revision
    )
    study.database.run(lambda session: session.execute(insert(TrialRow), [row]))
    assert table.follow().select("state = running") == [14]
    expired = update(TrialRow).where(TrialRow.number == 14).values(lease_until=0.0)  # which no revision tells
    study.database.run(lambda session: session.execute(expired))
    assert table.follow().select("state = waiting") == [14]


def test_the_route_pages_in_any_order(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(application(study.database, tmp_path, monkeypatch), base_url="http://127.0.0.1")
    order = TrialTable(study).follow().select("rate > 1", "-rate")
    path, seen, cursor = "/v1/studies/s/trials", [], None
    while True:
        page = client.get(
            path, params={"where": "rate > 1", "order": "-rate", "limit": 5} | ({"cursor": cursor} if cursor else {})
        ).json()
        seen += [trial["number"] for trial in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == order
    table = client.get("/v1/studies/s/table", params={"column": ["r", "state"], "where": "state != complete"}).json()
    assert (table["number"], table["of"], list(table["columns"])) == ([12, 13], 14, ["r", "state"])
    for query, field in (({"where": "r >"}, "where"), ({"order": "nl"}, "order"), ({"column": "x"}, "column")):
        answer = client.get("/v1/studies/s/table" if "column" in query else path, params=query)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_trials_are_compared(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = made(study.database, tmp_path, "other", "beta", 2)
    found = comparison.of(study.database, ["s/3", "other/1"])
    differing = {one["name"]: one["values"] for one in found["settings"] if one["differs"]}
    assert differing["technique"] == ["sfb", "beta"]
    assert differing["r"] == [figures("sfb", 3)[0]["r"], None]
    assert {"seed", "model", "objective"}.isdisjoint(differing)
    assert next(one["values"] for one in found["figures"] if one["key"] == "nll") == [
        figures("sfb", 3)[1]["nll"],
        figures("beta", 1)[1]["nll"],
    ]
    client = TestClient(application(study.database, tmp_path, monkeypatch), base_url="http://127.0.0.1")
    assert client.get("/v1/compare", params={"run": ["s/3", "other/1"]}).json() == found
    for runs, status in (
        (["s/3"], 422),
        (["s/3", "s/03"], 422),
        (["s/3", "s/99"], 404),
        (["s/3", "s"], 422),
        (["s/3", "a\0b/3"], 422),  # which PostgreSQL refuses as a text
        ([f"s/{n}" for n in range(7)], 422),
    ):
        assert client.get("/v1/compare", params={"run": runs}).status_code == status
    said = tuner(study.database.secret_url, "compare", "s/3", f"{other.name}/1", width=80)
    assert re.search(r"^technique +sfb +beta$", said, re.MULTILINE)
    assert "objective" not in said


def tuner(url: str, *arguments: str, width: int) -> str:
    """Output of a command in a terminal of that width."""
    command = [sys.executable, "-m", "tuner", *arguments, "--database", url]
    mine, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=subprocess.PIPE, env=environment) as process:
        os.close(its)
        said = b""
        while True:
            try:
                said += os.read(mine, 65536)
            except OSError:  # it has ended
                break
        assert process.wait() == 0, process.stderr
    os.close(mine)
    return said.decode().replace("\r\n", "\n").replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_the_command_chooses(study: Study) -> None:
    rates = {n: figures("sfb", n)[1]["rate"] for n in range(12)}
    best = sorted((n for n in rates if rates[n] > 3), key=lambda n: figures("sfb", n)[1]["nll"])[:3]
    options = ("--sort", "nll", "--top", "3", "--where", "rate > 3", "--columns", "rate,note")
    said = tuner(study.database.secret_url, "trials", "s", *options, width=80)
    assert said.splitlines()[0].split() == ["#", "R", "note"]
    rows = said.split("\n\n")[0].splitlines()[1:]
    assert [int(line.split()[0]) for line in rows] == best
    assert all(row.endswith("off its rate") for row in rows)


def test_columns_are_known_where_no_trial_fits(study: Study) -> None:
    options = ("--where", "value > 1e9", "--columns", "r,nll")
    said = tuner(study.database.secret_url, "trials", "s", *options, width=80)
    assert said.splitlines()[0].split()[:3] == ["#", "r", "NLL"]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_trials_fit_the_terminal(study: Study, width: int) -> None:
    lines = [line.plain for line in trial_table(study.trials.all(), {3}).lines(width)]
    assert max(map(len, lines)) <= width
    head, left = lines[0].split(), next((line for line in lines if line.startswith("no room for ")), "")
    for n in range(12):  # no digit is cut
        assert any(all(number(value) in line.split() for value in figures("sfb", n)[0].values()) for line in lines), n
    assert {"r", "alpha", "gamma", "epsilon", "NLL", "R", "note"} <= set(head)
    assert all((label in head) != (label in left) for label in ("PPL", "D", "−ELBO", "AU", "MI", "gap", "time"))
    assert not left or left.endswith("--columns chooses")


WIDE = Table("name", Column("value", right=True), Column("note", rank=2, folds=True), title="a title")
WIDE.add("first", "1.2345", "some words that may go on")
WIDE.add("the second one", "98765.4321", "", marked=True)


FITTED = {
    80: """
a title
name                 value  note
first               1.2345  some words that may go on
the second one  98765.4321
""",
    40: """
a title
name                 value  note
first               1.2345  some words
                            that may go
                            on
the second one  98765.4321
""",
    30: """
a title
name                 value
first               1.2345
the second one  98765.4321
no room for note: --json has
them
""",
    20: """
a title
name first
  value 1.2345
  note some words that may go on
name the second one
  value 98765.4321
""",
}


@pytest.mark.parametrize("width", FITTED)
def test_a_table_fits(width: int) -> None:
    assert "".join(f"\n{line.plain}" for line in WIDE.lines(width)) + "\n" == FITTED[width]


def test_chosen_columns_are_never_left_out() -> None:
    table = Table("a", "b", chosen=True)
    table.add("x" * 10, "y" * 10)
    assert [line.plain for line in table.lines(15)] == [f"a {'x' * 10}", f"  b {'y' * 10}"]


def test_a_hyperparameter_hides_no_figure_of_its_name(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    study = make(database, tmp_path, 2, "drops", space=space.load("word-dropout"), min_rate=3.0)
    fill(study, metrics(100.0, 5.3), metrics(99.0, 4.0), params=[{"rate": 0.4}, {"rate": 0.7}])
    table = TrialTable(study).follow()
    assert table.values(["rate", "params.rate"], [0, 1]) == {"rate": [5.3, 4.0], "params.rate": [0.4, 0.7]}
    assert table.select("rate > 5 and params.rate < 0.5") == [0]
    assert (table.heads["rate"].label, table.heads["params.rate"].label) == ("R", "rate")
    assert history.of(study, table)["best"] == [100.0, 99.0]  # both reach the least rate
    compared = {one["key"]: one["values"] for one in comparison.of(database, ["drops/0", "drops/1"])["figures"]}
    assert compared["rate"] == [5.3, 4.0]
    assert "R " in (said := tuner(database.secret_url, "trials", "drops", "--columns", "rate,params.rate", width=80))
    assert re.search(r"0.*5\.3.*0\.4", said)
    database.close()
