"""Descriptions of estimators: what made a trial's figures, on which sentences of which text, and what qualifies them.

Figures made unlike are not to be ranked together.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trainers.contract import TOKENS
from tuner.metrics import Estimator, Metrics, number, tempered_of

ONE_SIDED = 1.64
"""Standard errors of a one-sided bound that holds in 95 % of cases."""
OFF_ITS_RATE = "off its rate"
OFF, OFF_SHARE = 0.5, 0.1
"""Distance of R from r that is told: nats, and the share of r, of which the larger counts."""


def cutting(truncation: float) -> str:
    """A description, in few words, of the cutting of long sentences."""
    return f"cut at mean + {truncation:g} sd" if truncation else "uncut"


def token(divided_into: str) -> str:
    """A noun for a token of a text; divided_into: the option `tokens`, by which the text is divided."""
    return TOKENS.get(divided_into.partition(":")[0], "token")


def perplexity(noun: str) -> str:
    """A name of the perplexity of a text; noun: as by `token`. It is not said of words, which the papers have."""
    return "PPL" if noun == "word" else f"PPL per {noun}"


def sentences_of(metrics: Metrics, text: str) -> str:
    """A description, in few words, of the sentences that an NLL is of; text: as by `spec.Facts.text`."""
    facts = metrics["estimator"]
    sentences = f"{facts['of']:,} {facts['split']} sentences of {text}"
    return sentences if facts["sentences"] == facts["of"] else f"{facts['sentences']:,} of {sentences}"


def estimator_of(metrics: Metrics, text: str, beside: bool = False) -> str:
    """A description, in few words, of the estimator of an NLL; text: as by `spec.Facts.text`.

    A tempered estimate is one procedure, which takes as many draws as its own correction asks for: how many it took makes no
    other one. It corrects its bias, and states a bound of what is left. An estimate from q does neither, so its S is part of it.

    Args:
        beside: the tempered NLL beside the one from q; empty if there is none.
    """
    facts, sentences = metrics["estimator"], sentences_of(metrics, text)
    if facts.get("inputs") == "none":
        sentences += ", no word read"
    tempered = facts.get("tempered") if beside and "temper" not in facts else facts
    if tempered is None:
        return ""
    if "temper" in tempered:
        return f"tempered, {tempered['samples']} draws or more, {sentences}"
    if facts["proposal"] == "exact":
        return f"exact, {sentences}"
    return f"S = {facts['samples']} from {facts['proposal']}, {sentences}"


def mixed(made: Mapping[str, Collection[str]]) -> str | None:
    """Says that what is shown together is by different estimators, or of different texts, if it is.

    Args:
        made: the estimators (or texts) of each study or series, by its name.
    """
    kinds = dict.fromkeys(kind for each in made.values() for kind in each)
    if len(kinds) < 2:
        return None
    whose = [f"{kind}: {', '.join(name for name, each in made.items() if kind in each)}" for kind in kinds]
    together = "these figures are by different estimators, or of different texts, and are not to be ranked together"
    return f"{together} ({'; '.join(whose)})"


def notes_of(metrics: Metrics) -> list[str]:
    """Notes that qualify a trial's figures, in a few words each."""
    facts = metrics.get("estimator") or Estimator()
    notes = {
        "collapsed": metrics.get("collapsed"),
        OFF_ITS_RATE: _is_off(metrics),
        "not resolved": tempered_of(metrics).get("resolved") is False,
        "not resolved from q": "temper" not in facts and facts.get("resolved") is False,
    }
    return [note for note, holds in notes.items() if holds]


def doubts_of(metrics: Metrics) -> list[str]:
    """Notes that doubt a trial's figures or their worth: all but the one on its rate, which a plane may have as an axis."""
    return [note for note in notes_of(metrics) if note != OFF_ITS_RATE]


def _is_off(metrics: Metrics) -> bool:
    """True if a technique's rate is further from the r that it was to hold than another seed or other sentences make it."""
    r, error = metrics.get("target_rate"), metrics.get("rate_error")
    return r is not None and error is not None and abs(error) > max(OFF, OFF_SHARE * r)


def notes_of_runs(every: Sequence[Metrics]) -> list[str]:
    """Notes that qualify the figures of a configuration's runs, each with the number of runs where not all have it."""
    notes = [notes_of(metrics) for metrics in every]
    counts = {note: sum(note in each for each in notes) for note in dict.fromkeys(n for each in notes for n in each)}
    return [note if count == len(every) else f"{note} in {count} of {len(every)}" for note, count in counts.items()]


def estimate(metrics: Metrics) -> str:
    """A sentence that describes the estimator of an NLL and how sure it is."""
    facts = metrics["estimator"]
    sentences = f"{facts['sentences']} of {facts['of']} {facts['split']} sentences"
    if facts.get("inputs") == "none":
        sentences += ", no word read by the decoder"
    if facts["proposal"] == "exact":
        return f"exact NLL on {sentences}"
    if "temper" in facts:
        return f"importance-sampled NLL: {_tempered(facts, sentences)}, seed {facts['seed']}{_certified(facts)}"
    said = f"importance-sampled NLL: S = {facts['samples']} from {facts['proposal']}, {sentences}, seed {facts['seed']}"
    if facts.get("resolved") is False:
        fall = facts.get("fall")
        why = (
            "so few draws do not tell"
            if fall is None
            else f"it fell by {number(fall)} nats from a quarter of the draws to all"
        )
        said += f": not resolved, since {why}"
    said += _certified(facts)
    if "tempered" in facts:
        said += f"; beside it {number(metrics.get('nll_tempered'))}: {_tempered(facts['tempered'], 'same sentences')}"
        said += _certified(facts["tempered"])
    return said


def _tempered(facts: Estimator, sentences: str) -> str:
    levels = ", ".join(f"{draws} draws of {count}" for draws, count in (facts.get("levels") or {}).items())
    sure = sureness(facts.get("error"), facts.get("bias"))
    doubt = ": not resolved" if facts.get("resolved") is False else ""
    return f"tempered, λ = {facts['temper']:g}, {levels} of the {sentences}; {sure}{doubt}"


def sureness(error: float | None, bias: float | None) -> str:
    """The own error of a tempered estimate and the bound of its bias."""
    own = "–" if error is None else f"{error:.2g}"
    return f"the estimate's own standard error {own}, its bias at most {number(bias)}"


def certified_bound(certificate: Mapping[str, Any]) -> float | None:
    """Bound of an estimate's bias in nats, which holds in 95 % of cases; None where the certificate bounds nothing."""
    gap, error = certificate["gap"], certificate.get("gap_se")
    return None if gap is None or error is None else max(float(gap) + ONE_SIDED * float(error), 0.0)


def _certified(facts: Estimator) -> str:
    """A clause that tells of an estimator's certificate and of its sentences; empty if there is none."""
    found = facts.get("certificate")
    if found is None:
        return ""
    bound = certified_bound(found)
    if bound is None:  # of one sentence, or of a run of before, whose flow was narrower than 32 bits can tell
        return "; its certificate bounds nothing"
    made = f" (gap {found['gap']:.2g} + {ONE_SIDED} × its standard error {found['gap_se']:.2g})"
    cut = f", {found['cut']} of them cut" if found["cut"] else ""
    return (
        f"; certified: at most {number(bound) if bound >= 100 else f'{bound:.2g}'} nats too high{made} on "
        f"{found['sentences']} sentences of the model{cut}, of "
        f"{number(found['mean_length'])} tokens and {number(found['mean_rate'])} nats of rate (the corpus's: "
        f"{number(found['corpus_length'])} and {number(found['corpus_rate'])})"
    )
