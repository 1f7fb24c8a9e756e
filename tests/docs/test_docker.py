"""The images and the compose file: linted, valid, consistent; every command in them does its work on a real PostgreSQL."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pins
import pytest
import yaml
from packaging.version import Version

from benchmarks.postgres import Postgres
from tuner.storage.database import Database
from tuner.studies.queries import workers

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
TOOLS = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEPLOY = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
IMAGES = {"api", "worker-cpu", "worker-gpu"}
DIGEST = r"@sha256:[0-9a-f]{64}"
PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
"""Package of a requirements file with hashes."""


@dataclass
class Stage:
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, keyword: str) -> str:
        return [value for key, value in self.instructions if key == keyword][-1]

    def command(self, keyword: str) -> list[str]:
        found: list[str] = json.loads(self.last(keyword)[self.last(keyword).index("[") :])
        return found


def stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name, each with its instructions."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {}
    name = ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        keyword, _, value = line.strip().partition(" ")
        if keyword == "FROM":
            base, _, name = value.split()
            found[name] = Stage(base)
        elif keyword:
            found[name].instructions.append((keyword, value.strip()))
    return found


def example() -> dict[str, str]:
    """The variables of .env.example."""
    lines = (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def composed(variables: dict[str, str]) -> dict[str, Any]:
    """The compose file with its variables put in, as `docker compose config` would."""

    def value(match: re.Match[str]) -> str:
        name, kind, other = match.groups()
        if kind == "?":
            assert variables.get(name), f"{name}: {other}"
        return variables.get(name) or (other if kind == "-" else variables[name])

    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: filled(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [filled(inner) for inner in part]
        return VARIABLE.sub(value, part) if isinstance(part, str) else part

    found: dict[str, Any] = filled(yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8")))
    return found


COMPOSE = composed({**example(), "POSTGRES_PASSWORD": "secret"})
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_dockerfile_passes_hadolint() -> None:
    done = subprocess.run([TOOLS / "hadolint", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_pinned_and_run_without_rights_and_with_a_health_check() -> None:
    found = stages()
    assert set(found) >= IMAGES
    for name, stage in found.items():
        assert stage.base in found or re.fullmatch(rf"[a-z]+:\d+\.\d+\.\d+-[a-z-]+{DIGEST}", stage.base), name
    for name in IMAGES:
        assert int(found[name].last("USER")) > 0
        assert found[name].command("HEALTHCHECK")
        assert found[name].command("ENTRYPOINT") == ["tuner"]
        copies = [value for key, value in found[name].instructions if key == "COPY"]
        assert all(re.match(r"--from=build-\w+ /opt/tuner /opt/tuner$", copy) for copy in copies), "only what runs"


def test_no_image_gets_what_dockerignore_keeps_out() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / place).exists() for place in kept)
    packages = {name.split(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert packages | {"pyproject.toml", "README.md", "LICENSE"} <= set(kept)
    assert not {"docker/.env", ".git", "tests", "runs"} & set(kept)
    for stage in stages().values():
        for key, value in stage.instructions:
            if key == "COPY" and not value.startswith("--from"):
                assert all(source == "." or source in kept for source in value.split()[:-1]), value
    assert "/docker/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_what_only_a_cuda_build_of_torch_asks_for_is_left_to_it() -> None:
    linux = '; platform_system == "Linux"'
    needs = {"torch": [f"nvidia-cublas==13.1.1.3{linux}", f"cuda-bindings>=13{linux}", f"triton==3.6{linux}", "sympy"]}

    def look(name: str) -> Any:
        return SimpleNamespace(version="2.13.0+cu130", requires=needs.get(name, []))

    found = pins.pins(look)
    assert found["torch"] == "2.13.0"
    assert "sympy" in found
    assert not [name for name in found if name.startswith(("nvidia", "cuda", "triton"))]


def pinned(name: str) -> dict[str, str]:
    """Versions by package of a requirements file in which all have hashes."""
    text = (DOCKER / name).read_text(encoding="utf-8")
    found = {match[1]: match[2] for match in PINNED.finditer(text)}
    assert len(found) == sum(not line.startswith((" ", "#")) for line in text.splitlines()), name
    return found


def test_requirements_pin_what_the_images_install_within_the_projects_ranges() -> None:
    found = pinned("requirements.txt")
    torch = {name: pinned(f"torch-{name}.txt")["torch"] for name in ("cpu", "cuda")}
    assert torch["cpu"] == f"{torch['cuda']}+cpu"
    found["torch"] = torch["cuda"]

    def look(name: str) -> Any:
        """A package as it is installed here; another version than the images' may need other packages than theirs."""
        there = distribution(name)
        same = Version(there.version).public == found.get(name)
        return there if same else SimpleNamespace(version=there.version, requires=[])

    assert set(pins.pins(look)) <= set(found), "run `python docker/pins.py`"
    for need in pins.asked():
        assert need.specifier.contains(found[need.name.lower()]), need
    assert "setuptools" in found, "the project is built without a download"


