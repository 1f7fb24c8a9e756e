"""The loop: stopping rule, resumption, determinism, named failures; and that it knows no technique."""

import ast
import fcntl
import json
import math
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CHEAP

from trainers import checkpoint, corpus, objectives, runs, training
from trainers.contract import PRESETS, SPEC, VOCABULARY
from trainers.errors import BadInput, Failure
from trainers.evaluation import evaluate
from trainers.figures import EpochFigures
from trainers.runs import Spec, corpus_of, evaluate_run, open_run, train
from tuner.analysis.sentences import of_runs
from tuner.analysis.significance import name_of

QUICK = {"corpus_size": 200, "max_epochs": 3, "nll_samples": 3, "nll_sentences": 40, "d_h": 12, "d_e": 12, "gallery": 0}


@pytest.fixture(autouse=True)
def little_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "GRAMMAR_HELD_OUT", 60)


def silent(event: str, facts: dict[str, Any]) -> None:
    del event, facts


def spec(technique: str = "mdr", **values: Any) -> Spec:
    return Spec(technique, "grammar", "tiny", {**QUICK, **values}, seed=1)


def figures(result: dict[str, Any]) -> dict[str, Any]:
    return {**result["metrics"], "epochs": result["epochs"], "best_epoch": result["best_epoch"]}


@pytest.mark.parametrize("technique", objectives.techniques())
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_figures(technique: str, tmp_path: Path) -> None:
    run = spec(technique, **CHEAP.get(technique, {}))
    straight = train(run, tmp_path / "straight", silent)
    steps = iter(range(1000))
    stops = {1, 5, 8}
    while True:
        try:
            resumed = train(run, tmp_path / "resumed", silent, stop=lambda: next(steps) in stops)
            break
        except Failure as failure:
            assert failure.reason == "preempted"
    assert figures(resumed) == figures(straight)


@pytest.mark.parametrize("phase", ["evaluation", "latent"])
def test_a_run_that_is_stopped_in_its_evaluation_ends_at_once_and_is_evaluated_anew(phase: str, tmp_path: Path) -> None:
    run, heard = spec(codes=True, test=True), list[str]()

    def hear(event: str, facts: dict[str, Any]) -> None:
        heard.append(facts.get("phase", event))

    with pytest.raises(Failure, match="is evaluated anew from its checkpoint") as failure:
        train(run, tmp_path / "stopped", hear, stop=lambda: phase in heard)
    assert failure.value.reason == "preempted"
    assert heard.count(phase) == 1
    heard.clear()
    resumed = train(run, tmp_path / "stopped", hear)
    assert "epoch" not in heard
    assert figures(resumed) == figures(train(run, tmp_path / "straight", silent))


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(tmp_path: Path) -> None:
    one, two = (train(spec(), tmp_path / name, silent) for name in ("one", "two"))
    assert figures(one) == figures(two)
    other = train(Spec("mdr", "grammar", "tiny", dict(QUICK), seed=2), tmp_path / "other", silent)
    assert figures(other) != figures(one)


def test_a_finished_run_answers_at_once_and_another_run_keeps_out(tmp_path: Path) -> None:
    first = train(spec(), tmp_path, silent)
    assert train(spec(), tmp_path, silent) == first
    with pytest.raises(BadInput, match="holds another run"):
        train(spec(max_epochs=4), tmp_path, silent)


def test_a_run_of_another_default_goes_on_only_if_that_is_asked_for(tmp_path: Path) -> None:
    first = train(spec(), tmp_path, silent)
    known = json.loads((tmp_path / "spec.json").read_text())
    known["hyperparameters"]["u_0"] = 2.0  # as if that had been the default
    (tmp_path / "spec.json").write_text(json.dumps(known))
    with pytest.raises(BadInput, match=r"with u_0 = 2.0, its default then, which is 1.01 now"):
        train(spec(), tmp_path, silent)
    assert train(spec(u_0=2.0), tmp_path, silent) == first
    with pytest.raises(BadInput, match="holds another run"):
        train(spec(u_0=3.0), tmp_path, silent)


