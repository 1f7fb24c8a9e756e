"""Output for people: tables of trials, a run's figures, and plain words about what they mean."""

import sys
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.text import Text

from trainers.contract import COLLAPSED as SILENT
from tuner.analysis.ties import tied
from tuner.commands.tables import Column, Table, console
from tuner.estimators import estimate, estimator_of, notes_of, perplexity
from tuner.metrics import AXES, FIGURES, METRICS, Metrics, figure
from tuner.metrics import number as number
from tuner.ngram import Line
from tuner.numbers import GIB
from tuner.screen import plain
from tuner.studies import answers
from tuner.studies.objectives import shortfall
from tuner.studies.study import Study
from tuner.studies.table import Head, cells, hyperparameters_among
from tuner.studies.table import heads as heads_of
from tuner.studies.trials import Trial
from tuner.studies.winner import LOWEST

if TYPE_CHECKING:
    from tuner.analysis.reproduction import Agreement

ROWS = 50
"""Number of trials in a table unless all are asked for."""
LISTED = 20
"""Largest number of trials that a sentence lists."""
PARTS = ("set_up", "training", "evaluation")
"""Parts of a trial's seconds."""
MIN_SHARE = 0.05
"""Probability of being hidden, from which a word is coloured."""
COLLAPSED = (
    "collapsed: the code z says (nearly) nothing about the sentence (R < 0.2 nats), so the decoder "
    "ignores it and samples, reconstructions and interpolations all come out alike. If it was cut short, train longer. "
)
NONE_HELD = (
    "Try a technique that holds a rate (sfb, mdr or fb with r of 2 or more), a smaller beta, or slower annealing."
)
NOT_HELD = "The technique was to hold a rate, so its schedule or its multiplier had too few steps: raise max_epochs."
ALIKE = (
    "collapsed: sentences pay a rate, but their codes do not tell them apart (MI < 0.2 nats): the posteriors are alike, and "
    "off the prior. If it was cut short, train longer. "
)
ALIKE_HELD = "Else try another technique than this one, e.g. one whose decoder sees fewer words (word-dropout)."
RANKS = {"number": 0, "nll": 0, "rate": 2, "note": 3, "state": 4, "ppl": 5}
"""Columns of trials that a narrow terminal keeps longer than others, beside the hyperparameters."""
NOTES = {
    "off its rate": "off its rate: R is far from its r, so compare it by its R; more steps (max_epochs), or for a multiplier "
    "that swings a smaller step size, bring R nearer; with free bits of each dimension (fb-dim, pretrained-fb) R lies above r by "
    "nature",
    "not resolved": "not resolved: the NLL may be too high by more than 0.1 nats, so it is not to be ranked with others",
    "not resolved from q": "not resolved from q: the NLL still fell as the last samples from q were added, so it may be too "
    "high by 0.1 nats or more and is not to be ranked with others; nll=tempered, or both, is less biased",
}
"""Explanations of the notes that qualify a trial's figures, `collapsed` left out, whose advice depends on the figures."""


def duration(seconds: float) -> str:
    """`0.25 s`, `42 s`, `3:07 min` or `2:05 h`."""
    whole = round(seconds)
    if 0 < seconds < 9.95:
        return f"{seconds:.2g} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def load(gpu: Mapping[str, Any] | None) -> str:
    """A card's use and memory, as far as it tells them."""
    if gpu is None:
        return "–"
    use = "" if gpu["use"] is None else f"{gpu['use']:.0f} %"
    known = gpu["memory_used"] is not None and gpu["memory_total"] is not None
    memory = f"{gpu['memory_used'] / GIB:.1f} of {gpu['memory_total'] / GIB:.0f} GiB" if known else ""
    return ", ".join(filter(None, (use, memory))) or "–"


def _with_error(nll: float | None, error: float | None) -> str:
    return number(nll) + ("" if error is None else f" ± {error:.2g}")


