"""Numbers of processors and threads that are used, and what is said of those that are left."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from stub_study import STUB

from api.__main__ import companions
from api.process import settings_of
from benchmarks.stub_study import CORPUS
from tuner import processors, trainer
from tuner.commands.app import app
from tuner.errors import Usage
from tuner.trainer import Slot
from tuner.workers import local, ray

V1 = "4:cpu,cpuacct:{}\n7:memory:{}\n"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize(
    ("groups", "quotas", "count"),
    [
        ("0::/\n", {}, 64),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 64),
        ("0::/box/own\n", {"box/own/cpu.max": "max 100000\n", "box/cpu.max": "300000 100000\n"}, 3),
        ("0::/box/own\n", {"box/own/cpu.max": "400000 100000\n", "box/cpu.max": "600000 100000\n"}, 4),
        (V1.format("/", "/"), {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1.format("/d/c", "/"), {"cpu/d/c/cpu.cfs_quota_us": "300000", "cpu/d/c/cpu.cfs_period_us": "50000"}, 6),
        (V1.format("/gone", "/"), {"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, 5),
    ],
)
def test_processors_are_counted_by_affinity_and_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, quotas: dict[str, str], count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    write(tmp_path, **{"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": q for name, q in quotas.items()}})
    assert processors.usable(tmp_path) == count


def test_the_affinity_bounds_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    write(tmp_path, **{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000\n"})
    assert processors.usable(tmp_path) == 2
    assert processors.usable(tmp_path / "nothing") == 2


@pytest.mark.parametrize(
    ("asked", "environment", "count"), [(None, None, 1), (3, None, 3), (None, "2", 2), (None, "4,2", 4), (1, "2", 1)]
)
def test_one_thread_unless_the_environment_or_the_command_says_more(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, environment: str | None, count: int
) -> None:
    monkeypatch.delenv(processors.THREADS)
    if environment is not None:
        monkeypatch.setenv(processors.THREADS, environment)
    assert processors.threads(asked) == count
    assert {slot.threads for slot in local.slots(3, None, threads=asked)} == {count}


def test_an_environment_that_names_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("many", "0", ""):
        monkeypatch.setenv(processors.THREADS, said)
        with pytest.raises(
            Usage, match=f"OMP_NUM_THREADS='{said}' is no number of threads: set it to a whole number from 1 to 1,024"
        ):
            processors.threads()


@pytest.mark.parametrize(
    ("workers", "threads", "left", "said"),
    [
        (1, 1, 8, "the workers use 1 of 4 processors: --workers 4 would train 4 trials at a time"),
        (1, 1, 2, "the workers use 1 of 4 processors: --workers 2 would train 2 trials at a time"),
        (1, 2, 8, "the workers use 2 of 4 processors: --workers 2 would train 2 trials at a time"),
        (3, 1, 8, "the workers use 3 of 4 processors: --workers 4 would train 4 trials at a time"),
        (1, 3, 8, None),
        (4, 1, 8, None),
        (5, 1, 8, None),
        (1, 1, 1, None),
        (1, 1, 0, None),
    ],
)
def test_idle_processors(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int, left: int, said: str | None
) -> None:
    monkeypatch.setattr(processors, "usable", lambda: 4)
    assert local.idle([Slot(threads=threads)] * workers, left) == said
    assert local.idle([Slot("cuda:0", threads=threads)] * workers, left) is None


@pytest.mark.parametrize(
    ("more", "said"), [((), 1), (("--workers", "1"), 0), (("--trials", "1"), 0), (("--threads", "2"), 0)]
)
def test_launch_says_once_that_processors_are_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    said: int,
) -> None:
    monkeypatch.setattr(trainer, "COMMAND", (sys.executable, str(STUB)))
    monkeypatch.setattr(
        trainer,
        "check",
        lambda *_: {**CORPUS, "latent": True, "stages": 1, "unfit": None, "limits": {}, "planned": {}, "warnings": []},
    )
    monkeypatch.setattr(processors, "usable", lambda: 2)
    monkeypatch.setattr(local, "gpus", list)
    place = ("--database", f"sqlite:///{tmp_path}/t.db", "--runs", str(tmp_path))
    app(["launch", "-t", "sfb", "-t", "mdr", "--trials", "2", *place, *more], standalone_mode=False)
    heard = capsys.readouterr().err
    assert heard.count("the workers use 1 of 2 processors: --workers 2 would train 2 trials at a time\n") == said
    assert heard.count("processors:") == said


def test_the_servers_worker_and_rays_tasks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, port, _ = settings_of(["--with-workers", "2", "--threads", "3"])
    assert port == 8000
    (worker,) = companions(settings, None)
    assert worker[worker.index("--threads") + 1] == "3"
    slots: list[Slot] = []

    def run(database: Any, name: Any, places: list[Slot], *_: Any) -> None:
        slots.extend(places)

    monkeypatch.setattr(ray, "Database", lambda *_, **__: None)
    monkeypatch.setattr(ray, "open_study", lambda *_: None)
    monkeypatch.setattr(local, "run", run)
    ray._task("sqlite:///t.db", "s", "runs", 0, 3)
    assert [slot.threads for slot in slots] == [3]
