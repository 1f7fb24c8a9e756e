"""The definition of a study: the settings that people ask for, `StudySpec`, and the facts found when it was made,
`Facts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from trainers.contract import FORMERLY, PRESETS
from tuner import __version__, numbers
from tuner.errors import Usage
from tuner.estimators import cutting, token
from tuner.samplers import DEFAULT, SAMPLERS, derive
from tuner.space import Parameter, Space, Value, load, objective, techniques
from tuner.studies.objectives import OBJECTIVES
from tuner.studies.pruners import PRUNERS
from tuner.studies.setting import (
    Confirmed,
    Domains,
    Duration,
    Moment,
    Number,
    Pairs,
    Setting,
    Text,
    Truth,
    Word,
    Words,
    setting,
    settings_of,
)

RULES = ("timeout", "deadline", "max_failures", "max_losses")
"""Settings that a study's row keeps in a column of their own, so that they can change while it runs."""
BUDGET = "trials"
"""Setting that a row keeps as its budget, which a sweep has yet to fill."""
RANDOM = ("infovae", "lagvae")
"""Techniques that had random batches when all others had batches by length."""
UNCUT = tuple(name for name, options in PRESETS.items() if options.get("truncation") == 0)
"""Presets that leave sentences whole."""
CUT = 3.0
"""Standard deviations above the mean, at which other presets cut a folder's sentences unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """Settings that people ask for in a study."""

    technique: str = setting("Technique to train.", Text(100), short="-t", command="tuner techniques")
    corpus: str = setting(
        "Corpus by name, a folder with train, valid and test, or one file.",
        Text(4096), "grammar", short="-c", command="tuner corpora",
    )  # fmt: skip
    trials: int = setting(
        "Number of trials of the study in all.", Number(numbers.TRIALS), 8, role="changeable", short="-n"
    )
    sampler: str = setting(
        "Sampler that proposes trials.",
        Word(tuple(SAMPLERS), "module:Class, an Optuna sampler of your own"), DEFAULT, command="tuner samplers",
    )  # fmt: skip
    sampler_options: Mapping[str, Value] = setting("Options of the sampler.", Pairs(), {}, flag="--sampler-option")
    first_default: bool = setting(
        "Trial 0 has the published values in place of the sampler's.", Truth(), True, older=False
    )
    model: str = setting("Preset of sizes.", Word(tuple(PRESETS)), "tiny", short="-m")
    pruner: str = setting(
        "Rule that ends trials early that look poor; of some techniques the best trials do.",
        Word(tuple(PRUNERS)),
        "none",
    )
    min_rate: float = setting("Rate R, in nats, that the best trial must reach (0: none).", Number(numbers.NATS), 0.0)
    objective: str = setting(
        "Objective: nll; nll,rate, the front of low NLL and high rate; or melbo, for ae and mim.",
        Word(tuple(OBJECTIVES)), "nll", flag="--objectives", usual="nll; melbo for ae and mim",
    )  # fmt: skip
    nll: str | None = setting(
        "Estimator that trials are judged by: tempered; q1000, S = 1000 from q; q, the preset's S.",
        Text(20),
        None,
        usual="tempered",
    )
    stop_when: float = setting(
        "Gain, in nats, that the sampler must expect of all trials left, or the study ends (0: any).",
        Number(numbers.NATS), 0.0, role="changeable",
    )  # fmt: skip
    warm_start: str | None = setting("Study with whose finished trials this one begins.", Text(200), None)
    fixed: Mapping[str, Value] = setting("Hyperparameters and options that all trials have.", Pairs(), {}, flag="--set")
    space: Space | None = setting("Search space of your own.", Domains(), None, usual="the technique's")
    seed: int = setting("Seed from which every other seed is derived.", Number(numbers.INDEX), 0)
    timeout: float | None = setting(
        "Time limit of a trial over all its attempts.", Duration(), None, role="changeable", usual="none"
    )
    deadline: float | None = setting(
        "Time after which the study hands out no trial; it can go on.",
        Moment(), None, role="changeable", usual="none",
    )  # fmt: skip
    max_failures: int = setting(
        "Number of failed trials in a row, diverged ones not counted, that stops the study (0: any).",
        Number(numbers.FAILURES), 3, role="changeable",
    )  # fmt: skip
    max_losses: int = setting(
        "Number of lost workers in a row that fails a trial (0: any).",
        Number(numbers.FAILURES), 20, role="changeable",
    )  # fmt: skip
    note: str = setting("Note about the study.", Text(), "", role="remark")
    tags: Sequence[str] = setting("Words to find the study by.", Words(), (), role="remark", flag="--tag")
    confirms: Mapping[str, Any] | None = setting(
        "Study and trial whose configuration is trained again.", Confirmed(), None, flag=""
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "StudySpec":
        """A specification from values by their names, each checked.

        Raises:
            Usage: if a name is unknown, a value is not allowed, or the technique is missing.
        """
        for key in values:
            if key not in SETTINGS:
                raise Usage(f"{key} is no setting of a study: they are {', '.join(ASKED)}.", key)
        if "technique" not in values:
            raise Usage("technique is missing: name one.", "technique", command="tuner techniques")
        checked = {key: SETTINGS[key].checked(value) for key, value in values.items()}
        return cls(**{"objective": _objective(checked["technique"]), **checked})

    def plain(self) -> dict[str, Any]:
        """The settings that people may ask for, as JSON values from which `of` makes an equal StudySpec."""
        return {key: each.kind.plain(getattr(self, key)) for key, each in ASKED.items()}

    def changes(self) -> dict[str, Any]:
        """The settings that are not at their defaults, as JSON values."""
        usual = {key: each.kind.plain(each.default) for key, each in ASKED.items() if key != "technique"}
        usual["objective"] = _objective(self.technique)
        return {key: value for key, value in self.plain().items() if key not in usual or value != usual[key]}


def _objective(technique: str) -> str:
    """A technique's own objective; of none that is known the default, for another place to refuse it."""
    return objective(technique) if technique in techniques() else "nll"


