"""Kinds of words that an adversary hides, likeness along homotopies, and the record of its scores (MI figures 3 and 4)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import checkpoint, homotopy, objectives, saliency, samples
from trainers.contract import BEST
from trainers.errors import BadInput
from trainers.models import Batch
from trainers.neighbours import ter
from trainers.objectives.adversarial_word_dropout import Technique
from trainers.runs import Spec, evaluate_run, train
from trainers.training import build_model

TINY = {"d_z": 2, "d_e": 8, "d_h": 8, "corpus_size": 64, "max_epochs": 1, "nll_samples": 3, "nll_sentences": 20}
SENTENCES = [np.array([5, 6, 7, 8, 2]), np.array([9, 4, 2]), np.array([4, 2])]


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adversarial")
    train(Spec("adversarial-word-dropout", "grammar", "tiny", TINY), folder, silent)
    return folder


def test_groups_have_the_mean_of_their_words_the_likeliest_first() -> None:
    sentences = [
        [{"word": "a", "probability": 0.2}, {"word": "b", "probability": 0.9}],
        [{"word": "b", "probability": 0.7}, {"word": "a", "probability": 0.0}, {"word": "c", "probability": 0.8}],
    ]
    found = saliency.grouped(sentences, list)
    assert [entry["group"] for entry in found] == ["b", "c", "a"]
    assert [entry["words"] for entry in found] == [2, 1, 2]
    assert [entry["probability"] for entry in found] == pytest.approx([0.8, 0.8, 0.1])


def test_words_are_grouped_by_place_and_rank() -> None:
    place = saliency.position()
    assert place(["x"]) == ["first"]
    assert place(list("abcde")) == ["first", "20–30 %", "40–50 %", "60–70 %", "80–90 %"]
    assert [saliency._banded(n) for n in (1, 10, 11, 1000, 10_001)] == [
        "1–10",
        "1–10",
        "11–100",
        "101–1000",
        "from 10001",
    ]


def test_groups_with_an_order_of_their_own_keep_it() -> None:
    entries = [{"word": word, "probability": p} for word, p in zip("abcde", (0.1, 0.5, 0.2, 0.9, 0.3), strict=True)]
    assert [each["group"] for each in saliency.grouped([entries], saliency.position())] == [
        "first", "20–30 %", "40–50 %", "60–70 %", "80–90 %",
    ]  # fmt: skip
    bands = {"a": "from 10001", "b": "11–100", "c": "<unk>", "d": "1–10", "e": "1001–10000"}
    found = saliency.grouped([entries], lambda words: [bands[word] for word in words])
    assert [each["group"] for each in found] == ["1–10", "11–100", "1001–10000", "from 10001", "<unk>"]


def test_parts_of_speech_are_a_taggers() -> None:
    group = saliency.part_of_speech()
    assert group(["five", "dogs", "barked", "at", "the", "<unk>", ",", "wow", "!"]) == [
        "numeral", "noun", "verb", "preposition", "determiner", "<unk>", "punctuation", "interjection", "punctuation",
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["tag", "frequency", "position"])
def test_every_words_probability_counts_once_in_its_group(run: Path, by: str) -> None:
    found = samples.dropped_run(run, [], {"count": 20, "draws": 20, "by": by})
    words = [
        entry for one in samples.dropped_run(run, [], {"count": 20, "draws": 20})["sentences"] for entry in one["words"]
    ]
    assert found["words"] == len(words) == sum(entry["words"] for entry in found["groups"])
    assert found["mean"] == pytest.approx(np.mean([entry["probability"] for entry in words]))
    assert len(found["groups"]) > 1


def test_a_missing_tagger_is_said_with_what_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "HanTa.HanoverTagger", None)
    with pytest.raises(BadInput, match=r"by = 'tag' needs a tagger: pip install .*\[tagger\].*by=frequency"):
        saliency.part_of_speech()


def test_likeness_is_of_shared_words_and_of_edits() -> None:
    assert homotopy.f1(["a", "b", "b", "c"], ["b", "b", "d"]) == pytest.approx(2 * 2 / 7)
    assert homotopy.f1([], []) == 1
    assert homotopy.similarity(["a", "b", "c", "d"], ["a", "b", "c", "e"]) == pytest.approx(
        1 - ter(list("abcd"), list("abce"))
    )
    assert homotopy.similarity(["v", "w", "x", "y", "z"], ["a"]) == 0
    ends = (list("ab"), list("cd"))
    points = homotopy.likeness([[list("ab"), list("ad"), list("cd")]], [ends])
    assert [point["weight"] for point in points] == [0, 0.5, 1]
    assert [point["f1_source"] for point in points] == [1, 0.5, 0]
    assert [point["f1_target"] for point in points] == [0, 0.5, 1]


def test_many_homotopies_are_measured_and_the_ends_are_what_reconstruction_writes(run: Path) -> None:
    found = samples.interpolate_run(run, [], {"pairs": 6, "count": 5, "seed": 3})
    assert (found["pairs"], len(found["points"])) == (6, 5)
    assert found == samples.interpolate_run(run, [], {"pairs": 6, "count": 5, "seed": 3})
    for values, ends in (({"pairs": 2}, ["a", "b"]), ({"pairs": 2, "count": 1}, [])):
        with pytest.raises(BadInput, match="pairs"):
            samples.interpolate_run(run, ends, values)


def test_an_epochs_record_has_the_means_of_the_scores_and_of_the_adversarys_gradient() -> None:
    objective = objectives.create("adversarial-word-dropout", {})
    assert isinstance(objective, Technique)
    model = build_model(objective, 11, SMALL, LENGTHS)
    seen = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        output = objective.measure(model, Batch.of(SENTENCES, torch.device("cpu")))
        torch.manual_seed(seed)
        assert objective.adversary is not None
        location, scale = objective.adversary(Batch.of(SENTENCES, torch.device("cpu")).tokens)
        scores = (location + scale * torch.randn_like(location)).detach().numpy()
        own = [row[: len(sentence) - 1] for row, sentence in zip(scores, SENTENCES, strict=True)][
            :2
        ]  # one word has no sd
        for optimizer in objective.optimizers():
            optimizer.zero_grad()
        objective.adversary.zero_grad()
        objective.loss(output).backward()
        norm = np.sqrt(sum(float((p.grad**2).sum()) for p in objective.adversary.parameters() if p.grad is not None))
        seen.append((np.mean([np.abs(row).sum() for row in own]), np.mean([row.std() for row in own]), norm))
        objective.after_step(output)
    assert objective.state()["score_norm"] == 0  # of the epoch before
    objective.after_epoch(lambda: 0.0)
    state = objective.state()
    names = ("score_norm", "score_sd", "adversary_gradient")
    assert [state[name] for name in names] == pytest.approx(np.mean(seen, axis=0).tolist(), rel=1e-4)


def test_an_older_programs_adversary_is_read(run: Path) -> None:
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    tensors, facts = checkpoint.load_tensors(run / BEST)
    for name in ("objective/totals", "objective/means"):
        del tensors[name]
    checkpoint.save_tensors(run / BEST, tensors, facts)
    assert evaluate_run(run, {}, None, silent).nll == metrics["nll"]
