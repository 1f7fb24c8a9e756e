"""Lines that fronts are to be held against: the corpus's exact entropy, an n-gram model of the text, and the RNNLM."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tuner.analysis.pareto import Columns
from tuner.metrics import figure
from tuner.ngram import Line
from tuner.storage.database import Database
from tuner.studies import queries
from tuner.studies.study import Study

PER_TOKEN = {"ppl": "nll", "ppl_tempered": "nll_tempered", "ppl_elbo": "neg_elbo"}
"""Figures per token, each with the figure per sentence that it is made of."""
LEVELLED = (*PER_TOKEN, *PER_TOKEN.values(), "value")
"""Figures across whose plots a line can be drawn."""
BASELINE = "rnnlm"
STUDIES = 20
"""Largest number of the baseline's studies that are looked at, the newest first."""


def of(database: Database, columns: Sequence[Columns], y: str, split: str) -> list[dict[str, Any]]:
    """Names and heights of the lines in a plot whose axis is `y`; none where its studies are of several texts."""
    texts = {own.study.facts.text for own in columns}
    if y not in LEVELLED or len(texts) != 1:
        return []
    (text,), facts = texts, columns[0].study.facts
    tokens, is_ppl = _tokens(columns, split), y in PER_TOKEN
    found = [("exact entropy", _height(facts.corpus.entropy, tokens, is_ppl))]
    line = Line.of_study(facts.ngram, split, facts.corpus.token)
    found += [("n-gram model", None if line is None else line.ppl if is_ppl else line.nll)]
    found += [("RNNLM", _baseline(database, text, "ppl" if is_ppl else "nll", split))]
    return [{"label": label, "value": value} for label, value in found if value is not None]


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


def _baseline(database: Database, text: str, key: str, split: str) -> float | None:
    """The RNNLM's figure on that text: its best trial's, or the mean over its confirmations' on test sentences."""
    found = queries.page(database, STUDIES, None, BASELINE)
    studies = [study for study in found if isinstance(study, Study) and study.facts.text == text]
    if split == "valid":
        bests = [figure(best.metrics, key) for study in studies if (best := study.best()) is not None and best.metrics]
        return min(bests, default=None)
    tested = [(t.metrics or {}).get("test") for s in studies if s.spec.confirms for t in s.trials.all()]
    known = [value for metrics in tested if metrics and (value := figure(metrics, key)) is not None]
    return fmean(known) if known else None
