"""torch's Muon as the pocket build uses it: on matrices, on convolution kernels, and where torch has none."""

import pytest
import torch
from torch import Tensor, nn

from lora_core.errors import TrainingError
from lora_core.pocket.muon import matrix_muon

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")


def plain_muon(weight: Tensor, gradients: list[Tensor], lr: float) -> Tensor:
    """Step a matrix as the paper writes it, orthogonal by an exact SVD in place of Newton-Schulz."""
    average = torch.zeros_like(weight)
    for gradient in gradients:
        average = 0.95 * average + gradient
        u, _, v = torch.linalg.svd(gradient + 0.95 * average, full_matrices=False)
        weight = weight - lr * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5 * u @ v
    return weight


@needs_muon
@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 4, 3, 3, 3), (32, 8, 1, 1, 1)])
def test_a_weight_of_any_shape_takes_the_steps_of_the_paper(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(shape))
    start, gradients = weight.detach().flatten(1).clone(), [torch.randn(shape) for _ in range(4)]
    optimizer = matrix_muon([weight], lr=0.1)
    for gradient in gradients:
        optimizer.zero_grad()
        (weight * gradient).sum().backward()
        optimizer.step()
    moved = weight.detach().flatten(1) - start
    expected = plain_muon(start, [gradient.flatten(1) for gradient in gradients], lr=0.1) - start
    # Muon's five Newton-Schulz steps leave singular values between 0.7 and 1.2.
    assert torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0) > 0.97
    assert 0.8 < moved.norm() / expected.norm() < 1.1


@needs_muon
def test_a_kernel_takes_the_same_steps_as_its_matrix() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 4, 3, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    optimizer = matrix_muon([kernel, matrix], lr=0.1)
    for _ in range(3):
        gradient = torch.randn_like(kernel)
        optimizer.zero_grad()
        ((kernel * gradient).sum() + (matrix * gradient.flatten(1)).sum()).backward()
        optimizer.step()
    assert torch.equal(kernel.flatten(1), matrix)


@needs_muon
@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3, 3)])
def test_a_weight_without_a_gradient_stays(shape: tuple[int, ...]) -> None:
    used, unused = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.ones(shape))
    optimizer = matrix_muon([used, unused], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        used.square().sum().backward()
        optimizer.step()
    assert torch.equal(unused, torch.ones(shape))
    assert not torch.equal(used, torch.ones(shape))


def test_a_torch_without_muon_is_refused_with_the_one_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    with pytest.raises(TrainingError) as caught:
        matrix_muon([torch.ones(2, 2)], lr=0.1)
    assert str(caught.value) == (
        "pocket build: torch 2.6.0 has no Muon to train with (torch 2.9 or newer). "
        "Update torch to build the pocket models; the shipped ones run as they are."
    )
