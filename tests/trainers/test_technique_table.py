"""The benchmark of all techniques: none is left out, and its table holds the means over seeds."""

import json
from pathlib import Path

from benchmarks.techniques import OF_TEXT, SHOWN, spec, systems, table
from trainers import objectives


def test_every_technique_is_a_system_of_each_text_and_can_be_trained() -> None:
    for corpus in OF_TEXT:
        named = systems(corpus)
        assert {technique for technique, _ in named.values()} == set(objectives.techniques())
        for system in named:
            hyperparameters, options = spec(corpus, system, 0, {}).split()
            technique = named[system][0]
            assert objectives.create(technique, hyperparameters).refusal(options.model) is None


def test_the_table_has_means_over_seeds_from_the_lowest_nll(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    rows = [
        {"corpus": "ptb", "system": system, "seed": seed, **dict.fromkeys(SHOWN), "nll": nll, "rate": rate}
        for system, seed, nll, rate in (("fb", 0, 100.0, 4.0), ("fb", 1, 102.0, 5.0), ("rnnlm", 0, 99.5, None))
    ]
    other = {**rows[0], "corpus": "grammar", "nll": 1.0}
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, other]))
    first, second = table(file, "ptb").splitlines()[2:]
    assert first.startswith("| rnnlm | 1 | 99.50 | – | – | – |")
    assert second.startswith("| fb | 2 | 101.00 | 1.41 | – | 4.50 |")