def test_all_that_images_install_has_hashes_but_cudas_libraries() -> None:
    lines = [value for stage in stages().values() for key, value in stage.instructions if key == "RUN"]
    pip = [part.strip() for line in lines for part in line.split("&&") if " install " in part and "pip" in part]
    hashed = [part for part in pip if "--require-hashes" in part]
    files = {file for part in hashed for file in re.findall(r"-r docker/(\S+)", part)}
    assert files == {"requirements.txt", "torch-cpu.txt", "torch-cuda.txt"}
    rest = {re.sub(r"\s+", " ", part) for part in pip if part not in hashed}
    assert {part for part in rest if "torch==" not in part} == {"pip install --no-deps --no-build-isolation ."}
    assert len(rest) == 2
    index = [value for key, value in stages()["build-cpu"].instructions if key == "ARG"]
    assert index == [f"TORCH_CPU_INDEX={pins.CPU_INDEX}"]
    assert example()["TORCH_CPU_INDEX"] == pins.CPU_INDEX
    assert all(SERVICES[name]["build"]["args"]["TORCH_CPU_INDEX"] == pins.CPU_INDEX for name in ("api", "worker"))


def test_hashes_are_those_that_pip_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins of a wheel come from a folder that serves as the index; a package that is not there leaves the file as it was."""
    import hashlib
    import zipfile

    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing.py", "")
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    here = ("--no-index", "--find-links", str(tmp_path))
    found = pins.hashes(["thing==1.0"], *here)
    assert found == {"thing==1.0": [hashlib.sha256(wheel.read_bytes()).hexdigest()]}
    assert PINNED.search(pins.text(found))
    with pytest.raises(subprocess.CalledProcessError):
        pins.hashes(["thing==2.0"], *here)


def test_the_compose_file_is_valid_by_the_specifications_schema(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(COMPOSE), encoding="utf-8")
    check = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    for file in (DOCKER / "compose.yaml", tmp_path / "compose.yaml"):
        done = subprocess.run([*check, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump({**COMPOSE, "services": {"api": {"imagine": "x"}}}))
    assert subprocess.run([*check, tmp_path / "compose.yaml"], capture_output=True, check=False).returncode == 1


def test_every_variable_of_the_compose_file_is_in_the_example_and_the_password_must_be_set() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    assert {match[0] for match in VARIABLE.findall(text)} == set(example())
    assert not example()["POSTGRES_PASSWORD"]
    with pytest.raises(AssertionError, match="give the database a password"):
        composed(example())


def test_services_follow_each_other_and_name_what_is_there() -> None:
    targets = stages()
    for name, service in SERVICES.items():
        assert all(other in SERVICES for other in service.get("depends_on", {}))
        if name == "postgres":
            assert re.fullmatch(rf"postgres:\d+\.\d+-[a-z]+{DIGEST}", service["image"])
            assert "ports" not in service
            continue
        assert service["build"]["target"] in targets
        assert service["image"].endswith(service["build"]["target"])
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        volumes = {volume.split(":")[0] for volume in service["volumes"] if not volume.startswith(".")}
        assert volumes <= set(COMPOSE["volumes"])
    for name in ("api", "worker", "worker-gpu"):
        assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert [port.rpartition(":")[0] for port in SERVICES["api"]["ports"]] == ["127.0.0.1:8000"]


class Containers:
    """Runs what the containers would, each command as it stands there, with the paths and the server of this machine."""

    def __init__(self, postgres: Postgres, port: int, folder: Path) -> None:
        self.postgres, self.folder, self.port = postgres, folder, port
        self.stages = stages()
        postgres_sql(postgres, "CREATE ROLE tuner SUPERUSER LOGIN", "CREATE DATABASE tuner OWNER tuner")

    def close(self) -> None:
        postgres_sql(self.postgres, "DROP DATABASE IF EXISTS tuner WITH (FORCE)", "DROP ROLE tuner")

    def here(self, words: list[str]) -> list[str]:
        programs = {"tuner": [sys.executable, "-m", "tuner"], "python": [sys.executable]}
        binary = self.postgres.binaries / words[0]
        first = programs.get(words[0], [str(binary) if binary.exists() else words[0]])
        moved = [w.replace(":8000/", f":{self.port}/").replace("/var/lib/tuner", str(self.folder)) for w in words[1:]]
        return [*first, *moved]

    def environment(self, service: str) -> dict[str, str]:
        stage = self.stages.get(SERVICES[service].get("build", {}).get("target", ""))
        base = " ".join(value for key, value in self.stages["base"].instructions if key == "ENV") if stage else ""
        values = dict(word.split("=", 1) for word in base.split() if word.startswith("TUNER_"))
        values |= SERVICES[service]["environment"]
        if "TUNER_DATABASE" in values:
            assert values["TUNER_DATABASE"] == "postgresql://tuner@postgres/tuner"
            values["TUNER_DATABASE"] = "postgresql://tuner@/tuner"  # PGHOST says where
        moved = {key: value.replace("/var/lib/tuner", str(self.folder)) for key, value in values.items()}
        kept = {key: value for key, value in os.environ.items() if key != "PTB_DIR"}
        if "deploy" in SERVICES[service]:
            moved["CUDA_VISIBLE_DEVICES"] = "0"  # what it would train on; there are no trials
        return {**kept, **moved, "PGHOST": str(self.postgres.folder), "PYTHONPATH": str(ROOT)}

    def exec(self, service: str, words: list[str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """`docker compose exec`."""
        environment = self.environment(service)
        return subprocess.run(
            self.here(words), env=environment, cwd=self.folder, capture_output=True, check=False, input=given
        )

    def run(self, service: str, *words: str) -> tuple[int, str]:
        """`docker compose run`: exit code and what it says."""
        done = self.exec(service, ["tuner", *words])
        return done.returncode, done.stderr.decode() + done.stdout.decode()

    def health(self, service: str) -> int:
        own = SERVICES[service].get("healthcheck")
        words = own["test"][1:] if own else self.stages[SERVICES[service]["build"]["target"]].command("HEALTHCHECK")
        return self.exec(service, words).returncode

    @contextmanager
    def up(self, service: str) -> Iterator[subprocess.Popen[str]]:
        """The service's container; it is told to stop in the end, and stops in order within its grace."""
        stage = self.stages[SERVICES[service]["build"]["target"]]
        words = self.here([*stage.command("ENTRYPOINT"), *SERVICES[service]["command"]])
        words += ["--port", str(self.port)] if service == "api" else []
        process = subprocess.Popen(
            words, env=self.environment(service), cwd=self.folder, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            grace = {"30s": 30, "2m": 120}[SERVICES[service]["stop_grace_period"]]
            try:
                said = process.communicate(timeout=grace)[1]
            finally:
                process.kill()
        assert process.returncode == 0, said

    def becomes_healthy(self, service: str, process: subprocess.Popen[str]) -> None:
        for _ in range(60):  # a check takes a good half second
            if self.health(service) == 0:
                return
            assert process.poll() is None, process.communicate()[1]
        raise AssertionError(f"{service} has not become healthy")


def postgres_sql(server: Postgres, *statements: str) -> None:
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def containers(postgres: Postgres, port: int, tmp_path: Path) -> Iterator[Containers]:
    found = Containers(postgres, port, tmp_path)
    yield found
    found.close()


def test_every_command_of_the_images_and_the_compose_file_does_its_work(containers: Containers) -> None:
    c = containers
    assert c.health("postgres") == 0
    code, said = c.run("migrate", *SERVICES["migrate"]["command"])
    assert (code, "has schema" in said) == (0, True)
    code, said = c.run("api", *SERVICES["api"]["command"], "--port", str(c.port))
    assert (code, "there is no key" in said) == (2, True)
    assert c.run("api", "key", "create", "me", "--write")[0] == 0
    assert [c.health(name) for name in ("api", "worker")] == [1, 1]
    with c.up("api") as api, c.up("worker") as worker, c.up("worker-gpu") as gpu:
        c.becomes_healthy("api", api)
        c.becomes_healthy("worker", worker)
        c.becomes_healthy("worker-gpu", gpu)
        opened = Database(c.postgres.address("tuner"))
        assert sorted((w["state"], w["device"]) for w in workers(opened)) == [("idle", "cpu"), ("idle", "cuda:0")]
        opened.close()
    assert c.health("api") == 1


def test_images_own_commands_are_there() -> None:
    """Commands that an image runs without a compose file, but for the address: `tuner serve --host 0.0.0.0`, `tuner worker`."""
    for name in IMAGES:
        words = [*stages()[name].command("ENTRYPOINT"), *stages()[name].command("CMD")]
        assert words[1] in ("serve", "worker")
        service = {"api": "api", "worker-cpu": "worker", "worker-gpu": "worker-gpu"}[name]
        assert SERVICES[service]["command"][: len(words) - 1] == words[1:]


def blocks(text: str) -> list[list[str]]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block.splitlines() for language, block in found if not language]


