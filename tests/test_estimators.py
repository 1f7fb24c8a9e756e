"""Figures of different estimators are shown together only with a word that says so, and never ranked together."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import application
from fastapi.testclient import TestClient
from stub_study import CORPUS, make, request_
from test_confirmation import fill, metrics

from tuner import estimators, paper, studies
from tuner import metrics as known
from tuner.cli import app
from tuner.database import Database

Q = {"proposal": "q", "samples": 1000, "sentences": 40, "of": 40, "seed": 0, "split": "valid"}
TEMPERED = {**Q, "proposal": "tempered q", "samples": 16, "seed": 9, "temper": 0.15, "levels": {"16": 40}}
TEXT = "grammar, 5 words, uncut, text f"
BY_Q = f"S = 1000 from q, 40 valid sentences of {TEXT}"
BY_TEMPERED = f"tempered, up to 16 draws, 40 valid sentences of {TEXT}"
NOTE = (
    "these figures are by different estimators, or of different texts, and are not to be ranked together "
    f"({BY_Q}: a, c; {BY_TEMPERED}: b)"
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Studies a and c by samples from q, b by a tempered estimate that makes its figures the better ones."""
    opened = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    for name, facts, nll in (("a", Q, 90.0), ("b", TEMPERED, 80.0), ("c", {**Q, "seed": 5}, 100.0)):
        fill(
            make(opened, tmp_path, 2, name),
            *(metrics(nll + n, 5.0 - n, estimator=facts, rate_error=0.0) for n in (0, 1)),
        )
    yield opened
    opened.close()


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as opened:
        yield opened


def test_there_is_no_front_over_different_estimators(client: TestClient) -> None:
    mixed = client.get("/v1/pareto?study=a&study=b&study=c").json()
    assert (mixed["front"], mixed["note"]) == ([], NOTE)
    assert [own["estimators"] for own in mixed["studies"]] == [
        [BY_Q],
        [BY_TEMPERED],
        [BY_Q],
    ]
    assert [own["front"] for own in mixed["studies"]] == [[0], [0], [0]]
    alike = client.get("/v1/pareto?study=a&study=c").json()  # other seeds are no other estimator
    assert (alike["front"], alike["note"]) == ([[0, 0]], None)
    unestimated = client.get("/v1/pareto?study=a&study=b&study=c&x=rate&y=distortion").json()
    assert (unestimated["front"], unestimated["note"]) == ([[1, 0]], None)


def test_there_is_no_front_over_different_texts(client: TestClient, database: Database, tmp_path: Path) -> None:
    other = studies.go_on(database, "other", request_(1), {**CORPUS, "vocabulary": 6}, tmp_path / "runs")
    fill(other, metrics(50.0, 9.0, estimator=Q))
    for axes, made in (("", "S = 1000 from q, 40 valid sentences of "), ("&x=rate&y=distortion", "")):
        both = client.get(f"/v1/pareto?study=a&study=other{axes}").json()
        assert both["front"] == []
        assert f"({made}{TEXT}: a; {made}grammar, 6 words, uncut, text f: other)" in both["note"]


def test_figures_of_batches_by_length_share_neither_letter_nor_front_with_others(
    client: TestClient, database: Database, tmp_path: Path
) -> None:
    other = studies.go_on(database, "other", request_(1), {**CORPUS, "batching": "length"}, tmp_path / "runs")
    fill(other, metrics(50.0, 9.0, estimator=Q))
    both = client.get("/v1/pareto?study=a&study=other").json()
    assert both["front"] == []
    assert f"{TEXT}: a;" in both["note"]
    assert f"{TEXT}, batches by length: other" in both["note"]
    made = [row.estimator for row in paper.rows(database, ["a", "other"], "valid")]
    assert len(set(made)) == 2


def test_rates_and_summaries_name_what_made_them(client: TestClient) -> None:
    assert client.get("/v1/rates?study=a&study=b&study=c").json()["note"] == NOTE
    assert client.get("/v1/rates?study=a&study=c").json()["note"] is None
    summaries = {one["name"]: one["estimator"] for one in client.get("/v1/studies").json()["items"]}
    assert summaries["b"] == BY_TEMPERED


@pytest.mark.parametrize("command", ["pareto", "rates", "report"])
def test_commands_say_so(database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    def said(*arguments: str) -> str:
        app([command, *arguments, "--database", database.secret_url], standalone_mode=False)
        shown = capsys.readouterr()
        return shown.err + shown.out

    assert "not to be ranked together" in said()
    assert "not to be ranked together" not in said("a", "c")
    if command == "report":
        return
    drawn = tmp_path / "drawn.svg"
    assert NOTE in said("--out", str(drawn))
    assert "tempered" in drawn.read_text()
    said("--out", str(tmp_path / "points.json"))
    assert json.loads((tmp_path / "points.json").read_text())["note"] == NOTE


def test_the_table_of_mixed_fronts_has_each_studys_own(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    app(["pareto", "--database", database.secret_url], standalone_mode=False)
    table = capsys.readouterr().out
    assert [name for name in ("a/0", "b/0", "c/0", "a/1") if name in table] == ["a/0", "b/0", "c/0"]


def test_whatever_samples_or_sentences_decide_is_an_estimate() -> None:
    chosen = {key for key, metric in known.AXES.items() if metric.estimated}
    assert chosen == {
        "value",
        "nll",
        "nll_se",
        "nll_tempered",
        "ppl",
        "ppl_tempered",
        "ppl_no_end",
        "melbo",
        "ppl_melbo",
    }


def test_an_estimate_without_words_is_another_estimator() -> None:
    read, unread = metrics(90.0), metrics(90.0)
    unread["estimator"] = {**unread["estimator"], "inputs": "none"}
    assert estimators.estimator_of(unread, "t") == estimators.estimator_of(read, "t") + ", no word read"
