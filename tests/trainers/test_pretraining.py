"""An encoder that is trained first: what each stage trains, what is kept, and runs of programs that had it in one technique."""

from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import checkpoint, objectives, training
from trainers.contract import BEST, LATEST
from trainers.errors import Failure
from trainers.pretraining import stages
from trainers.runs import Spec, check, evaluate_run, train

SMALL: dict[str, Any] = {
    "corpus_size": 150, "max_epochs": 2, "nll_samples": 3, "nll_sentences": 30, "d_h": 8, "d_e": 8, "d_z": 3,
}  # fmt: skip


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


def spec(technique: str, **values: Any) -> Spec:
    return Spec(technique, "grammar", "tiny", {**SMALL, **values})


def test_the_option_is_of_any_technique_and_a_pretrained_one_takes_no_more_of_it() -> None:
    def names(technique: str, pretrain: str) -> list[str]:
        return [type(o).__module__.rpartition(".")[2] for o in stages(objectives.create(technique, {}), pretrain)]

    assert names("sfb", "none") == ["sfb"]
    assert names("sfb", "ae") == ["ae", "sfb"]
    assert names("pretrained-fb", "none") == names("pretrained-fb", "ae") == ["ae", "pretrained_fb"]


@pytest.mark.parametrize("technique", ["mdr", "adversarial-word-dropout", "sfb", "cyclic"])
def test_a_technique_has_not_begun_while_its_encoder_is_pretrained(
    technique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its schedule nor its multipliers nor its networks have moved."""
    begun: list[bool] = []
    original = training.Training._begin_stage

    def watched(self: training.Training) -> None:
        fresh = objectives.create(technique, {})
        known = fresh.state_dict()
        now = {name: tensor for name, tensor in self.objective.state_dict().items() if name in known}
        begun.append(all(torch.equal(now[name], known[name]) for name in now))
        original(self)

    monkeypatch.setattr(training.Training, "_begin_stage", watched)
    heard: list[dict[str, Any]] = []
    train(spec(technique, pretrain="ae"), tmp_path, lambda e, f: heard.append(f) if e == "epoch" else None)
    assert begun == [True]
    assert [facts["objective_stage"] for facts in heard] == [0, 0, 1, 1]
    own = [key for key in heard[0] if key.startswith("objective_") and key != "objective_stage"]
    assert own
    assert all(facts[key] == 0 for facts in heard[:2] for key in own)


def test_a_pretrained_run_resumes_exactly(tmp_path: Path) -> None:
    asked = spec("mdr", pretrain="ae", polyak=0.9)
    straight = train(asked, tmp_path / "straight", silent)
    steps, stops = iter(range(1000)), {2, 7, 9}
    while True:
        try:
            resumed = train(asked, tmp_path / "resumed", silent, lambda: next(steps) in stops)
            break
        except Failure:
            pass
    assert resumed["metrics"] == straight["metrics"]


def aged(file: Path, stage: int | None, prefix: str) -> None:
    """Makes a file of weights what an older program wrote: pretrained-fb with its stage; fb-dim, here stage None, without β."""
    tensors, facts = checkpoint.load_tensors(file)
    if stage is None:
        del tensors[f"{prefix}beta"]
    else:
        tensors[f"{prefix}stage"] = torch.tensor(stage)
    checkpoint.save_tensors(file, tensors, facts)


@pytest.mark.parametrize(("stop", "stage"), [(2, 0), (8, 1)])
def test_a_run_that_an_older_program_began_goes_on_to_its_figures(stop: int, stage: int, tmp_path: Path) -> None:
    asked = spec("pretrained-fb", r=3.0, anneal_epochs=1)
    straight = train(asked, tmp_path / "straight", silent)
    steps = iter(range(1000))
    with pytest.raises(Failure):
        train(asked, tmp_path / "old", silent, lambda: next(steps) == stop)
    aged(tmp_path / "old" / LATEST, stage, "objective/")
    assert train(asked, tmp_path / "old", silent)["metrics"] == straight["metrics"]


@pytest.mark.parametrize(("technique", "stage"), [("pretrained-fb", 1), ("fb-dim", None)])
def test_a_model_that_an_older_program_trained_is_read(technique: str, stage: int | None, tmp_path: Path) -> None:
    metrics = train(spec(technique), tmp_path, silent)["metrics"]
    aged(tmp_path / BEST, stage, "objective/")
    assert evaluate_run(tmp_path, {}, None, silent).plain() == metrics


def test_what_is_said_of_a_study_counts_the_stages_of_every_value_searched() -> None:
    assert check(spec("vanilla"), [])["stages"] == 1
    assert check(spec("vanilla"), [{"pretrain": "none"}, {"pretrain": "ae"}])["stages"] == 2
