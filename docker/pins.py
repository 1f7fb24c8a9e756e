"""The packages that the images install, by version and hash: `python docker/pins.py`, run where the tests pass.

It writes beside itself what pip reads with --require-hashes:

    requirements.txt   all that text-vae-tuner with the images' extras needs but PyTorch, as it is installed beside this program
    torch-cuda.txt     PyTorch as PyPI has it; its CUDA libraries are pinned by PyTorch's own requirements, without hashes
    torch-cpu.txt      PyTorch's CPU build, from PyTorch's own index

The hashes are those that pip reports of the index it is set up with, for the images' Python on both kinds of processor. A file
whose index cannot be reached stays as it was, and is named. Base images' digests stand in Dockerfile and compose.yaml:
`docker buildx imagetools inspect IMAGE:TAG` prints a tag's.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parent
PROJECT = HERE.parent / "pyproject.toml"
EXTRAS = ("api", "postgres", "s3", "kjv")
"""of the images"""
CUDA = ("cuda-", "nvidia-", "triton")
"""what the names of its libraries begin with: only a CUDA build of PyTorch asks for them"""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROCESSORS = ("x86_64", "aarch64")
GLIBC = range(36, 4, -1)
"""minor versions of glibc 2 that the images' Debian is new enough for"""


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


def hashes(requirements: Iterable[str], *index: str) -> dict[str, list[str]]:
    """SHA-256 of the wheels that pip would take, by requirement; nothing is installed.

    Args:
        index: options of pip that name another index.

    Raises:
        CalledProcessError: if pip does not find one.
    """
    python = re.findall(r"^FROM python:(\d+\.\d+)", (HERE / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[0]
    wanted = list(requirements)
    found: dict[str, list[str]] = {line: [] for line in wanted}
    named = {canonicalize_name(Requirement(line).name): line for line in wanted}
    for processor in PROCESSORS:
        tags = [f"manylinux_2_{minor}_{processor}" for minor in GLIBC] + [f"manylinux2014_{processor}"]
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [
                sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet",
                "--report", str(report),
                "--python-version", python, "--implementation", "cp", *(word for tag in tags for word in ("--platform", tag)),
                "--only-binary=:all:", "--target", folder, *index, *wanted,
            ]  # fmt: skip
            subprocess.run(command, check=True)
            for each in json.loads(report.read_text(encoding="utf-8"))["install"]:
                hash_ = each["download_info"]["archive_info"]["hashes"]["sha256"]
                line = found[named[canonicalize_name(each["metadata"]["name"])]]
                line += [hash_] if hash_ not in line else []
    return found


def text(found: Mapping[str, list[str]]) -> str:
    lines = [" \\\n    ".join([name, *(f"--hash=sha256:{each}" for each in found[name])]) for name in found]
    return "# Made by `python docker/pins.py`; pip reads it with --require-hashes.\n" + "\n".join(lines) + "\n"


def main() -> None:
    versions = pins()
    torch = versions.pop("torch")
    files: dict[str, tuple[list[str], tuple[str, ...]]] = {
        "requirements.txt": ([f"{name}=={version}" for name, version in versions.items()], ()),
        "torch-cuda.txt": ([f"torch=={torch}"], ()),
        "torch-cpu.txt": ([f"torch=={torch}+cpu"], ("--index-url", CPU_INDEX)),
    }
    for name, (requirements, index) in files.items():
        try:
            (HERE / name).write_text(text(hashes(requirements, *index)), encoding="utf-8")
        except subprocess.CalledProcessError:
            print(f"{name} stays as it was: pip does not find what stands in it ({', '.join(requirements[:3])} …).")


if __name__ == "__main__":
    main()
