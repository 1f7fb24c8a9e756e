"""The bodies of requests and answers about a trial's files."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from api.bodies import Body, Renew
from api.shapes import schema
from trainers.contract import FILES
from tuner import client
from tuner.workers.claims import GENERATION

if TYPE_CHECKING:
    FileName: TypeAlias = str
else:  # a type checker cannot follow what is listed elsewhere
    FileName = Literal[FILES]


class FileFacts(Body):
    """A file's length and content."""

    bytes: Annotated[int, Field(ge=0, lt=2**53)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SentFiles(Renew):
    """The files of a generation, all of which have been sent."""

    files: dict[FileName, FileFacts]


class NewestFiles(Renew):
    """The generation that is to be a trial's newest."""

    generation: Annotated[str, Field(pattern=GENERATION)]


Files = schema(client.Files, files=dict[str, FileFacts])