SETTINGS: dict[str, Setting] = settings_of(fields(StudySpec))
"""Every setting by its name."""
ASKED = {key: each for key, each in SETTINGS.items() if each.flag}
"""Settings that people may give."""
OPEN = {key: each for key, each in ASKED.items() if each.role != "identity"}
"""Settings that may change while a study runs: the changeable ones, and people's remarks."""
CHANGEABLE = tuple(key for key, each in SETTINGS.items() if each.role == "changeable")


@dataclass(frozen=True)
class Corpus:
    """A study's text as a trainer has read it."""

    name: str
    """Name or folder that a trainer opens."""
    fingerprint: str
    sentences: Mapping[str, int]
    """Number of sentences by split."""
    vocabulary: int
    """Number of types in the vocabulary: different words, characters or pieces."""
    entropy: float | None
    """Nats per sentence, exact, where the corpus is drawn from a grammar."""
    divided_into: str
    """Division of a sentence into tokens: the option `tokens`."""

    @property
    def token(self) -> str:
        """A noun for a token of the text."""
        return token(self.divided_into)


@dataclass(frozen=True)
class Facts:
    """Facts found when a study was made. No one asks for them, and they do not change."""

    corpus: Corpus
    space: Space
    """Space that is searched, without the values with which a schedule would not end."""
    batching: str
    truncation: float
    """Standard deviations above the mean length at which sentences are cut; 0: never."""
    ngram: Mapping[str, Any] | None = None
    """Figures of an n-gram model of the text (`ngram.Line`)."""
    planned: Mapping[str, Value] = field(default_factory=dict)
    """Defaults that hold in this plan of training."""
    observations: Sequence[Mapping[str, Any]] | None = None
    """Trials that a warm start begins with (`warmstart.observations`)."""
    version: str = __version__
    """Version of the program that made the study."""
    untrusted: bool = False
    """True if the sampler is code that a bundle names, which nobody here asked for."""

    @classmethod
    def of(
        cls, described: Mapping[str, Any], space: Space, observations: Sequence[Mapping[str, Any]] | None = None
    ) -> "Facts":
        """The facts in a trainer's description of the run (`trainer.check`)."""
        return cls(
            Corpus(**{key.name: described[key.name] for key in fields(Corpus)}), space, described["batching"],
            described["truncation"], described.get("ngram"), described.get("planned", {}), observations,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """Description of the text that figures are of, in few words: the corpus; how many words, characters or pieces it
        knows, as all others are read as <unk>; whether its sentences are cut; and its fingerprint, which differs
        wherever a split, a word or the cutting does.

        That batches were no random samples is said too: it costs every technique more than the techniques differ by.
        """
        return ", ".join([self.sentences] + ([] if self.batching == "random" else [f"batches by {self.batching}"]))

    @property
    def sentences(self) -> str:
        """Description of the text without the batches, which change no sentence."""
        types = f"{self.corpus.vocabulary:,} {self.corpus.token}s"
        made = [Path(self.corpus.name).name, types, cutting(self.truncation)]
        return ", ".join([*made, f"text {self.corpus.fingerprint[:8]}"])


PLAN = {"batch_size", "max_epochs"}
"""Options that a plan of training follows from, and schedules' defaults with it."""


@dataclass(frozen=True)
class Definition:
    """Settings and facts that define a study."""

    spec: StudySpec
    facts: Facts

    @cached_property
    def searched(self) -> tuple[Parameter, ...]:
        """The hyperparameters that the sampler chooses."""
        return self.facts.space.searched(self.spec.fixed)

    @cached_property
    def usual(self) -> dict[str, Value]:
        """Hyperparameters where none is chosen or set by hand: the defaults in the study's plan of training.

        Where trials have plans of their own, those that a plan changes are left out, as each trial has another.
        """
        found = {**self._defaults, **self.facts.planned}
        if PLAN.isdisjoint(p.name for p in self.searched):
            return found
        return {key: value for key, value in found.items() if self._defaults.get(key) == value}

    @cached_property
    def _defaults(self) -> dict[str, Value]:
        return {p.name: p.default for p in self.facts.space.parameters}

    @cached_property
    def fixed(self) -> dict[str, Value]:
        """The hyperparameters that were set by hand, without the options."""
        names = {**self._defaults, **self.facts.planned}
        return {key: value for key in names if (value := self.spec.fixed.get(key)) is not None}

    def hyperparameters(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """All hyperparameters of a trial for which these were chosen."""
        return {**self.usual, **params, **self.fixed}

    def given(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """The hyperparameters of a trial that were chosen for it or set by hand."""
        return {**self.fixed, **params}

    def run_spec(self, number: int, params: Mapping[str, Value]) -> dict[str, Any]:
        """The order that a trainer gets for a trial."""
        return {
            "technique": self.spec.technique,
            "corpus": self.facts.corpus.name,
            "model": self.spec.model,
            "values": {**self.spec.fixed, **params},
            "fingerprint": self.facts.corpus.fingerprint,
            "seed": derive(self.spec.seed, number, "train"),
        }

    def stored(self) -> dict[str, Any]:
        """The definition as a study's row keeps it, without what has a column of its own."""
        spec, facts = self.spec, self.facts
        kept = {
            key: each.kind.plain(getattr(spec, key))
            for key, each in SETTINGS.items()
            if key not in (*RULES, BUDGET, "nll")
        }
        warm = None if spec.warm_start is None else {"study": spec.warm_start, "observations": facts.observations}
        found = {**vars(facts), "corpus": asdict(facts.corpus), "space": facts.space.plain(), "ngram": facts.ngram}
        del found["observations"]
        return {
            **kept,
            **found,
            "own_space": spec.space is not None,
            "warm_start": warm,
            "planned": dict(facts.planned),
        }

    def rules(self) -> dict[str, Any]:
        """The settings that have a column of their own, as a study's row keeps them."""
        return {key: getattr(self.spec, key) for key in RULES}

    @classmethod
    def of(cls, stored: Mapping[str, Any], budget: int, rules: Mapping[str, Any]) -> "Definition":
        """The inverse of the two, also of what an older program has stored.

        Raises:
            LookupError, TypeError, ValueError, Usage: if no program of ours has stored it.
        """
        kept = completed(stored)
        if not rules.keys() <= set(RULES):
            raise ValueError(f"rules {', '.join(rules)}")
        warm = kept.pop("warm_start") or {"study": None, "observations": None}
        space, own = Space.of(kept["space"]), kept.pop("own_space", False)
        corpus = Corpus(**{key.name: kept["corpus"][key.name] for key in fields(Corpus)})
        facts = Facts(
            corpus, space, kept["batching"], kept["truncation"], kept.get("ngram"), kept.get("planned", {}), warm["observations"],
            kept.get("version", ""), kept.get("untrusted", False),
        )  # fmt: skip
        asked = {key: kept.get(key, each.older) for key, each in SETTINGS.items() if key not in RULES}
        asked |= {
            "corpus": facts.corpus.name,
            "space": space if own else None,
            "warm_start": warm["study"],
            "nll": judge_of(kept["fixed"]),
        }
        spec = StudySpec(
            **{
                key: SETTINGS[key].checked(value, is_stored=True)
                for key, value in {**asked, **rules}.items()
                if key != BUDGET
            }
        )
        return cls(replace(spec, trials=budget), facts)

    def changed(self, budget: int, rules: Mapping[str, Any]) -> "Definition":
        """The definition with the values that a row's columns hold now."""
        newer = {key: SETTINGS[key].checked(value, is_stored=True) for key, value in rules.items()}
        return replace(self, spec=replace(self.spec, trials=budget, **newer))

    def other(self, wanted: "Definition") -> str | None:
        """The first setting or finding that makes the wanted study another one than this; None if it is this one."""
        mine, theirs = self.identity, wanted.identity
        return next((key for key, value in mine.items() if theirs[key] != value), None)

    @property
    def identity(self) -> dict[str, Any]:
        """Settings and facts that tell this study from another."""
        named = [key for key, each in SETTINGS.items() if each.role == "identity" and key != "nll"]
        named.sort(key=lambda key: (key != "fixed", key == "first_default"))  # what others follow from is named first
        own = {key: getattr(self.spec, key) for key in named}
        return {"technique": self.spec.technique, **own, "space": self.facts.space, "corpus": self.facts.corpus}


def judge_of(fixed: Mapping[str, Value]) -> str | None:
    """The setting `nll` with which these options are asked for again: none where they name the estimator; else it is `q`, a
    trainer's own.
    """
    return None if fixed.keys() & {"nll", "nll_samples"} else "q"


def today(fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Options as an older program wrote them, in today's words."""
    return {
        key: FORMERLY.get(key, {}).get(value, value) if isinstance(value, bool) else value
        for key, value in fixed.items()
    }


@cache
def _defaults(technique: str) -> dict[str, Value]:
    """Today's defaults of a technique's hyperparameters; none of a technique that there is no more."""
    return {p.name: p.default for p in load(technique).parameters} if technique in techniques() else {}


def _moved(stored: Mapping[str, Any]) -> dict[str, Value]:
    """Defaults that no sampler chooses, as the study's space has them, where a trainer of today has others."""
    now = _defaults(stored["technique"])
    kept = {p["name"]: p["default"] for p in stored["space"]["parameters"] if not (p["tuned"] or p.get("planned"))}
    return {name: value for name, value in kept.items() if now.get(name, value) != value}


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A specification as it was stored, with what a study made by an older program had without saying so.

    A default that has changed since is fixed for what is trained from now on. Before batches were random by default, its
    batches were by length, and the hyperparameters that no sampler chose had the defaults of the space that is stored with it:
    both are fixed for what is trained from now on.
    """
    kept = {"warm_start": None, **stored}
    kept["fixed"] = {**_moved(kept), **today(kept["fixed"])}
    kept["corpus"] = {"divided_into": kept["fixed"].get("tokens", "words"), **kept["corpus"]}
    if kept.get("truncation") is None:
        usual = 0.0 if kept["model"] in UNCUT else CUT
        is_whole = kept["corpus"]["name"] == "grammar"  # which is never cut
        kept["truncation"] = 0.0 if is_whole else float(kept["fixed"].get("truncation", usual))
    if "batching" in kept:
        return kept
    fixed = dict(kept["fixed"])
    chosen = fixed.pop("random_batches", kept["technique"] in RANDOM)
    batching = "random" if chosen else "length"
    defaults = {p["name"]: p["default"] for p in kept["space"]["parameters"] if not p["tuned"]}
    return {**kept, "batching": batching, "fixed": {**defaults, "batching": batching, **fixed}}
