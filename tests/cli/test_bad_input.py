"""Bad input of every kind, at the command line: one sentence that says what to mend, no traceback.

A line of a table is what stands after `reuseprior` and what the sentence says. Files are made in
the current folder first, by `FILES`.
"""

import os
import re
import shlex
import sys

import pytest
from typer.testing import CliRunner

from reuseprior import paths
from reuseprior.cli import app
from reuseprior.measures.ranking import COLUMNS

NETS = """
import sys
import torch
from torch import nn
from torch.nn import Flatten, Linear, Sequential, Conv2d

text = "no model"
def net(): return Sequential(Flatten(), Linear(768, 10))
def pixels(): return Linear(16, 4)
def needs(width): return Linear(width, 4)
def nothing(): return None
def fails(): raise RuntimeError("no weights\\nat my/path")
def leaves(): sys.exit(3)
def deep():
    module = Linear(16, 4)
    for _ in range(2000):
        module = Sequential(module)
    return module
def nested():
    module = Linear(16, 4)
    for _ in range(300):
        module = Sequential(module)
    return module
def recursive(): return recursive()
def frozen(): return net().requires_grad_(False)
class Odd(Linear):
    def forward(self, x): raise KeyError("weights")
def odd(): return Odd(16, 4)
class Told(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = Linear(16, 4)
    def forward(self, x): return {"a": self.linear(x)}
def parts(): return Told()
"""
PLAIN = "train nets:net --set bn_momentum=0.01 --set width=1"  # for what `quick` would set in vain
ROW = dict.fromkeys(COLUMNS, "1") | {
    "model": "resnet20-cifar", "shape": "1×3×32×32", "sharing": "none", "batch_norm": "learnable",
    "image_size": "32", "output": "", "reason": "",
}  # fmt: skip


def table(**changes):
    """A file that `rank --save` wrote, with a row of these cells."""
    row = ROW | changes
    return "\n".join([",".join(row), ",".join(row.values())]) + "\n"


DEEP = "[" * 3000 + "]" * 3000
FILES = {
    "nets.py": NETS,
    "broken.py": "def net(:\n",
    "raising.py": "raise OSError('no disk')\n",
    "leaving.py": "raise SystemExit('bye')\n",
    "deep.toml": f"epochs = {DEEP}",
    "torn.toml": "epochs = ",
    "binary.toml": b"\xff\xfe\x00",
    "range.toml": "epochs = 0",
    "type.toml": 'epochs = "two"',
    "key.toml": "epoch = 2",
    "name.toml": 'name = "../up"',
    "markup.toml": 'name = "<i>a</i>"',
    "long.toml": f'name = "{"a" * 300}"',
    "huge.toml": "learning_rate = 1e300",
    "digits.toml": f"epochs = 1{'0' * 5000}",
    "models.toml": "models = 3",
    "search.toml": "population = 1",
    "searchname.toml": 'name = "a/b"',
    "space.toml": "space = 3",
    "widths.toml": '[space]\nwidths = "all"',
    "folder.toml": None,
    "columns.csv": "model,score\na,1\n",
    "cells.csv": table() + "a,b\n",
    "nan.csv": table(P_G_spread="nan"),
    "inf.csv": table(P_G_spread="inf"),
    "text.csv": table(entropy="much"),
    "huge.csv": table(parameters="1" + "0" * 400),
    "digits.csv": table(parameters="1" + "0" * 5000),
    "long.csv": table(model="a" * 200_000),
    "binary.csv": b"\xff\xfe\x00",
    "empty.csv": "",
    "number.csv": table(model="7"),
    "folder.csv": None,
    "file": "text",
    "a/folder": None,
}


def invoke(arguments):
    return CliRunner().invoke(app, shlex.split(arguments))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with FILES in it, and a repository of its own without runs."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.mkfifo(tmp_path / "pipe.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "checkout/data/published")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "checkout/data/results")
    paths.PUBLISHED.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path
    for name in ("nets", "broken", "raising", "leaving"):
        sys.modules.pop(name, None)


def one_sentence(done, sentence):
    """That a command ended with exit code 2 (or 1) and one line that says this."""
    assert done.exit_code in (1, 2), done.output
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].isprintable(), lines[0]
    assert re.search(sentence, lines[0]), lines[0]


