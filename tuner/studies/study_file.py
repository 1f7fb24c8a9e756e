"""Study files: the settings of a study as TOML, which `tuner launch --config` reads and `tuner show --format toml` writes."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from tuner.errors import Usage
from tuner.studies.spec import ASKED, StudySpec

NAME = "name"


def read(file: Path) -> dict[str, Any]:
    """The settings that a file names, each checked, and under `name` the study's name if it is there.

    Raises:
        Usage: naming the file, the setting, its value and the rule.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Usage(f"the study file {file} cannot be read ({why}): give a TOML file.") from error
    found = {}
    for key, value in content.items():
        if key != NAME and key not in ASKED:
            raise Usage(
                f"the study file {file} has {key}, which is no setting of a study: they are {', '.join(ASKED)}."
            )
        try:
            found[key] = value if key == NAME else ASKED[key].checked(value)
        except Usage as error:
            raise Usage(f"the study file {file}: {error}") from error
    if not isinstance(found.get(NAME, ""), str):
        raise Usage(f"the study file {file}: name = {found[NAME]!r} is not allowed: it must be a text.")
    return found


def write(name: str | None, spec: StudySpec) -> str:
    """The file from which `tuner launch --config` makes that study, or goes on with it.

    Args:
        spec: its settings as JSON values; those at their defaults are left out.
    """
    changes = {key: value for key, value in spec.changes().items() if value is not None}
    tables = {key: value for key, value in changes.items() if isinstance(value, dict)}
    plain = {key: value for key, value in changes.items() if key not in tables}
    return tomli_w.dumps({**({NAME: name} if name else {}), **plain, **tables})
