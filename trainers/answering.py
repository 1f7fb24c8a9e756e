"""Answers by a model of sentences that hold a question and its answer (LV §4.6): chosen among several, and written.

The encoder reads the question with `<unk>` for each word of the answer; the code is compared with those of the candidates, or
decoded into question and answer together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers import generation
from trainers.corpus import Sentence, Vocabulary
from trainers.errors import BadInput
from trainers.generation import GenerationOptions
from trainers.latent.distributions import Gaussian
from trainers.models import Batch, SenVAE
from trainers.options import Value, build, option
from trainers.questions import MARK, Question, divided, is_right, posed
from trainers.runs import Run, corpus_of, open_run
from trainers.vocabulary import UNK


@dataclass(frozen=True)
class AnswerOptions:
    count: int = option(500, "questions, of the validation sentences that hold one and its answer", low=1)
    wrong: int = option(4, "wrong answers beside the right one", low=1)
    hidden: int = option(
        0, "words that the encoder is told an answer has when one is written (0: as many as the right one has)", low=0
    )
    scaled: bool = option(
        True, "distances are in standard deviations of the masked sentence's posterior; false: plain (LV, of an AE)"
    )
    centre: bool = option(False, "codes are the posteriors' centres, not samples")
    length: int = option(100, "words of a written sentence at most", low=1)
    seed: int = option(0, "seed of questions and codes", low=0)


def masked(vocabulary: Vocabulary, question: Sequence[str], words: int) -> Sentence:
    """The question, and so many unknown words for its answer."""
    return vocabulary.encode([*question, *[UNK] * words])


@torch.no_grad()
def _posterior(model: SenVAE, sentences: Sequence[Sentence]) -> Gaussian:
    device = next(model.parameters()).device
    parts = [
        model.posterior(Batch.of(sentences[start : start + generation.ROWS], device))
        for start in range(0, len(sentences), generation.ROWS)
    ]
    gaussians = [part for part in parts if isinstance(part, Gaussian)]
    if len(gaussians) < len(parts):
        raise BadInput(
            "answer compares codes in standard deviations, which only a Gaussian posterior has: name a run that has one."
        )
    return Gaussian(*(torch.cat([getattr(part, name) for part in gaussians]) for name in ("location", "scale")))


@torch.no_grad()
def distances(
    model: SenVAE, vocabulary: Vocabulary, questions: Sequence[Question], options: AnswerOptions
) -> list[Tensor]:
    """‖z_masked − z_answer‖ of each question's answers, by dimension in standard deviations of q(z|masked) (LV §4.6)."""
    model.eval()
    pairs = [(q.words, answer) for q in questions for answer in q.answers]
    whole = _posterior(model, [vocabulary.encode([*words, *answer]) for words, answer in pairs])
    hidden = _posterior(model, [masked(vocabulary, words, len(answer)) for words, answer in pairs])
    generator = torch.Generator(whole.location.device).manual_seed(options.seed)
    spread = 0.0 if options.centre else model.spread
    codes, others = (q.codes(q.noise(1, generator), spread)[0] for q in (whole, hidden))
    apart = (others - codes) / (hidden.scale if options.scaled else 1.0)
    return list(apart.norm(dim=-1).cpu().split([len(q.answers) for q in questions]))


def ranks(found: Sequence[Tensor]) -> list[float]:
    """The place of each question's first answer by its distance, from 1 on; of equal ones the mean place."""
    return [1 + float((each[1:] < each[0]).sum()) + float((each[1:] == each[0]).sum()) / 2 for each in found]


def chosen(
    model: SenVAE, vocabulary: Vocabulary, questions: Sequence[Question], options: AnswerOptions
) -> dict[str, Any]:
    """P@1 and mean reciprocal rank of the right answers, and what guessing gets."""
    found = ranks(distances(model, vocabulary, questions, options))
    sizes = [len(question.answers) for question in questions]
    return {
        "precision": sum(rank == 1 for rank in found) / len(found),
        "reciprocal_rank": sum(1 / rank for rank in found) / len(found),
        "precision_by_chance": sum(1 / size for size in sizes) / len(sizes),
        "reciprocal_rank_by_chance": sum(sum(1 / k for k in range(1, size + 1)) / size for size in sizes) / len(sizes),
    }


