"""Sets of images: parts, checksums, one sentence for what is missing, cut short or unsafe."""

import gzip
import hashlib
import pickle
import shutil
import struct
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets import utils

from reuseprior import data
from reuseprior.data import Checksum, DataError, DataMissing, DataSet, Images
from tests.cli.calling import loads, refused, run

COUNTS = {
    "cifar10": (5, "labels", datasets.CIFAR10),
    "cifar100": (1, "fine_labels", datasets.CIFAR100),
}


def random_images(n, channels, size, seed):
    shape = (n, channels, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    sizes = struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())


def batch(pixels, label_key, labels, module=b"numpy.core.multiarray"):
    """A batch as Python 2 wrote it: a pickle of protocol 2 with the pixels as a string."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    n, size = len(pixels), pixels.size
    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN"
    kind += number(-1) + number(-1) + b"K\x00tb"
    array = b"c" + module + b"\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    array += b"(K\x01" + number(n) + number(size // n) + b"\x86" + kind
    array += b"\x89T" + struct.pack("<i", size) + pixels.tobytes() + b"tb"
    numbers = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(label_key.encode()) + numbers + b"u."


def write(root, folder, contents):
    """Write files and return torchvision's list of them, names and MD5."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (root / folder / name).write_bytes(content)
    return [(name, hashlib.md5(content).hexdigest()) for name, content in contents.items()]


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    contents = {}
    for part, n in (("train", 6), ("t10k", 3)):
        contents[f"{part}-images-idx3-ubyte.gz"] = idx(random_images(n, 1, 28, seed=n)[:, 0])
        contents[f"{part}-labels-idx1-ubyte.gz"] = idx(np.arange(n))
    monkeypatch.setattr(datasets.MNIST, "resources", write(tmp_path, "MNIST/raw", contents))
    return tmp_path


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """Both sets; every batch holds three images, of the classes number, number + 1, number + 2."""
    for batches, key, published in COUNTS.values():
        contents = {
            name: batch(random_images(3, 3, 32, seed=i), key, [i, i + 1, i + 2])
            for i, (name, _) in enumerate(published.train_list + published.test_list)
        }
        files = write(tmp_path, published.base_folder, contents)
        monkeypatch.setattr(published, "train_list", files[:batches])
        monkeypatch.setattr(published, "test_list", files[batches:])
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def fail(url, root, **options):
        raise URLError("Name or service\nnot known")

    monkeypatch.setattr(utils, "download_url", fail)
    monkeypatch.setattr(utils, "download_and_extract_archive", fail)


def test_mnist_is_read(tiny_mnist):
    tiny = data.load("mnist", tiny_mnist)
    assert (tiny.name, tiny.classes, tiny.channels, tiny.image_size) == ("mnist", 10, 1, 28)
    for part, n in ((tiny.train, 6), (tiny.test, 3)):
        assert torch.equal(part.images, torch.from_numpy(random_images(n, 1, 28, seed=n)))
        assert torch.equal(part.labels, torch.arange(n))


@pytest.mark.parametrize("name", COUNTS)
def test_cifar_is_read(tiny_cifar, name):
    tiny = data.load(name, tiny_cifar)
    batches = COUNTS[name][0]
    assert (tiny.name, tiny.channels, tiny.image_size) == (name, 3, 32)
    assert tiny.classes == int(name.removeprefix("cifar"))
    train = np.concatenate([random_images(3, 3, 32, seed=i) for i in range(batches)])
    assert torch.equal(tiny.train.images, torch.from_numpy(train))
    assert tiny.train.labels.tolist() == [i + j for i in range(batches) for j in range(3)]
    assert torch.equal(tiny.test.images, torch.from_numpy(random_images(3, 3, 32, seed=batches)))
    assert tiny.test.labels.tolist() == [batches, batches + 1, batches + 2]


class Mark:
    """An object whose unpickling would write a file."""

    def __reduce__(self):
        return open, ("executed", "w")


