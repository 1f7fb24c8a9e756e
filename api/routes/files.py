"""The files of trials that are trained over HTTP: sent, published, and read to go on from, by whoever holds the trial."""

import base64
from typing import Annotated, Any

from anyio import CancelScope
from fastapi import APIRouter, Header, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from api import file_schemas as schemas
from api.response_cache import encode
from api.routes import StudyName, TrialNumber
from api.service import service_of
from tuner.workers.claims import GENERATION, TOKEN
from tuner.workers.uploads import TrialFiles

router = APIRouter(prefix="/studies/{name}/trials/{number}/files", tags=["remote workers"])
MEDIA = "application/octet-stream"
Generation = Annotated[
    str, Path(pattern=GENERATION, description="Generation of files: the first eight digits of the token, and a number.")
]
FileName = Annotated[schemas.FileName, Path(description="The file's name, as a trainer writes it.")]
Lease = Annotated[str, Header(pattern=TOKEN, description="The token of the trial's lease.")]
Digest = Annotated[
    str,
    Header(pattern=r"^sha-256=:[A-Za-z0-9+/]{43}=:$", description="The content's SHA-256 (RFC 9530): sha-256=:BASE64:"),
]
CONTENT: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _files(request: Request, name: str, number: int, token: str) -> TrialFiles:
    service = service_of(request)
    return TrialFiles(service.study(name), number, token, service.settings.uploads)


@router.get(
    "",
    response_model=schemas.Files,
    responses={204: {"description": "None have been published, or they are damaged."}},
)
def list_files(request: Request, name: StudyName, number: TrialNumber, lease: Lease) -> Response:
    """The trial's newest files, which a training goes on from."""
    found = _files(request, name, number, lease).shown()
    return Response(status_code=204) if found is None else Response(encode(found), media_type="application/json")


@router.get(
    "/{generation}/{file}",
    response_class=Response,
    responses={200: {"content": {MEDIA: CONTENT}, "description": "It."}},
)
def fetch_file(
    request: Request, name: StudyName, number: TrialNumber, generation: Generation, file: FileName, lease: Lease
) -> Response:
    """One of the newest files."""
    size, blocks = _files(request, name, number, lease).read(generation, file)
    return StreamingResponse(blocks, headers={"Content-Length": str(size)}, media_type=MEDIA)


@router.put(
    "/{generation}/{file}",
    status_code=204,
    openapi_extra={"requestBody": {"required": True, "content": {MEDIA: CONTENT}}},
)
async def send_file(
    request: Request, name: StudyName, number: TrialNumber, generation: Generation, file: FileName, lease: Lease,
    content_digest: Digest,
) -> Response:  # fmt: skip
    """Send a file of a new generation. It is read by nobody before the generation is closed and published."""
    length = request.headers.get("content-length")
    if length is None:
        raise HTTPException(411, "the file's length is not known: send Content-Length.")
    sha256 = base64.b64decode(content_digest.removeprefix("sha-256=:").removesuffix(":"))

    def begin() -> Any:
        return _files(request, name, number, lease).receive(generation, file, int(length), sha256)

    incoming = await run_in_threadpool(begin)
    try:
        async for block in request.stream():
            await run_in_threadpool(incoming.write, block)
        await run_in_threadpool(incoming.end)
    except BaseException as error:
        with CancelScope(shield=True):
            await run_in_threadpool(incoming.discard)
        if isinstance(error, ClientDisconnect):
            return Response(status_code=499)  # nobody hears it
        raise
    return Response(status_code=204)


@router.post("/{generation}", status_code=204)
def close_files(
    request: Request, name: StudyName, number: TrialNumber, generation: Generation, told: schemas.SentFiles
) -> Response:
    """Say what the files of a generation are, once all have been sent: it is whole then. With none, only try whether the study's
    store can be written."""
    facts = {key: each.model_dump() for key, each in told.files.items()}
    _files(request, name, number, told.token).close(generation, facts)
    return Response(status_code=204)


@router.post("", status_code=204)
def publish_files(request: Request, name: StudyName, number: TrialNumber, told: schemas.NewestFiles) -> Response:
    """Make a closed generation the trial's newest: whoever trains it next goes on from there, and its samples are shown."""
    _files(request, name, number, told.token).publish(told.generation)
    return Response(status_code=204)
