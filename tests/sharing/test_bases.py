"""Learned bases: the densities and distances as printed, what quantising stores, and counting."""

import pytest
import torch
from scipy import stats
from torch import nn

from reuseprior import data
from reuseprior.models import vs_xception
from reuseprior.sharing import Clustered, SharingError, bases, quantise, weights
from reuseprior.training import Penalised, Protocol, train
from tests.sharing.counting import check_counts, parameters


@pytest.mark.parametrize(("mixture", "density"), [
    (bases.log_gaussian_mixture, stats.norm), (bases.log_laplace_mixture, stats.laplace),
])  # fmt: skip
def test_mixtures_are_scipys(mixture, density):
    torch.manual_seed(0)
    w = torch.randn(7, 3, dtype=torch.float64)
    shares, means = torch.randn(4).double().softmax(0), torch.randn(4).double()
    scales = torch.rand(4).double() + 0.1
    each = zip(*(values.tolist() for values in (shares, means, scales)), strict=True)
    expected = sum(share * density(mean, scale).pdf(w.numpy()) for share, mean, scale in each)
    torch.testing.assert_close(mixture(w, shares, means, scales).exp(), torch.tensor(expected))


def test_distances_to_the_nearest():
    torch.manual_seed(0)
    w, b = torch.randn(2, 3, 3, 3), torch.randn(4)
    kernels, basis = torch.randn(40, 9), torch.randn(4, 9)
    for found, nearest in [
        (lambda p: bases.distance_to_values(w, b, p), (w.flatten()[:, None] - b).abs()),
        (lambda p: bases.distance_to_kernels(kernels, basis, p), torch.cdist(kernels, basis)),
    ]:
        for p in (1, 2):
            expected = sum(min(row) ** p for row in nearest.tolist())
            assert found(p).item() == pytest.approx(expected, rel=1e-5)
    assert (bases.distances(kernels, kernels).diagonal() == 0).all()


def network():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 2, 1),
    )  # fmt: skip


def equal():
    model = network()
    nn.init.zeros_(model[3].weight)
    return model


@pytest.mark.parametrize("penalty", bases.PENALTIES)
def test_the_penalty_moves_weights_to_the_basis_until_quantising_changes_nothing(penalty):
    torch.manual_seed(0)
    model = network()
    clustered = Clustered(model, penalty, 4, tau=1.0)
    assert clustered.names == (("3",) if penalty == "kernels" else ("3", "4"))
    before = _off(clustered)
    optimizer = torch.optim.Adam(clustered.parameters())
    for rate in 120 * [0.03] + 120 * [0.003]:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        clustered.penalty().backward()
        optimizer.step()
    assert _off(clustered) < before / 4
    x = torch.randn(2, 2, 5, 5)
    model.eval()
    drawn = model(x)
    assert quantise(clustered) is model
    assert (model(x) - drawn).abs().max() < 0.25 * drawn.abs().max()


def _off(clustered):
    """The largest distance of a weight from the basis."""
    weights = (clustered.model.get_submodule(name).weight for name in clustered.names)
    return max(
        (weight - basis.members[basis.nearest(weight)].reshape(weight.shape)).abs().max().item()
        for weight, basis in zip(weights, clustered.bases, strict=True)
    )


@pytest.mark.parametrize("penalty", ["values", "kernels"])
def test_quantised_weights_are_the_nearest_members_and_counting_sees_through(penalty):
    torch.manual_seed(3)
    model = network()
    clustered = Clustered(model, penalty, 3, tau=1.0, layers="3")
    plain = model[3].weight.detach().clone()
    (basis,) = clustered.bases
    members = basis.members.detach().clone()
    quantise(clustered)
    made = model[3].weight.detach()
    entries = plain.reshape(-1, 9 if penalty == "kernels" else 1)
    expected = torch.stack(
        [min(members.reshape(3, -1), key=lambda m, e=entry: (m - e).norm()) for entry in entries]
    )
    assert torch.equal(made.reshape(expected.shape), expected)
    before = parameters(network())
    assert parameters(model) == before - plain.numel() + members.numel()
    check_counts(model)
    with pytest.raises(SharingError, match="computed from shared values"):
        model[3].weight = plain
    with pytest.raises(SharingError, match="layer '3' is quantised already"):
        quantise(clustered)
    assert parameters(weights.merge(model)) == before


def test_members_that_no_weight_takes_are_left_out():
    torch.manual_seed(0)
    model = network()
    clustered = Clustered(model, "values", 5, tau=1.0, layers="4")
    with torch.no_grad():
        model[4].weight.copy_(clustered.bases[0].members[2])
    quantise(clustered)
    assert model[4].parametrizations.weight[0].members.shape == (1,)
    assert (model[4].weight == clustered.bases[0].members[2]).all()


def test_training_adds_the_penalty_and_testing_leaves_it_out(tmp_path):
    digits = data.load("digits")
    protocol = Protocol(
        epochs=1, batch_size=64, optimizer="sgd", learning_rate=0.05, train_images=128,
        test_images=64,
    )  # fmt: skip
    losses = {}
    for tau in (0.0, 1.0):
        torch.manual_seed(0)
        model = Clustered(vs_xception(width=0.125), "values", 4, tau=tau)
        task = Penalised(digits.classes)
        run = train(model, digits, protocol, tmp_path / str(tau), seed=0, task=task, progress=False)
        losses[tau] = run.metrics.iloc[-1]
        assert run.config["task"] == "penalised classification" and run.config["classes"] == 10
        assert run.config["parameters"] == parameters(model)
    assert losses[1.0].train_loss > losses[0.0].train_loss + 0.1
    assert abs(losses[1.0].test_loss - losses[0.0].test_loss) < 3


@pytest.mark.parametrize(("build", "given", "message"), [
    (network, ("gausian", 4), "unknown penalty 'gausian', did you mean 'gaussian'.: choose from"),
    (network, ("values", 0), "a basis of 0 is no basis for the 108 weights of layer '3'"),
    (network, ("values", 7), "a basis of 7 is no basis for the 6 weights of layer '4': choose a"),
    (network, ("kernels", 13), "a basis of 13 is no basis for the 12 kernels of layer '3'"),
    (network, ("values", 2, -1.0), "tau is -1.0 and p 2: tau must be 0 or more, and p above 0"),
    (network, ("values", 2, 1.0, 0), "tau is 1.0 and p 0: tau must be 0 or more, and p above 0"),
    (network, ("values", 2, 1.0, 2, "9"), "has no convolution to cluster whose name is like"),
    (equal, ("gaussian", 2), "all weights of layer '3' are equal"),
    (equal, ("laplace", 2), "all weights of layer '3' are equal"),
])  # fmt: skip
def test_bad_input_gets_one_sentence(build, given, message):
    options = {"tau": 1.0} | dict(zip(("tau", "p", "layers"), given[2:], strict=False))
    with pytest.raises(SharingError, match=message) as caught:
        Clustered(build(), *given[:2], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("penalty", "p"), [("kernels", 1), ("values", 0.5), ("values", 2)])
def test_gradients_are_finite_on_members_of_the_basis(penalty, p):
    """Kernels begin on members, where a root has no gradient."""
    torch.manual_seed(0)
    clustered = Clustered(network(), penalty, 3, tau=1.0, p=p)
    with torch.no_grad():
        clustered.model[3].weight[0, 0] = clustered.bases[0].members.reshape(3, -1)[0, 0]
    clustered.penalty().backward()
    found = [q.grad for q in clustered.parameters() if q.grad is not None]
    assert found and all(grad.isfinite().all() for grad in found)