def test_a_pickle_can_run_nothing(tiny_cifar, monkeypatch):
    monkeypatch.chdir(tiny_cifar)
    for content, named in (
        (pickle.dumps(Mark(), protocol=2), r"io\.open"),
        (batch(random_images(1, 3, 32, seed=0), "labels", [0], b"os"), r"os\._reconstruct"),
    ):
        files = write(tiny_cifar, "cifar-10-batches-py", {"data_batch_1": content})
        with pytest.raises(DataError, match="is cut short or changed"):  # never looked into
            data.load("cifar10", tiny_cifar, download=False)
        monkeypatch.setattr(datasets.CIFAR10, "train_list", files)  # even if it were published
        with pytest.raises(DataError, match=f"data_batch_1 names {named}, which no batch of"):
            data.load("cifar10", tiny_cifar, download=False)
        monkeypatch.setattr(datasets.CIFAR10, "train_list", [("data_batch_1", "0")])
    assert not (tiny_cifar / "executed").exists()


DAMAGED = [  # data set, file
    ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz"),
    ("cifar10", "cifar-10-batches-py/data_batch_3"),
    ("cifar100", "cifar-100-python/test"),
]
DAMAGED_TESTS = pytest.mark.parametrize(("name", "file"), DAMAGED)


@DAMAGED_TESTS
def test_a_cut_or_missing_file_is_one_sentence(tiny_mnist, tiny_cifar, no_network, name, file):
    path = tiny_mnist / file
    content = path.read_bytes()[:-1]
    path.write_bytes(content)
    said = rf"its {len(content):,} bytes have MD5 {hashlib.md5(content).hexdigest()}, not \w+"
    mend = f"replace it with `reuseprior data prepare {name} --root "
    with pytest.raises(DataError, match=f"{path} is cut short or changed: {said}: {mend}"):
        data.load(name, tiny_mnist)
    assert [check.file for check in data.verify(name, tiny_mnist) if not check.ok] == [file]
    path.unlink()
    start, end = f"{name} is not complete in {tiny_mnist} ", ": set REUSEPRIOR_DATA to the folder "
    with pytest.raises(DataMissing, match=rf"{start}\(there is no {file}\){end}"):
        data.load(name, tiny_mnist, download=False)
    reason = "downloading it failed: <urlopen error Name or service not known>"
    for act in (data.load, data.prepare):
        with pytest.raises(DataMissing, match=rf"{start}\({reason}\){end}"):
            act(name, tiny_mnist)
    assert Checksum(file, False, "No such file or directory") in data.verify(name, tiny_mnist)
    path.mkdir()
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        data.load(name, tiny_mnist)


@pytest.fixture
def served(tmp_path, tiny_mnist, tiny_cifar, monkeypatch):
    """The folder of a server of this machine's own, with all that is downloaded.

    MNIST's first mirror does not answer.
    """
    folder = shutil.copytree(tiny_mnist / "MNIST" / "raw", tmp_path / "served")
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:1/", address])
        for _, _, published in COUNTS.values():
            path = folder / published.filename
            with tarfile.open(path, "w:gz") as archive:
                archive.add(tiny_cifar / published.base_folder, published.base_folder)
            monkeypatch.setattr(published, "url", address + path.name)
            monkeypatch.setattr(published, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield folder
        server.shutdown()


@DAMAGED_TESTS
def test_prepare_and_load_replace_what_is_not_whole(tmp_path, served, name, file):
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:10])
    assert all(check.ok for check in data.prepare(name, tmp_path))
    loaded = data.load(name, tmp_path / "new")
    shutil.rmtree(served)  # then all is there, and nothing is asked
    assert data.load(name, tmp_path).checksum == loaded.checksum
    assert all(check.ok for check in data.prepare(name, tmp_path / "new"))


def image_folder(root, parts=("train", "val"), classes=("cat", "dog")):
    for part in parts:
        for index, label in enumerate(classes):
            folder = root / "imagenet" / part / label
            folder.mkdir(parents=True)
            for number, ending in enumerate(("png", "JPEG")):
                Image.new("RGB", (5, 4), (index, number, 0)).save(folder / f"{number}.{ending}")
    return root