def test_training_ends_after_patience_epochs_without_improvement_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([5.0, 3.0, 4.0, 3.5, 3.0, 2.0])
    monkeypatch.setattr(training, "validate", lambda *_: EpochFigures(next(losses), 0.0, 0))
    result = train(spec(max_epochs=50, patience=3), tmp_path, silent)
    assert (result["epochs"], result["best_epoch"]) == (5, 2)
    assert checkpoint.load_tensors(tmp_path / training.BEST)[1] == {"epoch": 2}


def test_batches_are_random_for_every_technique_unless_asked_for_by_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    plain = training.batches
    monkeypatch.setattr(training, "batches", lambda *a: (asked.append(a[3]), plain(*a))[1])
    cases: list[tuple[str, dict[str, str], bool]] = [
        (technique, {}, False) for technique in ("vanilla", "infovae", "rnnlm")
    ]
    for technique, values, by_length in (*cases, ("vanilla", {"batching": "length"}, True)):
        asked.clear()
        train(spec(technique, max_epochs=1, **values), tmp_path / f"{technique}{len(values)}", silent)
        assert asked == [by_length]


def test_a_run_from_before_batches_were_random_is_read_with_the_batches_it_had() -> None:
    for old, batching in ((True, "random"), (False, "length")):
        read = Spec.parse({"technique": "vanilla", "corpus": "grammar", "values": {"random_batches": old, "d_z": 4}})
        assert read.values == {"d_z": 4, "batching": batching}
        read.split()


def test_no_epoch_counts_against_patience_while_a_schedule_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter(range(1, 50))  # ever worse
    monkeypatch.setattr(training, "validate", lambda *_: EpochFigures(float(next(losses)), 0.0, 0))
    schedule = spec("annealing", max_epochs=50, patience=2, gamma=1 / 16)  # 4 steps an epoch: over in the fourth
    result = train(schedule, tmp_path, silent)
    assert (result["epochs"], result["best_epoch"]) == (5, 1)


@pytest.mark.parametrize("technique", ["mdr", "pretrained-fb"])
def test_a_run_with_sgd_plateaus_and_averaged_weights_resumes_exactly(technique: str, tmp_path: Path) -> None:
    values = {"optimizer": "sgd", "learning_rate": 5.0, "plateau": 1, "polyak": 0.9, "decay": 0.9, "max_epochs": 5}
    straight = train(spec(technique, **values), tmp_path / "straight", silent)
    steps, stops = iter(range(1000)), {3, 10, 14}
    while True:
        try:
            resumed = train(spec(technique, **values), tmp_path / "resumed", silent, lambda: next(steps) in stops)
            break
        except Failure:
            pass
    assert figures(resumed) == figures(straight)


def rates_of(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], folder: Path, **values: Any
) -> tuple[list[float], Any]:
    """The step size of each epoch, and the result, where validation gives these losses."""
    found = iter(losses)
    rates: list[float] = []

    def validate(model: Any, *_: Any) -> EpochFigures:
        return EpochFigures(next(found), 0.0, 0)

    original = training.Training._epoch

    def epoch(self: training.Training) -> None:
        rates.extend({group["lr"] for optimizer in self.model_optimizers for group in optimizer.param_groups})
        original(self)

    monkeypatch.setattr(training, "validate", validate)
    monkeypatch.setattr(training.Training, "_epoch", epoch)
    return rates, train(spec("vanilla", max_epochs=50, patience=50, **values), folder, silent)


def test_the_step_size_halves_at_each_plateau_and_training_ends_at_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = [5.0, 3.0, 4.0, 4.0, 4.0, 2.0, 3.0, 3.0, 3.0, 3.0]
    rates, result = rates_of(monkeypatch, losses, tmp_path, plateau=2, plateau_decays=3, learning_rate=0.8)
    assert rates == pytest.approx([0.8] * 4 + [0.4] * 4 + [0.2] * 2)  # after epochs 4 and 8, and the third after 10
    assert (result["epochs"], result["best_epoch"]) == (10, 6)


