"""The contract of every technique: formula, gradient, schedule, checkpoint, and its search space."""

import math
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LENGTHS, SMALL
from oracles import FORMULAS, Measured, mmd_squared
from torch import Tensor

from trainers import objectives
from trainers.errors import BadInput
from trainers.figures import EpochFigures
from trainers.latent.distributions import Gaussian, Mixture
from trainers.models import Batch, Output
from trainers.objectives.objective import Objective
from trainers.options import OPTION_NAMES, SPECS
from trainers.runs import Spec, train
from trainers.training import build_model
from tuner import space

TECHNIQUES = objectives.techniques()
WITHOUT_STOPS = {"coupled": {"lam_match": 0}}
"""Hyperparameters with which a loss stops no gradient."""
PRIOR = Mixture(Gaussian(torch.zeros(1, 2).double(), torch.ones(1, 2).double()))


def output(rate: float, requires_grad: bool = False) -> Output:
    """Two samples of three sentences."""
    distortions = torch.tensor([[2.5, 5.5, 7.0], [3.5, 4.5, 7.0]], dtype=torch.float64, requires_grad=requires_grad)
    rates = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64) * rate
    rates.requires_grad_(requires_grad)
    z = torch.tensor([[0.1, -0.4], [0.9, 0.2], [-1.0, 2.0]], dtype=torch.float64)
    codes = torch.stack([z, z.flip(0)])
    log_q = torch.tensor([[0.3, -1.0, 2.0], [-2.0, 0.5, 1.0]], dtype=torch.float64)
    return Output(distortions, rates, rates[:, None] * torch.tensor([0.75, 0.25]).double(), codes, log_q, PRIOR)


def formula(technique: str, objective: Objective, output: Output) -> float:
    """The oracle's loss; draws from the prior what the objective's loss draws at the same random state."""

    def plain(tensor: Tensor) -> np.ndarray:
        return tensor.detach().numpy()

    mmd = 0.0
    if output.prior is not None:
        mmd = mmd_squared(plain(output.z), plain(output.prior.sample(len(output.z))))
    each = None if output.rate_per_dimension is None else plain(output.rate_per_dimension)
    measured = Measured(
        plain(output.distortions),
        plain(output.rate),
        each,
        plain(output.log_q),
        plain(output.log_p),
        mmd,
        output.penalty if isinstance(output.penalty, float) else float(plain(output.penalty).mean()),
    )
    return float(FORMULAS[technique](measured, asdict(objective.hyperparameters), objective.state()))


def test_every_technique_has_an_oracle_and_a_search_space() -> None:
    assert sorted(FORMULAS) == TECHNIQUES == space.techniques()


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("rate", [0.0, 2.0, 40.0])
def test_loss_is_methods_formula_before_and_after_steps(technique: str, rate: float) -> None:
    objective = objectives.create(technique, {})
    for _ in range(3):
        measured = output(rate)
        torch.manual_seed(1)
        loss = objective.loss(measured).item()
        torch.manual_seed(1)
        assert loss == pytest.approx(formula(technique, objective, measured), rel=1e-6)
        for optimizer in objective.optimizers():
            optimizer.zero_grad()
            objective.loss(measured).backward()
            optimizer.step()
        objective.after_step(measured)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("r", [0.01, 20.0])  # both sides of a target rate
