"""Lines that fronts are to be held against: the corpus's exact entropy, an n-gram model of the text, and the RNNLM."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import fmean
from typing import Any

from tuner.analysis.pareto import Columns
from tuner.metrics import Metrics, figure
from tuner.ngram import Line
from tuner.storage.database import Database
from tuner.studies import queries
from tuner.studies.study import Study
from tuner.studies.trials import Trial

PER_TOKEN = {"ppl": "nll", "ppl_tempered": "nll_tempered", "ppl_elbo": "neg_elbo"}
"""Figures per token, each with the figure per sentence that it is made of."""
LEVELLED = (*PER_TOKEN, *PER_TOKEN.values(), "value")
"""Figures across whose plots a line can be drawn."""
BASELINE = "rnnlm"
STUDIES = 20
"""Largest number of the baseline's studies that are looked at, the newest first."""


def of(database: Database, columns: Sequence[Columns], y: str, split: str) -> list[dict[str, Any]]:
    """Names and heights of the lines in a plot whose axis is `y`; none where its studies' sentences differ."""
    kinds = {_sentences(own.study, split) for own in columns}
    is_melbo = y == "value" and any(
        own.study.spec.objective == "melbo" for own in columns
    )  # it may lie below any entropy
    if y not in LEVELLED or len(kinds) != 1 or is_melbo:
        return []
    (kind,), facts = kinds, columns[0].study.facts
    tokens, is_ppl = _tokens(columns, split), y in PER_TOKEN
    found = [("exact entropy", _height(facts.corpus.entropy, tokens, is_ppl))]
    line = Line.of_study(facts.ngram, split, facts.corpus.token)
    found += [("n-gram model", None if line is None else line.ppl if is_ppl else line.nll)]
    models = sorted({own.study.spec.model for own in columns})
    baselines = list(islice(_baselines(database, kind, split), STUDIES))
    for model in models:
        label = "RNNLM" if len(models) == 1 else f"RNNLM, {model}"
        found.append(
            (label, _baseline([s for s in baselines if s.spec.model == model], "ppl" if is_ppl else "nll", split))
        )
    return [{"label": label, "value": value} for label, value in found if value is not None]


def _baselines(database: Database, kind: tuple[str, int | None], split: str) -> Iterator[Study]:
    """The baseline's studies of the same sentences, the newest first."""
    after = None
    while page := queries.page(database, STUDIES, after, BASELINE):
        yield from (study for study in page if isinstance(study, Study) and _sentences(study, split) == kind)
        after = page[-1].created_at, page[-1].name


def _tokens(columns: Sequence[Columns], split: str) -> float | None:
    """Tokens per sentence on average, from the first trial whose NLL and perplexity are known; perplexities are over
    all tokens.
    """
    for own in columns:
        for nll, ppl in zip(own.figures[split]["nll"], own.figures[split]["ppl"], strict=True):
            if math.isfinite(nll) and ppl > 1:
                return nll / math.log(ppl)
    return None


def _height(nats: float | None, tokens: float | None, is_ppl: bool) -> float | None:
    if nats is None or not is_ppl:
        return nats
    return None if tokens is None else math.exp(nats / tokens)


def _sentences(study: Study, split: str) -> tuple[str, int | None]:
    """A study's text, and how many of the split's sentences its figures are of, as far as it tells."""
    line = Line.of_study(study.facts.ngram, split, study.facts.corpus.token)
    return study.facts.text, None if line is None else line.sentences


def _baseline(studies: Sequence[Study], key: str, split: str) -> float | None:
    """The figure of the RNNLM's studies: the least of its configurations' means over their runs.

    On validation sentences a search's best trial stands for it where no configuration was run by itself.
    """
    judged = [
        [value for t in s.trials.all() if t.state == "complete" and (value := _judged(t, key, split)) is not None]
        for s in studies
        if s.spec.confirms or not s.searched
    ]
    means = [fmean(values) for values in judged if values]
    if means or split != "valid":
        return min(means, default=None)
    bests = [best for study in studies if (best := study.best()) is not None]
    return min((value for best in bests if (value := _judged(best, key, split)) is not None), default=None)


def _judged(trial: Trial, key: str, split: str) -> float | None:
    metrics = trial.metrics or Metrics()
    of_split = metrics if split == "valid" else metrics.get("test")
    return figure(of_split, key) if of_split else None
