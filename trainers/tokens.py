"""Divisions of a sentence into words, characters, or pieces of a SentencePiece model.

A text here has single spaces between its words and none at its ends. Dividing it and joining the tokens gives it back, but for
characters that a SentencePiece model has never seen, which are tokens of their own, and for `▁`, which is a space to it.
"""

import importlib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from trainers.contract import TOKENS
from trainers.errors import BadInput
from trainers.options import WORDS

SPACE = "▁"
"""Sign of a space in a piece."""
SAMPLED = 200_000
"""Largest number of training sentences that a SentencePiece model is trained on, evenly spaced in the text."""
LONGEST = 1 << 20
"""Bytes of a sentence; of longer ones the training of a SentencePiece model knows nothing."""
CONTROLS = ("<unk>",)
"""Pieces that are no text."""


class Tokens(Protocol):
    """A way to divide texts."""

    noun: str
    """Noun for the tokens."""
    separator: str
    """Separator of two tokens of a text."""
    prefix: int
    """Number of characters that a sentence's first token has before its text."""
    known: tuple[str, ...]
    """Tokens that are of the vocabulary even if the training text lacks them."""
    model: bytes
    """Model that was trained to divide texts; empty if there is none."""

    def split(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of each text."""

    def text(self, tokens: Iterable[str]) -> str:
        """The text of tokens."""


class Words:
    """Words, which stand between white space."""

    noun, separator, prefix, model = WORDS, " ", 0, b""
    known: tuple[str, ...] = ()

    def split(self, texts: Sequence[str]) -> list[list[str]]:
        return [text.split() for text in texts]

    def text(self, tokens: Iterable[str]) -> str:
        return " ".join(tokens)


class Characters:
    """Unicode's characters, the space between words one of them."""

    noun, separator, prefix, model = f"{TOKENS['characters']}s", "", 0, b""
    known: tuple[str, ...] = ()

    def split(self, texts: Sequence[str]) -> list[list[str]]:
        return [list(text) for text in texts]

    def text(self, tokens: Iterable[str]) -> str:
        return "".join(tokens)


class Pieces:
    """Subwords of a SentencePiece model, which changes no character of a text but `▁`: that is a space to it, and none at the
    text's end."""

    noun, separator, prefix = f"{TOKENS['sentencepiece']}s", "", 1

    def __init__(self, model: bytes) -> None:
        self.model = model
        self._processor = _package().SentencePieceProcessor(model_proto=model, num_threads=1)
        pieces = [self._processor.id_to_piece(i) for i in range(self._processor.get_piece_size())]
        self.known = tuple(piece for piece in pieces if piece not in CONTROLS)

    def split(self, texts: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = self._processor.encode(list(texts), out_type=str)
        return found

    def text(self, tokens: Iterable[str]) -> str:
        return "".join(tokens).replace(SPACE, " ").removeprefix(" ")


def _package() -> Any:
    try:
        return importlib.import_module("sentencepiece")
    except ModuleNotFoundError as error:
        raise BadInput(
            "tokens = 'sentencepiece:N' needs the package sentencepiece: pip install 'text-vae-tuner[sentencepiece]'."
        ) from error


def version() -> str:
    """Version of SentencePiece, which may train another model from equal texts."""
    return str(_package().__version__)


def _sample(texts: Iterable[str]) -> list[str]:
    """At most `SAMPLED` texts, evenly spaced, whatever their number."""
    kept: list[str] = []
    stride = 1
    for number, text in enumerate(texts):
        if number % stride == 0:
            kept.append(text)
        if len(kept) > SAMPLED:
            kept, stride = kept[::2], 2 * stride
    return kept


def train(pieces: int, texts: Iterable[str]) -> Pieces:
    """A SentencePiece model (unigram) of so many pieces; equal texts give an equal model.

    Raises:
        BadInput: if the texts are too few for it, or it has not even a piece for each character.
    """
    package, model = _package(), io.BytesIO()
    try:
        package.SentencePieceTrainer.train(
            sentence_iterator=iter(_sample(texts)),
            model_writer=model,
            vocab_size=pieces,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=LONGEST,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise BadInput(_refusal(pieces, str(error))) from error
    return Pieces(model.getvalue())


def _refusal(pieces: int, said: str) -> str:
    asked = f"tokens = 'sentencepiece:{pieces}' is not possible with this training text:"
    most = re.search(r"value <= (\d+)", said)
    if most:
        return f"{asked} it has too few different parts; ask for at most {int(most[1]):,} pieces."
    least = re.search(r"(\d+) vs (\d+)|required_chars: (\d+)", said)
    if "required_chars" in said and least:
        needed = max(int(each) for each in least.groups() if each)
        return f"{asked} each of its different characters needs a piece; ask for more than {needed:,} pieces."
    return f"{asked} SentencePiece says {said.strip().splitlines()[-1]!r}; ask for another number of pieces."


def tokens_of(name: str, model: bytes = b"") -> Tokens:
    """The tokens that the option `tokens` names; model: of a `sentencepiece:N` that was trained."""
    plain: dict[str, Tokens] = {WORDS: Words(), "characters": Characters()}
    return plain[name] if name in plain else Pieces(model)


def pieces_of(name: str) -> int:
    """N of `sentencepiece:N`; 0 of tokens that need no training."""
    return int(name.partition(":")[2] or 0)
