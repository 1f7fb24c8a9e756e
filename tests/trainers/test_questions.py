"""Questions and answers: a grammar that tells which are right, the choice among answers, and what is written."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL

from trainers import answering, generation
from trainers.answering import AnswerOptions, answer_run, chosen, distances, masked, ranks, written
from trainers.corpus import load
from trainers.errors import BadInput
from trainers.generation import GenerationOptions
from trainers.models import EOS_INDEX, UNK_INDEX, Batch, SenVAE
from trainers.options import CorpusOptions
from trainers.questions import (
    KINDS,
    MARK,
    TOPICS,
    Question,
    divided,
    is_right,
    posed,
    question_grammar,
    topic_of,
)  # fmt: skip
from trainers.runs import Spec, train
from trainers.vocabulary import SPECIALS, Vocabulary

CPU = torch.device("cpu")
GRAMMAR = question_grammar()
SYMBOLS = {symbol for productions in GRAMMAR.rules.values() for _, parts in productions for symbol in parts}
WORDS = Vocabulary((*SPECIALS, *sorted(SYMBOLS - set(GRAMMAR.rules))))


def texts(symbol: str) -> list[tuple[float, tuple[str, ...]]]:
    """Every text of a symbol with its probability, written anew."""
    if symbol not in GRAMMAR.rules:
        return [(1.0, (symbol,))]
    return [
        (p * math.prod(q for q, _ in each), tuple(word for _, part in each for word in part))
        for p, parts in GRAMMAR.rules[symbol]
        for each in itertools.product(*map(texts, parts))
    ]


def test_each_sentence_has_one_derivation_so_the_entropy_is_exact() -> None:
    every = texts("S")
    assert len({words for _, words in every}) == len(every)
    assert math.fsum(p for p, _ in every) == pytest.approx(1)
    assert GRAMMAR.entropy == pytest.approx(-math.fsum(p * math.log(p) for p, _ in every))


def test_an_answer_is_right_if_the_grammar_gives_it_after_the_question() -> None:
    joint: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}
    for p, words in texts("S"):
        question, answer = divided(words) or ([], [])
        joint[tuple(question[:-1]), tuple(answer)] = p
    generator = np.random.default_rng(0)
    pairs, answers = list(joint), sorted({answer for _, answer in joint})
    for number in generator.choice(len(pairs), 200):
        question, answer = pairs[number]
        other = answers[generator.integers(len(answers))]
        assert is_right(question, answer)
        assert is_right(question, other) == ((question, other) in joint)
    assert is_right(["who", "is", "it"], ["me"]) is None
    assert len({topic_of(words) for _, words in texts("S")}) == len(TOPICS)
    assert len(KINDS) == 3


def test_the_corpus_is_the_grammars_and_its_labels_are_the_topics() -> None:
    corpus = load("questions", CorpusOptions(corpus_size=50))
    assert (len(corpus.splits["train"]), len(corpus.splits["valid"])) == (50, 1000)
    whole = load("questions", CorpusOptions())
    assert whole.entropy == GRAMMAR.entropy
    assert whole.exact_nll is not None
    assert abs(whole.exact_nll["valid"] - GRAMMAR.entropy) < 0.2
    assert whole.labels is not None
    assert set(whole.labels["valid"]) == set(TOPICS)


def test_a_question_ends_at_its_first_mark_or_at_its_last_where_it_is_known() -> None:
    assert divided(["why", "?", "so", "?", "yes"]) == (["why", "?"], ["so", "?", "yes"])
    assert divided(["why", "?", "so", "?", "yes"], 2) == (["why", "?", "so", "?"], ["yes"])
    assert divided(["why", "?", "so"], 2) is None
    for text in ("no mark here", "? answer", "question ?", "?"):
        assert divided(text.split()) is None


def test_wrong_answers_are_others_that_are_not_right() -> None:
    sentences = [list(words) for _, words in texts("S")][::37]
    found = posed(sentences, 20, 4, 3)
    assert found == posed(sentences, 20, 4, 3)
    assert len(found) == 20
    for question in found:
        assert question.words[-1] == MARK
        assert [bool(is_right(question.words[:-1], answer)) for answer in question.answers] == [True] + [False] * 4
        assert question.words + question.answers[0] in sentences


def model(**options: Any) -> SenVAE:
    made = SenVAE(len(WORDS), replace(SMALL, **options), LENGTHS)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.7)
    return made.eval()


def asked(number: int = 6) -> list[Question]:
    return posed([list(words) for _, words in texts("S")][::41], number, 3, 0)


@pytest.mark.parametrize("scaled", [True, False])
@torch.no_grad()
def test_answers_are_ranked_by_the_distance_of_codes_as_in_the_paper(scaled: bool) -> None:
    vae, questions = model(), asked()
    options = AnswerOptions(centre=True, scaled=scaled)
    found = distances(vae, WORDS, questions, options)
    expected_ranks = []
    for question, each in zip(questions, found, strict=True):
        scores = []
        for answer in question.answers:
            hidden = [*question.words, *["<unk>"] * len(answer)]
            q, p = (
                vae.posterior(Batch.of([WORDS.encode(words)], CPU)) for words in ([*question.words, *answer], hidden)
            )
            sigma = p.scale if scaled else torch.ones_like(p.scale)  # type: ignore[attr-defined]
            scores.append(float((((p.location - q.location) / sigma) ** 2).sum().sqrt()))  # type: ignore[attr-defined]
        assert each.tolist() == pytest.approx(scores, rel=1e-4)
        expected_ranks.append(sorted(scores).index(scores[0]) + 1)
    assert ranks(found) == expected_ranks
    told = chosen(vae, WORDS, questions, options)
    assert told["precision"] == pytest.approx(np.mean([rank == 1 for rank in expected_ranks]))
    assert told["reciprocal_rank"] == pytest.approx(np.mean([1 / rank for rank in expected_ranks]))
    assert told["precision_by_chance"] == 0.25
    assert told["reciprocal_rank_by_chance"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_equal_distances_share_their_places() -> None:
    assert ranks([torch.tensor([1.0, 2.0, 1.0]), torch.tensor([0.0, 0.0, 0.0]), torch.tensor([3.0, 1.0, 3.5])]) == [
        1.5,
        2,
        2,
    ]


@torch.no_grad()
def test_a_written_answer_is_what_is_decoded_behind_the_first_mark_without_unknown_words() -> None:
    vae, questions = model(), asked(12)
    options = AnswerOptions(hidden=3, length=12, seed=4)
    found = written(vae, WORDS, questions, options)
    assert masked(WORDS, ["who", "?"], 2).tolist() == [
        *WORDS.encode(["who", "?"])[:-1],
        UNK_INDEX,
        UNK_INDEX,
        EOS_INDEX,
    ]
    again = generation.reconstruct(
        vae, WORDS, [masked(WORDS, q.words, 3) for q in questions], GenerationOptions(length=12, seed=4, known=True)
    )
    for entry, question, words in zip(found, questions, again, strict=True):
        assert "<unk>" not in words
        assert entry["sentence"] == " ".join(words)
        parts = divided(words)
        assert entry["answer"] == (" ".join(parts[1]) if parts else "")
        assert entry["right"] == is_right(question.words[:-1], entry["answer"].split())


def test_the_encoder_reads_unknown_words_in_training_alone_and_the_end_always() -> None:
    vae = model(encoder_unk=0.5)
    read: list[torch.Tensor] = []
    vae.decoder.embedding.register_forward_hook(lambda _module, inputs, _output: read.append(inputs[0]))
    sentences = [WORDS.encode(list(words)) for _, words in texts("S")[:400]]
    batch = Batch.of(sentences, CPU)
    vae.train()
    vae.features(batch)
    vae.eval()
    vae.features(batch)
    seen, whole = read
    words = whole != EOS_INDEX
    assert torch.equal(seen[~words], whole[~words])
    assert (seen[words] == UNK_INDEX).double().mean().item() == pytest.approx(0.5, abs=0.05)
    kept = words & (seen != UNK_INDEX)
    assert torch.equal(seen[kept], whole[kept])


def test_a_run_answers_its_own_sentences_and_what_it_is_given(tmp_path: Path) -> None:
    values = {"d_z": 2, "d_e": 8, "d_h": 8, "corpus_size": 64, "max_epochs": 1, "nll_samples": 3, "nll_sentences": 20}
    train(Spec("mim", "questions", "tiny", {**values, "encoder_unk": 0.2}), tmp_path, lambda *_: None)
    found = answer_run(tmp_path, [], {"count": 9, "wrong": 2})
    assert found["questions"] == len(found["answers"]) == 9
    assert 0 <= found["precision"] <= 1
    assert found["precision_by_chance"] == pytest.approx(1 / 3)
    judged = [entry["right"] for entry in found["answers"] if entry["right"] is not None]  # of known words alone
    assert found["right"] == np.mean(judged)
    (own,) = answer_run(tmp_path, ["who steers the ship"], {})["answers"]
    assert own["question"] == "who steers the ship ?"
    given = answer_run(tmp_path, ["who steers the ship ?\tthe sailor\tthe rose"], {})
    assert (given["questions"], given["precision_by_chance"]) == (1, 0.5)
    assert (
        answer_run(tmp_path, ["who steers the ship ?\tthe sailor\tthe rose\t \t"], {}) == given
    )  # as a table's lines end
    (twice,) = answer_run(tmp_path, ["who ? who steers the ship ?"], {"seed": 3})["answers"]
    assert twice["answer"] == " ".join((divided(twice["sentence"].split(), 2) or ("", ""))[1])
    for questions, said in (
        (["who ?\tthe sailor\t\tthe rose"], "an answer to 'who \\?' is empty: one tab divides two answers"),
        (["who ?\ta\tb", "what ?"], "some questions have answers to choose from and some have none"),
        (["?"], "a question is empty"),
    ):
        with pytest.raises(BadInput, match=said):
            answer_run(tmp_path, questions, {})
    with pytest.raises(BadInput, match="'odd' is no option here: there are count, wrong"):
        answer_run(tmp_path, [], {"odd": 1})


def test_runs_without_codes_or_questions_are_refused(tmp_path: Path) -> None:
    values = {
        "d_e": 4,
        "d_h": 4,
        "corpus_size": 64,
        "max_epochs": 1,
        "nll_samples": 2,
        "nll_sentences": 5,
        "gallery": 0,
    }
    train(Spec("rnnlm", "questions", "tiny", values), tmp_path / "lm", lambda *_: None)
    with pytest.raises(BadInput, match="answer needs a latent code, and rnnlm has none"):
        answer_run(tmp_path / "lm", [], {})
    train(Spec("vanilla", "grammar", "tiny", {**values, "d_z": 2}), tmp_path / "g", lambda *_: None)
    with pytest.raises(BadInput, match=r"no validation sentence of grammar has a question before a '\?'"):
        answer_run(tmp_path / "g", [], {})
    steps = {**values, "d_z": 2, "svi_steps": 1}
    train(Spec("semi-amortised", "questions", "tiny", steps), tmp_path / "s", lambda *_: None)
    with pytest.raises(BadInput, match="answer hides words from the encoder as encoder_unk does, and .* svi_steps=0"):
        answer_run(tmp_path / "s", [], {})
    assert answering.AnswerOptions().scaled
