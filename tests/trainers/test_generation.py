"""Sentences from a model: the decoder's own choices, the ends of a homotopy, and what is said about odd input."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import neighbours, runs, samples
from trainers.corpus import EOS, SPECIALS, Vocabulary
from trainers.errors import BadInput
from trainers.gallery import gallery
from trainers.generation import GenerationOptions, decode, encode, interpolate, reconstruct, sample
from trainers.models import BOS_INDEX, EOS_INDEX, RNNLM, Batch, SenVAE
from trainers.objectives.objective import Objective
from trainers.runs import Spec, train

WORDS = Vocabulary((*SPECIALS, *"abcdefg"))
CPU = torch.device("cpu")
SENTENCES = [WORDS.encode(list(text)) for text in ("abc", "d", "efga")]


def vae(**options: Any) -> SenVAE:
    """A model that listens to its code: untrained weights made large."""
    model = SenVAE(len(WORDS), replace(SMALL, **options), LENGTHS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=1.5)
    return model


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@torch.no_grad()
def test_greedy_decoding_takes_the_likeliest_word_each_time() -> None:
    model, z = vae(), torch.randn(20, SMALL.d_z)
    made = decode(model, z, GenerationOptions(length=12), generator())
    for code, sentence in zip(z, made, strict=True):
        assert len(sentence) <= 12
        state = model.initial_state(code[None])
        word = torch.tensor([BOS_INDEX])
        for index in [*sentence, EOS_INDEX][:12]:
            logits, state = model.decoder.step(word, state)
            logits[:, :2] = -torch.inf  # padding and start are no words
            word = logits.argmax(-1)
            assert word.item() == index
    assert len({tuple(s) for s in made}) > 2


@torch.no_grad()
def test_ancestral_decoding_draws_from_the_softmax() -> None:
    model = vae()
    z = torch.randn(1, SMALL.d_z).expand(4000, -1)
    made = decode(model, z, GenerationOptions(decoding="ancestral", length=1), generator())
    logits, _ = model.decoder.step(torch.tensor([BOS_INDEX]), model.initial_state(z[:1]))
    logits[:, :2] = -torch.inf
    expected = logits.softmax(-1)[0]
    drawn = torch.bincount(torch.tensor([s[0] if s else EOS_INDEX for s in made]), minlength=len(WORDS)) / len(made)
    assert (drawn - expected).abs().max() < 0.03
    assert (drawn[:2] == 0).all()


def test_a_code_decides_a_greedy_sentence_and_nothing_else_does() -> None:
    model, z = vae(), torch.randn(1, SMALL.d_z)
    one, two = decode(model, z.expand(2, -1), GenerationOptions(length=9), generator())
    assert one == two


@pytest.mark.parametrize("posterior", ["gaussian", "iaf", "planar"])
@pytest.mark.parametrize("prior", ["normal", "mog", "vamp"])
def test_samples_are_reproducible_and_seeds_differ(posterior: str, prior: str) -> None:
    model = vae(posterior=posterior, prior=prior)
    for source in ("prior", "posterior"):
        options = GenerationOptions(count=12, source=source, decoding="ancestral", length=8)
        first = sample(model, WORDS, options, SENTENCES)
        assert first == sample(model, WORDS, options, SENTENCES)
        assert first != sample(model, WORDS, replace(options, seed=1), SENTENCES)
        assert len(first) == 12
        assert all((w.source is not None) == (source == "posterior") for w in first)
        assert all(EOS not in w.words for w in first)


def test_a_model_without_a_latent_samples_too() -> None:
    written = sample(RNNLM(len(WORDS), SMALL), WORDS, GenerationOptions(count=5, decoding="ancestral"))
    assert len(written) == 5


@torch.no_grad()
def test_codes_are_posterior_samples_or_centres() -> None:
    model = vae()
    q = model.posterior(Batch.of(SENTENCES, CPU))
    centre = encode(model, SENTENCES, GenerationOptions(centre=True), generator())
    torch.testing.assert_close(centre, q.location)
    drawn = torch.stack(
        [encode(model, SENTENCES, GenerationOptions(seed=0), g) for g in [generator()] for _ in range(500)]
    )
    torch.testing.assert_close(drawn.mean(0), q.location, atol=0.3, rtol=0.2)
    assert drawn.std(0).min() > 0


def test_a_homotopys_ends_are_the_reconstructions_of_its_sentences() -> None:
    model, options = vae(), GenerationOptions(centre=True, count=5, length=9)
    made = interpolate(model, WORDS, (SENTENCES[0], SENTENCES[2]), options)
    ends = reconstruct(model, WORDS, [SENTENCES[0], SENTENCES[2]], options)
    assert len(made) == 5
    assert [made[0], made[-1]] == ends


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    values = {"corpus_size": 200, "max_epochs": 1, "nll_samples": 2, "nll_sentences": 10, "r": 4.0}
    train(Spec("fb", "grammar", "tiny", values), folder, silent)
    return folder


def test_a_runs_sentences_come_from_its_own_vocabulary(run: Path) -> None:
    found = samples.sample_run(run, {"count": 4, "decoding": "ancestral"})
    assert len(found["sentences"]) == 4
    assert found["distinct"] == len({entry["sentence"] for entry in found["sentences"]})
    found = samples.sample_run(run, {"count": 3, "source": "posterior"})
    assert all(entry["source"] for entry in found["sentences"])


def test_reconstruction_says_what_it_could_not_read(run: Path) -> None:
    known = samples.reconstruct_run(run, [], {"count": 3})["sentences"]
    assert len(known) == 3
    assert all(entry["notes"] == [] and entry["ter"] >= 0 for entry in known)
    word = known[0]["source"].split()[0]
    (odd,) = samples.reconstruct_run(run, [f"{word} xylophone xylophone"], {})["sentences"]
    assert odd["notes"] == ["not in the vocabulary, read as <unk>: xylophone"]
    (long,) = samples.reconstruct_run(run, [f"{word} " * 500], {})["sentences"]
    assert "words, the longest that the model was trained on" in long["notes"][0]
    assert len(long["sentence"].split()) <= 100


def test_neighbours_measure_novelty(run: Path) -> None:
    found = samples.neighbours_run(run, {"count": 3}, silent)
    assert found["novelty"] == pytest.approx(np.mean([entry["ter"] for entry in found["sentences"]]))
    assert all(entry["neighbour"] for entry in found["sentences"])


def test_what_cannot_be_written_is_refused_with_its_reason(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the sentence is empty"):
        samples.reconstruct_run(run, ["  "], {})
    with pytest.raises(BadInput, match="the sentence is empty"):
        samples.interpolate_run(run, ["", "x"], {})
    with pytest.raises(BadInput, match="'steps' is no option here: there are count"):
        samples.sample_run(run, {"steps": 3})
    with pytest.raises(BadInput, match="count must be a whole number from 1 to 1,000,000"):
        samples.sample_run(run, {"count": 0})
    values = {"corpus_size": 64, "max_epochs": 1, "nll_sentences": 10}
    train(Spec("rnnlm", "grammar", "tiny", values), tmp_path / "lm", silent)
    for attempt in (
        lambda: samples.reconstruct_run(tmp_path / "lm", ["a"], {}),
        lambda: samples.interpolate_run(tmp_path / "lm", ["a", "b"], {}),
        lambda: samples.sample_run(tmp_path / "lm", {"source": "posterior"}),
    ):
        with pytest.raises(BadInput, match="needs a latent code, and rnnlm has none"):
            attempt()
    assert len(samples.neighbours_run(tmp_path / "lm", {"count": 2, "decoding": "ancestral"}, silent)["sentences"]) == 2


@torch.no_grad()
def test_a_perturbed_code_is_so_much_further_from_its_centre() -> None:
    model = vae()
    centre = encode(model, SENTENCES, GenerationOptions(centre=True), generator())
    plain, wide = (encode(model, SENTENCES, GenerationOptions(spread=s), generator()) for s in (1.0, 10.0))
    torch.testing.assert_close(wide - centre, 10 * (plain - centre), rtol=1e-4, atol=1e-4)


def test_codes_of_the_prior_or_of_random_sentences_can_be_the_ends(run: Path) -> None:
    prior = samples.interpolate_run(run, [], {"count": 4})
    assert (len(prior["sentences"]), prior["ends"]) == (4, [])
    posterior = samples.interpolate_run(run, [], {"count": 4, "source": "posterior", "centre": True})
    assert len(posterior["ends"]) == 2
    given = samples.interpolate_run(run, posterior["ends"], {"count": 4, "centre": True})
    assert given["sentences"] == posterior["sentences"]
    with pytest.raises(BadInput, match="interpolate has 1 sentence: give two"):
        samples.interpolate_run(run, ["a"], {})


def test_an_adversarys_words_are_shown_with_their_probabilities(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"corpus_size": 64, "max_epochs": 1, "nll_sentences": 10, "nll_samples": 2, "rate": 0.4}
    train(Spec("adversarial-word-dropout", "grammar", "tiny", values), tmp_path, silent)
    (shown,) = samples.dropped_run(tmp_path, ["the sailor chases this boat"], {})["sentences"]
    assert [entry["word"] for entry in shown["words"]] == ["the", "sailor", "chases", "this", "boat"]
    assert sum(entry["probability"] for entry in shown["words"]) == pytest.approx(2)  # round(0.4 · 6) words
    assert len(samples.dropped_run(tmp_path, [], {"count": 3})["sentences"]) == 3
    hidden = json.loads((tmp_path / "samples.json").read_text())["dropped"]
    assert [" ".join(entry["word"] for entry in words) for words in hidden] == [
        made["source"] for made in json.loads((tmp_path / "samples.json").read_text())["reconstructions"]
    ]
    assert all(0 <= entry["probability"] <= 1 for words in hidden for entry in words)
    monkeypatch.setattr(runs, "choose_device", lambda name: torch.device("meta"))  # as where there is a GPU
    opened = runs.open_run(tmp_path)
    assert {parameter.device.type for parameter in (*opened.model.parameters(), *opened.objective.parameters())} == {
        "meta"
    }
    monkeypatch.undo()
    with pytest.raises(BadInput, match="dropped shows which words an adversary hides, and fb has none"):
        samples.dropped_run(run, ["the sailor"], {})


def test_an_adversary_is_the_best_epochs_as_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = itertools.count()
    monkeypatch.setattr(Objective, "criterion", lambda self, figures: float(next(epochs)))  # the first is the best
    values = {"corpus_size": 64, "max_epochs": 3, "nll_sentences": 10, "nll_samples": 2, "gallery": 1}
    found = train(Spec("adversarial-word-dropout", "grammar", "tiny", values), tmp_path, silent)
    assert (found["best_epoch"], found["epochs"]) == (1, 3)
    opened = runs.open_run(tmp_path)
    again = gallery(opened.model, opened.objective, opened.vocabulary, runs.corpus_of(opened), 1, opened.spec.seed)
    assert again == json.loads((tmp_path / "samples.json").read_text())


@pytest.mark.parametrize("technique", ["sfb", "rnnlm"])
def test_a_run_keeps_what_its_model_writes(tmp_path: Path, technique: str) -> None:
    values = {"max_epochs": 1, "corpus_size": 60, "nll_samples": 1, "nll_sentences": 5, "gallery": 3}
    train(Spec(technique, "grammar", "tiny", values), tmp_path / "a", lambda event, facts: None)
    found = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert len(found["samples"]) == 3
    for entry in found["samples"]:
        assert entry["ter"] == neighbours.ter(entry["text"].split(), entry["neighbour"].split())
    latent = technique == "sfb"
    assert [step["weight"] for step in found["homotopy"]] == ([n / 7 for n in range(8)] if latent else [])
    assert len(found["reconstructions"]) == (5 if latent else 0)
    train(Spec(technique, "grammar", "tiny", {**values, "gallery": 0}), tmp_path / "b", lambda event, facts: None)
    assert not (tmp_path / "b" / "samples.json").exists()


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="spread = 10 is not allowed with centre"):
        GenerationOptions(centre=True, spread=10.0)
    values = {"corpus_size": 30, "max_epochs": 1, "nll_samples": 1, "nll_sentences": 2, "gallery": 0}
    train(Spec("vanilla", "grammar", "tiny", values), tmp_path, lambda event, facts: None)
    with pytest.raises(BadInput, match="posterior draws the sentences: leave 'a' out"):
        samples.interpolate_run(tmp_path, ["a", "b"], {"source": "posterior"})
    with pytest.raises(BadInput, match="centre is of a posterior, and these are codes of the prior"):
        samples.interpolate_run(tmp_path, [], {"centre": True})