def test_kruengkrais_step_size_halves_at_any_stall_three_times_in_thirty_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = PRESETS["lstm-vae-kr"]
    assert (preset["max_epochs"], preset["learning_rate"]) == (30, 1.0)
    schedule = {key: value for key, value in preset.items() if key.startswith("plateau")} | {"learning_rate": 0.8}
    reloaded: list[Path] = []
    load = checkpoint.load_weights
    monkeypatch.setattr(checkpoint, "load_weights", lambda file, *more: (reloaded.append(file), load(file, *more)))
    losses = [5.0, 6.0, 4.0, 3.0, 3.5, 3.0, 2.0]
    rates, result = rates_of(monkeypatch, losses, tmp_path, **schedule)
    assert rates == pytest.approx([0.8] * 2 + [0.4] * 3 + [0.2])  # 6.0, 3.5 and the second 3.0 are no improvements
    assert (result["epochs"], result["best_epoch"]) == (6, 4)
    assert len(reloaded) == 1  # at the end, not at a plateau


def test_livnes_step_size_is_quartered_at_each_plateau_and_the_weights_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = {key: value for key, value in PRESETS["svae"].items() if key.startswith("plateau")}
    reloaded: list[Path] = []
    load = checkpoint.load_weights
    monkeypatch.setattr(checkpoint, "load_weights", lambda file, *more: (reloaded.append(file), load(file, *more)))
    losses = [5.0, 6.0, 6.0, 6.0, 6.0, *[6.0] * 6]
    rates, _ = rates_of(monkeypatch, losses, tmp_path, **schedule, learning_rate=1.0)
    assert rates[:6] == pytest.approx([1.0] * 3 + [0.25] * 2 + [0.0625])
    assert len(reloaded) == 1  # at the end, not at a plateau


def test_the_step_size_decays_by_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, _ = rates_of(
        monkeypatch, [5.0, 4.0, 3.0, 6.0], tmp_path, decay=0.5, plateau=1, plateau_decays=1, learning_rate=0.8
    )
    assert rates == pytest.approx([0.8, 0.4, 0.2, 0.1])


def test_at_a_plateau_training_goes_on_from_the_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, best, after = iter([3.0, 5.0, 5.0, 5.0]), {}, []

    def validate(model: Any, *_: Any) -> EpochFigures:
        loss = next(losses)
        if loss == 3.0:
            best.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return EpochFigures(loss, 0.0, 0)

    original = training.Training._end_epoch

    def end(self: training.Training) -> None:
        original(self)
        weights = self.model.state_dict()
        after.append(all(torch.equal(weights[name], tensor) for name, tensor in best.items()))

    monkeypatch.setattr(training, "validate", validate)
    monkeypatch.setattr(training.Training, "_end_epoch", end)
    train(spec("vanilla", max_epochs=4, plateau=2), tmp_path, silent)
    assert after == [True, False, True, False]


def test_sgd_takes_a_plain_step_against_the_clipped_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    original = training.Training._step

    def step(self: training.Training, *arguments: Any) -> None:
        before = [p.detach().clone() for p in self.model.parameters()]
        original(self, *arguments)
        for old, new in zip(before, self.model.parameters(), strict=True):
            if new.grad is not None:
                torch.testing.assert_close(new.detach(), old - 0.3 * new.grad)
        norm = sum(float(p.grad.square().sum()) for p in self.model.parameters() if p.grad is not None) ** 0.5
        moved.append(norm <= 0.5 * 1.0001)

    monkeypatch.setattr(training.Training, "_step", step)
    train(spec("vanilla", max_epochs=1, optimizer="sgd", learning_rate=0.3, clip=0.5), tmp_path, silent)
    assert moved
    assert all(moved)


def test_what_is_kept_is_the_moving_average_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[dict[str, torch.Tensor]] = []
    original = training.Training._step

    def step(self: training.Training, *arguments: Any) -> None:
        original(self, *arguments)
        passed.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})

    monkeypatch.setattr(training.Training, "_step", step)
    said: list[str] = []
    train(
        spec("vanilla", max_epochs=1, polyak=0.75),
        tmp_path,
        lambda event, facts: said.append(facts["message"]) if event == "warning" else None,
    )
    average = passed[0]
    for weights in passed[1:]:
        average = {name: 0.75 * average[name] + 0.25 * weights[name] for name in weights}
    kept = checkpoint.load_tensors(tmp_path / training.BEST)[0]
    for name, tensor in average.items():
        torch.testing.assert_close(kept[name], tensor)
    assert "averages the weights of the last 4 steps, of the 4 of max_epochs" in said[0]