def trial_table(
    trials: Sequence[Trial],
    marked: Collection[int],
    title: str | None = None,
    columns: Sequence[str] | None = None,
    known: Mapping[str, Head] | None = None,
    judged: str = "nll",
) -> Table:
    """A row for each trial, with a star at those marked: the best one, or the front.

    Args:
        columns: keys of the columns; those that are shown unless others are chosen, if none.
        known: all columns; those that these trials have, if not given.
        judged: the study's objective, whose figure is shown too.
    """
    heads = heads_of(hyperparameters_among(trials)) if known is None else known
    keys = columns or [key for key, head in heads.items() if head.shown or key == judged]
    keys = ["number", *(key for key in keys if key != "number")]
    chosen = [_column(heads[key], rank) for rank, key in enumerate(keys)]
    made = Table(*chosen, title=title, chosen=bool(columns), remedy="--columns chooses")
    for trial in trials:
        found = cells(trial)
        made.add(*(_cell(key, found, trial.number in marked) for key in keys), marked=trial.number in marked)
    return made


def _column(head: Head, place: int) -> Column:
    style = "cyan" if head.key not in AXES and not head.is_text and head.key != "number" else ""
    label = "NLL ± se" if head.key == "nll" else head.label
    return Column(label, not head.is_text, RANKS.get(head.key, 1 if style else 10 + place), head.key == "note", style)


def _cell(key: str, found: Mapping[str, Any], is_marked: bool) -> str:
    value = found.get(key)
    if key == "number":
        return f"{value}{' *' if is_marked else '  '}"
    if key == "nll" and value is not None:
        return _with_error(value, found.get("nll_se"))
    return duration(value) if key == "seconds" and value is not None else number(value)


def gain(found: answers.Study, trials: Sequence[Trial], study: Study | None = None) -> str | None:
    """The gain of the best trial over the published values, which trial 0 has, in words; None if there is nothing to
    compare.

    Both must be complete; nothing is compared unless the same estimator judged them.

    Args:
        study: whose files are at hand; without them two estimates count as made apart.
    """
    best, spec = _best(found, trials), found["spec"]
    first = next((trial for trial in trials if trial.number == 0), None) if spec["first_default"] else None
    if best is None or first is None or first.value is None or best.value is None:
        return None
    assert first.metrics is not None
    assert best.metrics is not None
    front = found["front"]
    judged = "MELBO" if spec["objective"] == "melbo" else "NLL"
    said = f"trial 0 has the {first.source} values: {judged} {number(first.value)}"
    said += f", R {number(first.metrics['rate'])}" if front or spec["min_rate"] else ""
    if front:
        return f"{said}; it is {'' if 0 in front else 'not '}on the front"
    if best.number == 0:
        return f"{said}; it is the best"
    if estimator_of(first.metrics, "") != estimator_of(best.metrics, ""):
        return f"{said}, by another estimator than the best's: the two are not to be compared"
    lower = first.value - best.value
    apart = f"{abs(lower):.2f}" if abs(lower) >= 0.01 else "less than 0.01"
    said += f"; the best is {apart} {'lower' if lower >= 0 else 'higher'}"
    unresolved = [t for t in (first, best) if (t.metrics or {})["estimator"].get("resolved") is False]
    reaches = shortfall(spec["min_rate"], first.metrics.get("rate")) == 0
    if not reaches and lower < 0:
        said += f", as trial 0 does not reach R ≥ {spec['min_rate']:g}"
    elif reaches and spec["objective"] == "nll" and tied(best, [first], study):
        said += ", within the estimates' errors"
    elif spec["objective"] == "nll" and unresolved:
        said += f", but the estimate of trial {' and '.join(str(t.number) for t in unresolved)} is not resolved"
    return said


def against_ngram(
    kept: Mapping[str, Any] | None, best: Mapping[str, Any] | None, objective: str, noun: str = "word"
) -> str | None:
    """The figures of an n-gram model on the validation sentences, and the best trial's distance to them, in words.

    Args:
        kept: what the study keeps of it; none in a study of an older program.
        best: the best trial's metrics, if any.
        objective: of the study; models that are judged by MELBO have no NLL that anything keeps low.
        noun: for a token of the text.
    """
    line = Line.of_study(kept, "valid", noun)
    if line is None:
        return None
    if best is None or best.get("nll") is None or not line.is_of(best["estimator"]) or objective == "melbo":
        return line.said
    lower = line.nll - best["nll"]
    apart = f"{abs(lower):.2f} nats" if abs(lower) >= 0.01 else "less than 0.01 nats"
    if lower >= 0:
        return f"{line.said}; the best trial is {apart} better"
    unsure = ", if its estimate can be believed" if best["estimator"].get("resolved") is False else ""
    return (
        f"warning: {line.said}; the best trial is {apart} worse{unsure}: it has learnt less of the text than counting "
        f"{noun}s tells; give it more epochs (max_epochs), more text or a larger model before techniques are compared"
    )


