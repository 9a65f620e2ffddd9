import pytest
import torch
from PIL import Image

from reuseprior.data import DataError, Images, verify
from reuseprior.data import load as load_data
from reuseprior.training import Protocol, ProtocolError
from reuseprior.training.batches import Share, derive, open_batches, steps

CPU = torch.device("cpu")


def numbered(count=22):
    """Images that show their own number, which is their label too."""
    labels = torch.arange(count)
    images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return Images(images.contiguous(), labels)


def opened(images, share=None, **options):
    protocol = Protocol(**{"batch_size": 4, "channels": 1} | options)
    return open_batches(images, protocol, device=CPU, seed=1, share=share or Share())


def test_an_epoch_sees_each_image_at_most_once_in_another_order_each_time():
    batches = opened(numbered())
    first, second = ([labels for _, labels in batches.epoch(e)] for e in (0, 1))
    assert [len(labels) for labels in first] == [4] * 5
    seen = torch.cat(first).tolist()
    assert len(set(seen)) == 20 and seen != torch.cat(second).tolist()
    for images, labels in batches.epoch(0):
        assert torch.equal(images[:, 0, 0, 0] * 128 + 128, labels.float())


def test_an_epoch_can_be_taken_up_at_any_batch():
    batches = opened(numbered(), augmentation="flip_crop")
    whole, tail = list(batches.epoch(3)), list(batches.epoch(3, 2))
    assert len(tail) == 3
    for one, other in zip(whole[2:], tail, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_processes_share_every_batch_and_the_test():
    alone = opened(numbered(), augmentation="flip_crop")
    parts = [opened(numbered(), Share(i, 2), augmentation="flip_crop") for i in range(2)]
    for whole, *halves in zip(alone.epoch(0), *(p.epoch(0) for p in parts), strict=True):
        assert torch.equal(whole[0], torch.cat([images for images, _ in halves]))
        assert torch.equal(whole[1], torch.cat([labels for _, labels in halves]))
    tested = [torch.cat([labels for _, labels in p.once()]).tolist() for p in [alone, *parts]]
    assert tested[0] == list(range(22))
    assert sorted(tested[1] + tested[2]) == list(range(22))


def test_sizes_in_training_and_test():
    batches = opened(
        numbered(), epochs=2, stages=2, start_image_size=4, image_size=12, test_image_size=16
    )
    shapes = [next(batches.epoch(e))[0].shape[-1] for e in (0, 1)]
    assert [*shapes, next(batches.once())[0].shape[-1]] == [4, 12, 16]
    assert next(opened(numbered(), image_size=12).once())[0].shape == (4, 1, 12, 12)


def test_batch_sizes_that_do_not_fit_are_refused():
    assert steps(50_000, Protocol(batch_size=512), Share()) == 97
    for size, share, message in [
        (32, Share(), "batch_size is 32 and there are 22 training images"),
        (4, Share(0, 3), "batch_size is 4 and there are 3 processes: choose a"),
    ]:
        with pytest.raises(ProtocolError, match=message):
            steps(22, Protocol(batch_size=size), share)


def test_seeds_differ_by_purpose_and_number():
    seeds = {derive(purpose, a, b) for purpose in "xy" for a in range(9) for b in range(9)}
    assert len(seeds) == 2 * 81 and all(0 <= seed < 2**63 for seed in seeds)
    assert derive("order", 0, 1) == derive("order", 0, 1)


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
    return load_data("imagenet", tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_folders_of_images(folder, workers):
    options = {"image_size": 16, "workers": workers, "augmentation": "randaugment", "channels": 3}
    batches = opened(folder.train, **options)
    with torch.random.fork_rng():
        whole, tail = list(batches.epoch(0)), list(batches.epoch(0, 1))
    assert [images.shape for images, _ in whole] == [(4, 3, 16, 16)] * 2
    assert torch.equal(whole[1][0], tail[0][0]) and torch.equal(whole[1][1], tail[0][1])
    tested = list(opened(folder.test, **options).once())
    images, labels = (torch.cat([batch[i] for batch in tested]) for i in (0, 1))
    assert images.shape == (10, 3, 16, 16) and labels.tolist() == [0] * 5 + [1] * 5  # bright first
    assert images[:5, 0].min() > 0.7 and images[5:, 0].max() < -0.7


UNREADABLE = [(b"", 0), (b"no image", 0), (b"\x89PNG\r\n\x1a\n" + bytes(40), 0), (b"no image", 1)]


@pytest.mark.parametrize(("content", "workers"), UNREADABLE)
def test_an_image_that_cannot_be_read_is_named(folder, tmp_path, content, workers):
    with pytest.raises(ProtocolError, match="images of a folder have no common size: set image_s"):
        opened(folder.train)
    broken = tmp_path / "imagenet/val/dark/2.JPEG"
    broken.write_bytes(content)
    batches = opened(folder.test, image_size=16, workers=workers)
    with pytest.raises(DataError, match=r"^/.*dark/2\.JPEG is no image that can be read \(.+\): m"):
        list(batches.once())
    (wrong,) = [c for c in verify("imagenet", tmp_path) if c.file.endswith("2.JPEG")]
    assert not wrong.ok and wrong.why


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "imagenet").write_text("")
    with pytest.raises(DataError, match=r"imagenet/train is missing or has a class without imag"):
        load_data("imagenet", tmp_path)
