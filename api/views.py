"""JSON values of techniques and settings by the contract; those of studies, trials and workers are in `answers`."""

from typing import Any

from tuner.space import Space, objective
from tuner.studies import answers
from tuner.studies.setting import REQUIRED, Number, Setting, Word


def technique(space: Space) -> dict[str, Any]:
    return {
        "name": space.technique,
        "paper": space.paper,
        "formula": space.formula,
        "summary": space.summary,
        "objective": objective(space.technique),
        "hyperparameters": [answers.hyperparameter(p) for p in space.parameters],
    }


def setting(declared: Setting) -> dict[str, Any]:
    kind, required = declared.kind, declared.default is REQUIRED
    within = kind.within if isinstance(kind, Number) else None
    return {
        "key": declared.name, "label": declared.label, "meaning": declared.meaning, "rule": kind.rule,
        "kind": type(kind).__name__.lower(), "role": declared.role, "required": required, "flag": declared.flag,
        "default": None if required else kind.plain(declared.default),
        "choices": list(kind.choices) if isinstance(kind, Word) else None, "low": within and within.low,
        "high": within and within.high, "whole": within and within.whole,
    }  # fmt: skip