def test_an_image_folder_is_read(tmp_path):
    folders = data.load("imagenet", image_folder(tmp_path))
    assert (folders.name, folders.classes) == ("imagenet", 2)
    assert (len(folders.train), len(folders.test)) == (4, 4)
    image, label = folders.train[2]
    assert (image.size, image.mode, label) == ((5, 4), "RGB", 1)
    whole = "4 images of 2 classes, 0 unreadable"
    expected = [Checksum(f"imagenet/{part}", True, whole) for part in ("train", "val")]
    assert data.verify("imagenet", tmp_path) == expected
    elsewhere = data.load("imagenet", image_folder(tmp_path / "elsewhere"))
    assert elsewhere.checksum == folders.checksum
    with (tmp_path / "imagenet" / "val" / "dog" / "0.png").open("ab") as file:
        file.write(b"\0")
    assert data.load("imagenet", tmp_path).checksum != folders.checksum


def test_a_wrong_image_folder_is_one_sentence(tmp_path):
    for act in (data.load, data.prepare):
        with pytest.raises(DataMissing, match=r"train is missing .* needs an account to download"):
            act("imagenet", tmp_path)
    assert [check.ok for check in data.verify("imagenet", tmp_path)] == [False, False]
    image_folder(tmp_path, ["train"])
    image_folder(tmp_path, ["val"], ["cat", "wolf"])
    with pytest.raises(DataError, match="imagenet has dog in one of train and val only: give"):
        data.load("imagenet", tmp_path)
    assert [check.ok for check in data.verify("imagenet", tmp_path)] == [True, True, False]
    (tmp_path / "imagenet" / "train" / "cat" / "0.png").write_bytes(b"")
    wrong = [check for check in data.verify("imagenet", tmp_path) if not check.ok]
    assert [check.file for check in wrong] == ["imagenet/train", "imagenet/train/cat/0.png"]
    assert wrong[0].why == "4 images of 2 classes, 1 unreadable"
    assert wrong[1].why.startswith("cannot identify image file")


def test_digits_are_the_recorded_ones():
    digits = data.load("digits")
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert [check.ok for check in data.verify("digits")] == [True]
    assert data.prepare("digits") == data.verify("digits")
    # a fifth of each class, and the whole range of grey
    total = digits.train.labels.bincount() + digits.test.labels.bincount()
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.test.labels.bincount().tolist() == [round(n / 5) for n in total.tolist()]
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 255)


def numbered(n, classes=3, start=0):
    """Images of one pixel that say which one they are, of classes 0, 1, 2, 0, 1, …"""
    order = torch.arange(start, start + n)
    return Images(order.to(torch.uint8).view(-1, 1, 1, 1), order % classes)


TOY = DataSet.of("toy", 3, numbered(100), numbered(30, start=100))


def pixels(images):
    return images.images.flatten().tolist()


def test_split_is_seeded_and_disjoint():
    for validation, n in ((0, 0), (0.1, 10), (0.25, 25)):
        train, held_out = TOY.split(validation=validation, seed=3)
        assert (len(train), len(held_out)) == (100 - n, n)
        assert sorted(pixels(train) + pixels(held_out)) == list(range(100))
        for part in (train, held_out):
            assert part.labels.tolist() == [pixel % 3 for pixel in pixels(part)]
        again, other = (TOY.split(validation=validation, seed=seed)[1] for seed in (3, 4))
        assert pixels(again) == pixels(held_out) and (pixels(other) != pixels(held_out)) == (n > 0)
    # a tenth, and the same with every version, as RandomState's stream is frozen
    assert pixels(TOY.split(seed=0)[1]) == [2, 16, 26, 54, 55, 73, 75, 86, 93, 95]
    for validation in (1, -0.1, float("nan"), 10):
        with pytest.raises(DataError, match=f"validation = {validation} is no share of the traini"):
            TOY.split(validation=validation, seed=0)


def test_subset_is_balanced_and_seeded():
    part = TOY.subset(20, 9, seed=0)
    assert sorted(part.train.labels.bincount().tolist()) == [6, 7, 7]
    assert part.test.labels.bincount().tolist() == [3, 3, 3]
    assert pixels(part.train) == sorted(set(pixels(part.train)))
    assert part.train.labels.tolist() == [pixel % 3 for pixel in pixels(part.train)]
    assert (part.name, part.classes, part.image_size) == ("toy", 3, 1)
    assert part.checksum == TOY.subset(20, 9, seed=0).checksum
    assert len({part.checksum, TOY.subset(20, 9, seed=1).checksum, TOY.checksum}) == 3
    assert TOY.subset(None, None, seed=0).checksum == TOY.checksum
    for train, test, sentence in (
        (100, None, "33 train images of class 1, too few for a balanced 100: ask for at most 99$"),
        (None, 31, "10 test images of class 0, too few for a balanced 31: ask for at most 30$"),
        (0, None, "0 train images of toy are none: ask for at least 1"),
    ):
        with pytest.raises(DataError, match=sentence):
            TOY.subset(train, test, seed=1)