def won(best: Mapping[str, Any] | None) -> str:
    """The measure by which a listed study's best trial is the best, in words; empty where that is the lowest value."""
    return "" if best is None or best["by"] == LOWEST else f"best by {best['by']}"


def study_table() -> Table:
    """An empty table of studies."""
    return Table(
        "study", Column("state", rank=2), Column("technique", rank=3), Column("corpus", rank=4), Column("model", rank=5),
        Column("sampler", rank=6), Column("done", rank=1, right=True), Column("running", rank=5, right=True),
        Column("best NLL", rank=1, right=True), Column("R", rank=2, right=True), Column("note", rank=3, folds=True),
    )  # fmt: skip


def marked(found: answers.Study) -> set[int]:
    """Numbers of the trials that a table marks: the front, or the best one."""
    return set(found["front"]) or ({found["best"]["number"]} if found["best"] else set())


def _best(found: answers.Study, trials: Sequence[Trial]) -> Trial | None:
    number_ = found["best"]["number"] if found["best"] else None
    return next((trial for trial in trials if trial.number == number_), None)


def titled(found: answers.Study, title: str | None = None) -> str | None:
    """The title of a table of trials, with what their PPL is per unless that is the word."""
    ppl = perplexity(found["token"])
    return title if ppl == "PPL" else ", ".join(filter(None, (title, ppl)))


def print_trials(
    found: answers.Study, trials: Sequence[Trial], title: str | None = None, columns: Sequence[str] | None = None
) -> None:
    """Prints the last trials, and the best one wherever it is."""
    best, last = _best(found, trials), list(trials[-ROWS:])
    if best is not None and best.number not in {t.number for t in last}:
        last = [best, *last]
    trial_table(last, marked(found), titled(found, title), columns, judged=found["objective"]).print()
    if len(last) < len(trials):
        console().print(f"… and {len(trials) - len(last):,} earlier trials: `tuner trials {found['name']} --all`")


def summary(study: Study) -> None:
    """A study of a database: as `shown`."""
    shown(answers.study_here(study), study.trials.all(), study)


def shown(found: answers.Study, trials: Sequence[Trial], study: Study | None = None) -> None:
    """A study's trials, its best, what to know about the figures and what to do next.

    Args:
        study: whose files are at hand; without them two estimates count as made apart.
    """
    spec, out, best, front = found["spec"], console(), _best(found, trials), found["front"]
    title = (
        f"{found['name']}: {found['technique']} on {found['corpus']}, model {found['model']}, "
        f"sampler {found['sampler']}, seed {found['seed']}"
    )
    print_trials(found, trials, title)
    if found["state"] not in ("active", "finished"):
        out.print(f"\nthe study is {found['state']}" + (f": {found['why']}" if found["why"] else ""))
    if found["waiting_for_workers"]:
        out.print("\nit waits: no worker that is there takes its trials; start one with `tuner worker`")
    if best is None or found["best"] is None:
        out.print("\nno trial is complete yet")
        return
    assert best.metrics is not None
    nll = _with_error(best.metrics["nll"], best.metrics.get("nll_se"))
    judged = f"MELBO {number(best.value)}, " if spec["objective"] == "melbo" else ""
    params = " ".join(f"{key}={number(value)}" for key, value in best.given.items()) or "the defaults"
    if front:
        out.print(f"\nfront of low NLL and high rate, from its lowest NLL on: trials {', '.join(map(str, front))}")
    out.print(
        f"\nbest by {found['best']['by']}: trial {best.number}, {judged}NLL {nll} nats per sentence, "
        f"{perplexity(found['token'])} {number(best.metrics['ppl'])}, with {params}"
    )
    out.print(estimate(best.metrics))
    rivals = [trial for trial in trials if shortfall(spec["min_rate"], (trial.metrics or {}).get("rate")) == 0]
    equal = [] if front or spec["objective"] != "nll" else tied(best, rivals, study)
    if equal:
        out.print(f"{_listed(equal)} may be as good: the difference is within the estimates' errors")
    for sentence in found["best"]["said"]:
        out.print(sentence)
    if (gained := gain(found, trials, study)) is not None:
        out.print(gained)
    if found["entropy"] is not None:
        out.print(
            f"the corpus's exact entropy is {number(found['entropy'])} nats per sentence: "
            "no model's expected NLL is lower"
        )
    counted = against_ngram(found["ngram"], best.metrics, spec["objective"], found["token"])
    if counted is not None:
        out.print(counted)
    _print_costs([trial for trial in trials if trial.cost])
    for meaning, noted in explained({trial.number: trial.metrics for trial in trials}).items():
        out.print(f"{_listed(noted)} {meaning}")