def test_aggressive_training_ends_by_the_information_of_the_encoder_that_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[dict[str, torch.Tensor]] = []
    ended: list[dict[str, torch.Tensor]] = []

    def information(model: Any, *_: Any) -> float:
        measured.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return 0.0

    original = training.Training._end_epoch

    def end(self: training.Training) -> None:
        ended.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        original(self)

    monkeypatch.setattr(training, "validation_information", information)
    monkeypatch.setattr(training.Training, "_end_epoch", end)
    train(spec("aggressive", max_epochs=1, polyak=0.75), tmp_path, lambda *_: None)
    (seen,), (trained,) = measured, ended
    assert all(torch.equal(seen[name], trained[name]) for name in trained)


def test_aggressive_steps_train_the_encoder_alone_and_then_the_generator_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace: list[str] = []
    build = training.Training._fresh_optimizers

    def watched(self: training.Training) -> None:
        build(self)
        names = {id(optimizer): name for optimizer, name in zip(self.model_optimizers, "ge", strict=True)}
        for optimizer in self.model_optimizers:
            plain, name = optimizer.step, names[id(optimizer)]
            optimizer.step = lambda plain=plain, name=name: (trace.append(name), plain())  # type: ignore[method-assign]

    information = iter([1.0, 0.5])
    monkeypatch.setattr(training.Training, "_fresh_optimizers", watched)
    monkeypatch.setattr(training, "validation_information", lambda *_: next(information))
    train(spec("aggressive", inner=2, window=5, max_epochs=3), tmp_path, silent)
    # 4 steps an epoch: two epochs of two encoder steps and one of the generator, then ordinary ones
    assert "".join(trace) == "eeg" * 8 + "ge" * 4


def test_the_second_stage_begins_with_the_best_encoder_and_a_new_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, torch.Tensor] = {}
    begun: list[tuple[set[str], set[str]]] = []
    begin = training.Training._begin_stage

    def watched(self: training.Training) -> None:
        kept.update(checkpoint.load_tensors(tmp_path / training.BEST)[0])
        begin(self)
        weights = self.model.state_dict()
        same = {name for name, tensor in weights.items() if torch.equal(tensor, kept[name])}
        begun.append((same, set(weights) - same))

    monkeypatch.setattr(training.Training, "_begin_stage", watched)
    heard: list[dict[str, Any]] = []
    values = {"max_epochs": 2, "own_embeddings": True, "anneal_epochs": 1}
    train(
        spec("pretrained-fb", **values),
        tmp_path,
        lambda event, facts: heard.append(facts) if event == "epoch" else None,
    )
    ((same, new),) = begun
    assert {name.split(".")[0] for name in same} == {"encoder", "to_posterior", "encoder_embedding"}
    assert {name.split(".")[0] for name in new} == {"decoder", "to_h_0"}
    assert [(facts["epoch"], facts["objective_stage"], facts["objective_beta"]) for facts in heard] == [
        (1, 0, 0), (2, 0, 0), (3, 1, 1), (4, 1, 1),
    ]  # fmt: skip
    assert [facts["epochs"] for facts in heard] == [4] * 4
    assert heard[-1]["best_epoch"] > 2


def test_a_nan_ends_the_run_with_its_reason_and_the_step(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"the loss is (nan|inf).* at step \d+ \(epoch 1\)") as failure:
        train(spec(learning_rate=1e30, clip=1e30), tmp_path, silent)
    assert failure.value.reason == "nan"


