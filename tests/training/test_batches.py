"""Batches: which images, in which order and of which process, and how they are augmented."""

import numpy as np
import pytest
import torch
from PIL import Image

from reuseprior.data import DataError, Images, load, verify
from reuseprior.training import Protocol, ProtocolError
from reuseprior.training.batches import (
    Draws,
    Share,
    augment,
    derive,
    draw,
    mix,
    open_batches,
    shift,
    steps,
    to_input,
)  # fmt: skip


def numbered(count=22):
    """Images that show their own number, which is their label too."""
    labels = torch.arange(count)
    images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return Images(images.contiguous(), labels)


def opened(images, share=None, **options):
    protocol = Protocol(**{"batch_size": 4, "channels": 1} | options)
    place = {"device": torch.device("cpu"), "seed": 1, "share": share or Share()}
    return open_batches(images, protocol, **place)


def test_an_epoch_sees_each_image_at_most_once_in_another_order_each_time():
    batches = opened(numbered())
    first, second = ([labels for _, labels in batches.epoch(e)] for e in (0, 1))
    assert [len(labels) for labels in first] == [4] * 5
    seen = torch.cat(first).tolist()
    assert len(set(seen)) == 20 and seen != torch.cat(second).tolist()
    for images, labels in batches.epoch(0):
        assert torch.equal(images[:, 0, 0, 0] * 128 + 128, labels.float())
    seeds = {derive(purpose, a, b) for purpose in "xy" for a in range(9) for b in range(9)}
    assert len(seeds) == 2 * 81 and all(0 <= seed < 2**63 for seed in seeds)


def test_an_epoch_can_be_taken_up_at_any_batch_and_shared_by_processes():
    alone = opened(numbered(), augmentation="flip_crop")
    whole = list(alone.epoch(3))
    for one, other in zip(whole[2:], alone.epoch(3, 2), strict=True):
        assert all(map(torch.equal, one, other))
    parts = [opened(numbered(), Share(i, 2), augmentation="flip_crop") for i in range(2)]
    for both, *halves in zip(whole, *(part.epoch(3) for part in parts), strict=True):
        assert all(map(torch.equal, both, map(torch.cat, zip(*halves, strict=True))))
    tested = [torch.cat([labels for _, labels in p.once()]).tolist() for p in [alone, *parts]]
    assert tested[0] == sorted(tested[1] + tested[2]) == list(range(22))
    with pytest.raises(ProtocolError, match="batch_size is 4 and there are 3 processes: choose a"):
        steps(22, Protocol(batch_size=4), Share(0, 3))
    assert steps(22, Protocol(batch_size=22), Share()) == 1


def test_sizes_in_training_and_test():
    batches = opened(
        numbered(), epochs=2, stages=2, start_image_size=4, image_size=12, test_image_size=16
    )
    shapes = [next(batches.epoch(e))[0].shape[-1] for e in (0, 1)]
    assert [*shapes, next(batches.once())[0].shape[-1]] == [4, 12, 16]
    assert next(opened(numbered(), image_size=12).once())[0].shape == (4, 1, 12, 12)


@pytest.fixture
def folder(tmp_path):
    """Ten images of two classes, dark and bright, of unequal sizes."""
    for part in ("train", "val"):
        for label, brightness in (("dark", 20), ("bright", 230)):
            place = tmp_path / "imagenet" / part / label
            place.mkdir(parents=True)
            for i in range(5):
                picture = Image.new("RGB", (40 + i, 50 - i), (brightness, brightness, 10 * i))
                picture.save(place / f"{i}.JPEG")
    return load("imagenet", tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_folders_of_images(folder, workers):
    options = {"image_size": 16, "workers": workers, "augmentation": "randaugment", "channels": 3}
    batches = opened(folder.train, **options)
    with torch.random.fork_rng():
        whole, (tail,) = list(batches.epoch(0)), batches.epoch(0, 1)
    assert [images.shape for images, _ in whole] == [(4, 3, 16, 16)] * 2
    assert all(map(torch.equal, whole[1], tail))
    images, labels = map(torch.cat, zip(*opened(folder.test, **options).once(), strict=True))
    assert images.shape == (10, 3, 16, 16) and labels.tolist() == [0] * 5 + [1] * 5  # bright first
    assert images[:5, 0].min() > 0.7 and images[5:, 0].max() < -0.7


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named(folder, tmp_path, workers):
    with pytest.raises(ProtocolError, match="images of a folder have no common size: set image_s"):
        opened(folder.train)
    broken = tmp_path / "imagenet/val/dark/2.JPEG"
    for content in (b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40))[workers:]:
        broken.write_bytes(content)
        batches = opened(folder.test, image_size=16, workers=workers)
        with pytest.raises(DataError, match=r"^/.*dark/2\.JPEG is no image that can be .* \(.+\):"):
            list(batches.once())
        (wrong,) = [c for c in verify("imagenet", tmp_path) if c.file.endswith("2.JPEG")]
        assert not wrong.ok and wrong.why


# Augmentation -------------------------------------------------------------------------------------


def pictures(count=6, size=16):
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, size, size)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def test_shift_cuts_each_image_at_its_own_offset():
    images = pictures()
    offsets = torch.tensor([[0, 0], [4, 4], [2, 2], [0, 4], [1, 3], [3, 0]])
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (2, 2), (2, 2)])
    by_hand = [padded[i, :, r : r + 16, c : c + 16] for i, (r, c) in enumerate(offsets.tolist())]
    assert np.array_equal(shift(images, offsets).numpy(), np.stack(by_hand))
    draws = draw(2000, 32, torch.Generator().manual_seed(0))
    assert 900 < int(draws.flipped.sum()) < 1100
    assert sorted(set(draws.offsets.flatten().tolist())) == list(range(9)), "an eighth of 32"


def test_augmentations():
    images = pictures(2)
    draws = Draws(torch.tensor([True, False]), torch.tensor([[2, 2], [0, 0]]))
    flipped = torch.stack([images[0].flip(2), images[1]])
    assert torch.equal(augment(images, "none", draws), images)
    assert torch.equal(augment(images, "flip", draws), flipped)
    assert torch.equal(augment(images, "flip_crop", draws), shift(flipped, draws.offsets))


@pytest.mark.parametrize("kind", ["randaugment", "autoaugment"])
def test_policies_change_bytes_and_repeat_with_the_global_seed(kind):
    images = pictures(20)
    draws = draw(20, 16, torch.Generator().manual_seed(0))
    made = []
    with torch.random.fork_rng():
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            made.append(augment(images, kind, draws))
    assert made[0].dtype == torch.uint8 and made[0].shape == images.shape
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


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
