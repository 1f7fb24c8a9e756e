"""A trained run that answers requests, a JSON object a line: what `tuner.load` talks to.

{"id": 3, "ask": "encode", "sentences": ["a b"], "centre": true, "spread": 1.0, "seed": 0}
→ {"event": "answer", "id": 3, "codes": [[…]], "notes": […]}, or {"event": "refused", "id": 3, "message": …}

It says `ready` first and ends when its standard input does.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from trainers import generation
from trainers.corpus import Sentence
from trainers.errors import BadInput
from trainers.evaluation import each_nll
from trainers.generation import GenerationOptions
from trainers.models import SenVAE
from trainers.options import EvaluationOptions, build
from trainers.runs import open_run
from trainers.samples import read_sentence
from trainers.training import Report

Facts = dict[str, Any]
NOTES = 5
"""Notes of an answer that are told; of the others their number."""


class Session:
    """The answers of one run; each method is a request of its name."""

    def __init__(self, folder: Path) -> None:
        self.run = open_run(folder)
        self.device = next(self.run.model.parameters()).device

    @property
    def width(self) -> int:
        """Numbers of a sentence's code; 0 without a latent."""
        model = self.run.model
        return model.codes * model.options.d_z if isinstance(model, SenVAE) else 0

    def facts(self) -> Facts:
        return {"technique": self.run.spec.technique, "width": self.width, "words": len(self.run.vocabulary)}

    def encode(self, sentences: list[str], centre: bool, spread: float, seed: int) -> Facts:
        model, (read, notes) = self._latent("encode"), self._read(sentences)
        options = build(GenerationOptions, {"centre": centre, "spread": spread, "seed": seed})
        codes = generation.encode(model, read, options, self._generator(seed)).tolist() if read else []
        return {"codes": codes, "notes": notes}

    def decode(self, codes: list[list[float]], ancestral: bool, length: int, seed: int) -> Facts:
        model = self._latent("decode")
        options = self._options(1, ancestral, length, seed)
        if not codes:
            return {"sentences": []}
        z = torch.tensor(codes, dtype=torch.float32, device=self.device).reshape(len(codes), -1)
        if z.shape[1] != self.width:
            raise BadInput(f"codes of {z.shape[1]} numbers are not this run's: give [n, {self.width}] finite numbers.")
        if not bool(z.isfinite().all()):
            raise BadInput(f"a code has a number that is none or too large: give [n, {self.width}] finite numbers.")
        z = model.prior_distribution().components.nearest(z)
        written = generation.decode(model, z, options, self._generator(seed))
        return {"sentences": [self.run.vocabulary.text(ids) for ids in written]}

    def prior(self, count: int, seed: int) -> Facts:
        model, options = self._latent("prior"), self._options(count, False, 1, seed)
        return {"codes": model.prior_distribution().sample(options.count, self._generator(seed)).tolist()}

    def sample(self, count: int, ancestral: bool, length: int, seed: int) -> Facts:
        options = self._options(count, ancestral, length, seed)
        written = generation.sample(self.run.model, self.run.vocabulary, options)
        return {"sentences": [self.run.vocabulary.tokens.text(one.words) for one in written]}

    def log_likelihood(self, sentences: list[str], samples: int, seed: int) -> Facts:
        read, notes = self._read(sentences)
        options = build(EvaluationOptions, {"nll_samples": samples, "rows": self.run.options.evaluation.rows})
        each = each_nll(self.run.model, read, options.nll_samples, options.rows, seed).tolist() if read else []
        return {"log_likelihood": [-nll for nll in each], "tokens": [len(s) for s in read], "notes": notes}

    def _latent(self, action: str) -> SenVAE:
        if not isinstance(self.run.model, SenVAE):
            raise BadInput(f"{action} needs a latent code, and {self.run.spec.technique} has none: load another run.")
        return self.run.model

    def _read(self, sentences: list[str]) -> tuple[list[Sentence], list[str]]:
        read, notes = [], []
        for place, text in enumerate(sentences):
            sentence, said = read_sentence(self.run, text)
            read.append(sentence)
            notes += [f"sentence {place}: {note}" for note in said]
        more = [f"{len(notes) - NOTES:,} more notes like these"] if len(notes) > NOTES else []
        return read, notes[:NOTES] + more

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)

    @staticmethod
    def _options(count: int, ancestral: bool, length: int, seed: int) -> GenerationOptions:
        made = build(GenerationOptions, {"count": count, "length": length, "seed": seed})
        return replace(made, decoding="ancestral" if ancestral else "greedy")


REQUESTS: Mapping[str, Callable[..., Facts]] = {
    "encode": Session.encode,
    "decode": Session.decode,
    "prior": Session.prior,
    "sample": Session.sample,
    "log_likelihood": Session.log_likelihood,
}


def serve(folder: Path, lines: Iterable[str], report: Report) -> None:
    """Answers each line until there are no more.

    Raises:
        BadInput: if the folder holds no trained run.
    """
    session = Session(folder)
    report("ready", session.facts())
    for line in lines:
        asked = json.loads(line)
        number, request = asked.pop("id"), REQUESTS[asked.pop("ask")]
        try:
            with torch.no_grad():
                report("answer", {"id": number, **request(session, **asked)})
        except BadInput as error:
            report("refused", {"id": number, "message": str(error)})
        except (TypeError, ValueError) as error:  # a value of another type
            report("refused", {"id": number, "message": f"these arguments are not allowed ({error})."})