def explained(found: Mapping[int, Metrics | None]) -> dict[str, list[int]]:
    """Explanations of the notes that qualify figures, each with the numbers of those that have it."""
    said: dict[str, list[int]] = {}
    for number_, metrics in found.items():
        for note in notes_of(metrics or Metrics()):
            meaning = NOTES[note] if note in NOTES else _collapse(metrics or Metrics())
            said.setdefault(meaning, []).append(number_)
    return said


def _collapse(metrics: Metrics) -> str:
    """An explanation of a collapse, by the figure that tells it, and advice."""
    said, held = (ALIKE, ALIKE_HELD) if (metrics.get("rate") or 0.0) >= SILENT else (COLLAPSED, NOT_HELD)
    return said + (NONE_HELD if metrics.get("target_rate") is None else held)


def _listed(numbers: Sequence[int]) -> str:
    """`trial 3`, `trials 3, 5`, or of very many the first ones."""
    more = f", … ({len(numbers):,} in all)" if len(numbers) > LISTED else ""
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:LISTED]))}{more}"


def _print_costs(trials: Sequence[Trial]) -> None:
    """Prints how long trials took on average; a worker that is not ours may leave parts out."""
    costs = [trial.cost for trial in trials if trial.cost]
    parts = {part: [cost["seconds"][part] for cost in costs if part in cost["seconds"]] for part in PARTS}
    speeds = [cost["tokens_per_second"] for cost in costs if cost["tokens_per_second"] is not None]
    means = {part.replace("_", "-"): fmean(spent) for part, spent in parts.items() if spent}
    said = [f"{duration(mean)} of {part}" for part, mean in means.items()]
    besides = fmean([trial.seconds or 0.0 for trial in trials]) - sum(means.values()) if means else 0.0
    if besides > 0:
        said.append(f"{duration(besides)} besides (its process's start, its files, attempts before its last)")
    lines = [f"a trial took on average {', '.join(said)}"] if said else []
    lines += [f"training ran at {fmean(speeds):,.0f} tokens/s"] if speeds else []
    if lines:
        console().print("; ".join(lines))


def next_commands(study: Study, database_option: str) -> None:
    """Prints commands to type after a study."""
    best = study.best()
    commands = [(f"tuner show {study.name}{database_option}", "the study again")]
    if best:
        commands += [
            (f"tuner neighbours {best.run}{database_option}", "what its winner writes, and how new that is"),
            (
                f"tuner confirm {study.name}{database_option}",
                "the winner with new seeds, S = 1000, on the test sentences too",
            ),
        ]
    commands += [
        (f"tuner export {study.name} --format csv{database_option}", "every trial for a spreadsheet or pandas"),
        (f"tuner serve{database_option}", "all of it in a browser (pip install 'text-vae-tuner[api]')"),
    ]
    width = max(len(command) for command, _ in commands)
    print("\nnext:")
    for command, meaning in commands:
        print(f"  {command:<{width}}   {meaning}")


def _facts() -> Table:
    """An empty table of names, values and what they mean, without heads."""
    return Table("", "", Column("", folds=True), chosen=True)


