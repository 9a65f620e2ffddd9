"""Bad input of every kind, at the command line: one sentence that says what to mend, no traceback.

A line of a table is what stands after `reuseprior` and what the sentence says. Files are made in
the current folder first, by `FILES`.
"""

import os
import shlex
import sys

import pytest

from reuseprior import paths, results
from reuseprior.measures.measuring import COLUMNS
from tests.cli.calling import refused, run

NETS = """
import sys
import torch
from torch import nn
from torch.nn import Flatten, Linear, Sequential, Conv2d

def net(): return Sequential(Flatten(), Linear(768, 10))
def pixels(): return Linear(16, 4)
def fails(): raise RuntimeError("no weights\\nat my/path")
def within(times):
    module = Linear(16, 4)
    for _ in range(times): module = Sequential(module)
    return module
def leaves(): sys.exit(3)
def deep(): return within(2000)
def nested(): return within(300)
def recursive(): return recursive()
def stored():
    with torch.device("meta"): return net()
def buffered():
    module = net()
    module.register_buffer("steps", torch.zeros(1, device="meta"))
    return module
def words(): return Sequential(nn.Embedding(50, 4), Linear(4, 50))
def lazy(): return Sequential(Flatten(), nn.LazyLinear(10))
class Asked(Exception): pass
def asked(): raise Asked("for nothing")
def frozen(): return net().requires_grad_(False)
class Told(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = Linear(16, 4)
    def forward(self, x): return {"a": self.linear(x)}
def parts(): return Told()
class Numbers(Told):
    def forward(self, x): return {"a": self.linear(x), "b": 3}
def numbers(): return Numbers()
class Two(Told):
    def forward(self, x, y): return self.linear(x) + y
def two(): return Two()
"""
PLAIN = "train nets:net"
ROW = dict.fromkeys(COLUMNS, "1") | {
    "model": "resnet20-cifar", "shape": "1×3×32×32", "sharing": "none", "batch_norm": "learnable",
    "image_size": "32", "output": "", "reason": "",
}  # fmt: skip


def table(**changes):
    """A file that `rank --save` wrote, with a row of these cells."""
    row = ROW | changes
    return "\n".join([",".join(row), ",".join(row.values())]) + "\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with FILES in it, and a repository of its own without runs."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for name in ("pipe.csv", "pipe.toml", *PIPED):
        os.mkfifo(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "checkout/data/published")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "checkout/data/results")
    monkeypatch.setattr(results, "unrecordable", lambda folder: "")  # which is said besides
    paths.PUBLISHED.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path
    for name in ("nets", "raising", "leaving"):
        sys.modules.pop(name, None)