def of_compose(line: str) -> tuple[str, str, list[str]] | None:
    """Verb (or the program, with --entrypoint), service and the rest of a `docker compose run|exec` line; no redirections."""
    words = shlex.split(re.sub(r" [<>] \S+$", "", line))
    if words[:2] != ["docker", "compose"] or words[2] not in ("run", "exec"):
        return None
    verb, rest = words[2], words[3:]
    while rest[0].startswith("-") and rest[0] != "--entrypoint":
        rest = rest[1:]
    if rest[0] == "--entrypoint":
        return rest[1], rest[2], rest[3:]
    return verb, rest[0], rest[1:]


def test_the_pages_dump_and_restore_bring_everything_back(containers: Containers) -> None:
    c = containers
    assert c.run("api", "key", "create", "kept")[0] == 0
    (c.folder / "artifacts" / "study").mkdir(parents=True, exist_ok=True)
    (c.folder / "artifacts" / "study" / "weights").write_bytes(b"\x00\xff")
    saving, restoring = (part for part in blocks(DEPLOY.split("## Back up and restore")[1])[:2])
    kept: dict[str, bytes] = {}
    for line in [*saving, None, *restoring]:
        if line is None:  # all is lost
            (c.folder / "artifacts" / "study" / "weights").unlink()
            assert c.run("api", "key", "create", "later")[0] == 0
            continue
        found = of_compose(line)
        if found is None:
            assert re.match(r"docker compose (--profile gpu )?(stop|up)", line), line
            continue
        verb, service, words = found
        assert service in SERVICES, line
        program = [] if verb == "exec" else ["tuner"] if verb == "run" else [verb]
        done = c.exec(service, [*program, *words], kept.get(line.rpartition(" < ")[2], b""))
        assert done.returncode == 0, (line, done.stderr)
        if " > " in line:
            kept[line.rpartition(" > ")[2]] = done.stdout
    code, said = c.run("api", "key", "list")
    assert code == 0
    assert "kept" in said
    assert "later" not in said
    assert (c.folder / "artifacts" / "study" / "weights").read_bytes() == b"\x00\xff"


def test_the_page_names_services_and_commands_that_exist() -> None:
    from test_readme import check_command

    lines = [line for block in blocks(DEPLOY) for line in block if line.startswith("docker compose")]
    assert len(lines) >= 20
    for line in lines:
        found = of_compose(line)
        if found is not None and found[0] == "run":
            assert found[1] in SERVICES, line
            check_command("tuner " + shlex.join(found[2]))
        elif " stop " in line or " logs " in line:
            assert set(re.findall(r" (\w[\w-]*)", line.partition(" stop ")[2])) <= set(SERVICES), line


def test_the_pages_override_is_of_services_that_exist(tmp_path: Path) -> None:
    from test_readme import check_command

    (text,) = re.findall(r"^```yaml\n(.*?)^```", DEPLOY, re.MULTILINE | re.DOTALL)
    override = yaml.safe_load(text)["services"]
    assert set(override) <= set(SERVICES)
    check_command("tuner " + shlex.join(map(str, override["api"]["command"])))
    (tmp_path / "compose.yaml").write_text(text, encoding="utf-8")
    check = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