def test_a_full_disk_ends_the_run_with_its_reason_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Failure):
        train(spec(), tmp_path, silent, stop=lambda: True)
    before, files = (tmp_path / training.LATEST).read_bytes(), {*tmp_path.iterdir()}
    assert (tmp_path / training.LATEST).stat().st_mode == (tmp_path / SPEC).stat().st_mode
    full = tmp_path / f"{VOCABULARY}.partial"
    full.symlink_to("/dev/full")
    with pytest.raises(Failure, match="vocabulary.json cannot be written: No space left on device") as failure:
        train(spec(), tmp_path, silent)
    assert failure.value.reason == "disk"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 1000, hard))
    try:
        with pytest.raises(Failure, match=r"latest.safetensors cannot be written: .*File too large") as failure:
            train(spec(), tmp_path, silent, stop=lambda: True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure.value.reason == "disk"
    assert ((tmp_path / training.LATEST).read_bytes(), {*tmp_path.iterdir()}) == (before, files)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure):
        train(spec(), tmp_path, silent, stop=lambda: True)
    (tmp_path / training.LATEST).write_bytes(b"garbage")
    with pytest.raises(BadInput, match=r"latest\.safetensors is damaged"):
        train(spec(), tmp_path, silent)


def test_weights_of_another_version_are_refused_in_a_sentence(tmp_path: Path) -> None:
    train(spec(), tmp_path, silent)
    tensors, facts = checkpoint.load_tensors(tmp_path / training.BEST)
    renamed = {name.replace("decoder.cell.gru", "decoder.gru"): tensor for name, tensor in tensors.items()}
    checkpoint.save_tensors(tmp_path / training.BEST, renamed, facts)
    with pytest.raises(
        BadInput, match=r"best\.safetensors does not fit its model .*another version of the trainer made it"
    ):
        runs.open_run(tmp_path)


def test_a_finished_run_that_was_moved_says_where_it_is(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    made = train(spec(), there, silent)
    there.rename(here)
    assert train(spec(), here, silent) == {**made, "run": str(here), "checkpoint": str(here / training.BEST)}
    assert not [file.name for file in here.iterdir() if str(tmp_path).encode() in file.read_bytes()]


def test_checkpoint_round_trip_is_exact(tmp_path: Path) -> None:
    train(spec(), tmp_path, silent)
    run = runs.open_run(tmp_path)
    again = runs.evaluate_run(tmp_path, {}, None, silent)
    assert again.plain() == json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert run.model.decoder.output.weight is run.model.decoder.embedding.weight


def test_a_run_can_be_evaluated_without_inputs_and_says_so(tmp_path: Path) -> None:
    read = train(spec("vanilla"), tmp_path / "read", silent)["metrics"]
    unread = runs.evaluate_run(tmp_path / "read", {"inputless": True}, None, silent)
    assert unread.distortion != read["distortion"]
    assert (unread.estimator["inputs"], read["estimator"].get("inputs")) == ("none", None)
    trained = train(spec("vanilla", inputless=True), tmp_path / "unread", silent)["metrics"]
    assert trained["estimator"]["inputs"] == "none"
    assert runs.evaluate_run(tmp_path / "unread", {"inputless": False}, None, silent).estimator.get("inputs") is None
    with pytest.raises(
        BadInput,
        match="'d_h' is no option of evaluation: it has nll, nll_samples, nll_sentences, certify, rows, inputless",
    ):
        runs.evaluate_run(tmp_path / "read", {"d_h": 3}, None, silent)


@pytest.mark.parametrize("own", ["tempered", "both"])
def test_a_number_of_samples_alone_asks_for_samples_from_q(own: str, tmp_path: Path) -> None:
    train(spec("mdr", nll=own, nll_sentences=5), tmp_path, silent)
    again = evaluate_run(tmp_path, {"nll_samples": 7}, None, silent)
    assert (again.estimator["proposal"], again.estimator["samples"], again.tempered) == ("q", 7, None)
    told = evaluate_run(tmp_path, {"nll_samples": 7, "nll": "tempered"}, None, silent)
    assert told.estimator["proposal"] == "tempered q"


def test_a_file_of_json_holds_null_where_a_figure_is_not_finite(tmp_path: Path) -> None:
    checkpoint.write_json(tmp_path / "figures.json", {"ppl": math.inf, "each": [math.nan, (-math.inf, 1.5)], "é": 2})
    text = (tmp_path / "figures.json").read_text(encoding="utf-8")
    assert text == json.dumps({"ppl": None, "each": [None, [None, 1.5]], "é": 2}, indent=1, ensure_ascii=False) + "\n"


def test_training_on_grammar_lowers_the_loss_and_reports_each_epoch(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    train(spec("sfb"), tmp_path, lambda event, facts: heard.append(facts) if event == "epoch" else None)
    assert [facts["epoch"] for facts in heard] == [1, 2, 3]
    assert heard[-1]["neg_elbo"] < heard[0]["neg_elbo"]
    assert 0 < heard[-1]["objective_beta"] <= 1


def test_each_epoch_says_whether_the_schedule_has_ended(tmp_path: Path) -> None:
    heard: list[bool] = []
    run = spec("annealing", gamma=0.2)
    train(run, tmp_path, lambda event, facts: heard.append(facts["settled"]) if event == "epoch" else None)
    assert heard[-1]
    assert heard == sorted(heard)


def test_progress_inside_an_epoch_saves_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[int, int]] = []
    original = checkpoint.save_state

    def record(file: Path, modules: Any, optimizers: Any, progress: Any) -> None:
        saved.append((progress["epoch"], progress["batch"]))
        original(file, modules, optimizers, progress)

    monkeypatch.setattr(checkpoint, "save_state", record)
    train(spec(max_epochs=1, checkpoint_seconds=1e-9), tmp_path, silent)
    assert saved == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]


