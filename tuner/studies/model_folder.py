"""A trained model in a folder of its own that leaves the house: what `tuner.load` opens anywhere, and Hugging Face's hub takes.

config.json        what made the run, every option's value, and its figures
model.safetensors  the best epoch's weights
vocabulary.json    tokens by index
sentencepiece.model what divides texts into them, where `tokens` says so
README.md          a model card
manifest.json      the files' SHA-256 sums; they are checked when the model is opened
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainers.contract import BEST, CARD, CONFIG, CORPORA, MODEL, VOCABULARY, WEIGHTS
from tuner.errors import Clash, Usage, unwritten
from tuner.estimators import estimate, notes_of, token
from tuner.metrics import FIGURES, Metrics, number
from tuner.storage.artifacts import MANIFEST, digest
from tuner.studies.files import recorded

COPIES = {BEST: WEIGHTS, VOCABULARY: VOCABULARY, MODEL: MODEL}
"""Files of a run, each with its name in the exported folder."""
CARD_START = """---
library_name: text-vae-tuner
pipeline_tag: text-generation
tags:
- variational-autoencoder
- sentence-embeddings
---
"""
USE = """```python
import tuner

with tuner.load("PATH/OF/THIS/FOLDER") as model:
    print(model.sample(5))
    codes = model.encode(["a sentence of words like the training text's"])
    print(model.decode(codes), model.log_likelihood(["a sentence"]))
```"""


def write(run: str, folder: Path, out: Path) -> None:
    """Writes the model of a finished run into a new folder, whole or not at all. No path of this machine is in it.

    Args:
        run: as it was named.
        folder: the run's own.

    Raises:
        Usage: if the run is not finished, or `out` names no folder that could be new.
        Clash: if there is something at `out`.
        Fault: if the disk is full or fails.
    """
    known, metrics = recorded(folder)
    if metrics is None:
        raise Usage(f"run {run!r} is not finished: name a finished run.")
    if (folder / CONFIG).exists():
        raise Usage(f"run {run!r} is an exported model itself: copy its folder.")
    if not (folder / BEST).exists():
        raise Usage(f"run {run!r} has no weights, as its bundle left them out: `tuner reproduce` trains it anew.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Clash(f"--model {out} is there already: name a new folder, or remove it.")
    if not out.name:
        raise Usage(f"--model {out} is the folder that you are in: name a new one.")
    half = out.with_name(f".{out.name}.half")
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        for name, copy in COPIES.items():
            if (folder / name).exists():
                shutil.copyfile(folder / name, half / copy)
        config = _config(known, metrics)
        _put(half / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
        sums = {file.name: {"sha256": digest(file), "bytes": file.stat().st_size} for file in sorted(half.iterdir())}
        _put(half / MANIFEST, json.dumps(sums, indent=1) + "\n")
        _put(half / CARD, card(config))  # its reader may add to it
        half.replace(out)  # an empty folder gives way
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        raise unwritten("--model", out, error) from error


def _put(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())


def _config(known: Mapping[str, Any], metrics: Metrics) -> dict[str, Any]:
    """The content of a run's spec.json with its figures. A folder of texts is known by its last part. Every option has
    its value, so that a default which changes later changes nothing here.
    """
    spec, corpus = known["spec"], known["corpus"]
    place = spec["corpus"]
    name = place if place in CORPORA else Path(place).name
    values = {**known["hyperparameters"], **known["options"], **spec["values"]}
    words = [name if word == place else word for word in shlex.split(known.get("command", ""))]
    return {
        **known,
        "model_type": "text-vae-tuner",
        "spec": {**spec, "corpus": name, "values": values, "fingerprint": corpus["fingerprint"]},
        "corpus": {**{key: value for key, value in corpus.items() if key != "warnings"}, "name": name},
        "command": shlex.join(words),
        "metrics": metrics,
    }


def card(config: Mapping[str, Any]) -> str:
    """A model card in Markdown, with the head that Hugging Face's hub reads."""
    spec, corpus, metrics = config["spec"], config["corpus"], config["metrics"]
    technique, text = spec["technique"], corpus["name"]
    hyperparameters = ", ".join(f"{key} = {value}" for key, value in config["hyperparameters"].items()) or "none"
    counts, noun = corpus["sentences"], token(spec["values"].get("tokens", "words"))
    sizes = ", ".join(f"{counts[split]:,} {split}" for split in counts)
    versions = ", ".join(f"{package} {version}" for package, version in config["versions"].items())
    splits = {split: found for split, found in (("valid", metrics), ("test", metrics.get("test"))) if found}
    figures = (
        (key, *(number(found.get(key)) for found in splits.values()), FIGURES[key].meaning)
        for key in FIGURES
        if metrics.get(key) is not None
    )
    made = "\n\n".join(f"{split}: {estimate(found)}." for split, found in splits.items())
    qualified = "".join(f"\n\nNote: {note}." for note in notes_of(metrics))
    return (
        f"{CARD_START}\n# {technique} on {_plain(text)}\n\n"
        f"A text VAE ({spec['model']}) of technique `{technique}`: {hyperparameters}. It was trained by text-vae-tuner.\n\n"
        f"## Use\n\n{USE}\n\nIt takes text-vae-tuner, from its sources; neither the study nor the training text is needed.\n\n"
        f"## Figures\n\n{_table(('figure', *splits, 'meaning'), figures)}\n\n{made}{qualified}\n\n"
        f"PPL is per {noun}: of each sentence the {noun}s and the end count.\n\n"
        f"## Training text\n\n{_plain(text)}: {sizes} sentences, {corpus['vocabulary']:,} {noun}s in the vocabulary; "
        f"fingerprint `{corpus['fingerprint']}`. What the model writes is like this text, faults and all.\n\n"
        f"## Made by\n\n```\n{config['command']}\n```\n\nSeed {spec['seed']}; {versions}. `config.json` has every option. "
        "`tuner reproduce` trains the model again, given the text (`--corpus`), and compares the figures.\n"
    )


def _plain(text: str) -> str:
    """A name that Markdown takes for nothing else."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in text)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
