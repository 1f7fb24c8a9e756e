"""Confirmation: a configuration that won is trained again with new seeds, and only then judged on the test sentences.

A confirmation is a study like any other, with nothing left to tune: the same workers train it, and it stops and goes on alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tuner import samplers
from tuner.errors import Missing, Usage
from tuner.space import Value
from tuner.storage.database import Database
from tuner.studies.launch import Say
from tuner.studies.objectives import OBJECTIVES
from tuner.studies.queries import all_studies
from tuner.studies.spec import StudySpec
from tuner.studies.study import Study, open_study
from tuner.studies.trials import Trial

JUDGED: Mapping[str, Value] = {
    "nll": "both",
    "nll_samples": 1000,
    "nll_sentences": 0,
    "certify": 100,
    "codes": True,
    "test": True,
}
"""Options that give the papers' figures, S = 1000 from q, the tempered ones beside them, both certified, and measures
of the codes; all sentences, both splits.
"""


UNTOLD = {*JUDGED, "rows", "gallery", "device", "checkpoint_seconds"}
"""Options in which a confirmation may differ from what it confirms and yet train the same model."""


MARK = "-confirmed-"
"""Part of a confirmation's name between the study's and the trial's number."""


def chosen(study: Study, number: int | None, front: bool, say: Say = lambda _: None) -> list[Trial]:
    """The trials to confirm: that of this number, all of the front, or the winner.

    Args:
        say: hears by what it won, where that is not the lowest value.

    Raises:
        Usage: if there is none, or it is not complete.
    """
    if study.spec.confirms:
        raise Usage(f"study {study.name!r} confirms another one: name {study.spec.confirms['study']!r}.")
    done = {trial.number: trial for trial in study.trials.all() if trial.state == "complete"}
    if number is not None:
        if number not in done:
            raise Usage(
                f"--trial {number} is no complete trial of study {study.name!r}: see `tuner trials {study.name}`."
            )
        return [done[number]]
    if front:
        if len(OBJECTIVES[study.spec.objective]) == 1:
            raise Usage(
                f"--front is for studies of two objectives, and study {study.name!r} minimises "
                f"{study.spec.objective}: leave it out."
            )
        if not done:
            raise Usage(f"study {study.name!r} has no complete trial to confirm yet.")
        return [done[place] for place in study.front()]
    found = study.winner()
    if found is None:
        raise Usage(f"study {study.name!r} has no complete trial to confirm yet.")
    for sentence in found.said:
        say(f"{study.name}: {sentence}")
    return [found.trial]


def spec(study: Study, trial: Trial, runs: int, settings: Mapping[str, Value]) -> StudySpec:
    """The settings of the study that confirms a trial, seeded by that study's seed and the trial's number.

    Args:
        settings: change the judgement.

    Raises:
        Usage: if they change what won.
    """
    for key in settings:
        if key in trial.params:
            raise Usage(
                f"{key} = {settings[key]} is not allowed: trial {trial.number} of study {study.name!r} has "
                f"{key} = {trial.params[key]}, and that is confirmed; `tuner launch --set {key}={settings[key]}` trains another.",
                f"fixed.{key}",
            )
    return replace(
        study.spec,
        trials=runs,
        space=study.facts.space,
        sampler="random",
        sampler_options={},
        seed=samplers.derive(study.spec.seed, trial.number, "confirm"),
        objective="melbo" if study.spec.objective == "melbo" else "nll",
        fixed={**study.spec.fixed, **trial.params, **JUDGED, **settings},
        pruner="none",
        min_rate=0.0,
        stop_when=0.0,
        warm_start=None,
        first_default=False,
        nll=None,
        timeout=None,
        deadline=None,
        note="",
        tags=(),
        confirms={"study": study.name, "trial": trial.number, "params": trial.params},
    )


def name_of(study: Study, trial: Trial) -> str:
    """Name of the study that confirms a trial."""
    return f"{study.name}{MARK}{trial.number}"


def sources(database: Database, names: list[str], split: str) -> list[tuple[Study, list[Study]]]:
    """Each of these studies, or of all but the confirmations of one of them, with those whose runs are its points: itself; or, on
    test sentences, its confirmations, and itself if it has nothing to tune and so chooses nothing.

    Raises:
        Missing: if a study is unknown.
    """
    named = [open_study(database, name) for name in dict.fromkeys(names)]
    if named and split == "valid":
        return [(study, [study]) for study in named]
    every = all_studies(database)
    own = _confirmations(every)
    studies = named or every
    shown = {each.name for study in studies for each in own.get(study.name, [])}
    if split == "valid":
        return [(study, [study]) for study in studies if study.name not in shown]
    return [
        (study, [study] * bool(study.spec.confirms or not study.searched) + own.get(study.name, []))
        for study in studies
        if study.name not in shown
    ]


def _confirmations(every: Sequence[Study]) -> dict[str, list[Study]]:
    """The confirmations of each of these studies, by its name."""
    known, found = {study.name: study for study in every}, dict[str, list[Study]]()
    for study in every:
        name = study.spec.confirms["study"] if study.spec.confirms else ""
        if name in known and _is_its(study, known[name]):
            found.setdefault(name, []).append(study)
    return found


def _is_its(confirmation: Study, study: Study) -> bool:
    """True if a confirmation is of a trial of that study, and not of another one's that had its name."""
    told = confirmation.spec.confirms or {}

    def trained(of: Study) -> tuple[object, ...]:
        fixed = {key: value for key, value in of.spec.fixed.items() if key not in UNTOLD and key not in told["params"]}
        return of.spec.technique, of.spec.model, of.facts.corpus.fingerprint, fixed

    one, other = trained(confirmation), trained(study)
    try:
        return one == other and study.trials.get(told["trial"]).params == told["params"]
    except Missing:
        return False