def test_nothing_of_a_run_is_pickled(tmp_path: Path) -> None:
    train(spec(), tmp_path, silent)
    assert {f.suffix for f in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_the_loop_names_no_technique() -> None:
    source = Path(training.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source)
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    for technique in objectives.techniques():
        assert technique not in words | names
        assert f"trainers.objectives.{technique.replace('-', '_')}" not in source


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BadInput, match="PyTorch sees no GPU"):
        runs.train(spec(device="cuda"), tmp_path, lambda *_: None)
    assert "PyTorch sees no GPU" in runs.check(spec(device="cuda"), [])["unfit"]


def test_a_text_that_changed_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    for split in ("train", "valid", "test"):
        (text / f"{split}.txt").write_text("a b\nb a a\n" * 20)
    own = Spec("vanilla", str(text), "tiny", {"max_epochs": 1, "nll_samples": 2})
    train(own, tmp_path / "run", silent)
    (text / "valid.txt").write_text("b b b\n" * 20)
    with pytest.raises(BadInput, match="has changed since the run was trained"):
        train(own, tmp_path / "run", silent)
    with pytest.raises(BadInput, match="has changed since the run was trained"):
        runs.evaluate_run(tmp_path / "run", {}, None, silent)
    with pytest.raises(BadInput, match="has changed since the study was made"):
        train(Spec("vanilla", str(text), fingerprint="other"), tmp_path / "other", silent)


def test_test_sentences_are_evaluated_only_when_asked_for(tmp_path: Path) -> None:
    assert "test" not in train(spec("mdr"), tmp_path / "plain", silent)["metrics"]
    found = train(spec("mdr", test=True), tmp_path / "confirmed", silent)["metrics"]["test"]
    run = open_run(tmp_path / "confirmed")
    corpus = corpus_of(run)
    again = evaluate(run.model, corpus.splits["test"], run.options.evaluation, run.spec.seed, split="test")
    assert (found["nll"], found["rate"], found["estimator"]["split"]) == (again.nll, again.rate, "test")
    with pytest.raises(BadInput, match="'test' is no option of evaluation"):
        evaluate_run(tmp_path / "plain", {"test": True}, None, silent)


