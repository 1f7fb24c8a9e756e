"""Options that a study may search: those that matter, alone or beside what gives them an effect."""

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers import objectives, runs
from trainers.errors import BadInput
from trainers.models import Batch
from trainers.options import ModelOptions
from trainers.runs import Spec
from trainers.training import build_model


def spec(technique: str = "mdr", **values: Any) -> Spec:
    return Spec(technique, "grammar", "tiny", {"corpus_size": 200, "max_epochs": 3, "nll_samples": 3, **values}, seed=1)


def test_what_defines_the_figure_cannot_be_searched() -> None:
    for key in ("nll_samples", "min_count", "device", "batching", "inputless"):
        with pytest.raises(BadInput, match=f"{key} cannot be searched"):
            runs.check(spec(), [{key: 1}])
    with pytest.raises(BadInput, match="nll cannot be searched: trials that differ in it are not compared by the same"):
        runs.check(spec(), [{"nll": "q"}])
    with pytest.raises(
        BadInput, match="checkpoint_seconds cannot be searched: it changes no figure; fix it with --set"
    ):
        runs.check(spec(), [{"checkpoint_seconds": 9}])


ANOTHER: dict[str, Any] = {
    "d_z": 5, "d_h_encoder": 7, "heads": 1, "d_f": 9, "encoder_layers": 2, "bidirectional": False, "reversed": True,
    "own_embeddings": True, "encoder_unk": 0.3, "skip": True, "pooling": "mean", "dropout_mask": "step",
    "dropout_at": "inputs", "detached": False, "initial_tanh": False, "posterior": "planar", "prior": "mog",
    "flow_steps": 3, "d_c": 9, "components": 5,
}  # fmt: skip
"""Another value of each option of the model that may be without effect."""


def gradients(technique: str, options: ModelOptions) -> list[Tensor]:
    """The loss of a batch, and each weight with its gradient."""
    torch.manual_seed(0)
    objective = objectives.create(technique, {})
    model = build_model(objective, 11, options, (3.0, 1.0)).train()
    loss = objective.loss(
        objective.measure(model, Batch.of([np.array([5, 6, 7, 2]), np.array([8, 2])], torch.device("cpu")))
    )
    loss.backward()
    return [
        loss,
        *(part for p in model.parameters() for part in (p, torch.zeros_like(p) if p.grad is None else p.grad)),
    ]


@pytest.mark.parametrize(
    ("technique", "name"),
    [
        *(("vanilla", s.name) for s in fields(ModelOptions) if s.metadata["where"]),
        *(("rnnlm", s.name) for s in fields(ModelOptions) if s.metadata["coded"]),
    ],
)
def test_an_option_without_effect_changes_nothing_and_cannot_be_searched(technique: str, name: str) -> None:
    options = ModelOptions(
        d_z=3, d_e=6, d_h=8, dropout=0.0, conditioning="every-step", own_embeddings=name == "detached"
    )
    options = replace(options, posterior="planar" if name == "d_c" else "gaussian")
    changed = replace(options, **{name: ANOTHER[name]})
    one, other = gradients(technique, options), gradients(technique, changed)
    assert len(one) == len(other)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    own = {key: value for key, value in asdict(options).items() if value != getattr(ModelOptions(), key)}
    with pytest.raises(BadInput, match=f"{name} cannot be searched with"):
        runs.check(spec(technique, **own), [{name: ANOTHER[name]}])


def test_an_option_can_be_searched_beside_what_gives_it_an_effect() -> None:
    runs.check(spec("vanilla"), [{"prior": "mog", "components": 5}, {"prior": "normal", "components": 9}])
    runs.check(spec("vanilla", prior="mog"), [{"components": 5}])
    runs.check(spec("vanilla"), [{"d_z": 5}])
    with pytest.raises(BadInput, match="plateau_factor cannot be searched with plateau = 0, .* fix plateau_factor too"):
        runs.check(spec("vanilla"), [{"plateau_factor": 0.3}])
    with pytest.raises(
        BadInput, match="rows cannot be searched: it changes figures by other draws alone, as a seed does"
    ):
        runs.check(spec("vanilla"), [{"rows": 9}])


@pytest.mark.parametrize(
    ("technique", "name", "epochs", "others"), [("annealing", "gamma", 10, 0), ("dvae", "kl_dropout", 0, 9)]
)
def test_what_another_value_leaves_without_effect_cannot_be_searched(
    technique: str, name: str, epochs: int, others: int
) -> None:
    run, corner = spec(technique, anneal_epochs=epochs), {name: 0.01}
    with pytest.raises(BadInput, match=f"{name} cannot be searched with anneal_epochs = {epochs}, .* fix {name} too"):
        runs.check(run, [corner])
    for values, corners in (({name: 0.01}, []), ({}, [{**corner, "anneal_epochs": n} for n in (epochs, others)])):
        runs.check(spec(technique, **{"anneal_epochs": epochs, **values}), corners)
    runs.check(spec(technique, anneal_epochs=others), [corner])


def test_corners_of_a_search_space_are_checked() -> None:
    with pytest.raises(BadInput, match=r"dropout = 1.5 is not allowed: dropout must be a number from 0 to 0.95"):
        runs.check(spec("rnnlm"), [{"dropout": 1.5}])
    with pytest.raises(BadInput, match="'gamm' is neither a hyperparameter of sfb"):
        runs.check(spec("sfb", gamm=1), [])
