"""Matrix products by either library are the same but for rounding, and the choice hangs on the processor alone."""

from pathlib import Path

import pytest
import torch

from trainers import products
from trainers.products import linear, product

HAS_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
WAYS = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not HAS_ONEDNN, reason="this PyTorch has no such operation")),
]


@pytest.mark.parametrize("by_onednn", WAYS)
@pytest.mark.parametrize("turned", [False, True])
def test_products_equal_those_of_64_bits(by_onednn: bool, turned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_is_onednn_faster", lambda: by_onednn)
    torch.manual_seed(0)
    a, b, bias = torch.randn(7, 33), torch.randn(20, 33), torch.randn(20)
    if turned:  # as a gradient's product has them
        a, b = a.t().contiguous().t(), b.t().contiguous().t()
    exact = a.double() @ b.double().t()
    torch.testing.assert_close(product(a, b).double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(product(a, b, bias).double(), exact + bias.double(), rtol=1e-5, atol=1e-5)
    spare = torch.empty(7, 20)
    torch.testing.assert_close(product(a, b, spare=spare).double(), exact, rtol=1e-5, atol=1e-5)
    assert product(a.double(), b.double()).dtype == torch.float64


@pytest.mark.parametrize("by_onednn", WAYS)
def test_a_linear_maps_gradients_are_pytorchs(by_onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_is_onednn_faster", lambda: by_onednn)
    torch.manual_seed(0)
    leaves = [torch.randn(*shape, requires_grad=True) for shape in ((9, 5), (4, 5), (4,))]
    by = torch.randn(9, 4)
    found, expected = linear(*leaves), torch.nn.functional.linear(*leaves)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad((out * by).sum(), leaves) for out in (found, expected))
    torch.testing.assert_close(*gradients)
    frozen = linear(leaves[0].detach(), *leaves[1:])  # embeddings that the encoder does not train
    torch.testing.assert_close(torch.autograd.grad(frozen.sum(), leaves[1])[0], leaves[0].detach().sum(0).expand(4, 5))


def test_onednn_is_taken_with_wide_instructions_of_another_maker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for capability, told, expected in (
        ("AVX512", "vendor_id : AuthenticAMD", HAS_ONEDNN),
        ("AVX512", "vendor_id : GenuineIntel", False),
        ("AVX2", "vendor_id : AuthenticAMD", False),
        ("AVX512", None, False),
    ):

        def read(_: Path, encoding: str, told: str | None = told) -> str:
            del encoding
            if told is None:
                raise OSError
            return told

        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(Path, "read_text", read)
        products._is_onednn_faster.cache_clear()
        assert products._is_onednn_faster() == expected
    monkeypatch.undo()
    products._is_onednn_faster.cache_clear()
