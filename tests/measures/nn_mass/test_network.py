"""The built networks: their sizes, their links, their contributions, and their contexts."""

import pytest
import torch
import torch.nn.functional as F

from reuseprior.contexts import count_contexts, multiply_adds, record_model
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN, NNMassError
from reuseprior.models import without_weights

SMALL = Architecture(depth=5, widths=(4, 6), candidates=(5, 9))


def test_sizes_are_the_closed_forms_ones():
    for one in (SMALL, Architecture.of_layers(31, (70, 140, 200)), Architecture(3, (2,), (0,))):
        with without_weights():
            model = LongRangeCNN(one, classes=7, in_channels=1)
        held = sum(p.numel() for p in model.parameters())
        assert held == one.parameters(classes=7, in_channels=1)
        for size in (16, 15):  # an odd one is halved rounding up
            cost = multiply_adds(record_model(model, (1, 1, size, size)))
            assert cost == one.multiply_adds(size, classes=7, in_channels=1)


def test_links_are_random_distinct_and_seeded():
    model = LongRangeCNN(SMALL, seed=3)
    for cell, module in enumerate(model.cells):
        expected = SMALL.linked_channels(cell)[2:]
        for i, (chosen, number) in enumerate(zip(module.links, expected, strict=True), start=2):
            assert len(set(chosen.tolist())) == len(chosen) == number
            assert 0 <= chosen.min() and chosen.max() < SMALL.widths[cell] * (i - 1)
    nets = (model, LongRangeCNN(SMALL, seed=3), LongRangeCNN(SMALL, seed=4))
    links, again, other = ([[c.tolist() for c in cell.links] for cell in net.cells] for net in nets)
    assert links == again != other


def reference(model, x):
    """The forward pass as section 3.1 tells it: every layer looks up the channels that it reads."""
    for cell in model.cells:
        made = [cell.convs[0](x)]
        for i, conv in enumerate(cell.convs[1:], start=1):
            read = made[i - 1]
            if i >= 2:
                channels = [c for layer in made[: i - 1] for c in layer.unbind(1)]
                chosen = [channels[k] for k in cell.links[i - 2].tolist()]
                read = torch.cat([read, torch.stack(chosen, 1)], 1)
            made.append(conv(F.relu(cell.norms[i - 1](read))))
        x = F.relu(cell.norms[-1](made[-1]))
    return model.classifier(x.mean((2, 3)))


def test_forward_does_what_the_paper_says():
    torch.manual_seed(0)
    model, images = LongRangeCNN(SMALL).eval(), torch.randn(2, 3, 8, 8)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.running_mean)  # or a wrong order of norms would not show
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    torch.testing.assert_close(model(images), reference(model, images))


def test_contributions():
    kinds = ("random", "constant", "ones")
    arms = {kind: LongRangeCNN(SMALL, contributions=kind) for kind in kinds}
    for kind, model in arms.items():
        for conv in model.cells[1].convs:
            alpha = conv.contributions
            assert alpha.shape == (6, conv.in_channels, 1, 1)
            if kind == "ones":
                assert (alpha == 1).all()
            else:
                torch.testing.assert_close(alpha.sum(1), torch.ones(6, 1, 1))
            assert (alpha.max() > alpha.min()) == (kind == "random")
    assert not any("contributions" in name for name, _ in arms["random"].named_parameters())
    conv, x = arms["random"].cells[0].convs[2], torch.randn(1, 8, 5, 5)
    by_hand = F.conv2d(x, conv.weight * conv.contributions, padding=1)
    torch.testing.assert_close(conv(x), by_hand)


def quantities(one, **options):
    return count_contexts(LongRangeCNN(one, **options), (1, 3, 8, 8)).quantities()


def test_contributions_change_no_context_and_a_link_adds_some():
    q, same = (quantities(SMALL, contributions=kind) for kind in ("random", "ones"))
    assert q == same and q.parameters == q.weight_nodes == SMALL.parameters()
    nets = (quantities(Architecture(5, (4,), (t,))) for t in (0, 3, 12))
    none, some, most = (q.log2_contexts for q in nets)
    assert none < some < most
    with pytest.raises(NNMassError, match="contributions is 'half': choose from random, constant"):
        LongRangeCNN(SMALL, contributions="half")
