"""Cost of large texts: how fast one is encoded, how soon the next trial starts, in what memory; documents at `tiny`.

    python -m benchmarks.texts --sentences 1000000 --types 200000
    python -m benchmarks.texts --documents 2000 --types 50000

Words are drawn by Zipf's law, each type at least once. The memory is the process's peak (VmHWM), shared pages counted.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import machine
from tuner.trainer import Slot, Trainer, ask, fork_server

ENOUGH = 3
"""Words of progress in evaluation, by which its memory has been seen; all of it would take an hour."""
HELD_OUT = 200
"""Number of validation sentences, and of test sentences."""


def write(folder: Path, sentences: int, words: int, types: int, seed: int) -> int:
    """Texts of that many training sentences; how many tokens they have, end tokens included."""
    generator = np.random.default_rng(seed)
    names = np.array([f"w{i}" for i in range(types)])
    share = 1 / np.arange(1, types + 1)
    total = 0
    for split, count in {"train": sentences, "valid": HELD_OUT, "test": HELD_OUT}.items():
        with (folder / f"{split}.txt").open("w", encoding="utf-8") as out:
            for start in range(0, count, 50_000):
                some = min(50_000, count - start)
                lengths = np.maximum(generator.normal(words, words / 5, some).astype(int), 3)
                drawn = generator.choice(types, int(lengths.sum()), p=share / share.sum())
                if split == "train" and start == 0:
                    drawn[: min(types, len(drawn))] = np.arange(min(types, len(drawn)))
                place = 0
                for length in lengths.tolist():
                    out.write(" ".join(names[drawn[place : place + length]]) + "\n")
                    place += length
                total += int(lengths.sum()) + some if split == "train" else 0
    return total


def peak(trainer: Trainer) -> float:
    """GiB that a trainer's process has held at most."""
    trainer.process.poll()
    handle = Path(f"/proc/self/fdinfo/{trainer.process._handle}").read_text(encoding="utf-8")  # type: ignore[union-attr]
    pid = next(line.split()[1] for line in handle.splitlines() if line.startswith("Pid:"))
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def trial(folder: Path, run: Path, values: dict[str, Any], whole: bool) -> dict[str, float]:
    """A trial of a forked trainer: seconds until it trains, its memory then, and in the end or soon after."""
    spec = {"technique": "vanilla", "corpus": str(folder), "model": "tiny", "values": values, "seed": 0}
    with closing(fork_server()) as server:
        with Trainer("corpus", "grammar", "{}", server=server) as first:  # by then the server has loaded PyTorch
            list(first.events())
        started = time.perf_counter()
        with Trainer("train", json.dumps(spec), run, slot=Slot(threads=1), server=server) as trainer:
            found: dict[str, float] = {}
            evaluated = 0
            for event in trainer.events():
                if event["event"] == "started":
                    found = {"seconds_to_start": time.perf_counter() - started, "gib_at_start": peak(trainer)}
                if event["event"] in ("progress", "epoch"):
                    found["gib"] = peak(trainer)
                    evaluated += event.get("phase") == "evaluation"
                if event["event"] == "epoch":
                    found |= {"gib_of_training": found["gib"], "tokens_per_second": event["tokens_per_second"]}
                if evaluated == ENOUGH or (not whole and "gib" in found):
                    break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sentences", type=int, default=0, help="Number of sentences of 20 words: encoding and starting."
    )
    parser.add_argument(
        "--documents", type=int, default=0, help="Number of documents of 500 words: one epoch and its evaluation."
    )
    parser.add_argument("--types", type=int, default=200_000)
    parser.add_argument("--batch-tokens", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="texts-"))
    os.environ["TUNER_CACHE"] = str(place / "cache")
    try:
        found: dict[str, Any] = {**machine(), **vars(arguments)}
        count, words = (arguments.sentences, 20) if arguments.sentences else (arguments.documents, 500)
        (place / "text").mkdir()
        tokens = write(place / "text", count, words, arguments.types, arguments.seed)
        time.sleep(3)  # a file that has just changed is not relied on
        started = time.perf_counter()
        described = ask("corpus", place / "text", "{}")
        seconds = time.perf_counter() - started
        found |= {"tokens": tokens, "vocabulary": described["vocabulary"], "encoding_seconds": seconds}
        found |= {"encoded_tokens_per_second": tokens / seconds}
        # the memory of a checkpoint counts too, so one is saved before the first progress is told
        values = {"max_epochs": 1, "batch_tokens": arguments.batch_tokens, "checkpoint_seconds": 0.5}
        found["trial"] = trial(place / "text", place / "run", values, whole=bool(arguments.documents))
        print(json.dumps(found))
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