NAMES = [
    ("count", r"Missing argument 'MODEL'"),
    ("count ''", r"unknown model '': `reuseprior models`"),
    ("count v2b0", r"unknown model 'v2b0', did you mean"),
    ("count ' V2-B0'", r"unknown model ' V2-B0', did you mean"),
    ("count ../nets.py", r"unknown model '\.\./nets\.py'"),
    ("count /etc/passwd", r"unknown model '/etc/passwd'"),
    ("count '<b>V2-B0</b>'", r"unknown model '<b>V2-B0</b>'"),
    ("count torchvision:", r"torchvision has no classifier ''"),
    ("count torchvision:resnet", r"torchvision has no classifier 'resnet', did you mean"),
    ("count nas-bench-201:x", r"'x' is no cell of NAS-Bench-201: write six digits"),
    ("count nas-bench-macro:99999999", r"'99999999' is no network of NAS-Bench-Macro"),
    ("count nets:", r"module 'nets' has no ''"),
    ("count nets:nett", r"module 'nets' has no 'nett', did you mean 'net'"),
    ("count nets:text", r"model 'nets:text' is a str: it must be a callable"),
    ("count nets:needs", r"model 'nets:needs' needs arguments"),
    ("count nets:nothing", r"model 'nets:nothing' returned a NoneType: it must return"),
    ("count nets:fails", r"'nets:fails' cannot be built: RuntimeError\('no weights"),
    ("count nets:leaves", r"'nets:leaves' cannot be built: SystemExit\(3\)"),
    ("count nets:recursive", r"'nets:recursive' cannot be built: RecursionError"),
    ("count nothing:net", r"cannot import 'nothing' for model 'nothing:net'"),
    ("count broken:net", r"cannot import 'broken' .*invalid syntax"),
    ("count raising:net", r"cannot import 'raising' .*no disk"),
    ("count leaving:net", r"cannot import 'leaving' .*bye"),
    ("count :net", r"cannot import ''"),
    ("count ..nets:net", r"cannot import '\.\.nets'"),
    ("rank 'nothing*'", r"no model matches 'nothing\*'"),
    ("rank 'nets:*'", r"asks for the models of 'nets', which cannot be listed"),
    ("nothing", r"No such command 'nothing'"),
    ("train nets:frozen --set bn_momentum=0.01 --set width=1 --output run", r"no parameter that"),
]
SIZES = [
    ("count V2-B0 --image-size 0", r"--image-size.*greater than or equal to 1"),
    ("count V2-B0 --image-size -5", r"--image-size.*greater than or equal to 1"),
    ("count V2-B0 --image-size x", r"--image-size.*'x'|--image-size.*valid integer"),
    ("count V2-B0 --image-size 1.5", r"--image-size"),
    ("count V2-B0 --image-size 10000", r"--image-size.*less than or equal to 9459"),
    ("count V2-B0 --image-size 99999999999", r"--image-size.*less than or equal to 9459"),
    (f"count V2-B0 --image-size 1{'0' * 5000}", r"--image-size"),
    ("count V2-B0 --image-size 32 --shape 1,3,8,8", r"exclude each other: give one of them"),
    ("count V2-B0 --shape ''", r"--shape '' is not a list of whole numbers"),
    ("count V2-B0 --shape 1;3", r"--shape '1;3' is not a list of whole numbers"),
    ("count V2-B0 --shape 1,3,-4,4", r"is not a tuple of positive integers"),
    ("count V2-B0 --shape 1,3,0,4", r"is not a tuple of positive integers"),
    ("count V2-B0 --shape 1,3,1e3,4", r"is not a list of whole numbers"),
    ("count V2-B0 --shape 1,3,99999999999,99999999999", r"entries: give at most 268,435,456"),
    ("count V2-B0 --shape 1,268435457", r"has 268,435,457 entries: give at most 268,435,456"),
    (f"count V2-B0 --shape 1,1{'0' * 5000}", r"is not a list of whole numbers|entries"),
    (
        "count V2-B0 --shape 1,7,32,32",
        r"The model failed in stem, .* on an input of shape \(1, 7, 32, 32\)",
    ),
    (
        "count nets:pixels --shape 1,17",
        r"The model failed in its forward on an input of shape \(1, 17\)",
    ),
    ("count nets:odd --shape 1,16", r"The model failed in its forward .*\(KeyError: 'weights'\)"),
    ("count nets:deep --shape 1,16", r"nested deeper than Python follows|nested deep, so raise"),
    ("count nets:nested --shape 1,16", r"nested deep, so raise Python's limit with sys\.setrec"),
    ("count nets:parts --shape 1,16 --output b", r"The model's output has no part 'b'; it offers"),
    ("count nets:parts --shape 1,16 --output 0", r"has no part 0; it offers"),
    ("count V2-B0 --sharing all", r"unknown sharing 'all', did you mean 'all_but_bn'"),
    ("count V2-B0 --sharing ''", r"unknown sharing ''"),
    ("count V2-B0 --sharing stores:", r"budget '' is no number: write parameters, as"),
    ("count V2-B0 --sharing stores:0%", r"a budget of 0 parameters is too small"),
    ("count V2-B0 --sharing stores:1e999%", r"budget '1e999%' is no number: write parameters"),
    ("count V2-B0 --sharing channels:x", r"channels 'x' begin with no factor: write how often"),
    (
        "count V2-B0 --sharing channels:0",
        r"the factor is 0: filters repeat a whole number of times",
    ),
    ("count V2-B0 --sharing blocks:x", r"blocks:x has no number of templates"),
    ("count V2-B0 --sharing blocks:0", r"templates is 0: it must be 1 to 1,000"),
    ("count V2-B0 --sharing blocks:99999", r"templates is 99999: it must be 1 to 1,000"),
    (f"count V2-B0 --sharing blocks:{'9' * 5000}", r"9 has no number of templates: write it"),
    (f"count V2-B0 --sharing channels:{'9' * 5000}", r"begin with no factor: write how often"),
    (f"count V2-B0 --sharing stores:{'9' * 5000}", r"9' is no number: write parameters, as 50"),
    (f"count V2-B0 --sharing stores:{'9' * 400}%", r"9%' is no number: write parameters, as"),
    ("count V2-B0 --sharing stores:99999999999", r"99,999,999,999 parameters is too large: gi"),
    ("count V2-B0 --sharing stores:10%,templates=2000", r"templates is 2000: it must be 1 to 1,"),
    ("count V2-B0 --batch-norm some", r"--batch-norm"),
    ("rank V2-B0 --jobs 0", r"--jobs"),
    ("rank V2-B0 --jobs many", r"--jobs"),
]
TRAIN = [  # what stands after --set, and the sentence
    ("epochs=0", r"epochs is 0: it must be 1 to 1,000,000,000"),
    ("epochs=1e3", r"epochs is 1000\.0: it must be a whole number"),
    ("epochs=99999999999", r"epochs is 99999999999: it must be 1 to"),
    ("epochs=true", r"epochs is True: it must be a whole number"),
    ("epochs=\\'2\\'", r"epochs is '2': it must be a whole number"),
    ("epochs=[1]", r"epochs is \[1\]: it must be a whole number"),
    ("epochs=two", r"epochs is 'two': it must be a whole number"),
    (f"epochs={DEEP}", r"epochs is '\[+\.\.\.: it must be a whole number"),
    ("batch_size=0", r"batch_size is 0: it must be 1 to"),
    ("batch_size=100000000", r"batch_size is 100000000 and there are 1438 training images"),
    ("learning_rate=-1", r"learning_rate is -1: it must be 0 to 1,000,000"),
    ("learning_rate=nan", r"learning_rate is nan: it must be 0 to 1,000,000, and finite"),
    ("learning_rate=inf", r"learning_rate is inf: it must be 0 to 1,000,000, and finite"),
    ("learning_rate=1e300", r"learning_rate is 1e\+300: it must be 0 to 1,000,000"),
    ("learning_rate=high", r"learning_rate is 'high': it must be a number"),
    ("momentum=1.5", r"momentum is 1\.5: it must be 0 to 1"),
    ("gradient_clip=1e99", r"gradient_clip is 1e\+99: it must be 0 to 1,000,000"),
    ("optimizer=adam", r"optimizer is 'adam', did you mean 'adamw'"),
    ("optimizer=3", r"optimizer is 3: choose from"),
    ("schedule=steps", r"schedule is 'steps', step_epochs 0\.0"),
    ("stages=2", r"stages is 2, start_image_size 0"),
    ("stages=1000000", r"stages is 1000000: it must be 1 to 10,000"),
    ("image_size=99999999", r"image_size is 99999999: it must be 0 to 16,384"),
    ("channels=99999999", r"channels is 99999999: it must be 1 to 100,000"),
    ("workers=1000000", r"workers is 1000000: it must be 0 to 1,024"),
    ("compile=1", r"compile is 1: it must be true or false"),
    ("precision=float16", r"precision is 'float16'"),
    ("train_images=-1", r"train_images is -1: it must be 0 to"),
    ("train_images=999999", r"too few for a balanced 999,999: ask for at most 1,390"),
    ("validation=1", r"validation = 1\.0 is no share of the training images"),
    ("name=..", r"name is '\.\.': it becomes part of a folder's name"),
    ("name=a/b", r"name is 'a/b': it becomes part of a folder's name"),
    ("name=/a", r"name is '/a': it becomes part of a folder's name"),
    ("name=", r"name is '': it becomes part of a folder's name"),
    ("'name=<b>a</b>'", r"name is '<b>a</b>': it becomes part of a folder's name"),
    ("'name=a;rm'", r"name is 'a;rm': it becomes part of a folder's name"),
    ("'name=\"a\\nb\"'", r"name is 'a\\nb': it must be a text that can be printed"),
    ("colour=1", r"what was set has an unknown key 'colour'"),
    ("epochs", r"--set 'epochs' is not name=value"),
    ("=1", r"unknown key ''"),
]
EVOLVE = [
    ("population=1", r"population is 1: it must be 2 to 10,000"),
    ("population=1000000000", r"population is 1000000000: it must be 2 to 10,000"),
    ("population=true", r"population is True: it must be a whole number"),
    ("warmup_x=1e9", r"warmup_x is 1000000000\.0: it must be 1 to 1,000"),
    ("population=10000 --set warmup_x=11", r"may ask for 100,000 candidates together at most"),
    ("sample=99", r"sample is 99 and population 12: train at most the whole"),
    ("replacements=12", r"replacements is 12 and population 12: replace fewer"),
    ("maximum_batches=1", r"maximum_batches is 1 and minimum_batches"),
    ("learning_rate=1e300", r"learning_rate is 1e\+300: it must be 1e-09 to 1,000,000"),
    ("minimum_learning_rate=1000", r"minimum_learning_rate is 1000\.0 and learning_rate"),
    ("coefficient_up=1e308", r"coefficient_up is 1e\+308: it must be 1 to 10"),
    ("size_penalty=1e308", r"size_penalty is 1e\+308: it must be 0 to 1,000,000"),
    ("genotype_coefficient=inf", r"genotype_coefficient is inf: it must be"),
    ("explore=2", r"explore is 2: it must be 0 to 1"),
    ("mode=grow", r"mode is 'grow'"),
    ("rates=1", r"rates in .* is 1: write a table \[rates\]"),
    ("rates.mutation=2", r"rates\.mutation is 2: it must be 0 to 1"),
    ("rates.colour=1", r"\[rates\] of .* has an unknown key 'colour'"),
    ("space=1", r"space in .* is 1: write a table \[space\]"),
    ("space.depths=[100000]", r"depths is \(100000,\): give 1 to 1,000"),
    ("space.depths=[-10]", r"depths is \(-10,\): give 1 to 1,000"),
    ("space.depths=[]", r"the search space has no depths: give at least one"),
    ("\"space.depths=['a']\"", r"space\.depths is \['a'\]: give a value of the kind"),
    ("space.depths=10", r"space\.depths is 10: give a value of the kind"),
    ("space.groups=100", r"groups is 100: give 1 to 16"),
    ("space.groups=0", r"groups is 0: give 1 to 16"),
    ("space.channels=99999999", r"channels is 99999999: give 1 to 100,000"),
    ("space.widths=[0]", r"widths is \(0,\): give 1 to 1,000"),
    ("space.kernels=[2]", r"kernels hold 2: give odd sizes"),
    ("space.kernels=[1001]", r"kernels is \(1001,\): give 1 to 101"),
    ("space.drops=[nan]", r"drops hold nan: give probabilities from 0 to 1"),
    ("space.drops=[2.0]", r"drops hold 2\.0: give probabilities from 0 to 1"),
    ("space.momentum=[0.9,0.1]", r"momentum is \(0\.9, 0\.1\): give the lowest and the highest"),
    ("space.unique=7.0", r"unique is 7\.0: give a probability"),
    ("\"space.schemes=['vgg']\"", r"schemes of the search space are \['vgg'\]: give some of"),
    ("space.image=[3,99999999,4]", r"image is \(3, 99999999, 4\): give 1 to 16,384"),
    ("space.colour=1", r"unknown key 'colour'"),
    ("space.convs.conv=1", r"unknown key 'convs\.conv'"),
    ("name=../../../escaped", r"name is '\.\./\.\./\.\./escaped': it becomes part of"),
    ("name=/escaped", r"name is '/escaped': it becomes part of a folder's name"),
    ("'name=<b>x</b>'", r"name is '<b>x</b>': it becomes part of a folder's name"),
    (f"name={'a' * 101}", r"at most 100 characters"),
    ("data=letters", r"no data set 'letters': there are digits"),
]
PATHS = [
    ("train nets:net --output ''", r"'--output': it is empty: name a file or folder"),
    ("train nets:net --output ' '", r"'--output': it is empty"),
    ("train nets:net --root ''", r"'--root': it is empty"),
    ("evolve quick --output ''", r"'--output': it is empty"),
    ("rank V2-B0 --save ''", r"'--save': it is empty"),
    ("record ''", r"it is empty"),
    ("data verify digits --root ''", r"'--root': it is empty"),
    ("evolve quick --output file", r"cannot make the folder file \(File exists\)"),
    ("evolve quick --output file/below", r"cannot make the folder file/below \(Not a directory\)"),
    (f"evolve quick --output {'a' * 300}", r"(?i)name too long|shorter"),
    ("evolve quick --output /proc/run", r"cannot make the folder /proc/run"),
    ("rank resnet20-cifar --save folder.csv", r"folder\.csv is a folder: name a file"),
    ("rank resnet20-cifar --save nowhere/a.csv", r"there is no folder nowhere, make it first"),
    (f"rank resnet20-cifar --save {'a' * 300}.csv", r"(?i)name too long|shorter"),
    ("rank resnet20-cifar --save pipe.csv", r"pipe\.csv is a device or a pipe: name a file"),
    ("rank resnet20-cifar --save /dev/zero", r"/dev/zero is a device or a pipe: name a file"),
    ("train nets:net --output a\0b", r"'--output': it holds a NUL"),
    ("record 'a\nb'", r"a b/config\.json does not exist"),
    ("train nets:net --protocol 'a\n\x1b[2Jb.toml'", r"no protocol file a \\x1b\[2Jb\.toml: check"),
    ("export file", r"cannot make the folder file/tables \(Not a directory\): choose another"),
    ("record nowhere", r"nowhere/config\.json does not exist"),
    ("record file", r"file/config\.json"),
    ("record a/folder", r"a/folder/config\.json does not exist"),
    (f"{PLAIN} --root nowhere --data imagenet", r"imagenet/train is missing"),
    (f"{PLAIN} --root file --data imagenet", r"imagenet/train is missing"),
    (f"{PLAIN} --data letters", r"no data set 'letters'"),
    ("new-study ''", r"it is empty: name a file or folder"),
    ("new-study .", r"\. is a folder: name a notebook in it"),
    ("new-study ..", r"\.\. is a folder: name a notebook in it"),
    ("new-study /", r"/ is a folder: name a notebook in it"),
    ("new-study nowhere/a", r"nowhere"),
    ("new-study file/a", r"file"),
    (f"new-study {'a' * 300}", r"(?i)name too long|shorter"),
    ("data verify letters", r"no data set 'letters'"),
    ("data", r"nothing to do with the data"),
    ("evolve quick --until forever", r"--until 'forever' is no limit"),
    ("evolve quick --until '0 minutes'", r"--until '0 minutes' is no limit"),
    ("evolve quick --until 'nan minutes'", r"--until 'nan minutes' is no limit"),
    ("evolve quick --until '1e999 minutes'", r"is no limit"),
]
SEEDS = [
    (f"{command} --seed {seed}", r"--seed")
    for command in ("train nets:net", "evolve quick")
    for seed in (
        "-1",
        "18446744073709551616",
        "9223372036854775808",
        "1.5",
        "one",
        "1" + "0" * 5000,
    )
]
TOML = [
    ("nothing.toml", r"there is no {} file nothing\.toml: check the path"),
    ("deep.toml", r"deep\.toml is nested too deep to be read: mend the file"),
    ("torn.toml", r"cannot read torn\.toml \(.*\): mend the file"),
    ("binary.toml", r"cannot read binary\.toml \(.*\): mend the file"),
    ("folder.toml", r"cannot read folder\.toml \(.*directory.*\): mend the file"),
    ("name.toml", r"name\.toml: name is '\.\./up': it becomes part of a folder's name"),
    ("markup.toml", r"markup\.toml: name is '<i>a</i>': it becomes part of a folder's name"),
    ("long.toml", r"at most 100 characters"),
    ("huge.toml", r"huge\.toml: learning_rate is 1e\+300"),
    ("key.toml", r"key\.toml has an unknown key 'epoch'"),
    ("digits.toml", r"digits\.toml"),
    ("quik", r"unknown {} 'quik', did you mean 'quick'"),
    ("''", r"unknown {} ''"),
    ("../quick", r"unknown {} '\.\./quick'"),
]
OF_ONE = [
    ("train nets:net --protocol range.toml", r"range\.toml: epochs is 0: it must be 1 to"),
    ("train nets:net --protocol type.toml", r"type\.toml: epochs is 'two': it must be a whole"),
    ("train nets:net --protocol models.toml", r"models in models\.toml must hold tables"),
    ("evolve search.toml", r"search\.toml: population is 1: it must be 2 to 10,000"),
    ("evolve searchname.toml", r"searchname\.toml: name is 'a/b': it becomes part of a folder's"),
    ("evolve space.toml", r"space in space\.toml is 3: write a table \[space\]"),
    ("evolve widths.toml", r"widths\.toml: space\.widths is 'all': give a value of the kind"),
]
SAVED = [
    ("columns.csv", r"columns\.csv has unknown columns 'score' and no column 'image_size'"),
    ("cells.csv", r"cells\.csv has 2 cells in line 3"),
    ("nan.csv", r"P_G_spread in line 2 of nan\.csv is nan, not a number"),
    ("inf.csv", r"P_G_spread in line 2 of inf\.csv is inf, not a number"),
    ("text.csv", r"entropy in line 2 of text\.csv is 'much', not a number"),
    ("huge.csv", r"parameters in line 2 of huge\.csv is 10+\.\.\., not a number"),
    ("digits.csv", r"parameters in line 2 of digits\.csv is .10+\.\.\., not a number"),
    ("long.csv", r"long\.csv is no table \(field larger than field limit"),
    ("binary.csv", r"binary\.csv is not text"),
    ("empty.csv", r"empty\.csv has no column"),
    ("number.csv", r"model in line 2 of number\.csv is 7, not a text"),
]
TABLE = [
    *NAMES,
    *SIZES,
    *PATHS,
    *SEEDS,
    *((f"{PLAIN} --output run --set {s}", sentence) for s, sentence in TRAIN),
    *((f"evolve quick --output run --set {s}", sentence) for s, sentence in EVOLVE),
    *((f"train nets:net --protocol {f}", s.format("protocol")) for f, s in TOML),
    *((f"evolve {f}", s.format("preset")) for f, s in TOML),
    *OF_ONE,
    *((f"rank resnet20-cifar --save {f}", sentence) for f, sentence in SAVED),
]


def test_the_table_is_long():
    assert len({arguments for arguments, _ in TABLE}) == len(TABLE) >= 150


@pytest.mark.parametrize(("arguments", "sentence"), TABLE, ids=[a[:60] for a, _ in TABLE])
def test_bad_input_is_one_sentence(here, arguments, sentence):
    before = {path for path in here.rglob("*") if "cache" not in path.parts}
    done = invoke(arguments)
    one_sentence(done, sentence)
    made = {path.name for path in here.rglob("*") if "cache" not in path.parts} - {
        path.name for path in before
    }
    assert not made & {"config.json", "metrics.csv", "summary.json"}
    assert not (here.parent / "escaped-seed0").exists()