@torch.no_grad()
def written(
    model: SenVAE, vocabulary: Vocabulary, questions: Sequence[Question], options: AnswerOptions
) -> list[dict[str, Any]]:
    """An answer of the model's own to each question: what follows the mark in the sentence decoded from the masked one's code.

    It is greedy and has no unknown word. `right` says whether the grammar gives such an answer, where it has the question.
    """
    hidden = [masked(vocabulary, q.words, options.hidden or len(q.answers[0])) for q in questions]
    writing = GenerationOptions(centre=options.centre, length=options.length, known=True, seed=options.seed)
    made = generation.reconstruct(model, vocabulary, hidden, writing)
    found = []
    for question, words in zip(questions, made, strict=True):
        parts = divided(words, question.words.count(MARK))
        answer = parts[1] if parts else []
        found.append(
            {
                "question": " ".join(question.words),
                "sentence": " ".join(words),
                "answer": " ".join(answer),
                "right": is_right(question.words[:-1], answer),
            }
        )
    return found


def _questions(run: Run, given: Sequence[str], options: AnswerOptions) -> tuple[list[Question], bool]:
    """Questions: those given, each with its answers divided by tabs, or those of the validation sentences; and whether
    they have answers.
    """
    split = run.vocabulary.split
    if not given:
        valid = [run.vocabulary.decode(sentence.tolist()) for sentence in corpus_of(run).splits["valid"]]
        found = posed(valid, options.count, options.wrong, options.seed)
        if not found:
            raise BadInput(
                f"no validation sentence of {run.spec.corpus} has a question before a {MARK!r} and its answer after it."
            )
        return found, True
    lines = [[part.strip() for part in line.rstrip().split("\t")] for line in given]
    several = {len(parts) > 2 for parts in lines}
    if len(several) > 1:
        raise BadInput("some questions have answers to choose from and some have none: give all of them some, or none.")
    found = []
    for question, *answers in lines:
        words = split(question)
        words = words if words and words[-1] == MARK else [*words, MARK]
        if len(words) == 1:
            raise BadInput("a question is empty: give at least one word.")
        if not all(map(split, answers)):
            raise BadInput(f"an answer to {question!r} is empty: one tab divides two answers.")
        found.append(Question(words, [split(answer) for answer in answers] or [[UNK] * (options.hidden or 5)]))
    return found, several == {True}


def answer_run(folder: Path, given: Sequence[str], values: Mapping[str, Value]) -> dict[str, Any]:
    """A run's choice among answers, where there are some to choose from, and its own answers.

    Args:
        given: questions; behind tabs, answers to choose from, the right one first. None: validation sentences' own.

    Raises:
        BadInput: if the run has no latent, its text is not of words, its technique sees hidden words, or there is no question.
    """
    run = open_run(folder)
    if not isinstance(run.model, SenVAE):
        raise BadInput(
            f"answer needs a latent code, and {run.spec.technique} has none: name a run of another technique."
        )
    if run.vocabulary.tokens.noun != "words":
        raise BadInput(f"answer reads words, and this run is of {run.vocabulary.tokens.noun}: name a run of words.")
    unknown = sorted(set(values) - set(AnswerOptions.__dataclass_fields__))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no option here: there are {', '.join(AnswerOptions.__dataclass_fields__)}.")
    seen = run.objective.refusal(replace(run.options.model, encoder_unk=0.5))
    if seen is not None:
        raise BadInput(f"answer hides words from the encoder as encoder_unk does, and {seen}")
    options = build(AnswerOptions, values)
    questions, several = _questions(run, given, options)
    found: dict[str, Any] = {"questions": len(questions)}
    if several:
        found |= chosen(run.model, run.vocabulary, questions, options)
    answers = written(run.model, run.vocabulary, questions, options)
    judged = [entry["right"] for entry in answers if entry["right"] is not None]
    return {**found, "right": sum(judged) / len(judged) if judged else None, "answers": answers}
