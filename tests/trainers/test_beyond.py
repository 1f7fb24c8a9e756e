"""DVAE's two paths, Coupled-VAE's twin, and the steps of the semi-amortised posterior."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from test_objectives import output
from torch import Tensor

from trainers import objectives
from trainers.corpus import CorpusOptions, load
from trainers.errors import BadInput
from trainers.latent.distributions import Gaussian
from trainers.models import Batch, SenVAE
from trainers.objectives import coupled
from trainers.objectives.dvae import kept
from trainers.objectives.objective import Objective
from trainers.runs import Spec, begin
from trainers.training import build_model

CPU = torch.device("cpu")
SENTENCES = [np.array([5, 6, 7, 2]), np.array([8, 2]), np.array([4, 9, 10, 5, 2])]
BATCH = Batch.of(SENTENCES, CPU)


def built(technique: str, **values: object) -> tuple[Objective, SenVAE]:
    objective = objectives.create(technique, values)  # type: ignore[arg-type]
    model = build_model(objective, 11, SMALL, LENGTHS)
    assert isinstance(model, SenVAE)
    return objective.double(), model.double()


def test_path_b_decodes_the_same_code_with_words_missing() -> None:
    objective, model = built("dvae", rate_b=1.0)
    model.eval()
    measured = objective.measure(model, BATCH)
    unknown = BATCH.inputs.clone()
    unknown[:, 1:] = 3
    state = model.initial_state(measured.z)
    torch.testing.assert_close(measured.penalty, model.decoder(BATCH, state, unknown))
    torch.testing.assert_close(measured.distortion, model.decoder(BATCH, state))


def test_path_b_ends_when_path_a_settles_or_half_of_the_plan_is_over() -> None:
    def ends(distortions: list[float], epochs: int) -> int:
        objective = objectives.create("dvae", {"stop": 0.1, "anneal_epochs": 0})
        objective.plan(1, epochs)
        for number, distortion in enumerate(distortions):
            objective.after_step(replace(output(1.0), distortions=torch.full((1, 3), float(distortion))))
            objective.after_epoch(lambda: 0.0)
            if objective.settled:
                return number + 1
        return 0

    assert ends([10, 8, 7.5, 7], 100) == 3  # 8 → 7.5 is less than a tenth
    assert ends([10, 8, 6, 4, 3], 8) == 4
    assert ends([10, 8, 6, 4, 3], 100) == 0


def test_dropped_dimensions_cost_nothing_while_beta_grows() -> None:
    objective = objectives.create("dvae", {"kl_dropout": 0.5, "anneal_epochs": 2, "rate_b": 0})
    objective.plan(4, 4)
    for step in range(16):
        measured = output(2.0, requires_grad=True)
        assert measured.rate_per_dimension is not None
        (by_dimension,) = torch.autograd.grad(
            objective.loss(measured), measured.rate_per_dimension, allow_unused=True
        ) or (None,)
        beta = objective.state()["beta"]
        if beta < 1:
            assert by_dimension is not None
            assert (by_dimension[0] * 3).tolist() == pytest.approx((beta * kept(step, 2, 0.5)).tolist())
        else:
            assert by_dimension is None
        objective.after_step(measured)
    assert [kept(step, 400, 0.25).mean() for step in range(3)] == pytest.approx([0.75] * 3, abs=0.1)


def test_the_twin_starts_and_decodes_as_the_options_say(tmp_path: Path) -> None:
    values = {"corpus_size": 64, "batch_tokens": 64, "uniform": 0.01}
    training = begin(
        Spec("coupled", "grammar", "tiny", values), tmp_path, load("grammar", CorpusOptions(corpus_size=64)), print
    )
    twin = training.objective.twin
    assert isinstance(twin, coupled.Autoencoder)
    assert twin.generator.decoder.batch_tokens == training.model.decoder.batch_tokens == 64
    large = {name for name, weight in twin.named_parameters() if weight.abs().max() > 0.01}
    assert large == {"generator.decoder.embedding.weight"}


def test_dvae_refuses_what_has_no_rate_by_dimension() -> None:
    with pytest.raises(
        BadInput, match="posterior = 'iaf' is not allowed for dvae, which drops the KL of single dimensions"
    ):
        build_model(objectives.create("dvae", {}), 11, replace(SMALL, posterior="iaf"), LENGTHS)


def gradients(objective: Objective, model: SenVAE) -> dict[str, bool]:
    """Parts that get a gradient."""
    torch.manual_seed(0)
    (objective.loss(objective.measure(model, BATCH))).backward()
    named = [*model.named_parameters(), *objective.named_parameters()]
    return {name: p.grad is not None and bool(p.grad.abs().sum() > 0) for name, p in named}


def test_the_twins_state_draws_the_vaes_and_is_not_drawn_itself() -> None:
    objective, model = built("coupled", lam_rec=0.0, lam_match=1.0)
    model.decoder.requires_grad_(False)
    objective.loss = lambda measured: torch.as_tensor(measured.penalty).mean()  # type: ignore[method-assign]
    found = gradients(objective, model)
    assert found["to_h_0.weight"]
    assert found["to_posterior.location.weight"]
    assert not any(value for name, value in found.items() if name.startswith("twin."))


def test_the_twins_price_is_its_distortion_and_the_squared_distance_of_the_initial_states() -> None:
    objective, model = built("coupled", lam_rec=0.7, lam_match=0.3)
    assert isinstance(objective, coupled.Technique)
    assert objective.twin is not None
    measured, generator = objective.measure(model, BATCH), objective.twin.generator
    assert generator.to_h_0 is not None
    assert model.to_h_0 is not None
    code = objective.twin.code(model.features(BATCH))
    apart = torch.tanh(model.to_h_0(measured.z)) - torch.tanh(generator.to_h_0(code))
    distortion = generator.decoder(BATCH, generator.initial_state(code))
    torch.testing.assert_close(measured.penalty, 0.7 * distortion + 0.3 * apart.square().sum(1))


def test_the_autoencoder_trains_the_encoder_and_has_an_optimiser_of_its_own() -> None:
    objective, model = built("coupled", lam_match=0.0)
    objective.loss = lambda measured: torch.as_tensor(measured.penalty).mean()  # type: ignore[method-assign]
    found = gradients(objective, model)
    assert found["encoder.weight_ih_l0"]
    assert not found["to_posterior.location.weight"]
    assert not found["decoder.output.bias"]
    assert found["twin.code.weight"]
    (optimizer,) = objective.optimizers()
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert own == {id(p) for p in objective.parameters()}
    assert not own & {id(p) for p in model.parameters()}
    with pytest.raises(BadInput, match="conditioning = 'every-step' is not allowed for coupled"):
        build_model(objectives.create("coupled", {}), 11, replace(SMALL, conditioning="every-step"), LENGTHS)


def neg_elbo(model: SenVAE, q: Gaussian, samples: int = 400) -> Tensor:
    """D + R of each sentence [B] at a posterior."""
    z, _ = q.transform(q.noise(samples, torch.Generator().manual_seed(1)))
    nll = model.decoder.of_samples(BATCH, model.initial_state(z.flatten(0, 1))).mean(0)
    closed = q.divergence(Gaussian(torch.zeros(1, SMALL.d_z).double(), torch.ones(1, SMALL.d_z).double()))
    assert closed is not None
    return nll + closed[0]


def test_steps_lower_each_sentences_own_bound_whatever_the_batch_and_with_or_without_dropout() -> None:
    _, model = built("semi-amortised", svi_steps=20, svi_rate=0.1)
    with torch.no_grad():
        model.to_posterior.location.bias.add_(2.0)  # an encoder that is far off
    model.options.__dict__["dropout"] = 0.5
    try:
        trained = model.train().posterior(BATCH)
        model.eval()
        with torch.no_grad():
            refined = model.posterior(BATCH)
        alone = [model.posterior(Batch.of([s], CPU)) for s in SENTENCES]
    finally:
        model.options.__dict__["dropout"] = 0.0
    assert isinstance(refined, Gaussian)
    assert isinstance(trained, Gaussian)
    torch.testing.assert_close(trained.location, refined.location)
    torch.testing.assert_close(torch.cat([q.location for q in alone if isinstance(q, Gaussian)]), refined.location)
    model.to_posterior.steps = 0
    with torch.no_grad():
        begun = model.posterior(BATCH)
        assert isinstance(begun, Gaussian)
        assert (neg_elbo(model, refined) < neg_elbo(model, begun) - 1).all()


def test_the_steps_pass_single_precision_gradients_to_encoder_and_decoder() -> None:
    found = []
    for kind in (torch.float64, torch.float32):
        torch.manual_seed(0)
        _, model = built("semi-amortised", svi_steps=3, svi_rate=0.3)
        model = model.to(kind)
        weight = torch.linspace(-1, 1, 3).to(kind)
        location = model.features(BATCH).chunk(2, dim=-1)[0]
        ((location @ weight).square().sum()).backward()
        found.append(
            torch.cat(
                [p.grad.flatten().double() for p in model.parameters() if p.grad is not None and p.grad.abs().sum()]
            )
        )
    assert len(found[0]) == len(found[1])
    cosine = torch.nn.functional.cosine_similarity(found[0], found[1], dim=0)
    assert cosine > 0.999


def test_the_steps_are_differentiated_with_the_rates_weight_too() -> None:
    objective, model = built("semi-amortised", svi_steps=4, svi_rate=0.3, anneal_epochs=2)
    objective.plan(1, 4)
    objective.after_step(output(1.0))
    assert objective.state()["beta"] == 0.5
    parameters = [
        p for p in model.parameters() if p is not model.decoder.embedding.weight
    ]  # which the encoder reads detached
    direction = [torch.randn_like(p) for p in parameters]

    def loss() -> Tensor:
        torch.manual_seed(3)
        return objective.loss(objective.measure(model, BATCH))

    loss().backward()
    found = sum((p.grad * v).sum().item() for p, v in zip(parameters, direction, strict=True) if p.grad is not None)
    values = []
    with torch.no_grad():
        for by in (1e-5, -2e-5):
            for p, v in zip(parameters, direction, strict=True):
                p.add_(by * v)
            values.append(loss().item())
    assert found == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_the_steps_go_down_the_annealed_cost_while_training_alone() -> None:
    objective, model = built("semi-amortised", svi_steps=5, svi_rate=0.3, anneal_epochs=2)
    objective.plan(1, 4)
    found = []
    for beta in (0.0, 0.5, 1.0):
        assert objective.state()["beta"] == beta
        found.append(objective.measure(model, BATCH).rate.sum().item())
        objective.after_step(output(1.0))
    assert found[0] > found[1] > found[2]
    assert model.to_posterior.beta == 1
    assert model(BATCH).rate.sum().item() == pytest.approx(found[2])
