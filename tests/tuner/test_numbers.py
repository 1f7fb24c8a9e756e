"""Numbers from outside are finite and bounded, whichever way they come in."""

import math
from pathlib import Path
from typing import Any

import pytest
import typer
from api_server import application
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from trainers.errors import BadInput
from trainers.latent_space import LatentOptions
from trainers.options import LARGEST, LARGEST_WHOLE, Options
from tuner import numbers, space
from tuner.commands.app import app
from tuner.commands.options import seconds
from tuner.errors import Usage
from tuner.numbers import ANY, INDEX, WHOLE, Numbers
from tuner.processors import THREADS, threads
from tuner.storage.database import Database
from tuner.studies.sweep import parse

HUGE = "9" * 400
BEYOND = ("nan", "inf", "-inf", "1e400", "1e301", HUGE, "9" * 5000, str(2**53 + 1), "-" + HUGE)


def test_what_is_in_a_range() -> None:
    assert all(value in ANY for value in (0, -0.0, 1e300, -(10**300) // 10))
    assert not any(value in ANY for value in (math.nan, math.inf, -math.inf, 10**400, "1", True, None))
    assert all(value in WHOLE for value in (0, 2**53, -(2**53)))
    assert not any(value in WHOLE for value in (1.0, 2**53 + 1, False, math.nan, "1"))
    assert (ANY.high, WHOLE.high) == (LARGEST, LARGEST_WHOLE)  # the trainer has them too, and imports nothing of ours


@pytest.mark.parametrize("text", BEYOND)
def test_a_setting_of_no_usable_number_is_refused(text: str) -> None:
    for read in (space.parse_value, lambda value: parse(f"r=1,{value}")):
        with pytest.raises(Usage, match="is not allowed: a number is finite") as refused:
            read(text)
        assert len(str(refused.value)) < 200
    assert space.parse_value("infinite") == "infinite"


@pytest.mark.parametrize("key", ["low", "high", "step", "default", "paper"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e400", HUGE, "-" + HUGE])
def test_a_space_file_of_no_usable_number_is_refused(key: str, value: str) -> None:
    table = {"type": '"float"', "low": "1.0", "high": "2.0", key: value}
    text = 'technique = "fb"\n[parameters.r]\n' + "\n".join(f"{k} = {v}" for k, v in table.items())
    with pytest.raises(Usage, match=rf"parameters\.r\.{key} = .* is not allowed"):
        space.parse(text, "own.toml")


@pytest.mark.parametrize("text", [f"x = {'9' * 5000}", "x = " + "[" * 100_000, "[parameters.r]\nlow = 0x" + "f" * 9])
def test_a_space_file_that_no_reader_likes_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        space.parse(text, "own.toml")
    for choices in ("[nan]", f"[1, {HUGE}]", "[[1]]"):
        with pytest.raises(Usage, match=r"parameters\.r\.choices"):
            space.parse(f'technique = "fb"\n[parameters.r]\ntype = "categorical"\nchoices = {choices}', "own.toml")


COMMANDS: dict[str, tuple[str, Numbers]] = {
    "launch -t fb --trials": ("trials", numbers.TRIALS),
    "launch -t fb --min-rate": ("min-rate", numbers.NATS),
    "launch -t fb --stop-when": ("stop-when", numbers.NATS),
    "launch -t fb --trainer-memory": ("trainer-memory", numbers.GIBIBYTES),
    "launch -t fb --seed": ("seed", INDEX),
    "launch -t fb --max-failures": ("max-failures", numbers.FAILURES),
    "launch -t fb --workers": ("workers", numbers.PROCESSES),
    "launch -t fb --threads": ("threads", numbers.SOME),
    "confirm s --seeds": ("seeds", numbers.RUNS),
    "confirm s --trial": ("trial", INDEX),
    "sample s/0 --count": ("count", numbers.COUNT),
    "reconstruct s/0 --spread": ("spread", numbers.FACTOR),
    "reproduce s/0 --tolerance": ("tolerance", numbers.FACTOR),
    "serve --rate": ("rate", numbers.RATE),
    "serve --streams": ("streams", numbers.STREAMS),
}


@pytest.mark.parametrize("line", COMMANDS)
def test_an_option_takes_no_number_out_of_its_range(line: str) -> None:
    flag, within = COMMANDS[line]
    over = within.high + 1 if within.whole else within.high * 1.01
    for value in ("nan", "inf", "-inf", "1e400", HUGE, "9" * 5000, str(over), str(within.low - 1)):
        done = CliRunner().invoke(app, f"{line}={value}".split())
        assert done.exit_code == 2, (value, done.output)
        assert f"--{flag}" in done.output


def test_every_number_option_has_a_range() -> None:
    """A new one without bounds is found here."""
    found = 0
    waiting = [typer.main.get_command(app)]
    while waiting:
        command: Any = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        for parameter in command.params:
            if parameter.type.name.split()[0] in ("int", "integer", "float"):
                found += 1
                assert hasattr(parameter.type, "min"), (command.name, parameter.name)
                assert None not in (parameter.type.min, parameter.type.max), (command.name, parameter.name)
    assert found > 40


def test_a_trial_of_no_possible_number_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Database(f"sqlite:///{tmp_path}/tuner.db", create=True).close()
    for number in (HUGE, "²", "-1", str(2**31), "1.0", "٣" * 20):
        with pytest.raises(Usage, match="is no folder and no STUDY/NUMBER"):
            app(["log", f"s/{number}"], standalone_mode=False)


@pytest.mark.parametrize("text", ["1e9", HUGE, f"{HUGE}d", "nan", "0", "0.0s", "-1", "1000000001", "11575d", ""])
def test_a_duration_is_finite_and_above_0(text: str) -> None:
    with pytest.raises(Usage, match="is no duration up to 1,000,000,000 s"):
        seconds(text, "--timeout")


def test_durations() -> None:
    assert [seconds(text, "--timeout") for text in ("90", "1.5m", "2h", "11574d")] == [90, 90, 7200, 999_993_600]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e301, 10**400, -(10**400)])
def test_the_trainer_refuses_them_too(value: float) -> None:
    for key in ("learning_rate", "d_h"):
        with pytest.raises(BadInput, match=f"{key} = .* is not allowed"):
            Options.resolve("tiny", {key: value})


def test_labelled_sentences_and_threads_are_numbers_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("²", HUGE, "9" * 5000, ""):
        with pytest.raises(BadInput, match="must be whole numbers"):
            assert LatentOptions(labelled=text).examples
        monkeypatch.setenv(THREADS, text)
        with pytest.raises(Usage, match="is no number of threads"):
            threads()


def test_requests_have_the_same_bounds(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = {"technique": "sfb", "trials": 1}
    with TestClient(application(database, tmp_path, monkeypatch), "http://127.0.0.1") as client:
        for changes in (
            {"trials": numbers.TRIALS.high + 1}, {"min_rate": 1e7}, {"stop_when": -1.0}, {"seed": 2**31}, {"timeout": 2e9},
            {"max_failures": 1001}, {"fixed": {"corpus_size": 2**53 + 1}}, {"fixed": {"lam": 1e301}},
        ):  # fmt: skip
            assert client.post("/v1/studies", json={**new, **changes}).status_code == 422, changes


@pytest.mark.parametrize("bad", ["\x00", "\ud800"])
@pytest.mark.parametrize("place", ["summary", "formula", "name", "unit", "meaning", "paper", "choices"])
def test_a_space_with_a_text_that_no_database_keeps_is_refused(place: str, bad: str) -> None:
    own: dict[str, Any] = {"type": "categorical", "choices": ["a"]}
    table: dict[str, Any] = {"technique": "fb", "parameters": {"r": own}}
    if place in ("summary", "formula"):
        table[place] = bad
    elif place == "name":
        table["parameters"][f"a{bad}"] = table["parameters"].pop("r")
    else:
        own[place] = [bad, "b"] if place == "choices" else bad
    with pytest.raises(Usage, match="a text of it has a NUL or half of a surrogate pair"):
        space.of_table(table, "the search space", "space")
