"""Checks that the packages imported under this program's names are its own: others of these names are about, and pip
has one overwrite the other without a word.
"""

import base64
import hashlib
import importlib.util
from pathlib import Path

from tuner.errors import Fault

PACKAGES = ("api", "search_spaces", "trainers", "tuner")
DISTRIBUTION = "text-vae-tuner"
HERE = Path(__file__).resolve().parent.parent


def check(root: Path = HERE) -> None:
    """Finds a package of ours that another one hides or has overwritten.

    Args:
        root: the folder where this program's packages are.

    Raises:
        Fault: if there is one.
    """
    sums = _recorded(root)
    for name in PACKAGES:
        own = root / name / "__init__.py"
        if not own.exists():  # a copy of some of the packages
            continue
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else own
        written = sums.get(f"{name}/__init__.py")
        if found != own or (written is not None and written != _sum(own)):
            raise Fault(
                f"the package {name!r} in {found.parent} is not this program's{_owner(name)}: install {DISTRIBUTION} in an "
                f"environment of its own, or uninstall the other and install {DISTRIBUTION} again."
            )


def _recorded(root: Path) -> dict[str, str]:
    """Hashes that pip recorded of this program's files when it installed them, by file; empty in a source folder."""
    records = root.glob(f"{DISTRIBUTION.replace('-', '_')}-*.dist-info/RECORD")
    lines = [line.rsplit(",", 2) for file in records for line in file.read_text(encoding="utf-8").splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 3}


def _sum(file: Path) -> str:
    """A file's checksum as pip writes it."""
    digest = hashlib.sha256(file.read_bytes()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _owner(name: str) -> str:
    """The packages that a module of that name may belong to, worded for a message; empty if none is known."""
    from importlib.metadata import packages_distributions, version

    others = [each for each in dict.fromkeys(packages_distributions().get(name, ())) if each != DISTRIBUTION]
    return f" but that of {', '.join(f'{each} {version(each)}' for each in others)}" if others else ""