@pytest.mark.parametrize("technique", ["rnnlm", "vanilla"])
def test_a_single_validation_sentence_is_evaluated_and_nothing_kept_of_it_is_not_a_number(
    technique: str, tmp_path: Path
) -> None:
    for split, count in (("train", 30), ("valid", 1), ("test", 1)):
        (tmp_path / f"{split}.txt").write_text(
            "the cat sees a dog\na dog sleeps\n" * count if count > 1 else "a cat sleeps\n"
        )
    values = {**QUICK, "nll": "both", "test": True}
    metrics = train(Spec(technique, str(tmp_path), values=values), tmp_path / "run", silent)["metrics"]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for file in (tmp_path / "run").glob("*.json"):
        json.loads(file.read_text(), parse_constant=refuse)
    assert metrics["nll_se"] is metrics["test"]["nll_se"] is None


def test_a_certificate_is_made_once_for_all_splits_and_anew_by_an_evaluation(tmp_path: Path) -> None:
    metrics = train(spec("mdr", test=True, nll="both", certify=4), tmp_path / "run", silent)["metrics"]
    facts, test = metrics["estimator"], metrics["test"]["estimator"]
    assert [facts["certificate"]["sentences"], facts["tempered"]["certificate"]["sentences"]] == [4, 4]
    assert "certificate" not in {**test, **test["tempered"]}
    heard: list[dict[str, Any]] = []
    again = evaluate_run(tmp_path / "run", {}, None, lambda event, facts: heard.append(facts)).estimator
    assert again == facts
    assert {each["phase"] for each in heard} == {"evaluation"}
    assert evaluate_run(tmp_path / "run", {"certify": 5}, None, silent).estimator["certificate"]["sentences"] == 5
    with pytest.raises(
        BadInput, match="certify = -1 is not allowed: certify must be a whole number from 0 to 10,000,000"
    ):
        evaluate_run(tmp_path / "run", {"certify": -1}, None, silent)


def test_what_each_estimator_found_of_each_sentence_is_kept_in_the_order_of_the_sentences(tmp_path: Path) -> None:
    both = {"nll": "both", "nll_samples": 20, "certify": 4, "test": True}
    metrics = train(spec("mdr", nll_sentences=30, **both), tmp_path / "a", silent)["metrics"]
    train(spec("rnnlm", nll_sentences=30), tmp_path / "b", silent)
    train(spec("mdr", nll_sentences=29, nll="tempered"), tmp_path / "c", silent)
    one, other, fewer = (json.loads((tmp_path / name / runs.SENTENCES).read_text()) for name in "abc")
    assert set(one) == {"valid", "test"}
    assert set(other) == {"valid"}
    for split, found in (("valid", metrics), ("test", metrics["test"])):
        kept, (by_q, tempered) = one[split], one[split]["estimates"]
        assert "tempered" not in by_q["estimator"]
        assert sum(by_q["nll"]) / 30 == pytest.approx(found["nll"], abs=1e-9)
        assert math.exp(sum(by_q["nll"]) / sum(kept["tokens"])) == pytest.approx(found["ppl"])
        assert tempered["estimator"].items() >= found["estimator"]["tempered"].items()
        assert (len(tempered["nll"]), set(tempered["corrections"]) >= {"64", "256", "1024"}) == (30, True)
        (q, t) = of_runs([kept])
        assert q.estimates == [pytest.approx(found["nll"])]
        assert t.estimates == [pytest.approx(found["nll_tempered"])]
        assert sorted(t.runs[0].order) == list(range(30))
    assert one["valid"]["estimates"][0]["estimator"]["certificate"] == metrics["estimator"]["certificate"]
    (exact,), (alone,) = of_runs([other["valid"]]), of_runs([fewer["valid"]])
    assert (exact.exact, exact.bias) == (True, 0.0)
    assert name_of(alone.estimator) == "tempered"
    assert one["valid"]["fingerprint"] == other["valid"]["fingerprint"] != fewer["valid"]["fingerprint"]
    assert one["test"]["fingerprint"] != one["valid"]["fingerprint"]


def test_a_folder_in_which_another_process_trains_is_left_alone(tmp_path: Path) -> None:
    place = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)  # as a process has it that trains here
    with pytest.raises(BadInput, match="is trained in by another process: wait for its end, or name another folder"):
        train(spec(), tmp_path, silent)
    assert list(tmp_path.iterdir()) == []
    os.close(place)
    train(spec(max_epochs=1), tmp_path, silent)
