"""Every technique on one text with one small model: what each reaches, and what it costs.

    OMP_NUM_THREADS=1 python -m benchmarks.techniques runs.jsonl --corpus ptb --seeds 0 1 2
    python -m benchmarks.techniques runs.jsonl --table

Trains each system with its defaults, or with what depends on the text, and adds a line to the file for each run. What the file
has already is not trained again, so that a benchmark that was stopped goes on. `--table` prints the means over seeds, with the
n-gram model's line. `--cost STEPS` times so many steps of each system instead, in turns with `vanilla`'s.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from trainers import ngram, objectives
from trainers.corpus import load
from trainers.evaluation import subset
from trainers.runs import Spec, begin, train
from trainers.training import Training

Values = dict[str, float | int | str | bool]
TRANSFORMER: Values = {"cell": "transformer", "decoder_layers": 2, "encoder_layers": 1, "d_f": 44, "heads": 4}
"""Sizes with which a model has as many parameters as `tiny` has with a code."""
SYSTEMS: dict[str, tuple[str, Values]] = {
    name: (name, {}) for name in objectives.techniques() if name not in ("lagvae", "geco", "fb-dim")
} | {
    "fb-dim": ("fb-dim", {"r": 5.0}),
    "aggressive": ("aggressive", {"inner": 10, "window": 5}),  # the paper's 100 and 15 take several times as long
    "vanilla, pooling mean": ("vanilla", {"pooling": "mean"}),
    "vanilla, pooling max": ("vanilla", {"pooling": "max"}),
    "vanilla, skip": ("vanilla", {"skip": True}),
    "rnnlm, transformer": ("rnnlm", TRANSFORMER),
    "vanilla, transformer": ("vanilla", TRANSFORMER),
    "fb, transformer": ("fb", TRANSFORMER),
    "bn, transformer": ("bn", TRANSFORMER),
}
OF_TEXT: dict[str, dict[str, tuple[str, Values]]] = {
    "grammar": {"lagvae": ("lagvae", {"e": 17.5}), "geco": ("geco", {"kappa": 12.0})},
    "ptb": {"lagvae": ("lagvae", {"e": 120.0}), "geco": ("geco", {"kappa": 112.0})},
}
SHOWN = ("nll", "ppl", "rate", "distortion", "neg_elbo", "active_units", "mi", "acc_gap")
PTB: Values = {"corpus_size": 10_000}


def systems(corpus: str) -> dict[str, tuple[str, Values]]:
    """Every system with its technique and settings."""
    return {**SYSTEMS, **OF_TEXT[corpus]}


def spec(corpus: str, system: str, seed: int, more: Values) -> Spec:
    technique, values = systems(corpus)[system]
    of_text: Values = PTB if corpus == "ptb" else {}
    return Spec(technique, corpus, "tiny", {"nll": "tempered", **of_text, **values, **more}, seed)


def lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def run(file: Path, corpus: str, system: str, seed: int, more: Values) -> None:
    """Trains one system and adds its line."""
    started, epochs = time.perf_counter(), []

    def report(event: str, facts: dict[str, Any]) -> None:
        if event == "epoch":
            epochs.append(facts["neg_elbo"])

    with tempfile.TemporaryDirectory() as folder:
        found = train(spec(corpus, system, seed, more), Path(folder), report)
    metrics = {key: found["metrics"].get(key) for key in SHOWN}
    line = {
        "corpus": corpus,
        "system": system,
        "seed": seed,
        "set": more,
        **metrics,
        "error": found["metrics"]["estimator"].get("error"),
        "entropy": found["entropy"],
        "parameters": found["parameters"],
        "epochs": epochs,
        "best_epoch": found["best_epoch"],
        "tokens_per_second": found["tokens_per_second"],
        "seconds": time.perf_counter() - started,
    }
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    print(
        f"{system} seed {seed}: NLL {line['nll']:.2f}, R {line['rate'] or 0:.2f}, {line['seconds']:.0f} s", flush=True
    )


def table(file: Path, corpus: str) -> str:
    """Means over seeds as Markdown, from the lowest NLL."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in lines(file):
        if line["corpus"] == corpus:
            rows.setdefault(line["system"], []).append(line)

    def mean(runs: list[dict[str, Any]], key: str) -> float | None:
        known = [run[key] for run in runs if run[key] is not None]
        return statistics.mean(known) if known else None

    def text(value: float | None, digits: int = 2) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    out = ["| system | seeds | NLL | sd | PPL | R | D | −ELBO | AU | MI | gap |", "|" + " --- |" * 11]
    for system, runs in sorted(rows.items(), key=lambda row: mean(row[1], "nll") or 0.0):
        spread = statistics.stdev([run["nll"] for run in runs]) if len(runs) > 1 else None
        cells = [text(mean(runs, key)) for key in ("ppl", "rate", "distortion", "neg_elbo")]
        last = [text(mean(runs, "active_units"), 0), text(mean(runs, "mi")), text(mean(runs, "acc_gap"), 1)]
        out.append(f"| {' | '.join([system, str(len(runs)), text(mean(runs, 'nll')), text(spread), *cells, *last])} |")
    return "\n".join(out)


