"""Li's and Livne's evaluations of the latent space, against naive loops and closed forms."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import objectives
from trainers.errors import BadInput
from trainers.evaluation import evaluate, validate
from trainers.generation import GenerationOptions, encode
from trainers.latent_space import (
    LatentOptions,
    bleu,
    nearest_neighbour_entropy,
    noisy_distortion,
    smoothness,
    swapped,
)
from trainers.models import Batch, SenVAE
from trainers.options import EvaluationOptions
from trainers.runs import Spec, train
from trainers.samples import latent_run
from trainers.training import build_model

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)
SENTENCES = [np.append(RANDOM.integers(4, 11, RANDOM.integers(1, 9)), 2) for _ in range(80)]


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


def naive_bleu(made: list[list[str]], sources: list[list[str]], order: int) -> float:
    """Papineni et al. 2001: brevity penalty times the geometric mean of clipped n-gram precisions."""
    logs = []
    for n in range(1, order + 1):
        right = total = 0
        for one, source in zip(made, sources, strict=True):
            grams, known = (
                Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for words in (one, source)
            )
            right += sum(min(count, known[gram]) for gram, count in grams.items())
            total += sum(grams.values())
        logs.append(math.log(right / total))
    length, reference = sum(map(len, made)), sum(map(len, sources))
    return 100 * min(1.0, math.exp(1 - reference / length)) * math.exp(sum(logs) / order)


@pytest.mark.parametrize("order", [1, 4])
def test_bleu_is_papinenis(order: int) -> None:
    sources = [["the", "cat", "sat", "on", "the", "mat", "."], ["a", "dog", "ran", "off", "at", "N", "%"]]
    made = [["the", "cat", "sat", "on", "the", "the"], ["a", "dog", "ran", "off", "to", "N", "%"]]
    assert bleu(made, sources, order) == pytest.approx(naive_bleu(made, sources, order))
    assert bleu(sources, sources, order) == pytest.approx(100)


def test_a_swap_exchanges_two_words_and_leaves_the_end() -> None:
    generator = np.random.default_rng(0)
    for length in (1, 2, 9):
        sentence = np.append(np.arange(10, 10 + length), 2)
        one, many = swapped(sentence, 1, generator), swapped(sentence, 5, generator)
        assert (one != sentence).sum() == (2 if length > 1 else 0)
        for noisy in (one, many):
            assert noisy[-1] == 2
            assert sorted(noisy) == sorted(sentence)
    assert (swapped(SENTENCES[0], 0, generator) == SENTENCES[0]).all()


@torch.no_grad()
def test_noisy_distortion_is_that_of_the_clean_words_under_the_noisy_words_codes() -> None:
    model = SenVAE(11, replace(SMALL, d_z=2), LENGTHS).eval()
    for swaps in (0, 3):
        swapping, noise = np.random.default_rng(5), torch.Generator().manual_seed(5)
        total, noisy = 0.0, [swapped(sentence, swaps, swapping) for sentence in SENTENCES]
        for start in range(0, len(SENTENCES), 64):
            drawn = torch.randn((1, len(SENTENCES[start : start + 64]), 2), generator=noise)[0]
            for i, sentence in enumerate(SENTENCES[start : start + 64]):
                q = model.posterior(Batch.of([noisy[start + i]], CPU))
                z = q.transform(drawn[i : i + 1])[0]
                total += model.decoder(Batch.of([sentence], CPU), model.initial_state(z)).item()
        assert noisy_distortion(model, SENTENCES, swaps, seed=5) == pytest.approx(total / len(SENTENCES), rel=1e-5)


def test_smoothness_is_one_where_codes_are_as_far_apart_as_sentences_and_nothing_where_they_are_random() -> None:
    sentences = [np.append(np.full(n, 5), 2) for n in range(1, 40)]  # edit distance |n − m|
    lengths = np.arange(1.0, 40.0)[:, None]
    assert smoothness(lengths, sentences, 2000, seed=0) == pytest.approx(1)
    assert smoothness(-2 * lengths, sentences, 2000, seed=0) == pytest.approx(1)
    assert abs(smoothness(RANDOM.normal(size=(80, 6)), SENTENCES, 5000, seed=0)) < 0.15
    assert math.isnan(smoothness(np.zeros((39, 3)), sentences, 100, seed=0))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_nearest_neighbours_tell_the_entropy_of_gaussian_and_uniform_codes(d: int, k: int) -> None:
    gaussian = RANDOM.normal(size=(4000, d)) * 2.5
    expected = 0.5 * d * math.log(2 * math.pi * math.e * 2.5**2)
    assert nearest_neighbour_entropy(gaussian, k) == pytest.approx(expected, abs=0.12)
    assert nearest_neighbour_entropy(RANDOM.uniform(0, 3, size=(4000, d)), k) == pytest.approx(
        d * math.log(3), abs=0.25
    )


def test_a_run_is_measured_whole_with_the_topics_as_labels(tmp_path: Path) -> None:
    values = {
        "corpus_size": 800,
        "max_epochs": 12,
        "nll_samples": 2,
        "nll_sentences": 10,
        "beta": 0.1,
        "d_h": 32,
        "d_e": 32,
    }
    train(Spec("beta", "grammar", "tiny", values), tmp_path, silent)
    heard: list[dict[str, Any]] = []
    options = {"sentences": 200, "pairs": 500, "swaps": 2, "labelled": "0,50,800,9000"}
    found = latent_run(tmp_path, options, lambda event, facts: heard.append(facts))
    assert found == latent_run(tmp_path, options, silent)
    assert 0 < found["bleu_1"] <= 100
    assert list(found["noisy"]) == ["0", "1", "2"]
    assert found["noisy"]["0"] < found["noisy"]["2"]
    assert found["normal_entropy"] == pytest.approx(4 * math.log(2 * math.pi * math.e))
    assert list(found["probes"]) == ["0", "50", "800"]  # no 9000 sentences
    assert found["probes"]["800"] > found["largest_class"] + 0.05  # the code tells the topic
    assert [facts["done"] for facts in heard] == list(range(1, heard[0]["of"] + 1))


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    small = {"corpus_size": 64, "max_epochs": 1, "nll_samples": 2, "nll_sentences": 10}
    for technique in ("rnnlm", "vanilla"):
        train(Spec(technique, "grammar", "tiny", small), tmp_path / technique, silent)
    with pytest.raises(BadInput, match="latent needs a latent code, and rnnlm has none"):
        latent_run(tmp_path / "rnnlm", {}, silent)
    with pytest.raises(BadInput, match="'swap' is no option here: there are sentences, swaps"):
        latent_run(tmp_path / "vanilla", {"swap": 2}, silent)
    with pytest.raises(BadInput, match="entropy needs more than nearest = 3"):
        latent_run(tmp_path / "vanilla", {"sentences": 3}, silent)
    with pytest.raises(BadInput, match="it must be whole numbers divided by commas"):
        _ = LatentOptions(labelled="1;2").examples


def test_what_codes_are_worth_is_a_figure_of_each_split_that_is_evaluated(tmp_path: Path) -> None:
    small = {"corpus_size": 300, "max_epochs": 1, "nll_samples": 2, "nll_sentences": 10}
    asked = {**small, "codes": True, "test": True}
    result = train(Spec("vanilla", "grammar", "tiny", asked), tmp_path / "vanilla", silent)
    found = result["metrics"]
    alone = latent_run(tmp_path / "vanilla", {"labelled": "0,100"}, silent)
    for figures in (found, found["test"]):
        assert figures["parameters"] == result["parameters"]
        assert figures["noisy_4"] > 0
        assert 0 < figures["probe_0"] < figures["probe_100"] + 0.2 < 1.2
        assert figures["probe_500"] is None  # no so many sentences
    assert [found[key] for key in ("bleu", "bleu_1", "smoothness")] == [
        alone[key] for key in ("bleu", "bleu_1", "smoothness")
    ]
    assert [found["probe_0"], found["probe_100"]] == list(alone["probes"].values())
    assert found["test"]["noisy_1"] != found["noisy_1"]
    without = train(Spec("vanilla", "grammar", "tiny", small), tmp_path / "without", silent)["metrics"]
    assert without["bleu"] is None
    assert without["parameters"] == found["parameters"]
    none = train(Spec("rnnlm", "grammar", "tiny", asked), tmp_path / "rnnlm", silent)["metrics"]
    assert none["bleu"] is none["test"]["smoothness"] is None


@pytest.mark.parametrize(("code", "is_centre"), [("centre", True), ("sample", False)])
@torch.no_grad()
def test_an_autoencoder_of_centres_is_judged_by_them(code: str, is_centre: bool) -> None:
    """LV §4.5: the posterior's mean is decoded. Its scale has learnt nothing, so that samples would judge another model."""
    objective = objectives.create("ae", {"code": code})
    model = build_model(objective, 11, SMALL, LENGTHS).double().eval()
    assert isinstance(model, SenVAE)
    batch, plain = Batch.of(SENTENCES, CPU), GenerationOptions()
    centres = model.posterior(batch).codes(model.posterior(batch).noise(1), 0.0)[0]
    distortion = model.decoder(batch, model.initial_state(centres)).mean().item()
    judged = {
        "validation": validate(model, SENTENCES, 0).distortion,
        "from q": evaluate(model, SENTENCES, EvaluationOptions(nll="q", nll_samples=8), 0).distortion,
        "tempered": evaluate(model, SENTENCES, EvaluationOptions(nll="tempered"), 0).distortion,
        "noisy": noisy_distortion(model, SENTENCES, 0, 0),
    }
    assert {name: found == pytest.approx(distortion, abs=1e-9) for name, found in judged.items()} == dict.fromkeys(
        judged, is_centre
    )
    codes = encode(model, SENTENCES, plain, torch.Generator().manual_seed(0))
    assert torch.allclose(codes, centres) == is_centre
