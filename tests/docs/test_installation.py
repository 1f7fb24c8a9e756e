"""The program as it is installed: foreign packages of its names are noticed, and the source distribution is whole."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from benchmarks.lowest import extras_of, lowest
from tuner import installation
from tuner.errors import Fault

ROOT = Path(__file__).parents[2]
APART = {".git", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "build", "runs", "__pycache__"}
"""Folders that other programs, and other tests, may change meanwhile."""
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def said(code: str, *places: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=places[0]
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("name", ["api", "trainers"])
def test_a_foreign_package_of_our_name_is_named_in_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
    foreign = tmp_path / f"{name}-0.0.7.dist-info"
    foreign.mkdir()
    (foreign / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.7\n")
    (foreign / "RECORD").write_text(f"{name}/__init__.py,,\n")
    (foreign / "top_level.txt").write_text(f"{name}\n")
    code = "import sys; sys.argv = ['tuner', 'samplers']; from tuner.__main__ import main; main()"
    done = said(code, tmp_path, ROOT)
    assert done.returncode == 1
    named = f"tuner: the package {name!r} in {tmp_path / name} is not this program's but that of {name} 0.0.7: "
    assert done.stderr.startswith(named)
    assert done.stderr.count("\n") == 1


def test_a_package_that_another_one_has_overwritten_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = []
    for name in installation.PACKAGES:
        (tmp_path / name).mkdir()
        shutil.copy(ROOT / name / "__init__.py", tmp_path / name)
        record.append(f"{name}/__init__.py,{installation._sum(ROOT / name / '__init__.py')},9")
    where = tmp_path / "text_vae_tuner-0.1.0.dist-info"
    where.mkdir()
    (where / "RECORD").write_text("\n".join([*record, "text_vae_tuner-0.1.0.dist-info/RECORD,,"]))

    class Spec:
        def __init__(self, name: str) -> None:
            self.origin = str(tmp_path / name / "__init__.py")

    monkeypatch.setattr(installation.importlib.util, "find_spec", Spec)
    installation.check(tmp_path)
    (tmp_path / "tuner" / "__init__.py").write_text("def main(): print('a guitar tuner')")
    with pytest.raises(Fault, match="the package 'tuner' in .* is not this program's.*environment of its own"):
        installation.check(tmp_path)


def test_every_dependency_has_a_lower_bound_that_is_met_here() -> None:
    bounds = lowest(extras_of())
    assert len(bounds) > 25
    for name, low in bounds.items():
        assert Version(version(name)) >= Version(low), name
    assert lowest([], ["torch==2.13.0"])["torch"] == "2.13.0"


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    folder = tmp_path_factory.mktemp("distribution")
    source = folder / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=lambda _, names: [n for n in names if n in APART or n.startswith(".v") or n.endswith(".egg-info")],
    )
    made = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=source, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return next(folder.glob("*.tar.gz"))


def test_the_source_distribution_holds_all_that_its_tests_need(distribution: Path) -> None:
    with tarfile.open(distribution) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert set(tracked.splitlines()) - packed == set()  # of a source distribution itself, git knows nothing
    assert "tests/conftest.py" in packed


def test_tests_of_the_source_distribution_run(distribution: Path, tmp_path: Path) -> None:
    with tarfile.open(distribution) as archive:
        archive.extractall(tmp_path, filter="data")
    (there,) = tmp_path.iterdir()
    few = [
        "tests/tuner/studies/test_names.py",
        "tests/tuner/test_space.py",
        "tests/docs/test_readme.py::test_both_newcomer_commands_are_marked",
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *few],
        cwd=there, env={**environment, "PYTHONPATH": str(there)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_packages_page_has_no_link_that_leads_nowhere(distribution: Path) -> None:
    with tarfile.open(distribution) as archive:
        (name,) = [each for each in archive.getnames() if each.count("/") == 1 and each.endswith("/PKG-INFO")]
        stored = archive.extractfile(name)
        assert stored is not None
        facts = message_from_bytes(stored.read())
    page = facts.get_payload()
    assert facts["Description-Content-Type"] == "text/markdown"
    assert "# Text VAE tuner" in page
    targets = re.findall(r"\]\(([^)]*)\)", str(page))
    assert all(target.startswith(("https://", "#")) for target in targets), targets
    assert "What each figure is, and is not" in " ".join(str(page).split())  # words of a link stay
    assert "<img" not in page


def test_links_of_a_packages_page_lead_to_the_repository_that_is_declared() -> None:
    described = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["described"]
    text = "see [a\nb](docs/x.md#y), [c](https://e.org/), [d](#here)\n![e f](docs/p.png)"
    assert described(text, "https://h/r") == (
        "see [a\nb](https://h/r/blob/main/docs/x.md#y), [c](https://e.org/), [d](#here)\n![e f](https://h/r/raw/main/docs/p.png)"
    )
    assert described(text, None) == "see a\nb, [c](https://e.org/), [d](#here)\n"
