"""The house's rules: who imports whom, and who loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"trainers": {"tuner", "api", "search_spaces", "optuna", "sqlalchemy"}, "tuner": {"api"}}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_import_directions(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert not imported(file) & FORBIDDEN[package], file


def test_of_trainers_its_data_alone_are_imported() -> None:
    for package in ("tuner", "api"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trainers"):
                    assert node.module == "trainers.contract", file
                assert not (isinstance(node, ast.Import) and any(a.name.startswith("trainers") for a in node.names)), (
                    file
                )
    contract = ast.parse((ROOT / "trainers" / "contract.py").read_text(encoding="utf-8")).body
    assert all(isinstance(each, (ast.Assign, ast.AnnAssign, ast.Expr)) for each in contract)


FLOORS = {
    "samplers": 1,
    "storage": 1,
    "studies": 2,
    "client": 3,
    "run": 3,
    "workers": 4,
    "analysis": 4,
    "notebook": 5,
    "commands": 5,
}
"""The rooms of `tuner`, and two modules for other programs, by floor: a module imports from its room and from floors below.
What is not named here is on the ground floor, which all share."""


def modules_of(package: str) -> dict[str, set[str]]:
    """Every module of a package, and the package's modules that it imports: lazily and for types alone too."""
    names = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (ROOT / package).rglob("*.py")
    }

    def imports(file: Path) -> set[str]:
        found = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                both = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (both & names.keys()) or {node.module}
        return found & names.keys()

    return {name: imports(file) - {name} for name, file in names.items()}


def test_imports_between_the_rooms_point_down() -> None:
    found = modules_of("tuner")
    rooms = {module: module.split(".")[1] if "." in module else "" for module in found}
    for module in found.keys() - {"tuner", "tuner.__main__"}:
        for other in found[module] - {"tuner"}:
            above, below = (FLOORS.get(rooms[each], 0) for each in (module, other))
            assert below < above or rooms[module] == rooms[other] or above == below == 0, f"{module} imports {other}"


@pytest.mark.parametrize("package", ["api", "trainers", "tuner"])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    left = {module: others - {package} for module, others in modules_of(package).items() if module != package}
    while left:
        free = {module for module, others in left.items() if not others & left.keys()}
        assert free, f"these import each other: {', '.join(sorted(left))}"
        left = {module: others for module, others in left.items() if module not in free}


def test_only_trainers_and_the_botorch_sampler_import_torch() -> None:
    for file in (ROOT / "tuner").rglob("*.py"):
        if file.relative_to(ROOT).as_posix() != "tuner/samplers/botorch_mcmc.py":
            assert not {"torch", "botorch", "gpytorch"} & imported(file), file


def test_search_spaces_are_data_only() -> None:
    assert {f.suffix for f in (ROOT / "search_spaces").iterdir() if f.is_file()} == {".toml", ".py"}
    assert len(ast.parse((ROOT / "search_spaces" / "__init__.py").read_text(encoding="utf-8")).body) == 1


def test_every_package_is_listed() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = {
        ".".join(f.parent.relative_to(ROOT).parts)
        for package in ("api", "trainers", "tuner", "search_spaces")
        for f in (ROOT / package).rglob("__init__.py")
    }
    assert set(listed) == there


@pytest.mark.parametrize(
    "statement",
    [
        "from tuner.commands.app import app; app(['--help'], standalone_mode=False)",
        "from tuner.commands.app import app; app(['techniques'], standalone_mode=False)",
        "import tuner.studies.study, tuner.workers.worker, tuner.commands.render, tuner.storage.database",
        "from tuner.commands.app import app; app(['samplers'], standalone_mode=False)",
        "import trainers.corpus; trainers.corpus.load('grammar', trainers.corpus.CorpusOptions())",
    ],
)
def test_what_must_answer_at_once_loads_no_torch(statement: str) -> None:
    check = "import sys\nheavy = {'torch', 'scipy', 'botorch'} & set(sys.modules)\nassert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", f"{statement}\n{check}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
