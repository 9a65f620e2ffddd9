"""GLUE's tsv files as texts: columns, halves of the validation part, subsets, what is missing."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from reuseprior import data
from reuseprior.data import DataError, DataMissing, Texts, TextSet, texts

PAIRS = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
SENTENCES = "index\tsentence1\tsentence2\tlabel\n"
FILES = {
    "CoLA/train.tsv": "gj04\t1\t\tThey drank the pub.\nks08\t0\t*\tA \"quoted ' one.\n",
    "CoLA/dev.tsv": "gj04\t0\t*\tFirst.\ngj04\t1\t\tSecond.\ngj04\t1\t\tThird.\n",
    "RTE/train.tsv": SENTENCES + "0\ta\tb\tentailment\n",
    "RTE/dev.tsv": SENTENCES + "0\tc\td\tnot_entailment\n1\te\tf\tentailment",
    "MRPC/train.tsv": PAIRS + "1\t1\t2\ta\t\"b\r\n",
    "MRPC/dev.tsv": PAIRS + "0\t1\t2\tc\td\r\n",
    "MRPC/msr_paraphrase_test.txt": PAIRS + "1\t1\t2\tx\ty",
}  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / texts.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    for name, task in texts.TASKS.items():
        md5s = {
            file: hashlib.md5(FILES[f"{task.folder}/{file}"].encode()).hexdigest()
            for file in task.md5s
            if f"{task.folder}/{file}" in FILES
        }
        monkeypatch.setitem(texts.TASKS, name, replace(task, md5s=md5s or task.md5s))
    return tmp_path


def test_columns(root):
    cola, rte, mrpc = (data.load(f"glue-{name}", root) for name in ("cola", "rte", "mrpc"))
    assert cola.train.first == ("They drank the pub.", "A \"quoted ' one.")
    assert cola.train.second is None
    assert cola.train.labels.tolist() == [1, 0]
    assert (rte.train.first, rte.train.second, rte.train.labels.tolist()) == (("a",), ("b",), [1])
    assert (mrpc.train.first, mrpc.train.second) == (("a",), ('"b',))
    assert [one.metric for one in (cola, rte, mrpc)] == ["matthews", "accuracy", "f1"]
    assert len(cola.search) + len(cola.report) == 3
    test = texts.labelled_test("glue-mrpc", root)
    assert (test.first, test.second, test.labels.tolist()) == (("x",), ("y",), [1])
    assert all(check.ok for check in data.verify("glue-cola", root))


def test_what_is_missing_or_cut_short_is_said_in_a_sentence(root):
    path = root / texts.FOLDER / "RTE/dev.tsv"
    path.write_bytes(path.read_bytes()[:-3])
    for ask, error, message in [
        (lambda: data.load("glue-rte", root), DataError, "is cut short or changed"),
        (lambda: data.load("glue-sst2", root), DataMissing,
         r"no glue/SST-2/train\.tsv; unpack .* set REUSEPRIOR_DATA"),
        (lambda: texts.labelled_test("glue-rte", root), DataError,
         "glue-rte has no test part with labels: glue-sst2 and"),
        (lambda: data.load_images("glue-rte", root), DataError,
         "glue-rte holds texts, and images are needed"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            ask()


def many(n, ones):
    labels = torch.tensor([1] * ones + [0] * (n - ones), dtype=torch.int64)
    return Texts(tuple(f"text {i}" for i in range(n)), None, labels)


def test_halves_have_nothing_in_common_and_like_classes():
    found = TextSet.of("x", 2, "f1", many(10, 5), many(101, 37))
    search, report = set(found.search.first), set(found.report.first)
    assert not search & report and len(search | report) == 101
    assert found.search.labels.sum() == 19 and found.report.labels.sum() == 18
    again = TextSet.of("x", 2, "f1", many(10, 5), many(101, 37))
    assert again.search.first == found.search.first


def test_labels_are_those_of_classes():
    four, two = many(4, 2), Texts(("a",), None, torch.tensor([2]))
    TextSet("x", 2, "f1", four, four, many(0, 0), "")
    for parts, sentence in (
        ((many(0, 0), four, four), "the train part of x is empty"),
        ((four, two, four), "search part .* label 2 "),
        ((four, four, two), "report .* label 2 "),
    ):
        with pytest.raises(DataError, match=sentence):
            TextSet("x", 2, "f1", *parts, "")


def test_subset_is_balanced():
    found = TextSet.of("x", 2, "f1", many(100, 30), many(4, 2))
    few = found.subset(21, seed=0)
    assert np.bincount(few.train.labels).tolist() == [11, 10]
    assert few.search.first == found.search.first and few.checksum != found.checksum
    with pytest.raises(DataError, match=r"30 training texts of its rarest class: .* at most 60"):
        found.subset(80, seed=0)


SIZES = {"cola": (8551, 1043), "sst2": (67349, 872), "mrpc": (3668, 408), "rte": (2490, 277)}


@pytest.mark.parametrize("name", SIZES)
def test_official_sizes(name):
    """As table 5.2 of Bidart prints them."""
    try:
        found = data.load(f"glue-{name}", download=False)
    except DataMissing as error:
        pytest.skip(str(error))
    assert (len(found.train), len(found.search) + len(found.report)) == SIZES[name]