def metrics_table(metrics: Metrics, entropy: float | None = None) -> None:
    """One run's figures, each with its meaning."""
    rows = _facts()
    for key in METRICS:
        if (
            value := figure(metrics, key)
        ) is not None:  # some have no meaning here: R − r of a technique that holds no rate
            rows.add(key, number(value), FIGURES[key].meaning)
    rows.print()
    out = console()
    out.print(estimate(metrics))
    if entropy is not None:
        out.print(f"the corpus's exact entropy is {number(entropy)} nats per sentence")
    for meaning in explained({0: metrics}):
        out.print(meaning)


def agreement(found: "Agreement") -> None:
    """A run's figures then and now."""
    rows = Table("", "then", "now", "", chosen=True)
    for key, (then, now) in found.figures.items():
        rows.add(key, repr(then), repr(now), "differs" if key in found.differs else "")
    rows.print()
    out = console()
    if found.exact:
        out.print("on a processor of the same class: figures must be the same to the last digit")
        return
    then_, now_ = found.machines
    changes = ", ".join(
        f"{key} {then_[key] or 'none'} → {now_[key] or 'none'}" for key in then_ if then_[key] != now_[key]
    )
    where = f"on another class of machine ({changes})" if changes else "on a GPU, which adds in any order"
    out.print(f"{where}: NLL, −ELBO, D and R must agree within {number(found.tolerance)} nats")


def comparison(found: Mapping[str, Any], every: bool) -> None:
    """Prints trials side by side, each under a letter of its own; every: settings in which they agree, too."""
    letters = [chr(ord("a") + place) for place in range(len(found["runs"]))]
    named = Table(*("",) * 4, chosen=True)
    for letter, run in zip(letters, found["runs"], strict=True):
        named.add(letter, run["run"], run["state"], run["note"])
    named.print()
    rows = Table(Column("", folds=True), *(Column(letter, right=True) for letter in letters), title=" ", chosen=True)
    for setting in found["settings"]:
        if (every or setting["differs"]) and setting["name"] != "text":
            rows.add(setting["name"], *map(number, setting["values"]))
    for one in found["figures"]:
        rows.add(one["key"], *(duration(v) if one["key"] == "seconds" and v else number(v) for v in one["values"]))
    rows.print()
    if found["note"]:
        console().print(f"note: {found['note']}")


def latent_table(found: Mapping[str, Any]) -> None:
    """Prints measures of a run's codes, each figure with its meaning."""
    rows = _facts()
    rows.add("bleu", number(found["bleu"]), "greedy reconstructions from posterior samples, 0–100")
    rows.add("bleu_1", number(found["bleu_1"]), "the same, single words only")
    for swaps, distortion in found["noisy"].items():
        rows.add(
            f"noisy {swaps}",
            number(distortion),
            f"D of a sentence from the code of it after {swaps} swaps of two tokens",
        )
    rows.add(
        "smoothness", number(found["smoothness"]), "correlation of code distance and token edit distance over pairs"
    )
    normal = found["normal_entropy"]
    beside = "on the sphere" if normal is None else f"N(0, I): {number(normal)}"
    rows.add("entropy", number(found["entropy"]), f"of the codes, by nearest neighbours, nats; {beside}")
    for labelled, accuracy in (found["probes"] or {}).items():
        kind = "a mixture of Gaussians, best match" if labelled == "0" else f"a linear classifier, {labelled} labels"
        rows.add(
            f"probe {labelled}", number(accuracy), f"accuracy of {kind}; largest class {number(found['largest_class'])}"
        )
    rows.print()
    console().print(f"on {found['sentences']} validation sentences")


def dropped_line(words: Sequence[Mapping[str, Any]]) -> Text:
    """A sentence whose words are the redder the likelier they are hidden; with figures where there is no colour."""
    line = Text()
    for number_, entry in enumerate(words):
        share = entry["probability"]
        green = round(255 * (1 - share))
        style = f"black on #ff{green:02x}{green:02x}" if share >= MIN_SHARE else ""
        line.append(" " if number_ else "")
        line.append(plain(entry["word"]), style)
        line.append("" if sys.stdout.isatty() else f" {share:.2f}")
    return line
