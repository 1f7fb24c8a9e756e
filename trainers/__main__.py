"""The trainer's command, `python -m trainers COMMAND …`: one JSON object a line on standard output.

`serve` reads requests from its standard input instead, a JSON object a line, and answers each (`trainers.session`). `forkserver`
starts the others without their imports (`trainers.forkserver`).

The last line of a run that ended well is {"event": "done", …}; of one that did not, {"event": "failed", "reason", "message"}.
Exit codes: 0 done, 1 failed, 2 bad input, 75 stopped in order (goes on from its checkpoint).
An argument of JSON that is given as `-` is a line of standard input, in their order: the system bounds how long arguments are.
With --supervised the process ends when its standard input closes, so that it never outlives the worker that started it.
"""

import argparse
import json
import os
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

from trainers import corpus_cache, forkserver, ngram, recipes
from trainers.contract import PREEMPTED
from trainers.corpus import load
from trainers.errors import BadInput, Failure
from trainers.finite import finite
from trainers.options import CorpusOptions, build, renewed


def report(event: str, facts: dict[str, Any]) -> None:
    """One JSON line; NaN and infinity, which JSON lacks, become null."""
    print(json.dumps(finite({"event": event, **facts})), flush=True)


def _end_with_parent() -> None:
    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock, held here, would abort the interpreter's own end
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _line() -> str:
    """The next line of standard input, and no byte more: `_end_with_parent` and `serve` read what follows."""
    found = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        found += byte
    return found.decode()


def _corpus_options(given: str) -> CorpusOptions:
    """Options of a corpus from a JSON object."""
    values = renewed(json.loads(given))
    own = [spec.name for spec in fields(CorpusOptions)]
    unknown = sorted(set(values) - set(own))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is no option of a corpus: it has {', '.join(own)}.")
    return build(CorpusOptions, values)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "corpus":  # answers without loading torch
        corpus = load(arguments.name, _corpus_options(arguments.options))
        described = corpus.describe()
        if arguments.ngrams:
            repeated = ngram.repeated(corpus)
            warnings = [*corpus.warnings(), *ngram.copied(corpus, repeated)]
            described |= {"repeated": repeated, "ngrams": ngram.lines(corpus), "warnings": warnings}
        report("done", described)
        return
    if arguments.command == "recipe":
        options = _corpus_options(arguments.options)
        report("done", recipes.make(arguments.name, arguments.folder, Path(arguments.out), options))
        return
    if arguments.command == "cache":
        report("done", {**({"cleared": corpus_cache.cleared()} if arguments.clear else {}), **corpus_cache.described()})
        return
    import torch

    from trainers import runs

    if arguments.threads is not None:  # a forked process has loaded OpenMP already, so the environment comes too late
        torch.set_num_threads(arguments.threads)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    if arguments.command == "check":
        report("done", runs.check(runs.Spec.parse(json.loads(arguments.spec)), json.loads(arguments.corners)))
    elif arguments.command == "train":
        spec = runs.Spec.parse(json.loads(arguments.spec))
        report("done", runs.train(spec, arguments.folder, report, stopped.is_set))
    elif arguments.command == "serve":
        from trainers.session import serve

        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it has nothing to save
        serve(arguments.folder, sys.stdin, report)
        report("done", {})
    elif arguments.command == "evaluate":
        metrics = runs.evaluate_run(arguments.folder, json.loads(arguments.options), arguments.seed, report)
        report("done", metrics.plain())
    else:
        _write(arguments)


def _write(arguments: argparse.Namespace) -> None:
    from trainers import samples

    folder, options = arguments.folder, json.loads(arguments.options)
    if arguments.command == "sample":
        report("done", samples.sample_run(folder, options))
    elif arguments.command == "reconstruct":
        report("done", samples.reconstruct_run(folder, json.loads(arguments.sentences), options))
    elif arguments.command == "interpolate":
        report("done", samples.interpolate_run(folder, json.loads(arguments.sentences), options))
    elif arguments.command == "dropped":
        report("done", samples.dropped_run(folder, json.loads(arguments.sentences), options))
    elif arguments.command == "answer":
        from trainers.answering import answer_run

        report("done", answer_run(folder, json.loads(arguments.sentences), options))
    elif arguments.command == "latent":
        report("done", samples.latent_run(folder, options, report))
    else:
        report("done", samples.neighbours_run(folder, options, report))


def _fork() -> None:
    """Loads what runs need, and forks them."""
    import torch._dynamo  # noqa: F401 - as PyTorch's first optimiser would

    from trainers import samples  # noqa: F401 - which needs all the rest

    forkserver.serve(main)


def _out_of_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trainers", description=__doc__)
    parser.add_argument("--supervised", action="store_true", help="End when standard input closes.")
    parser.add_argument(
        "--threads", type=int, help="Threads of PyTorch; the environment's OMP_NUM_THREADS unless given."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, positional in {
        "check": ("spec", "corners"),
        "corpus": ("name", "options"),
        "recipe": ("name", "folder", "out", "options"),
        "cache": (),
        "train": ("spec", "folder"),
        "evaluate": ("folder", "options"),
        "sample": ("folder", "options"),
        "reconstruct": ("folder", "options", "sentences"),
        "interpolate": ("folder", "options", "sentences"),
        "dropped": ("folder", "options", "sentences"),
        "answer": ("folder", "options", "sentences"),
        "neighbours": ("folder", "options"),
        "latent": ("folder", "options"),
        "serve": ("folder",),
        "forkserver": (),
    }.items():
        command = commands.add_parser(name)
        for argument in positional:
            command.add_argument(argument, type=Path if argument == "folder" else str)
        if name == "corpus":
            command.add_argument(
                "--ngrams", action="store_true", help="Count words too, for the figures of n-gram models."
            )
        if name == "cache":
            command.add_argument("--clear", action="store_true", help="Remove every encoded corpus.")
        if name == "evaluate":
            command.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    if arguments.command == "forkserver":
        _fork()
        return 0
    for name, value in vars(arguments).items():
        if value == "-":
            setattr(arguments, name, _line())
    if arguments.supervised and arguments.command != "serve":  # which reads that input, and ends with it
        _end_with_parent()
    try:
        _run(arguments)
    except BadInput as error:
        report("failed", {"reason": "input", "message": str(error)})
        return 2
    except Failure as error:
        report("failed", {"reason": error.reason, "message": str(error)})
        return PREEMPTED if error.reason == "preempted" else 1
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        advice = "a smaller batch_size, d_h or rows needs less"
        said = (str(error).splitlines() or ["there is no more"])[0][:200]
        report("failed", {"reason": "oom", "message": f"out of memory ({said}); {advice}."})
        return 1
    return 0


if __name__ == "__main__":
    forkserver.end(main)