def reference(corpus: str, more: Values) -> str:
    """Figures of an n-gram model on the sentences that runs are evaluated on."""
    options = spec(corpus, "vanilla", 0, more).split()[1]
    text = load(corpus, options.corpus)
    valid = text.splits["valid"]
    chosen = valid.chosen(subset(range(len(valid)), options.evaluation.nll_sentences))
    return json.dumps(ngram.reference(text, {"valid": chosen}))


def _silent(_event: str, _facts: dict[str, Any]) -> None:
    pass


def cost(corpus: str, steps: int, more: Values, only: list[str]) -> None:
    """Seconds of a step of each system over those of `vanilla`, in turns."""

    def ready(system: str) -> Training:
        made = spec(corpus, system, 0, more)
        return begin(made, Path(tempfile.mkdtemp()), load(corpus, made.split()[1].corpus), _silent)

    def seconds(training: Training) -> float:
        train_text = training.corpus.splits["train"]
        order = torch.randperm(len(train_text), generator=torch.Generator().manual_seed(1)).tolist()
        size = training.options.batch_size
        parts = [order[i : i + size] for i in range(0, steps * size, size)]
        training.model.train()
        started = time.perf_counter()
        for part in parts:
            training._step([train_text[i] for i in part], parts)  # type: ignore[arg-type]
        return time.perf_counter() - started

    plain = ready("vanilla")
    seconds(plain)
    for system in only or systems(corpus):
        training = ready(system)
        seconds(training)
        ratios = [seconds(training) / seconds(plain) for _ in range(3)]
        print(f"{system}: {statistics.median(ratios):.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--corpus", choices=tuple(OF_TEXT), default="grammar")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--set", dest="values", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--cost", type=int, default=0, metavar="STEPS")
    arguments = parser.parse_args()
    more: Values = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in arguments.values)}
    if arguments.table:
        print(table(arguments.file, arguments.corpus))
        print(reference(arguments.corpus, more))
        return
    if arguments.cost:
        cost(arguments.corpus, arguments.cost, more, arguments.only)
        return
    kept = [line for line in lines(arguments.file) if line["corpus"] == arguments.corpus]
    unlike = next((line["set"] for line in kept if line.get("set", more) != more), None)
    if unlike is not None:
        parser.error(f"{arguments.file} has runs with --set {unlike}, these have {more}: name another file.")
    known = {(line["system"], line["seed"]) for line in kept}

    for seed in arguments.seeds:
        for system in arguments.only or systems(arguments.corpus):
            if (system, seed) not in known:
                run(arguments.file, arguments.corpus, system, seed, more)


if __name__ == "__main__":
    main()