def test_model_gradient_agrees_with_finite_differences_of_the_formula(technique: str, r: float) -> None:
    names = objectives.hyperparameter_names(technique)
    objective = objectives.create(technique, {"r": r} if "r" in names else WITHOUT_STOPS.get(technique, {}))
    model = build_model(objective, 11, SMALL, LENGTHS).double()
    objective.double()
    batch = Batch.of([np.array([5, 6, 7, 2]), np.array([8, 2]), np.array([4, 9, 2])], torch.device("cpu"))
    parameters = [p for p in model.parameters() if p.requires_grad]
    # a tied matrix and detached embeddings would make the true gradient differ from the encoder's, which is stopped on purpose
    model.options.__dict__["detached"] = False
    try:
        direction = [torch.randn_like(p) for p in parameters]

        def measure() -> Output:
            torch.manual_seed(3)  # the same noise
            return objective.measure(model, batch)

        model.zero_grad()
        objective.loss(measure()).backward()
        analytic = sum(
            float((p.grad * v).sum()) for p, v in zip(parameters, direction, strict=True) if p.grad is not None
        )

        def shifted(by: float) -> float:
            with torch.no_grad():
                for p, v in zip(parameters, direction, strict=True):
                    p.add_(by * v)
                value = formula(technique, objective, measure())
                for p, v in zip(parameters, direction, strict=True):
                    p.sub_(by * v)
            return value

        step = 1e-5
        assert analytic == pytest.approx((shifted(step) - shifted(-step)) / (2 * step), rel=1e-5, abs=1e-6)
    finally:
        model.options.__dict__["detached"] = True


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_state_dict_restores_the_schedule(technique: str) -> None:
    trained, fresh = objectives.create(technique, {}), objectives.create(technique, {})
    for _ in range(5):
        trained.after_step(output(50.0))
        for optimizer in trained.optimizers():
            trained.loss(output(50.0)).backward()
            optimizer.step()
    fresh.load_state_dict(trained.state_dict())
    assert fresh.state() == trained.state()
    losses = []
    for objective in (fresh, trained):
        torch.manual_seed(1)
        losses.append(objective.loss(output(2.0)).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_search_space_and_hyperparameters_agree(technique: str) -> None:
    shipped = space.load(technique)
    module = objectives._module(technique)
    own = {f.name: f.default for f in fields(module.Hyperparameters)}
    assert MISSING not in own.values()
    known = {name: option.default for name, option in SPECS.items()} | own
    for parameter in shipped.parameters:
        assert parameter.default == known[parameter.name]
    assert set(own) <= {p.name for p in shipped.parameters}, "a hyperparameter without a domain"
    assert not set(own) & OPTION_NAMES, "a hyperparameter that shares an option's name"
    for corner in shipped.corners({}):
        values = {key: value for key, value in corner.items() if key in own}
        objectives.create(technique, values)


def test_unknown_names_and_values_are_refused() -> None:
    with pytest.raises(BadInput, match=r"technique 'sbf' is unknown: choose one of .*sfb"):
        objectives.create("sbf", {})
    with pytest.raises(BadInput, match=r"'q' is no hyperparameter of sfb: it has r, alpha"):
        objectives.create("sfb", {"q": 1})
    for value in (-1.0, 0, math.nan, "x", True):
        with pytest.raises(BadInput, match="r must be a number above 0"):
            objectives.create("fb", {"r": value})


def sfb(**values: Any) -> Objective:
    return objectives.create("sfb", {"r": 2.0, "alpha": 0.5, "gamma": 1.5, "epsilon": 0.5, **values})


@pytest.mark.parametrize(
    ("rate", "multiplied", "added"),
    [(3.01, 0.1 * 1.5, 0.6), (3.0, 0.1, 0.1), (1.0, 0.1, 0.1), (0.99, 0.1 / 1.5, 1e-6)],
)
def test_sfb_moves_beta_outside_of_its_window_only(rate: float, multiplied: float, added: float) -> None:
    for step, expected in (("multiplicative", multiplied), ("additive", added)):
        objective = sfb(step=step)
        objective.after_step(output(rate))
        assert objective.state()["beta"] == pytest.approx(expected)


def test_sfb_keeps_beta_in_its_bounds() -> None:
    objective = sfb()
    for _ in range(100):
        objective.after_step(output(1e3))
    assert objective.state()["beta"] == 1
    for _ in range(100):
        objective.after_step(output(1e-3))
    assert 0 < objective.state()["beta"] <= 1e-6


def test_annealing_grows_by_gamma_to_one_and_warns_when_it_cannot() -> None:
    objective = objectives.create("annealing", {"gamma": 0.3})
    betas = []
    for _ in range(5):
        betas.append(objective.state()["beta"])
        objective.after_step(output(1.0))
    assert betas == pytest.approx([0, 0.3, 0.6, 0.9, 1.0])
    objective.plan(1, 4)
    assert objective.warning() is None
    objective.plan(1, 3)
    assert "β reaches 0.9 of 1 in the 3 steps" in str(objective.warning())


@pytest.mark.parametrize("technique", ["annealing", "word-dropout"])
def test_annealing_grows_over_its_epochs_where_it_is_told_to(technique: str) -> None:
    objective = objectives.create(technique, {"anneal_epochs": 2})
    objective.plan(2, 3)
    betas = []
    for _ in range(6):
        betas.append(objective.state()["beta"])
        objective.after_step(output(1.0))
    assert betas == [0, 0.25, 0.5, 0.75, 1, 1]
    assert objective.warning() is None
    objective.plan(2, 1)
    assert "β reaches 0.5 of 1 in the 2 steps" in str(objective.warning())


def test_mdr_raises_its_multiplier_below_the_target_and_lowers_it_above() -> None:
    for rate, sign in ((1.0, 1), (9.0, -1)):
        objective = objectives.create("mdr", {"r": 5.0})
        (optimizer,) = objective.optimizers()
        before = objective.state()["u"]
        objective.loss(output(rate)).backward()
        optimizer.step()
        assert math.copysign(1, objective.state()["u"] - before) == sign


def test_mdrs_multiplier_is_in_no_other_optimiser_and_stays_positive() -> None:
    objective = objectives.create("mdr", {"r": 1.0, "u_0": 0.01, "rho": 0.1})
    model = build_model(objective, 11, SMALL, LENGTHS)
    assert not {id(p) for p in objective.parameters()} & {id(p) for p in model.parameters()}
    (optimizer,) = objective.optimizers()
    for _ in range(50):
        optimizer.zero_grad()
        objective.loss(output(30.0)).backward()
        optimizer.step()
        assert objective.state()["u"] >= 0


def test_free_bits_give_the_rate_no_gradient_below_the_threshold() -> None:
    for rate, expected in ((2.0, 0.0), (9.0, 1 / 3)):
        measured = output(rate, requires_grad=True)
        objectives.create("fb", {"r": 5.0}).loss(measured).backward()
        gradient: Tensor | None = measured.rate.grad
        assert gradient is not None
        assert gradient.tolist() == pytest.approx([expected] * 3)


def seen(objective: Objective, sentences: int = 400) -> Tensor:
    """Words that the decoder reads of so many equal sentences of 5 tokens."""
    read = []

    class Reader(torch.nn.Module):
        def forward(self, batch: Batch, inputs: Tensor) -> None:
            read.append(inputs)

    objective.measure(Reader(), Batch.of([np.array([5, 6, 7, 8, 2])] * sentences, torch.device("cpu")))  # type: ignore[arg-type]
    return read[0]


def test_word_dropout_of_an_older_program_goes_on_with_a_weight_of_one() -> None:
    objective = objectives.create("word-dropout", {})
    objective.load_state_dict({})  # it had no β
    assert objective.loss(output(2.0)).item() == pytest.approx(output(2.0).distortion.mean().item() + 2)


def test_word_dropout_drops_words_but_not_the_start_at_its_rate() -> None:
    for rate in (0.0, 0.4, 1.0):
        inputs = seen(objectives.create("word-dropout", {"rate": rate}))
        assert (inputs[:, 0] == 1).all()
        assert (inputs[:, 1:] == 3).double().mean().item() == pytest.approx(rate, abs=0.04)
        kept = inputs[:, 1:] != 3
        assert torch.equal(inputs[:, 1:][kept], torch.tensor([5, 6, 7, 8]).expand(400, 4)[kept])


def test_annealed_word_dropout_goes_from_reading_nothing_to_reading_everything() -> None:
    objective = objectives.create("annealed-word-dropout", {"gamma": 0.3})
    rates = []
    for _ in range(6):
        rates.append((seen(objective)[:, 1:] == 3).double().mean().item())
        objective.after_step(output(1.0))
    assert rates == pytest.approx([1, 0.7, 0.4, 0.1, 0, 0], abs=0.04)
    objective.plan(1, 4)
    assert objective.warning() is None
    objective.plan(1, 3)
    assert "0.1 of the words are still dropped after the 3 steps" in str(objective.warning())


def test_lagvaes_multipliers_climb_while_their_constraints_are_broken() -> None:
    for e, sign in ((1.0, 1), (1e3, -1)):
        objective = objectives.create("lagvae", {"e": e, "m": 0.0 if sign == 1 else 10.0})
        (optimizer,) = objective.optimizers()
        before = objective.state()
        measured = output(5.0)
        far = replace(measured, codes=measured.codes + 9)  # far from the prior
        objective.loss(far).backward()
        optimizer.step()
        assert [math.copysign(1, objective.state()[k] - before[k]) for k in ("u", "v")] == [sign, sign]


def test_infovae_is_the_beta_vae_where_lambda_is_beta() -> None:
    measured = output(2.0)
    info = objectives.create("infovae", {"beta": 0.5, "lam": 0.5}).loss(measured)
    assert info.item() == pytest.approx(objectives.create("beta", {"beta": 0.5}).loss(measured).item())


def test_the_best_epoch_of_a_technique_that_holds_a_rate_is_not_below_it() -> None:
    held = {name for name in TECHNIQUES if objectives.create(name, {}).target_rate is not None}
    assert held == {name for name in TECHNIQUES if "r" in objectives.hyperparameter_names(name)}
    for name in held:
        objective = objectives.create(name, {"r": 20.0})
        assert objective.target_rate == 20
        early, late = objective.criterion(EpochFigures(25.0, 7.0, 0)), objective.criterion(EpochFigures(14.0, 20.0, 0))
        assert late < early  # though the early epoch's −ELBO is the lower one
        assert objective.criterion(EpochFigures(14.0, 21.0, 0)) == 35
    assert objectives.create("beta", {}).criterion(EpochFigures(25.0, 7.0, 0)) == 32


def test_rnnlm_refuses_a_latents_options() -> None:
    for options in ({"posterior": "iaf"}, {"prior": "vamp"}):
        with pytest.raises(BadInput, match="is not allowed for rnnlm, which has no latent code"):
            build_model(objectives.create("rnnlm", {}), 11, replace(SMALL, **options), LENGTHS)


def test_infovae_refuses_to_maximise_the_divergence() -> None:
    with pytest.raises(BadInput, match="lam = 0.1 is not allowed with beta = 0.5: lam must be at least beta"):
        objectives.create("infovae", {"beta": 0.5, "lam": 0.1})


def test_lagvaes_best_epoch_keeps_its_constraint() -> None:
    objective = objectives.create("lagvae", {"e": 17.0, "alpha": 10.0})
    figures = ((5.0, 13.0), (15.0, 1.0), (13.0, 3.5), (5.0, 12.5))
    broken, kept, better, nearer = (objective.criterion(EpochFigures(d, r, 0)) for d, r in figures)
    assert better < kept < nearer < broken  # while none keeps it, the nearer one


@pytest.mark.parametrize(("technique", "steps"), [("mdr", 999), ("lagvae", 999)])
def test_a_multiplier_that_cannot_move_is_warned_of(technique: str, steps: int) -> None:
    objective = objectives.create(technique, {"rho": 1e-3})
    objective.plan(1, steps)
    assert "a rho of 0.001 or more" in str(objective.warning())
    objective.plan(1, 1000)
    assert objective.warning() is None


@pytest.mark.parametrize(
    ("technique", "name", "published", "enough", "short"),
    [
        ("annealing", "gamma", 2e-5, 50_000, 0.02),
        ("annealed-word-dropout", "gamma", 2e-5, 50_000, 0.02),
        ("mdr", "rho", 1e-3, 3000, 0.03),
        ("lagvae", "rho", 1e-3, 3000, 0.03),
    ],
)
def test_a_schedule_stated_a_step_fits_the_plan_unless_it_is_set(
    technique: str, name: str, published: float, enough: int, short: float
) -> None:
    def planned(steps: int, values: dict[str, float]) -> float:
        objective = objectives.create(technique, values)
        objective.plan(1, steps)
        return float(getattr(objective.hyperparameters, name))

    assert planned(enough, {}) == published
    assert planned(10 * enough, {}) == published
    assert planned(100, {}) == pytest.approx(short)
    assert planned(100, {name: 3e-4}) == 3e-4


@pytest.mark.parametrize(
    "technique",
    [
        "multi-sample",
        "multi-sample-avg",
        "pretrained-fb",
        "adversarial-word-dropout",
        "coupled",
        "dvae",
        "semi-amortised",
    ],
)
def test_a_schedule_stated_in_epochs_fits_the_plan_unless_it_is_set(technique: str) -> None:
    for epochs, expected in ((12, 10), (10, 10), (9, 4), (1, 1)):
        objective = objectives.create(technique, {})
        objective.plan(7, epochs)
        assert objective.hyperparameters.anneal_epochs == expected
        assert objective.warning() is None
        assert objective.limits() == {"anneal_epochs": (0, epochs)}
    objective = objectives.create(technique, {"anneal_epochs": 10})
    objective.plan(7, 5)
    assert objective.hyperparameters.anneal_epochs == 10
    assert "β reaches 0.5 of 1" in str(objective.warning())


def test_the_limits_of_gamma_are_where_its_schedule_ends_within_the_plan() -> None:
    for technique in ("annealing", "annealed-word-dropout"):
        objective = objectives.create(technique, {"gamma": 1 / 300})
        objective.plan(100, 3)
        assert objective.limits()["gamma"] == (1 / 300, 1.0)
        assert objective.warning() is None


def test_infovaes_divergence_has_no_factor_unless_set() -> None:
    assert objectives.create("infovae", {}).hyperparameters.mmd_scale == 1  # the authors' code has 10⁴


def test_schedules_settle_when_they_end() -> None:
    for technique in ("annealing", "annealed-word-dropout"):
        objective = objectives.create(technique, {"gamma": 0.5})
        settled = []
        for _ in range(3):
            settled.append(objective.settled)
            objective.after_step(output(1.0))
        assert settled == [False, False, True]
    assert objectives.create("sfb", {}).settled


@pytest.mark.parametrize("steps", [4, 6, 7, 38])  # 1/n adds up to less than 1 for all but the first
@pytest.mark.parametrize("technique", ["annealing", "annealed-word-dropout", "multi-sample", "dvae"])
def test_a_schedule_ends_with_the_last_of_its_steps_however_they_are_rounded(technique: str, steps: int) -> None:
    values = {"dvae": {"rate_b": 0.0, "anneal_epochs": 1}, "multi-sample": {"anneal_epochs": 1}}
    objective = objectives.create(technique, values.get(technique, {"gamma": 1 / steps}))
    objective.plan(steps, 2)
    settled = []
    for _ in range(steps + 1):
        settled.append(objective.settled)
        objective.after_step(output(1.0))
    assert settled == [False] * steps + [True]


def trained_figures(technique: str, values: dict[str, Any], folder: Path, **options: Any) -> dict[str, Any]:
    """All figures of a short training, to be equal to the last bit where a technique reduces to another."""
    tiny = {"corpus_size": 150, "max_epochs": 2, "nll_samples": 3, "nll_sentences": 30, "d_h": 8, "d_e": 8, "d_z": 3}
    found = train(Spec(technique, "grammar", "tiny", {**tiny, **values, **options}), folder, lambda event, facts: None)
    return {
        key: value for key, value in found["metrics"].items() if key not in ("target_rate", "rate_error", "paper_elbo")
    }


ONE = {"samples": 1, "anneal_epochs": 1}
LI = {"r": 3.0, "anneal_epochs": 1}
REDUCTIONS: list[tuple[str, dict[str, Any], str, dict[str, Any], str]] = [
    # 3 steps an epoch, 2 epochs
    ("multi-sample", {"samples": 1, "anneal_epochs": 0}, "vanilla", {}, "gaussian"),
    ("multi-sample", {"samples": 1, "anneal_epochs": 0}, "vanilla", {}, "iaf"),
    ("multi-sample", ONE, "annealing", {"gamma": 1 / 3}, "gaussian"),
    ("multi-sample", ONE, "annealing", {"anneal_epochs": 1}, "gaussian"),
    ("multi-sample-avg", ONE, "multi-sample", ONE, "gaussian"),
    ("multi-sample-avg", ONE, "multi-sample", ONE, "iaf"),
    ("cyclic", {"cycles": 1, "fraction": 0.5}, "annealing", {"gamma": 1 / 3}, "gaussian"),
    ("fb-dim", {"r": 0}, "vanilla", {}, "gaussian"),
    ("pretrained-fb", LI, "fb-dim", {**LI, "pretrain": "ae"}, "gaussian"),
    ("pretrained-fb", {**LI, "pretrain": "ae"}, "pretrained-fb", LI, "gaussian"),
    ("fb-dim", {**LI, "r": 0}, "annealing", {"gamma": 1 / 3}, "gaussian"),
    ("multi-sample", {**ONE, "pretrain": "ae"}, "annealing", {"gamma": 1 / 3, "pretrain": "ae"}, "iaf"),
    ("iwae", {"k": 1, "pretrain": "ae"}, "vanilla", {"pretrain": "ae"}, "planar"),
    ("semi-amortised", {"svi_steps": 0, "anneal_epochs": 1}, "annealing", {"gamma": 1 / 3}, "gaussian"),
    ("dvae", {"rate_b": 0, "kl_dropout": 0, "anneal_epochs": 1}, "annealing", {"gamma": 1 / 3}, "gaussian"),
    ("iwae", {"k": 1}, "vanilla", {}, "iaf"),  # where the rate is sampled as the weights are
]


@pytest.mark.parametrize(("one", "values", "other", "others", "posterior"), REDUCTIONS)
def test_a_technique_that_reduces_to_another_does_so_to_the_last_bit(
    one: str, values: dict[str, Any], other: str, others: dict[str, Any], posterior: str, tmp_path: Path
) -> None:
    found = trained_figures(one, values, tmp_path / "one", posterior=posterior)
    assert found == trained_figures(other, others, tmp_path / "other", posterior=posterior)


def test_multi_sample_averages_the_distortion_and_no_more() -> None:
    model = build_model(objectives.create("vanilla", {}), 11, SMALL, LENGTHS).double()
    batch = Batch.of([np.array([5, 6, 7, 2]), np.array([8, 2])], torch.device("cpu"))
    torch.manual_seed(4)
    measured = objectives.create("multi-sample", {"samples": 4}).measure(model, batch)
    torch.manual_seed(4)
    q = model.posterior(batch)
    noise = q.noise(4)
    alone = [model.decoder(batch, model.initial_state(q.transform(noise[s])[0])) for s in range(4)]
    torch.testing.assert_close(measured.distortion, sum(alone) / 4)
    torch.testing.assert_close(measured.rate, model(batch).rate)


def test_beta_grows_over_its_epochs() -> None:
    objective = objectives.create("multi-sample", {"anneal_epochs": 2})
    objective.plan(2, 3)
    betas, settled = [], []
    for _ in range(6):
        betas.append(objective.state()["beta"])
        settled.append(objective.settled)
        objective.after_step(output(1.0))
    assert betas == [0, 0.25, 0.5, 0.75, 1, 1]
    assert settled == [False] * 4 + [True] * 2
    assert objective.warning() is None
    objective.plan(1, 3)
    objective.hyperparameters = replace(objective.hyperparameters, anneal_epochs=4)
    assert "β reaches 0.75 of 1 in the 3 steps" in str(objective.warning())
    assert objectives.create("multi-sample", {"anneal_epochs": 0}).settled


def test_one_samples_importance_weighted_bound_is_the_elbo_in_expectation() -> None:
    model = build_model(objectives.create("vanilla", {}), 11, SMALL, LENGTHS).double()
    batch = Batch.of([np.array([5, 6, 7, 2]), np.array([8, 2])] * 4000, torch.device("cpu"))
    objective = objectives.create("iwae", {"k": 1})
    with torch.no_grad():
        measured = objective.measure(model, batch)
    neg_elbo = (measured.distortion + measured.rate).mean().item()
    assert objective.loss(measured).item() == pytest.approx(neg_elbo, abs=0.02)


def test_cyclic_starts_again_at_zero_in_each_cycle() -> None:
    objective = objectives.create("cyclic", {"cycles": 2, "fraction": 0.5})
    objective.plan(4, 2)
    betas, settled = [], []
    for _ in range(8):
        betas.append(objective.state()["beta"])
        settled.append(objective.settled)
        objective.after_step(output(1.0))
    assert betas == [0, 0.5, 1, 1] * 2
    assert settled == [False] * 6 + [True] * 2


def test_thresholds_on_dimensions_are_refused_where_dimensions_have_no_rate() -> None:
    for technique in ("fb-dim", "pretrained-fb"):
        for options in ({"posterior": "iaf"}, {"prior": "mog"}):
            with pytest.raises(BadInput, match=f"is not allowed for {technique}, whose threshold is on the KL of each"):
                build_model(objectives.create(technique, {}), 11, replace(SMALL, **options), LENGTHS)


def test_aggressive_training_ends_its_inner_steps_by_the_loss_and_its_phase_by_the_information() -> None:
    objective = objectives.create("aggressive", {"inner": 8, "window": 2})

    def steps(losses: list[float]) -> tuple[int, bool]:
        taken = iter([(loss * tokens, tokens) for loss, tokens in zip(losses, [3, 5] * len(losses), strict=False)])
        left = len(losses)
        encoder_too = objective.before_step(lambda: next(taken))
        return left - len(list(taken)), encoder_too

    assert steps([5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0]) == (8, False)  # falls to the end
    assert steps([5.0, 5.0, 4.0, 4.0, 4.0, 4.0, 1.0, 1.0]) == (6, False)  # no lower than the window before
    assert steps([5.0, 5.0, 9.0, 3.0, 1.0]) == (4, False)  # (9·3 + 3·5)/8 a token is more than 5
    for information, aggressive in ((0.4, True), (0.9, True), (0.9, False)):
        assert not objective.settled
        objective.after_epoch(lambda: information)  # noqa: B023
        assert objective.state()["aggressive"] == aggressive
    assert objective.settled
    objective.after_epoch(lambda: 99.0)  # for good
    assert steps([5.0, 4.0]) == (0, True)


def test_mims_best_epoch_is_that_of_least_loss() -> None:
    objective = objectives.create("mim", {})
    measured = output(1.0)
    figures = EpochFigures(
        measured.distortion.mean().item(), 9.0, 0, measured.log_q.mean().item(), measured.log_p.mean().item()
    )
    assert objective.criterion(figures) == pytest.approx(objective.loss(measured).item())


def test_averaged_codes_are_trained_and_judged_by_one_codes_rate_or_that_of_all() -> None:
    for kl, counted in (("once", 4.0), ("all", 1.0)):
        objective = objectives.create("multi-sample-avg", {"samples": 4, "kl": kl, "anneal_epochs": 0})
        measured = output(2.0)
        expected = measured.distortion.mean().item() + measured.rate.mean().item() / counted
        assert objective.loss(measured).item() == pytest.approx(expected)
        figures = EpochFigures(measured.distortion.mean().item(), measured.rate.mean().item(), 0)
        assert objective.criterion(figures) == pytest.approx(expected)


def test_a_checkpoint_that_lacks_what_was_always_there_is_refused() -> None:
    for technique in ("sfb", "annealing", "mdr"):
        with pytest.raises(RuntimeError, match="Missing key"):
            objectives.create(technique, {}).load_state_dict({})
