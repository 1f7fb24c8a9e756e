"""Every answer is in the schema of the API's own document, whatever is asked; and nothing malformed gets through."""

import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from api_server import application
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, settings
from schemathesis.openapi.checks import UnsupportedMethodResponse
from schemathesis.specs.openapi import checks

from benchmarks.large import fill
from tuner.attempts import Attempts
from tuner.database import Database
from tuner.studies import open_study

EXAMPLES = 40
"""of each operation"""
MALFORMED = 10_000
STREAMS = "/events"
"""they do not end"""
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    fill(database, 8, 3, tmp_path)
    assert Attempts(open_study(database, "small"), "w").claim() is not None
    app = application(database, tmp_path, monkeypatch)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


CHECKS = (
    checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance,
    schemathesis.checks.not_a_server_error, checks.negative_data_rejection, checks.unsupported_method,
)  # fmt: skip


@SQLITE
def test_every_answer_is_in_its_schema(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.app.openapi())  # type: ignore[attr-defined]
    schema.config.base_url = "http://127.0.0.1"
    tried = 0
    for result in schema.exclude(path_regex=STREAMS).get_all_operations():
        operation: Any = result.ok()

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate],
        )  # fmt: skip
        def hold(case: Any) -> None:
            nonlocal tried
            tried += 1
            # Names that exist, for half of what is tried.
            if case.path_parameters and tried % 2:
                case.path_parameters |= {"name": "s"} if "name" in case.path_parameters else {}
                case.path_parameters |= {"number": 0} if "number" in case.path_parameters else {}
            response = case.call(session=client)
            case.validate_response(response, checks=CHECKS)

        from hypothesis import given

        given(case=operation.as_strategy())(hold)()
    assert tried > 300
    del UnsupportedMethodResponse
