import numpy as np
import pytest
import torch

from reuseprior.training import Protocol
from reuseprior.training.batches import Draws, augment, draw, mix, shift, to_input


def pictures(count=6, channels=3, size=16):
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, size, size)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def test_shift_cuts_each_image_at_its_own_offset():
    images = pictures()
    offsets = torch.tensor([[0, 0], [4, 4], [2, 2], [0, 4], [1, 3], [3, 0]])
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (2, 2), (2, 2)])
    by_hand = [padded[i, :, r : r + 16, c : c + 16] for i, (r, c) in enumerate(offsets.tolist())]
    assert np.array_equal(shift(images, offsets).numpy(), np.stack(by_hand))
    assert torch.equal(shift(images, offsets)[2], images[2])


def test_draws_flip_half_and_shift_by_up_to_an_eighth():
    draws = draw(2000, 32, torch.Generator().manual_seed(0))
    assert 900 < int(draws.flipped.sum()) < 1100
    assert sorted(set(draws.offsets.flatten().tolist())) == list(range(9))


def test_augmentations():
    images = pictures(2)
    draws = Draws(torch.tensor([True, False]), torch.tensor([[2, 2], [0, 0]]))
    mirrored = images[0].flip(2)
    assert torch.equal(augment(images, "none", draws), images)
    assert torch.equal(augment(images, "flip", draws), torch.stack([mirrored, images[1]]))
    both = augment(images, "flip_crop", draws)
    assert torch.equal(both[0], mirrored)
    assert torch.equal(both[1, :, 2:, 2:], images[1, :, :-2, :-2]) and not both[1, :, :2].any()


@pytest.mark.parametrize("kind", ["randaugment", "autoaugment"])
def test_policies_change_bytes_and_repeat_with_the_global_seed(kind):
    images = pictures(20)
    draws = draw(20, 16, torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        one = augment(images, kind, draws)
        torch.manual_seed(3)
        same = augment(images, kind, draws)
        other = augment(images, kind, draws)
    assert one.dtype == torch.uint8 and one.shape == images.shape
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_inputs_are_scaled_and_repeated():
    gray = torch.tensor([0, 128, 192, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    plain = to_input(gray, 0, Protocol())
    assert plain.shape == (1, 3, 2, 2)
    assert plain[0, 2].flatten().tolist() == [-1.0, 0.0, 0.5, 127 / 128]
    assert to_input(gray, 5, Protocol(channels=1)).shape == (1, 1, 5, 5)
    flat = torch.full((1, 3, 4, 4), 64, dtype=torch.uint8)
    for size in (2, 8):
        assert torch.equal(to_input(flat, size, Protocol()), torch.full((1, 3, size, size), -0.5))
    last = to_input(pictures(), 0, Protocol(channels_last=True))
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_mixup_is_between_an_image_and_its_opposite():
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    random = np.random.default_rng(1)
    mixed, targets = mix(images, labels, 5, Protocol(mixup_alpha=0.4), random)
    kept = targets[0, 0]
    assert 0 < kept < 1
    assert torch.allclose(mixed[0], kept * images[0] + (1 - kept) * images[3], atol=1e-6)
    assert torch.allclose(targets[0], torch.tensor([kept, 0, 0, 1 - kept, 0]))
    assert torch.allclose(targets.sum(1), torch.ones(4))


def test_cutmix_pastes_a_rectangle_and_labels_say_how_much():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    random = np.random.default_rng(0)
    shares = set()
    for _ in range(20):
        mixed, targets = mix(images, torch.arange(4), 4, Protocol(cutmix_alpha=1.0), random)
        pasted = (mixed[0] == 3).float().mean()
        assert torch.allclose(targets[0, 3], pasted, atol=1e-6)
        shares.add(round(float(pasted), 3))
    assert len(shares) > 5
