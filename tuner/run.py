"""A trained model in a notebook: text in, NumPy arrays out.

The model lives in a trainer's process of its own (`python -m trainers serve`), which this one talks to in JSON lines: so nothing
here loads torch, and its memory, a GPU's too, comes back with `close`.
"""

import html
import json
import os
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuner.defaults import DATABASE
from tuner.errors import Fault, Usage
from tuner.estimators import token
from tuner.metrics import FIGURES, Metrics, number
from tuner.studies.files import recorded, run_folder
from tuner.trainer import Trainer, answer

Codes = NDArray[np.float32]
Figures = NDArray[np.float64]


class Model:
    """A trained run. Use it in a `with` block, or `close` it; it ends with this process at the latest.

    Sentences are strings of words divided by spaces, as in the corpus; words that the training text lacks are read as `<unk>` and
    sentences longer than its longest are cut, with warnings for the first few. The same arguments give the same answer.

    Every method raises `tuner.errors.Usage` for what the model cannot do (a code of a model without one, an empty sentence, a
    number out of its range), and `tuner.errors.Fault` if its process has ended.

    Attributes:
        run: as it was named.
        technique: how it was trained.
        d_z: numbers of a sentence's code (of all its codes where a technique has several); 0 for a model without a latent code.
        words: number of types in the vocabulary: different words, characters or pieces.
        spec: what was asked for and what made it: the content of the run's spec.json, or of an exported model's
            config.json.
        metrics: its evaluation's figures by key (docs/metrics.md), or none of a run that is not finished.
    """

    def __init__(self, run: str, folder: Path) -> None:
        self.run = run
        self.spec: dict[str, Any]
        self.metrics: Metrics | None
        self.spec, self.metrics = recorded(folder)
        self._trainer = Trainer("serve", folder)
        self._end = weakref.finalize(self, _close, self._trainer)
        self._asked = 0
        ready = next(self._trainer.events())
        if ready["event"] != "ready":
            self.close()
            answer(ready)  # which raises
        self.technique: str = ready["technique"]
        self.d_z: int = ready["width"]
        self.words: int = ready["words"]

    def encode(
        self, sentences: str | Sequence[str], *, centre: bool = True, spread: float = 1.0, seed: int = 0
    ) -> Codes:
        """Codes of sentences, z from q(z|x).

        Args:
            sentences: n of them, or one.
            centre: the posterior's centre (a Gaussian's mean, a flow's image of its base's mean), else a sample.
            spread: factor on a sample's standard deviation (10: sentenceMIM's perturbed reconstruction).
            seed: of the samples.

        Returns:
            [n, d_z].
        """
        found = self._ask("encode", sentences=_listed(sentences), centre=centre, spread=float(spread), seed=seed)
        return self._codes(found)

    def decode(self, codes: ArrayLike, *, ancestral: bool = False, length: int = 100, seed: int = 0) -> list[str]:
        """Sentences written from codes. Where all of a model's codes lie on a sphere (`vmf`), others count as the nearest there.

        Args:
            codes: [n, d_z], or one of [d_z].
            ancestral: draws each token from P(x_i | x_<i, z), instead of taking the likeliest.
            length: tokens at most.
            seed: of the tokens drawn.
        """
        given = np.atleast_2d(np.asarray(codes))
        if given.dtype.kind not in "fiu":
            raise Usage(f"codes of kind {given.dtype} are not allowed: give numbers [n, {self.d_z}].")
        if given.ndim != 2:
            raise Usage(f"codes of shape {given.shape} are not allowed: give [n, {self.d_z}].")
        rows = given.tolist() if given.size else []
        found = self._ask("decode", codes=rows, ancestral=ancestral, length=length, seed=seed)
        return list(found["sentences"])

    def prior(self, count: int = 10, *, seed: int = 0) -> Codes:
        """Codes drawn from the prior p(z): [count, d_z]."""
        return self._codes(self._ask("prior", count=count, seed=seed))

    def sample(self, count: int = 10, *, ancestral: bool = False, length: int = 100, seed: int = 0) -> list[str]:
        """Sentences from codes of the prior, as `tuner sample` writes them.

        Greedily (by default) all variety comes from the code: a collapsed model writes one sentence over and over. A model
        without a code has one greedy sentence; let it be `ancestral`.
        """
        found = self._ask("sample", count=count, ancestral=ancestral, length=length, seed=seed)
        return list(found["sentences"])

    def log_likelihood(self, sentences: str | Sequence[str], *, samples: int = 1000, seed: int = 0) -> Figures:
        """The log likelihood log P(x) of each sentence, its end token included, in nats: [n], below 0.

        By importance sampling from q(z|x) (Pelsmaeker & Aziz 2019, eq. 12), which is too low in expectation, the less so the
        more samples; exact for a model without a code. The perplexity is exp(−Σ log P / Σ tokens), a sentence having its words,
        characters or pieces and the end token.

        Args:
            samples: S, codes of each sentence.
            seed: of the codes; the draws of a sentence depend on the others asked for with it.
        """
        found = self._ask("log_likelihood", sentences=_listed(sentences), samples=samples, seed=seed)
        return np.array(found["log_likelihood"], dtype=np.float64)

    def close(self) -> None:
        """Ends the model's process; done twice, it does nothing."""
        self._end()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<tuner.Model {self.run}: {self.technique}, d_z {self.d_z}, {self.words:,} {self._noun}>"

    @property
    def _noun(self) -> str:
        """A noun for the vocabulary's types."""
        return f"{token(self.spec['options'].get('tokens', 'words'))}s"

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"technique": self.technique, "d_z": self.d_z, self._noun: f"{self.words:,}"}
        for key, value in (self.metrics or {}).items():
            if key in FIGURES and isinstance(value, (int, float)):
                rows[FIGURES[key].label] = f"{number(value)} {FIGURES[key].unit}".strip()
        return table_of(self.run, rows)

    def _codes(self, found: dict[str, Any]) -> Codes:
        return np.array(found["codes"], dtype=np.float32).reshape(-1, self.d_z)

    def _ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a request; that of an earlier one whose reader was interrupted is passed over."""
        pipe = self._trainer.process.stdin
        if not self._end.alive or pipe is None:
            raise Usage(f"run {self.run!r} is closed: load it again.")
        self._asked += 1
        try:
            pipe.write(json.dumps({"id": self._asked, "ask": request, **arguments}) + "\n")
            pipe.flush()
        except OSError as error:
            raise Fault(f"the process of run {self.run!r} has ended: load it again.") from error
        for event in self._trainer.events():  # anew: an interrupted reader has ended the last one
            if event["event"] == "failed":
                self.close()
                answer(event)  # which raises
            if event.get("id") == self._asked:
                if event["event"] == "refused":
                    raise Usage(event["message"])
                for note in event.get("notes", ()):
                    warnings.warn(note, stacklevel=3)
                return event
        raise Fault(f"the process of run {self.run!r} has ended: load it again.")


def opened(run: str, database: str | None) -> Model:
    """The model of a run in that database, or the environment's."""
    if not isinstance(run, (str, os.PathLike)):
        raise Usage(f"run {run!r} is no name: give STUDY/NUMBER or a folder.")
    run = os.fspath(run)
    return Model(run, run_folder(run, database or os.environ.get("TUNER_DATABASE", DATABASE)))


def table_of(title: str, rows: Mapping[str, object]) -> str:
    """A table of names and values as HTML, in which every text is a text."""
    cells = (f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>" for key, value in rows.items())
    return f"<table><caption>{html.escape(title)}</caption>{''.join(cells)}</table>"


def _close(trainer: Trainer) -> None:
    assert trainer.process.stdin is not None
    with suppress(OSError):  # a request that a process which has gone will not read
        trainer.process.stdin.close()
    trainer.__exit__()


def _listed(sentences: str | Sequence[str]) -> list[str]:
    """
    Raises:
        Usage: unless all are texts; an empty cell of a table is none.
    """
    if not isinstance(sentences, Iterable) or isinstance(sentences, bytes):
        raise Usage(f"sentences = {str(sentences)[:40]} are none: give a string, or several.")
    found = [sentences] if isinstance(sentences, str) else list(sentences)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise Usage(f"sentence {place} is {str(text)[:40]}, a {type(text).__name__}: give strings.")
    return found