PIPED = ["piped/config.json", "piped/MNIST/raw/train-images-idx3-ubyte.gz"]
DEEP = "[" * 3000 + "]" * 3000
NAMES = [
    ("audit --only ''", r"--only '' names no place: write it as --only 'thesis, table 4\.4'"),
    ("count", r"Missing argument 'MODEL'"),
    ("count ''", r"unknown model '': `reuseprior models`"),
    ("count ../nets.py", r"unknown model '\.\./nets\.py'"),
    ("count torchvision:resnet", r"torchvision has no classifier 'resnet', did you mean"),
    ("rank", r"Missing argument 'MODEL"),
    *(
        (f"train nets:{name} --output run", sentence)
        for name, sentence in [
            ("fails", r"'nets:fails' cannot be built: RuntimeError\('no weights"),
            ("leaves", r"'nets:leaves' cannot be built: SystemExit\(3\)"),
            ("recursive", r"'nets:recursive' cannot be built: RecursionError"),
            ("asked", r"'nets:asked' cannot be built: Asked\('for nothing'\)"),
            ("lazy", r"parameter 1\.weight of nets:lazy has no shape yet \(a lazy module\)"),
            ("stored", r"1\.weight of the model lies on the meta device and has no values: build"),
            ("buffered", r"steps of the model lies on the meta device and has no values"),
            ("net --sharing layers:all --set width=2", r"width = 2\.0 in protocol 'quick' would"),
            ("net --protocol pipe.toml", r"pipe\.toml .*it is a device or a pipe"),
            ("net --data mnist --root piped", r"-ubyte\.gz cannot be read \(it is a device or"),
        ]
    ),
    ("count nothing:net", r"cannot import 'nothing' for model 'nothing:net'"),
    ("count raising:net", r"cannot import 'raising' .*no disk"),
    ("count leaving:net", r"cannot import 'leaving' .*bye"),
    ("count ..nets:net", r"cannot import '\.\.nets'"),
    ("rank 'nothing*'", r"no model matches 'nothing\*'"),
    ("rank 'nets:*'", r"asks for the models of 'nets', which cannot be listed"),
    ("nothing", r"No such command 'nothing'"),
    ("train nets:frozen --output run", r"no parameter that"),
    (PLAIN.replace("nets:net", "torch.nn:Flatten"), r"Flatten has no parameter that learns: trai"),
    (PLAIN.replace("nets:net", "torch.nn:Identity"), r"the model gives a tensor of \(1, 3, 16, 16"),
    ("train torchvision:resnet18 --set width=0.5 --set bn_momentum=0.1", r"bn_momentum = 0\.1, wid"
     r"th = 0\.5 in protocol 'quick' would do nothing, as torchvision:resnet18 is built without: "
     r"train it with --set bn_momentum=0\.01 --set width=1"),
    ("train resnet20-cifar --set dropout=0.2", r"dropout = 0\.2 in protocol 'quick' would do noth"
     r"ing, as resnet20-cifar is built without: train it with --set dropout=0\.0"),
]  # fmt: skip
SIZES = [
    ("count V2-B0 --image-size 0", r"--image-size.*greater than or equal to 1"),
    ("count V2-B0 --image-size x", r"--image-size.*'x'|--image-size.*valid integer"),
    ("count V2-B0 --image-size 10000", r"--image-size.*less than or equal to 9459"),
    (f"count V2-B0 --image-size 1{'0' * 5000}", r"--image-size"),
    ("count V2-B0 --image-size 32 --shape 1,3,8,8", r"exclude each other: give one of them"),
    ("count V2-B0 --shape 1;3", r"--shape '1;3' is not a list of whole numbers"),
    *(
        (f"count V2-B0 --shape {s}", r"--shape '.*' is not a list of whole numbers: write it as")
        for s in ("1,3,0,4", "1,-3,8,8", ",", "''", "1.0,3,8,8")
    ),
    *(
        (f"{command} --tokens {n}", r"'--tokens': Input should be less than or equal to 268435456")
        for n in (2**28 + 1, 10**20)
        for command in ("count nets:words", "rank hf:gpt2 nets:words")
    ),
    ("count nets:words --shape 1,8", r"it takes token ids, so give --tokens 128; example ids"),
    ("count nets:two --image-size 16", r"an argument may be missing, so name a model of one input"),
    ("count nets:pixels --shape 1,16 --until z", r"Error: --until 'z' is no module of the model"),
    ("count nets:numbers --shape 1,16 --output b", r"return its outputs, or choose them with --"),
    ("count flexibert:256-sa.wma.4.1024x99999", r"with 2 or 4 heads and 1 to 100 hidden layers"),
    ("count V2-B0 --shape 1,3,99999999999,99999999999", r"entries: give at most 268,435,456"),
    ("count V2-B0 --shape 1,268435457", r"has 268,435,457 entries: give at most 268,435,456"),
    (f"count V2-B0 --shape 1,1{'0' * 5000}", r"is not a list of whole numbers|entries"),
    ("count V2-B0 --shape 1,7,32,32", r"failed in stem, .* an input of shape \(1, 7, 32, 32\)"),
    ("count nets:pixels --shape 1,17", r"failed in its forward on an input of shape \(1, 17\)"),
    ("count nets:deep --shape 1,16", r"nested deeper than Python follows|nested deep, so raise"),
    ("count nets:nested --shape 1,16", r"nested deep, so raise Python's limit with sys\.setrec"),
    ("count nets:parts --shape 1,16 --output b", r"The model's output has no part 'b'; it offers"),
    ("count nets:parts --shape 1,16 --output 0", r"has no part 0; it offers"),
    ("count V2-B0 --sharing all", r"unknown sharing 'all', did you mean 'all_but_bn'"),
    ("count V2-B0 --sharing stores:0%", r"a budget of 0 parameters is too small"),
    ("count V2-B0 --sharing stores:1e999%", r"budget '1e999%' is no number: write parameters"),
    ("count V2-B0 --sharing blocks:99999", r"templates is 99999: it must be 1 to 1,000"),
    (f"count V2-B0 --sharing channels:{'9' * 5000}", r"begin with no factor: write how often"),
    ("count V2-B0 --sharing stores:99999999999", r"99,999,999,999 parameters is too large: gi"),
    ("count V2-B0 --batch-norm some", r"'some' is not one of 'learnable', 'all'"),
    ("count hf:gpt2 --tokens 8 --shape 1,8", r"--tokens excludes --shape and"),
    ("count V2-B0 --tokens 8", r"model 'V2-B0' takes no tokens"),
    ("count V2-B0 --embedded", r"'V2-B0' is given no tokens, so that no embeddings can be"),
    ("rank V2-B0 --jobs 0", r"--jobs"),
]
TRAIN = [  # what stands after --set, and the sentence; see also tests/training/test_protocol.py
    ("epochs=0", r"epochs is 0: it must be 1 to 1,000,000,000"),
    ("epochs=\\'2\\'", r"epochs is '2': it must be a whole number"),
    (f"epochs={DEEP}", r"epochs is '\[+\.\.\.: it must be a whole number"),
    ("batch_size=0", r"batch_size is 0: it must be 1 to"),
    ("batch_size=100000000", r"batch_size is 100000000 and there are 1438 training images"),
    ("learning_rate=-1", r"learning_rate is -1: it must be 0 to 1,000,000"),
    (f"learning_rate=1{'0' * 5000}", r"it must be a number"),
    ("optimizer=3", r"optimizer is 3: choose from"),
    ("image_size=99999999", r"image_size is 99999999: it must be 0 to 16,384"),
    ("workers=1000000", r"workers is 1000000: it must be 0 to 1,024"),
    ("precision=float16", r"precision is 'float16'"),
    ("train_images=-1", r"train_images is -1: it must be 0 to"),
    ("train_images=999999", r"too few for a balanced 999,999: ask for at most 1,390"),
    ("validation=0.0001", r"validation is 0\.0001 of 1438 training images, wh"),
    ("validation=1", r"validation = 1\.0 is no share of the training images"),
    ("'name=a;rm'", r"name is 'a;rm': it becomes part of a folder's name"),
    ("'name=\"a\\nb\"'", r"name is 'a\\nb': it must be a text that can be printed"),
    ("cls=1 --set name_or_path=1", r"has an unknown key 'cls'"),
    ("epochs", r"--set 'epochs' is not name=value: write it as --set epochs=2"),
    ("epochs=1 --set epochs=2", r"--set epochs is given twice"),
]
EVOLVE = [  # the rules of presets and spaces are in tests/revolver; here are limits, and --set
    ("population=1", r"population is 1: it must be 2 to 10,000"),
    ("warmup_x=1e9", r"warmup_x is 1000000000\.0: it must be 1 to 1,000"),
    ("population=10000 --set warmup_x=11", r"may ask for 100,000 candidates together at most"),
    ("coefficient_up=1e308", r"coefficient_up is 1e\+308: it must be 1 to 10"),
    ("rates=1", r"rates in .* is 1: write a table \[rates\]"),
    ("rates.colour=1", r"\[rates\] of .* has an unknown key 'colour'"),
    ("space.depths=[100000]", r"depths is \[100000\]: expected `int` <= 1000"),
    ("space.groups=100", r"groups is 100: expected `int` <= 16"),
    ("space.channels=99999999", r"channels is 99999999: expected `int` <= 100000"),
    ("space.kernels=[1001]", r"kernels is \[1001\]: expected `int` <= 101"),
    ("space.image=[3,99999999,4]", r"image is \[3, 99999999, 4\]: expected `int` <= 16384"),
    ("space.convs.conv=1", r"unknown key 'convs\.conv'"),
    ("name=../../../escaped", r"name is '\.\./\.\./\.\./escaped': it becomes part of"),
    (f"name={'a' * 101}", r"at most 100 characters"),
    ("data=letters", r"no data set 'letters': there are digits"),
]
PATHS = [
    ("train nets:net --output ''", r"'--output': it is empty: name a file or folder"),
    ("train V2-B0 --set channels=1", r"the model cannot take images of 1×16×16 \(channels, heig"),
    ("train V2-B0 --blind --output run", r"and validation is 0\.0 of digits: set validation"),
    ("train V2-B0 --blind --set validation=0.1", r"--blind is for comparisons, which have folders"),
    ("train V2-B0 --protocol slow", r"unknown protocol 'slow': choose from affine-vae, bidart, "),
    ("reproduce -p seed", r"-p 'seed' is not name=value: write it as -p seed=1"),
    ("reproduce -p seed=1 -p seed=2", r"-p seed is given twice"),
    ("reproduce --profile slow", r"'slow' is not one of 'quick', 'full'"),
    ("train nets:net --root ''", r"'--root': it is empty"),
    ("record ''", r"it is empty"),
    (f"{PLAIN} --output file/below", r"cannot make the folder file/below \(Not a directory\)"),
    (f"evolve quick --output {'a' * 300}", r"(?i)name too long|shorter"),
    ("rank resnet20-cifar --save folder.csv", r"folder\.csv is a folder: name a file"),
    ("rank resnet20-cifar --save nowhere/a.csv", r"there is no folder nowhere, make it first"),
    (f"rank resnet20-cifar --save {'a' * 300}.csv", r"(?i)name too long|shorter"),
    ("rank resnet20-cifar --save pipe.csv", r"pipe\.csv is a device or a pipe: name a file"),
    ("train nets:net --output a\0b", r"'--output': it holds a NUL"),
    ("record 'a\nb'", r"a b/config\.json does not exist"),
    ("train nets:net --protocol 'a\n\x1b[2Jb.toml'", r"no protocol file a \\x1b\[2Jb\.toml: check"),
    ("export file", r"cannot make the folder file/tables \(Not a directory\): choose another"),
    ("record nowhere", r"nowhere/config\.json does not exist"),
    ("record piped", r"cannot read .*piped/config\.json \(it is a device or a pipe, name a file\)"),
    (f"{PLAIN} --output piped", r"cannot read piped/config\.json \(it is a device or a pipe"),
    ("evolve pipe.toml", r"cannot read pipe\.toml \(.*it is a device or a pipe"),
    (f"{PLAIN} --root nowhere --data imagenet", r"imagenet/train is missing"),
    ("new-study ''", r"it is empty: name a file or folder"),
    ("new-study .", r"\. is a folder: name a notebook in it"),
    ("new-study /", r"/ is a folder: name a notebook in it"),
    (f"new-study {'a' * 300}", r"(?i)name too long|shorter"),
    ("data verify letters", r"no data set 'letters'"),
    ("data", r"nothing to do with the data"),
    ("evolve quick --until '0 minutes'", r"--until '0 minutes' is no limit"),
]
SEEDS = [
    (f"{command} --seed {seed}", r"--seed")
    for command in ("train nets:net", "evolve quick")
    for seed in ("-1", 2**63, "1.5", f"1{'0' * 5000}")
]
NO_TOML = [
    ("nothing.toml", r"there is no {} file nothing\.toml: check the path"),
    ("folder.toml", r"cannot read folder\.toml \(.*directory.*\): mend the file"),
    ("quik", r"unknown {} 'quik', did you mean 'quick'"),
    ("''", r"unknown {} ''"),
    ("../quick", r"unknown {} '\.\./quick'"),
]
TOML = [  # a file of a protocol or a preset, what stands in it, and the sentence
    ("deep", f"epochs = {DEEP}", r"deep\.toml is nested too deep to be read: mend the file"),
    ("torn", "epochs = ", r"cannot read torn\.toml \(.*\): mend the file"),
    ("binary", b"\xff\xfe\x00", r"cannot read binary\.toml \(.*\): mend the file"),
    ("markup", 'name = "<i>a</i>"', r"name is '<i>a</i>': it becomes part of a folder's name"),
    ("key", "epoch = 2", r"key\.toml has an unknown key 'epoch'"),
    ("digits", f"epochs = 1{'0' * 5000}", r"digits\.toml"),
]
PROTOCOLS = [
    ("models", "models = 3", r"models in models\.toml must hold tables"),
]
PRESETS = [
    ("folders", 'name = "a/b"', r"folders\.toml: name is 'a/b': it becomes part of a folder's"),
    ("widths", '[space]\nwidths = "all"', r"widths\.toml: space\.widths is 'all': expected `ar"),
]
SAVED = [  # a file of `rank --save`
    ("columns", "model,score\na,1\n", r"has unknown columns 'score' and no column 'image_size'"),
    ("nan", table(P_G_spread="nan"), r"P_G_spread in line 2 of nan\.csv is nan, not a number"),
    ("huge", table(parameters="1" + "0" * 400), r"parameters in line 2 of huge\.csv is 10+\.\.\.,"),
    ("digits", table(parameters="1" + "0" * 5000), r"2 of digits\.csv is .10+\.\.\., not a num"),
    ("long", table(model="a" * 200_000), r"long\.csv is no table \(field larger than field limit"),
    ("binary", b"\xff\xfe\x00", r"binary\.csv is not text"),
    ("empty", "", r"empty\.csv has no column"),
    ("number", table(model="7"), r"model in line 2 of number\.csv is 7, not a text"),
]
FILES = {  # None is a folder
    "nets.py": NETS,
    "raising.py": "raise OSError('no disk')\n",
    "leaving.py": "raise SystemExit('bye')\n",
    "file": "text",
    "piped/MNIST/raw/note": "",
    **dict.fromkeys(("folder.toml", "folder.csv")),
    **{f"{name}.toml": text for name, text, _ in (*TOML, *PROTOCOLS, *PRESETS)},
    **{f"{name}.csv": text for name, text, _ in SAVED},
}
TABLE = [
    *NAMES,
    *SIZES,
    *PATHS,
    *SEEDS,
    *((f"{PLAIN} --output run --set {s}", sentence) for s, sentence in TRAIN),
    *((f"evolve quick --output run --set {s}", sentence) for s, sentence in EVOLVE),
    *((f"train nets:net --protocol {f}", s.format("protocol")) for f, s in NO_TOML),
    *((f"evolve {f}", s.format("preset")) for f, s in NO_TOML),
    *((f"train nets:net --protocol {f}.toml", s) for f, _, s in (*TOML, *PROTOCOLS)),
    *((f"evolve {f}.toml", s) for f, _, s in (*TOML, *PRESETS)),
    *((f"rank resnet20-cifar --save {f}.csv", sentence) for f, _, sentence in SAVED),
]


@pytest.mark.parametrize(("arguments", "sentence"), TABLE, ids=[a[:60] for a, _ in TABLE])
def test_bad_input_is_one_sentence(here, arguments, sentence):
    before = set(here.rglob("*"))
    refused(run(*shlex.split(arguments)), sentence)
    made = {path.name for path in set(here.rglob("*")) - before}
    assert not made & {"config.json", "metrics.csv", "summary.json"}
    assert not (here.parent / "escaped-seed0").exists()
    assert (here / "file").read_text() == FILES["file"]
