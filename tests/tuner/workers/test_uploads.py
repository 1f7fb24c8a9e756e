"""Files that workers over HTTP send: by who holds the trial alone, only ours, whole, bounded, and in pieces."""

import base64
import hashlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from api_server import application
from fastapi.testclient import TestClient
from shell import wait_for
from stub_study import SQLITE, expire, make
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from trainers.contract import FILES, LATEST, LOG, SAMPLES
from tuner.client import Client, Work
from tuner.errors import Clash, Fault, StoreFault, Usage
from tuner.storage.artifacts import MANIFEST, Store
from tuner.storage.database import Database
from tuner.studies.study import Study
from tuner.workers import uploads
from tuner.workers.claims import Claim, LeaseLost
from tuner.workers.distant import ServerBroker, ServerLeases
from tuner.workers.leases import Attempts
from tuner.workers.uploads import Limits, TrialFiles

pytestmark = SQLITE
CONTENT = b"weights"


@pytest.fixture
def study(database: Database, tmp_path: Path) -> Study:
    return make(database, tmp_path, 3)


@pytest.fixture
def client(database: Database, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    app = application(database, tmp_path, monkeypatch, uploads=Limits(file=1000, generation=1500))
    with TestClient(app, "http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def held(study: Study) -> Claim:
    found = Attempts(study, "w").claim()
    assert found is not None
    return found


def root(held: Claim) -> str:
    return f"/v1/studies/s/trials/{held.number}/files"


def put(
    client: TestClient, held: Claim, file: str, content: bytes = CONTENT, generation: str = "", **headers: str
) -> Any:
    generation = generation or f"{held.token[:8]}-1"
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    sent = {"Lease": held.token, "Content-Digest": f"sha-256=:{digest}:", **headers}
    return client.put(f"{root(held)}/{generation}/{file}", content=content, headers=sent)


def facts(content: bytes = CONTENT) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def published(study: Study) -> list[str]:
    place = Path(study.files.store.address)
    return sorted(str(file.relative_to(place)) for file in place.rglob("*") if file.is_file())


def test_a_generation_comes_file_by_file_and_is_read_by_nobody_before_it_is_whole(
    client: TestClient, study: Study, held: Claim
) -> None:
    generation, samples = f"{held.token[:8]}-1", b'{"samples": []}'
    lease = {"Lease": held.token}
    assert client.get(root(held), headers=lease).status_code == 204
    assert put(client, held, LATEST).status_code == 204
    named = {"token": held.token, "generation": generation}
    assert client.post(root(held), json=named).status_code == 422  # not closed
    half = {"token": held.token, "files": {LATEST: facts(), SAMPLES: facts(samples)}}
    refused = client.post(f"{root(held)}/{generation}", json=half)
    assert (refused.status_code, refused.json()["field"]) == (422, f"files.{SAMPLES}")
    assert put(client, held, SAMPLES, samples).status_code == 204
    for _ in range(2):  # an answer may be lost
        assert client.post(f"{root(held)}/{generation}", json=half).status_code == 204
        assert study.files.samples(0) is None
    for _ in range(2):
        assert client.post(root(held), json=named).status_code in (204, 409)
    assert study.files.samples(0) == {"samples": []}
    assert client.get(root(held), headers=lease).json() == {"generation": generation, "files": half["files"]}
    got = client.get(f"{root(held)}/{generation}/{LATEST}", headers=lease)
    assert (got.content, got.headers["Content-Type"]) == (CONTENT, "application/octet-stream")
    assert client.get(f"{root(held)}/{generation}/{LOG}", headers=lease).status_code == 404
    changed = put(client, held, LATEST, b"other")
    assert (changed.status_code, "not changed any more" in changed.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    "file",
    [
        "..%2f..%2ft.db", "..", "%2e%2e%2f%2e%2e%2ft.db", MANIFEST, "a%00b", "other.bin", ".latest.safetensors.half",
        "%2fetc%2fpasswd",
    ],
)  # fmt: skip
def test_no_file_but_a_trainers_own_is_taken(client: TestClient, study: Study, held: Claim, file: str) -> None:
    before = published(study)
    assert put(client, held, file).status_code in (404, 405, 422)
    generation = f"{held.token[:8]}-1"
    named = {"token": held.token, "files": {"../../t.db": facts()}}
    assert client.post(f"{root(held)}/{generation}", json=named).status_code == 422
    assert published(study) == before


@pytest.mark.parametrize(
    "generation", ["..", "x", "00000000-1", "%2e%2e%2f0001", "{token}-0", "{token}-1%2f..", "{token}"]
)
def test_a_generation_is_named_by_its_lease(client: TestClient, study: Study, held: Claim, generation: str) -> None:
    place = generation.replace("{token}", held.token[:8])
    assert put(client, held, LATEST, generation=place).status_code in (404, 405, 422)
    assert client.post(f"{root(held)}/{place}", json={"token": held.token, "files": {}}).status_code in (404, 405, 422)
    told = {"token": held.token, "state": "failed", "reason": "user", "files": "00000000-1"}
    assert client.post("/v1/studies/s/trials/0/tell", json=told).status_code == 422
    assert published(study) == []


def test_who_has_lost_the_trial_is_refused_everything_and_leaves_nothing(
    client: TestClient, database: Database, study: Study, held: Claim
) -> None:
    assert put(client, held, LATEST).status_code == 204
    expire(database)
    assert Attempts(study, "other").claim() is not None
    generation, lease = f"{held.token[:8]}-1", {"Lease": held.token}
    answers = [
        put(client, held, SAMPLES),
        client.post(f"{root(held)}/{generation}", json={"token": held.token, "files": {LATEST: facts()}}),
        client.post(root(held), json={"token": held.token, "generation": generation}),
        client.get(root(held), headers=lease),
        client.get(f"{root(held)}/{generation}/{LATEST}", headers=lease),
    ]
    for answer in answers:
        assert answer.status_code == 409
        assert answer.json()["detail"] == "trial 0 of study 's' has gone to another worker."
    assert published(study) == [f"0000/{generation}/{LATEST}"]
    for header in ("Lease", "Content-Digest"):
        assert put(client, held, SAMPLES, **{header: "x"}).json()["field"] == header.lower()


def test_what_is_not_as_promised_or_too_large_is_not_kept(client: TestClient, study: Study, held: Claim) -> None:
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    wrong = put(client, held, LATEST, **{"Content-Digest": f"sha-256=:{digest}:"})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "content-digest")
    assert put(client, held, LATEST, bytes(1001)).status_code == 413
    assert put(client, held, LATEST, bytes(1000)).status_code == 204
    assert put(client, held, LATEST, bytes(999)).status_code == 204  # the same file again
    over = put(client, held, "best.safetensors", bytes(502))
    assert (over.status_code, over.json()["field"]) == (422, "content-length")
    assert published(study) == [f"0000/{held.token[:8]}-1/{LATEST}"]
    headers = {"Lease": held.token, "Content-Digest": f"sha-256=:{digest}:"}
    path = f"{root(held)}/{held.token[:8]}-1/{LOG}"
    assert client.put(path, content=iter([b"of unknown length"]), headers=headers).status_code == 411


def test_a_trial_has_no_more_than_its_newest_files_and_those_that_come(
    client: TestClient, study: Study, held: Claim
) -> None:
    first, *others = [f"{held.token[:8]}-{number}" for number in range(1, 6)]
    put(client, held, LATEST, generation=first)
    client.post(f"{root(held)}/{first}", json={"token": held.token, "files": {LATEST: facts()}})
    client.post(root(held), json={"token": held.token, "generation": first})
    for generation in others:
        assert put(client, held, LATEST, generation=generation).status_code == 204
    folders = {Path(file).parent.name for file in published(study)}
    assert folders == {first, others[-1]}


def test_who_loses_the_trial_while_a_file_begins_takes_nothing_of_the_next_one(
    study: Study, held: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Store.generations

    def slowly(store: Store, trial: str) -> set[str]:
        expire(study.database)
        claim = Attempts(study, "next").claim()
        assert claim is not None
        assert claim.number == held.number
        store.publish(work, f"{claim.folder}/{claim.token[:8]}-1", [LOG])
        return listed(store, trial)

    work = Path(study.files.store.address).parent / "work"
    work.mkdir()
    (work / LOG).write_bytes(CONTENT)
    files = uploads.TrialFiles(study, held.number, held.token, Limits())
    monkeypatch.setattr(Store, "generations", slowly)
    with pytest.raises(LeaseLost):
        files.receive(f"{held.token[:8]}-1", LOG, len(CONTENT), hashlib.sha256(CONTENT).digest())
    assert [Path(file).name for file in published(study)] == sorted([MANIFEST, LOG])


def test_a_store_out_of_reach_is_said_before_and_after(client: TestClient, study: Study, held: Claim) -> None:
    empty = {"token": held.token, "files": {}}
    probe = f"{root(held)}/{held.token[:8]}-1"
    assert client.post(probe, json=empty).status_code == 204
    assert published(study) == []
    place = Path(study.files.store.address)
    place.rename(place.with_name("aside"))
    place.write_text("no folder")
    for answer in (client.post(probe, json=empty), put(client, held, LATEST)):
        assert answer.status_code == 507
        assert "the study's files cannot be written or read now" in answer.json()["detail"]


def sent(address: str, held: Claim, work: Path) -> tuple[Client, Work]:
    client = Client(address)
    found: Any = {"token": held.token, "number": held.number}
    return client, found


def test_a_file_passes_the_server_in_pieces(
    address: str, study: Study, held: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, work = sent(address, held, tmp_path)
    generation, large = f"{held.token[:8]}-1", tmp_path / LATEST
    large.write_bytes(os.urandom(8 * 2**20))
    pieces: list[int] = []
    write = uploads.Incoming.write

    def watched(incoming: uploads.Incoming, block: bytes) -> None:
        pieces.append(len(block))
        write(incoming, block)

    monkeypatch.setattr(uploads.Incoming, "write", watched)
    found = client.send_file("s", work, generation, large)
    assert found == facts(large.read_bytes())
    assert sum(pieces) == found["bytes"]
    assert max(pieces) <= HIGH_WATER_LIMIT + 2**18  # what uvicorn holds before it pauses, and one read more
    client.close_files("s", work, generation, {LATEST: found})
    client.publish("s", work, generation)
    assert client.fetch_file("s", work, generation, LATEST, tmp_path / "back") == found
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_a_file_that_breaks_off_leaves_nothing(address: str, study: Study, held: Claim) -> None:
    place = urlsplit(address).netloc
    connection = http.client.HTTPConnection(place)
    connection.putrequest("PUT", f"{root(held)}/{held.token[:8]}-1/{LATEST}")
    digest = base64.b64encode(hashlib.sha256(bytes(2**20)).digest()).decode()
    headers = {"Lease": held.token, "Content-Digest": f"sha-256=:{digest}:", "Content-Length": str(2**20)}
    for key, value in headers.items():
        connection.putheader(key, value)
    connection.endheaders(bytes(2**19))
    folder = Path(study.files.store.address) / "0000"

    def halves() -> list[str]:
        """Files on their way; unlike `glob`, `walk` does not mind a folder that is removed meanwhile."""
        return [name for _, _, names in os.walk(folder) for name in names if ".half-" in name]

    wait_for(halves)
    connection.close()
    wait_for(lambda: not halves())
    assert published(study) == []


def test_a_large_file_with_an_old_token_is_refused_with_a_sentence(
    address: str, database: Database, held: Claim, tmp_path: Path
) -> None:
    client, work = sent(address, held, tmp_path)
    expire(database)
    (tmp_path / LATEST).write_bytes(bytes(2**22))
    work = {**work, "token": "0" * 32}
    for generation in ("00000000-1", "00000000-2"):
        with pytest.raises((Clash, Fault), match="gone to another worker|broke off"):
            client.send_file("s", work, generation, tmp_path / LATEST)
    with pytest.raises(Clash, match="has gone to another worker"):
        client.close_files("s", work, "00000000-1", {})


@pytest.fixture
def leases(address: str, study: Study) -> ServerLeases:
    return ServerBroker(Client(address), "w").open(study.name)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Folder that a trainer left."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / LATEST).write_bytes(os.urandom(100_000))
    (folder / "spec.json").write_text("{}")
    (folder / "not ours").write_text("x")
    return folder


def test_what_a_distant_worker_publishes_is_as_a_local_one_would(
    leases: ServerLeases, study: Study, work: Path, tmp_path: Path
) -> None:
    claim = leases.claim()
    assert claim is not None
    files, generation = leases.files(claim), f"0000/{claim.token[:8]}-2"
    files.probe(f"0000/{claim.token[:8]}-1", None)
    files.publish(work, generation, FILES)
    leases.publish(claim, generation)
    local = Store(str(tmp_path / "local"))
    local.publish(work, "g", FILES)
    assert study.files.store.manifest(generation) == local.manifest("g")
    folder = study.files.folder(0, tmp_path / "cache")
    assert (folder / LATEST).read_bytes() == (work / LATEST).read_bytes()
    files.fetch(generation, tmp_path / "back")
    assert {file.name for file in (tmp_path / "back").iterdir()} == {LATEST, "spec.json"}


def test_a_store_that_fails_is_the_studys_fault_and_a_lost_lease_none(
    leases: ServerLeases, database: Database, study: Study, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = leases.claim()
    assert claim is not None
    files = leases.files(claim)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "writing", full)
        with pytest.raises(OSError, match="No space left on device"):
            files.publish(work, f"0000/{claim.token[:8]}-1", FILES)
    expire(database)
    assert Attempts(study, "other").claim() is not None
    with pytest.raises(LeaseLost):
        files.publish(work, f"0000/{claim.token[:8]}-2", FILES)


def test_the_servers_word_that_its_store_fails_is_told_from_its_absence(
    address: str, study: Study, held: Claim, tmp_path: Path
) -> None:
    client, work = sent(address, held, tmp_path)
    place = Path(study.files.store.address)
    place.rename(place.with_name("aside"))
    place.write_text("no folder")
    with pytest.raises(StoreFault, match="cannot be written or read now"):
        client.close_files("s", work, f"{held.token[:8]}-1", {})


def test_texts_that_a_server_reads_whole_are_short(study: Study, held: Claim) -> None:
    files, generation = uploads.TrialFiles(study, held.number, held.token, Limits(samples=10)), f"{held.token[:8]}-1"
    files.receive(generation, LATEST, 11, bytes(32)).discard()
    with pytest.raises(Usage, match="samples.json has 11 bytes, which is too large: this one may have 10"):
        files.receive(generation, SAMPLES, 11, bytes(32))


@pytest.mark.parametrize("address", [{"uploads": Limits(10, 10)}], indirect=True)
def test_a_file_too_large_for_the_server_is_refused(leases: ServerLeases, work: Path) -> None:
    claim = leases.claim()
    assert claim is not None
    with pytest.raises(Usage, match=r"larger than|too large"):
        leases.files(claim).publish(work, f"0000/{claim.token[:8]}-1", FILES)


def test_files_that_come_at_once_are_counted_together(study: Study, held: Claim) -> None:
    files = TrialFiles(study, held.number, held.token, Limits(file=1000, generation=1500))
    generation, digest = f"{held.token[:8]}-1", hashlib.sha256(CONTENT).digest()
    first = files.receive(generation, LATEST, 1000, digest)
    with pytest.raises(Usage, match="which is too large"):
        files.receive(generation, "best.safetensors", 1000, digest)
    first.discard()
    second = files.receive(generation, "best.safetensors", 1000, digest)
    second.write(CONTENT)
    second.end()
    files.receive(generation, LATEST, 1000, digest).discard()  # the other has come, and is counted as it is
