"""Test of the lowest versions that pyproject.toml allows: `python -m benchmarks.lowest FOLDER --keep torch==2.13.0`.

Makes a virtual environment in FOLDER, installs this program with each dependency at its lower bound, and runs a study from launch
to report and sample, from outside of the source. Needs a package index.
"""

import argparse
import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
DEVELOPING = "test"
"""Extra that is no part of what people install."""
QUICK = ("corpus_size=200", "max_epochs=2", "nll_samples=3", "nll_sentences=40", "d_h=12", "d_e=12")
STEPS = (
    ("launch", "--technique", "sfb", "--trials", "3", *(part for key in QUICK for part in ("--set", key))),
    ("report",),
    ("sample", "sfb-grammar-tiny/0", "--count", "2"),
    ("export", "sfb-grammar-tiny/0", "--model", "model"),
    ("sample", "model", "--count", "2"),
)


def lowest(extras: Iterable[str], keep: Iterable[str] = ()) -> dict[str, str]:
    """The lower bound of each dependency by its name.

    Args:
        extras: whose dependencies count too.
        keep: NAME==VERSION of those that are to have another version.

    Raises:
        ValueError: if a dependency has none.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    found: dict[str, str] = {}
    for need in map(Requirement, lines):
        bounds = [each.version for each in need.specifier if each.operator == ">="]
        if not bounds:
            raise ValueError(f"{need.name} has no lower bound in pyproject.toml.")
        found[need.name] = bounds[0]
    return found | {need.name: next(iter(need.specifier)).version for need in map(Requirement, keep)}


def extras_of() -> list[str]:
    """All that people install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [extra for extra in project["optional-dependencies"] if extra != DEVELOPING]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="New folder, outside of the source.")
    parser.add_argument("--extras", default="", help="Extras, comma-separated; `all`: every one that people install.")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="NAME==VERSION",
        help="Package with another version than its lowest.",
    )
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if folder.is_relative_to(ROOT):
        parser.error(f"{folder} is inside the source, whose modules would be imported: name a folder outside.")
    extras = extras_of() if asked.extras == "all" else [each for each in asked.extras.split(",") if each]
    venv.create(folder / "env", with_pip=True)
    constraints = folder / "lowest.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in lowest(extras, asked.keep).items()))
    wanted = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    python = folder / "env" / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TUNER_"))}
    steps: list[list[str]] = [[str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints), wanted]]
    steps += [[str(python.with_name("tuner")), *step] for step in STEPS]
    for step in steps:
        print(f"$ {' '.join(step)}", flush=True)
        done = subprocess.run(step, cwd=folder, env=environment, check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
