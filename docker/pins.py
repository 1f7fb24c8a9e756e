"""The versions that the images install: `python docker/pins.py > docker/constraints.txt`, run where the tests pass.

What text-vae-tuner with the images' extras needs, and what that needs, as it is installed beside this program. PyTorch's CUDA
libraries are not listed: PyTorch's own requirements pin them.
"""

import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("api", "postgres", "s3", "kjv")
"""of the images"""
CUDA = ("cuda-", "nvidia-", "triton")
"""what the names of its libraries begin with: only a CUDA build of PyTorch asks for them"""


def asked(extras: Iterable[str] = EXTRAS) -> list[Requirement]:
    """What the project itself names."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines]


def pins(look: Callable[[str], Distribution] = distribution) -> dict[str, str]:
    """Versions by name; without the local part that marks PyTorch's CPU build.

    Raises:
        PackageNotFoundError: if one is not installed here.
    """
    found: dict[str, str] = {}
    waiting = [(need, extra) for need in asked() for extra in (need.extras or {""})]
    seen = set()
    while waiting:
        need, extra = waiting.pop()
        name = canonicalize_name(need.name)
        if (name, extra) in seen or name.startswith(CUDA):
            continue
        if not (need.marker is None or need.marker.evaluate({"extra": ""})):
            continue
        seen.add((name, extra))
        there = look(name)
        found[name] = Version(there.version).public
        for line in there.requires or ():
            other = Requirement(line)
            if other.marker is None or other.marker.evaluate({"extra": extra}):
                other.marker = None
                waiting += [(other, inner) for inner in (other.extras or {""})]
    return dict(sorted(found.items()))


if __name__ == "__main__":
    print("# Made by `python docker/pins.py`; pip reads it with -c.")
    for name, version in pins().items():
        print(f"{name}=={version}")
