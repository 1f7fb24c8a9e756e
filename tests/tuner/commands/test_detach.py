"""Several studies in the background, and gone on with by one command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shell import AWAITED as DEADLINE
from shell import SMALLEST as QUICK
from shell import await_end
from stub_study import make

from tuner.commands.app import app
from tuner.errors import Clash, Missing
from tuner.storage.database import Database
from tuner.studies import queries


def test_several_techniques_are_detached_into_one_process_that_trains_them_in_turn(tmp_path: Path) -> None:
    settings = [part for key in QUICK for part in ("--set", key)]
    asked = [sys.executable, "-m", "tuner", "launch", "-t", "mdr", "-t", "sfb", "-n", "1", *settings, "--detach"]
    asked += ["--database", "sqlite:///tuner.db"]
    elsewhere = {**os.environ, "TUNER_API": "http://127.0.0.1:9"}  # which --database overrules, in the background too
    said = subprocess.run(
        asked, cwd=tmp_path, env=elsewhere, stderr=subprocess.PIPE, text=True, check=True, timeout=DEADLINE
    ).stderr
    told = re.search(
        r"studies mdr-grammar-tiny, sfb-grammar-tiny go on one after another in process (\d+), which writes (\S+);",
        said,
    )
    assert told is not None, said
    assert "`tuner report mdr-grammar-tiny sfb-grammar-tiny` compares them" in said
    await_end(int(told[1]))
    log = (tmp_path / told[2]).read_text()
    database = Database(f"sqlite:///{tmp_path}/tuner.db")
    (first,), (second,) = (study.trials.all() for study in queries.all_studies(database))
    database.close()
    assert (first.state, second.state) == ("complete", "complete"), log
    steps = ["study mdr-grammar-tiny: 0 of 1", "trial 0: NLL", "study sfb-grammar-tiny: 0 of 1", "trial 0: NLL"]
    assert re.search(".*".join(steps), log, re.DOTALL), log


def test_of_several_studies_none_is_made_where_one_is_another(tmp_path: Path) -> None:
    place = ("-n", "1", "--workers", "0", "--database", f"sqlite:///{tmp_path}/t.db", "--runs", str(tmp_path))
    app(["launch", "-t", "sfb", *place], standalone_mode=False)
    with pytest.raises(Clash, match="study 'sfb-grammar-tiny' exists with another min_rate"):
        app(["launch", "-t", "vanilla", "-t", "sfb", "--min-rate", "2", *place], standalone_mode=False)
    database = Database(f"sqlite:///{tmp_path}/t.db")
    assert [study.name for study in queries.all_studies(database)] == ["sfb-grammar-tiny"]
    database.close()


def test_several_studies_are_resumed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(f"sqlite:///{tmp_path}/t.db", create=True)
    for name in ("a", "b"):
        make(database, tmp_path, name=name).end("stopped", "enough")
    place = ("--workers", "0", "--database", database.secret_url)
    with pytest.raises(Missing, match="study 'nix' is not in"):
        app(["resume", "a", "nix", *place], standalone_mode=False)
    assert [study.state for study in queries.all_studies(database)] == ["stopped", "stopped"]
    app(["resume", "a", "b", "a", *place], standalone_mode=False)
    assert [study.state for study in queries.all_studies(database)] == ["active", "active"]
    assert capsys.readouterr().err.count("is active and waits for workers") == 2
    database.close()
