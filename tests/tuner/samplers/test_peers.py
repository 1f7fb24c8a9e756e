"""Other programs are asked for proposals in environments of their own; here a small one stands for them."""

import sys
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks import peers
from benchmarks.peer_program import PEERS
from tuner.samplers import create

PROGRAM = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "space" not in asked:
        print(json.dumps([0.5] * len(asked["x"][0])), flush=True)
        continue
    assert asked["y"] == [1.0], asked
    space = asked["space"]
    assert space["x"] == {"kind": "float", "low": 0.01, "high": 1.0, "log": True, "step": None}, space
    assert space["n"] == {"kind": "int", "low": 0, "high": 15, "log": False, "step": 3}, space
    assert asked["x"] == [{"x": 0.1, "n": 3, "kind": "b"}], asked
    print(json.dumps({"x": 1.0000001, "n": 7.2, "kind": space["kind"]["choices"][-1]}), flush=True)
"""
SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.01, 1.0, log=True),
    "n": IntDistribution(0, 15, step=3),
    "kind": CategoricalDistribution(("a", "b", "c")),
}


@pytest.fixture
def environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PEERS:
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PEERS", str(tmp_path))
    monkeypatch.setattr(peers, "PROGRAM", tmp_path / "program.py")


@pytest.mark.parametrize(("name", "proposed"), [("Ax", {"x": 1.0, "n": 6, "kind": "c"}), ("SAASBO", None)])
def test_a_peer_is_told_what_was_found_and_its_answer_lies_in_the_space(
    name: str, proposed: dict[str, object] | None, environments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kind = getattr(peers, name)
    monkeypatch.setattr(kind, "process", None)
    study = optuna.create_study(sampler=create(f"benchmarks.peers:{name}", {}, 0, 1, SPACE))
    study.enqueue_trial({"x": 0.1, "n": 3, "kind": "b"})
    study.tell(study.ask(SPACE), 1.0)
    found = study.ask(SPACE).params
    assert proposed is None or found == proposed
    assert all(SPACE[key]._contains(SPACE[key].to_internal_repr(value)) for key, value in found.items())
    kind.process.communicate()


def test_each_peer_has_a_program_and_says_when_it_ends(environments: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [kind for kind in vars(peers).values() if isinstance(kind, type) and issubclass(kind, peers.Peer)]
    assert {kind.name for kind in kinds if hasattr(kind, "name")} == set(PEERS)
    monkeypatch.setattr(peers.HEBO, "process", None)
    with pytest.raises(SystemExit, match="hebo has ended"):
        peers.HEBO._ask({"space": {}, "x": [], "y": [2.0]})
    peers.HEBO.process.communicate()  # type: ignore[union-attr]
