"""Shared fixtures. Every test process uses one thread, so that two of them share two cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("TUNER_DATABASE", None)
os.environ.pop("TUNER_RUNS", None)

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.postgres import Postgres
from trainers.options import ModelOptions
from tuner.database import Database

torch.set_num_threads(1)

SMALL = ModelOptions(d_z=3, d_e=6, d_h=5, decoder_layers=2, dropout=0.0, d_c=7, flow_steps=2, components=4)
LENGTHS = (3.0, 1.0)
"""mean and sd of training lengths, for models built by hand"""

CHEAP = {"aggressive": {"inner": 4, "window": 2}, "iwae": {"k": 3}, "multi-sample": {"samples": 2}}
"""hyperparameters with which a technique trains no longer than the others"""


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test process."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/t.db"
    created: str = request.getfixturevalue("postgres").create()
    return created


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url, create=True)
    yield opened
    opened.close()
