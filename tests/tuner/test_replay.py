"""Studies that are replayed on curves pay for added epochs alone, and find what the curves hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import replay, trials
from benchmarks.replay import METHODS, Full, Halving, Pool, Seen, at_random, first
from tuner.studies import pruners

WHOLE = 16


def pool(configurations: int = 40, early: float = 1.0) -> Pool:
    """Trials of a parabola whose curves fall to it; before their end they tell `early` of it."""
    x = np.linspace(0, 1, configurations)[:, None]
    finals = 10 + 5 * (x[:, 0] - 0.3) ** 2
    curves = [
        [early * (value - 10) + 10 + 2 / epoch for epoch in range(1, WHOLE)] + [value] for value in finals.tolist()
    ]
    return Pool(x, curves, finals)


def test_a_full_search_pays_for_every_epoch_and_knows_a_value_at_its_end() -> None:
    found = replay.replay(pool(), Full(at_random), 0, 3 * WHOLE)
    seen = Seen(pool(), 0)
    expected = [seen.pool.finals[seen.order[:trials]].min() for trials in (1, 2, 3)]
    assert np.isinf(found[:WHOLE]).all()
    assert [found[trials * WHOLE] for trials in (1, 2, 3)] == expected
    assert np.ptp(found[WHOLE : 2 * WHOLE]) == 0


def test_who_goes_on_pays_for_the_added_epochs_alone() -> None:
    seen = Seen(pool(), 0)
    for until in (2, 6, WHOLE, WHOLE + 5):
        seen.train(7, until)
        assert seen.spent == min(until, WHOLE)
    assert seen.finished == [7]
    assert seen.lowest == seen.pool.finals[7]


def test_halving_takes_one_in_so_many_of_each_rung_to_the_next() -> None:
    method, seen = Halving(at_random), Seen(pool(), 3)
    assert method.rungs(WHOLE) == [2, 6, WHOLE]
    assert Halving(at_random, 2).rungs(WHOLE) == [2, 4, 8, WHOLE]
    while seen.untried and (step := method(seen)):
        seen.train(*step)
    reached = [sum(end >= rung for end in seen.reached.values()) for rung in (2, 6, WHOLE)]
    assert reached[0] == 40
    assert 40 // 3 <= reached[1] <= 40 // 2  # more than a third, for who is promoted early may be overtaken
    assert reached[2] >= reached[1] // 3
    by_rung = sorted(seen.reached, key=lambda c: seen.best(c, 2))
    assert seen.over(by_rung[0])


def test_brackets_begin_at_different_rungs() -> None:
    method, seen, begun = Halving(at_random, brackets=3), Seen(pool(), 0), []
    while len(begun) < 3 and (step := method(seen)):
        begun += [step[1]] if step[0] not in seen.reached else []
        seen.train(*step)
    assert begun == [2, 6, WHOLE]
    short = Pool(np.zeros((5, 1)), [[3.0] * 8] * 5, np.full(5, 3.0))
    assert np.isfinite(replay.replay(short, method, 0, 40)[-1])  # it has two rungs, fewer than brackets


@pytest.mark.parametrize("name", METHODS)
def test_each_method_finds_the_lowest_of_curves_that_tell_it_and_trains_nothing_twice(name: str) -> None:
    method, seen = METHODS[name](), Seen(pool(20), 1)
    steps = 0
    while (step := method(seen)) is not None:
        assert step[1] > seen.reached.get(step[0], 0)
        seen.train(*step)
        steps += 1
    assert steps <= 20 * WHOLE
    assert seen.spent == sum(seen.reached.values()) <= 20 * WHOLE
    assert seen.lowest == seen.pool.finals.min()


def test_curves_that_tell_the_value_make_halving_cheaper_and_those_that_mislead_do_not() -> None:
    def needed(name: str, early: float) -> float:
        given = pool(early=early)
        every = [replay.replay(given, METHODS[name](), seed, 40 * WHOLE) for seed in range(8)]
        return first(np.median(every, axis=0), float(np.quantile(given.finals, 0.05))) or 40 * WHOLE

    assert needed("random, halving by 3", 1.0) < 0.6 * needed("random full", 1.0)
    assert needed("random, halving by 3", -1.0) > needed("random full", -1.0)


def test_a_pruner_of_the_program_ends_what_it_ends_in_a_study() -> None:
    seen, method = Seen(pool(), 0), Full(at_random, pruners.below_median)
    while len(seen.reached) < 12 and (step := method(seen)):
        seen.train(*step)
    ended = [c for c in list(seen.reached)[:-1] if not seen.over(c)]
    assert ended
    assert all(seen.reached[c] == pruners.WARM_UP for c in ended)


def test_a_least_rate_is_in_curves_and_values_alike() -> None:
    row = {"params": {"r": 5.0}, "nll": 20.0, "rate": 4.0, "epochs": [[30.0, 1.0], [25.0, 6.0]]}
    made = Pool.of({"trials": {"mdr": [row]}}, "mdr", 5.0)
    assert made.curves == [[34.0, 25.0]]
    assert made.finals.tolist() == [21.0]
    assert Pool.of({"trials": {"mdr": [row]}}, "mdr", 5.0, "neg_elbo").finals.tolist() == [25.0]
    row["epochs"] = [[30.0, 1.0, 28.0], [25.0, 6.0, 22.0]]
    assert Pool.of({"trials": {"mdr": [row]}}, "mdr", 5.0, known="nll").curves == [[32.0, 22.0]]


def test_each_epochs_nll_is_recorded_and_changes_nothing() -> None:
    settings = {"corpus_size": 200, "max_epochs": 2, "d_e": 8, "d_h": 8, "nll_samples": 5, "nll_sentences": 20}
    plain, told = (trials.trial("mdr", "grammar", settings, {"r": 5.0}, 0, each) for each in (0, 20))
    assert [len(epoch) for epoch in told["epochs"]] == [3, 3]
    assert [epoch[:2] for epoch in told["epochs"]] == plain["epochs"]
    assert (told["nll"], told["rate"]) == (plain["nll"], plain["rate"])
    assert told["nll"] in [epoch[2] for epoch in told["epochs"]]


def test_a_table_is_gone_on_with_and_has_other_seeds_of_some_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def trial(*named: object) -> dict[str, object]:
        _, _, _, params, seed, _ = named
        assert isinstance(params, dict)
        made.append(seed)
        return {"params": params, "nll": params["r"], "rate": 1.0, "epochs": [[9.0, 1.0]]}

    monkeypatch.setattr(trials, "trial", trial)
    out = tmp_path / "table.json"
    common = ["x", "--techniques", "mdr", "--epochs", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", [*common, "--runs", "2", "--repeated", "1"])
    trials.main()
    assert made == [0, 1, 1000, 1001, 1002, 1003]
    before = json.loads(out.read_text(encoding="utf-8"))
    monkeypatch.setattr("sys.argv", [*common, "--runs", "4", "--repeated", "1"])
    trials.main()
    assert made[6:] == [2, 3]
    table = json.loads(out.read_text(encoding="utf-8"))
    assert table["trials"]["mdr"][:2] == before["trials"]["mdr"]
    assert table["seeds"] == before["seeds"]
    assert len(Pool.of(table, "mdr").finals) == 4
    monkeypatch.setattr("sys.argv", [*common, "--runs", "4", "--sentences", "99"])
    with pytest.raises(SystemExit):
        trials.main()