def test_images_and_labels_belong_together():
    for index in (slice(4, 6), [4, 5], np.array([4, 5]), torch.tensor([4, 5])):
        taken = numbered(9).take(index)
        assert (pixels(taken), taken.labels.tolist(), len(taken)) == ([4, 5], [1, 2], 2)
    images, labels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"uint8 of shape .* torch\.float32 of shape \(2, 1, 4, 4"):
        Images(images.float(), labels)
    with pytest.raises(ValueError, match=r"labels of 2 images .* torch\.int64 of shape \(1,\)"):
        Images(images, labels[:1])


def labelled(*labels):
    return Images(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), torch.tensor(labels).long())


GOOD = labelled(0, 1, 2)


def test_a_set_of_images_has_examples_and_labels_of_its_classes():
    DataSet.of("a", 3, GOOD, labelled(2))
    for parts, sentence in (
        ((GOOD, labelled()), "the test part of a is empty: give it an example at least"),
        ((labelled(), GOOD), "the train part of a is empty"),
        (
            (labelled(0, 3), GOOD),
            "train part of a holds label 3 .* are 3 classes: number them",
        ),
        ((GOOD, labelled(-1, 0)), "the test part of a holds label -1 "),
        ((GOOD, labelled(2**62)), "holds label 4611686018427387904 "),
        ((labelled(-(2**63)), GOOD), "holds label -9223372036854775808 "),
    ):
        with pytest.raises(DataError, match=sentence):
            DataSet.of("a", 3, *parts)


def test_the_checksum_is_that_of_pixels_labels_and_parts():
    other = Images(TOY.train.images, (TOY.train.labels + 1) % 3)
    sums = {
        DataSet.of("toy", 3, *parts).checksum
        for parts in ((TOY.train, TOY.test), (TOY.test, TOY.train), (other, TOY.test))
    }
    assert len(sums) == 3
    assert DataSet.of("other name", 3, TOY.train, TOY.test).checksum == TOY.checksum


def test_the_root_is_the_argument_the_variable_or_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for cache, variable, place in (
        ("", "", ".cache/reuseprior"),
        (f"{tmp_path}/cache", "", "cache/reuseprior"),
        (f"{tmp_path}/cache", "~/sets", "sets"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        monkeypatch.setenv("REUSEPRIOR_DATA", variable)
        assert data.root_folder() == tmp_path / place
    assert data.root_folder(tmp_path / "here") == tmp_path / "here"


def test_command_verify(tiny_mnist):
    arguments = ("data", "verify", "mnist", "--root", tiny_mnist)
    whole = run(*arguments)
    lines = whole.stdout.splitlines()
    assert lines[0] == "✓ MNIST/raw/train-images-idx3-ubyte.gz: its MD5 is the published one"
    assert whole.exit_code == 0 and lines[-1] == f"mnist in {tiny_mnist} is whole"

    (tiny_mnist / "MNIST/raw/train-labels-idx1-ubyte.gz").unlink()
    missing = run(*arguments, "--json")
    values = loads(missing.stdout)
    assert missing.exit_code == 1 and values["root"] == str(tiny_mnist)
    assert (values["name"], values["ok"]) == ("mnist", False)
    assert [check["ok"] for check in values["checks"]] == [True, False, True, True]


def test_command_prepare(tmp_path, no_network):
    assert run("data", "prepare", "digits").exit_code == 0
    sentence = rf"Error: cifar10 is not complete in {tmp_path} \(downloading it"
    refused(run("data", "prepare", "cifar10", "--root", tmp_path), sentence)
    text = " ".join(run("data", "verify", "--help").stdout.split())
    assert ", ".join(data.names()[:-1]) + " or " + data.names()[-1] + "." in text
