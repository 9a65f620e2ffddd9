"""Recorded runs: whole files, resumptions, provenance, and one sentence for what is wrong."""

import itertools
import json
import math
import shutil
import subprocess

import pytest
import torch

from reuseprior import __version__, files, paths, results, schemas
from reuseprior.results import Recording, ResultError, Run
from reuseprior.training import finished

CONFIG = {"protocol": {"lr": 0.016, "epochs": 3}, "seed": 1, "shape": (3, 32, 32)}


def row(epoch):
    return {"epoch": epoch, "loss": 1 / (epoch + 3), "note": None}


def record(folder, rows=2, resume=False, config=CONFIG):
    recording = Recording.start(folder, config, resume=resume)
    for epoch in range(rows):
        recording.append(row(epoch))
    return recording


def test_a_finished_run_is_read_back(tmp_path):
    finished = record(tmp_path / "e" / "b0-seed1").finish({"accuracy": 0.5})
    (run,) = results.runs("e", tmp_path)
    assert run.name == finished.name == "b0-seed1"
    assert run.folder == tmp_path / "e" / "b0-seed1"
    assert run.config == CONFIG | {"shape": [3, 32, 32]}
    assert run.metrics["loss"].tolist() == [1 / 3, 1 / 4]
    assert run.metrics["epoch"].tolist() == [0, 1] and run.metrics["note"].isna().all()
    assert run.summary.items() >= {"accuracy": 0.5, "state": "finished"}.items()
    assert list(run.summary)[:4] == ["state", "start", "end", "wall_seconds"]
    assert run.summary["start"] <= run.summary["end"]
    files = {"config.json", "metrics.csv", "summary.json"}
    assert {path.name for path in run.folder.iterdir()} == files


def test_a_run_without_its_end_says_so(tmp_path):
    recording = Recording.start(tmp_path, CONFIG, resume=False)
    run = Run.read(tmp_path)
    assert (run.summary["state"], len(run.metrics)) == ("interrupted", 0)
    recording.finish({"why": "SIGTERM"}, state="interrupted")
    summary = Run.read(tmp_path).summary
    assert (summary["state"], summary["why"]) == ("interrupted", "SIGTERM")


def test_resume_takes_up_rows_start_and_seconds(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(results.time, "monotonic", lambda: clock[0])
    first = Recording.start(tmp_path, CONFIG, resume=True)  # nothing there yet: starts
    clock[0] = 10
    for epoch in range(3):
        first.append(row(epoch))
    written = (tmp_path / "metrics.csv").read_bytes()
    start = Run.read(tmp_path).summary["start"]

    second = Recording.start(tmp_path, CONFIG, resume=True)
    assert second.rows == [row(0), row(1), row(2)]
    with pytest.raises(ResultError, match="holds 3 rows and the checkpoint comes after row 4: "):
        second.truncate(4)
    second.truncate(1)
    assert len(Run.read(tmp_path).metrics) == 1
    second.append(row(1))
    second.append(row(2))
    assert (tmp_path / "metrics.csv").read_bytes() == written
    clock[0] = 15
    summary = second.finish({}).summary
    assert (summary["start"], summary["wall_seconds"]) == (start, 15)
    resumed = Recording.start(tmp_path, CONFIG, resume=True)
    resumed.truncate(0)
    assert resumed.rows == []
    resumed.append({"generation": 1})
    assert Run.read(tmp_path).metrics.to_dict("list") == {"generation": [1]}


def test_a_run_is_not_overwritten_nor_taken_up_by_another_configuration(tmp_path):
    recording = record(tmp_path)
    for config, sentence in (
        (CONFIG | {"seed": 2}, "started with seed = 1 and this one has 2: resume with the same"),
        (CONFIG | {"protocol": {"lr": 0.1, "epochs": 3}}, r"protocol\.lr = 0\.016 and this one ha"),
        (CONFIG | {"protocol": None}, r'protocol = {"lr": 0\.016, "epochs": 3} and this one has n'),
        (CONFIG | {"ema": True}, "ema = nothing and this one has true"),
        (CONFIG | {"seed": True}, "seed = 1 and this one has true"),
        (CONFIG | {"seed": 1.0}, r"seed = 1 and this one has 1\.0"),
        ({"seed": 1}, r'protocol = {"lr": 0\.016, "epochs": 3} and this one has nothing'),
    ):
        with pytest.raises(ResultError, match=sentence):
            Recording.start(tmp_path, config, resume=True)
    with pytest.raises(ResultError, match="holds a run already: continue it with --resume, or "):
        Recording.start(tmp_path, CONFIG, resume=False)
    with pytest.raises(ValueError, match=r"are epoch, loss, note, and this row has epoch, los: "):
        recording.append({"epoch": 2, "los": 0.1})  # the first row has fixed the columns
    assert len(Run.read(tmp_path).metrics) == 2


CELLS = [0, -7, 10**20, 0.1, 1 / 3, 1e-300, 1e22, math.inf, "V2-B0", "007", "1_0", 'a,"b"\nc', None]


def test_cells_round_trip(tmp_path):
    recording = Recording.start(tmp_path, {}, resume=False)
    recording.append({str(i): value for i, value in enumerate(CELLS)})
    (back,) = Recording.start(tmp_path, {}, resume=True).rows
    assert list(map(repr, back.values())) == list(map(repr, CELLS))


BROKEN = [  # file, its content (None: no file), the sentence
    ("config.json", None, r"config\.json does not exist: name the folder of a recorded run"),
    ("summary.json", '{"state": "fin', r"summary\.json is not whole JSON \(.*truncated"),
    ("summary.json", "{}", r"summary\.json does not hold what it should \(Object missing requi"),
    ("config.json", f"{'[' * 10**5}{']' * 10**5}", r"config\.json is nested too deep to be read: "),
    ("summary.json", b"\xff\xfe", r"summary\.json is not text"),
    ("metrics.csv", "epoch,loss\n0,0.5\n1\n", r"has 1 cells in line 3 and 2 columns: restore it"),
]


@pytest.mark.parametrize(("file", "content", "sentence"), BROKEN)
def test_a_broken_file_is_one_sentence(tmp_path, file, content, sentence):
    record(tmp_path).finish({})
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ResultError, match=sentence):
        Run.read(tmp_path)


def test_runs_come_by_name_and_an_unknown_experiment_lists_the_known_ones(tmp_path):
    with pytest.raises(ResultError, match=r"'tbale' in .*: there are none of any yet"):
        results.runs("tbale", tmp_path)
    for name in ("table/seed2", "table/seed0", "table/seed1", "figure/a"):
        record(tmp_path / name)
    (tmp_path / "notes" / "no-run").mkdir(parents=True)
    with pytest.raises(ResultError, match=r"experiment 'tbale' in .*: there are figure, table$"):
        results.runs("tbale", tmp_path)
    assert [run.name for run in results.runs("table", tmp_path)] == ["seed0", "seed1", "seed2"]


def test_finished_runs_of_a_pattern_are_read_and_stand_in_one_table(tmp_path):
    assert results.finished_runs("e*", tmp_path) == [] and results.table([]).empty
    record(tmp_path / "e-2" / "a").finish({"accuracy": 0.5, "protocol": "said in short"})
    record(tmp_path / "e-1" / "b", config=CONFIG | {"width": 2}).finish({"accuracy": 0.25})
    for name in ("e-1/interrupted", "f/other"):
        record(tmp_path / name)
    found = results.finished_runs("e-*", tmp_path)
    table = results.table(found)
    assert list(table.index) == ["e-1/b", "e-2/a"] and list(table.run) == found
    assert table["protocol.epochs"].tolist() == [3, 3]
    assert table.accuracy.tolist() == [0.25, 0.5] and table.width.isna().tolist() == [False, True]


def test_json_is_strict_and_keeps_its_order(tmp_path):
    results.write_json(tmp_path / "x.json", {"β": 1, "a": [True, None]})
    text = '{\n  "β": 1,\n  "a": [\n    true,\n    null\n  ]\n}\n'
    assert (tmp_path / "x.json").read_bytes().decode() == text
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"x\.json cannot hold this value .*: write null"):
            results.write_json(tmp_path / "x.json", {"loss": value})
    assert results.read_json(tmp_path / "x.json")["β"] == 1


def test_provenance_names_what_made_the_numbers():
    found = results.provenance(seed=3, device="cpu", data_checksum="ab")
    assert found["device"] and found.items() >= {
        "seed": 3, "data_checksum": "ab", "reuseprior": __version__, "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
    }.items()  # fmt: skip
    assert {"python", "torchvision", "accelerate", "platform"} <= found.keys()
    json.dumps(found, allow_nan=False)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def committed(folder, text):
    """Commit a package whose `results.py` says this, in a repository that may be there."""
    (folder / "reuseprior").mkdir(exist_ok=True)
    (folder / "reuseprior" / "results.py").write_text(text)
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "a")


def test_the_commit_is_dirty_by_code_and_not_by_results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path.resolve())
    places = map(str, itertools.count())

    def commit():
        Recording.start(tmp_path / "runs" / next(places), {}, resume=False)
        (found,) = Run.read(max((tmp_path / "runs").iterdir(), key=lambda p: int(p.name))).commits
        return found

    assert commit() is None and results._is_here("a1")  # nobody can tell
    git(tmp_path, "init")
    assert commit() is None  # nothing committed yet
    committed(tmp_path, "")
    clean = commit()
    assert len(clean) == 40
    assert results._is_here(clean[:7]) and not results._is_here("a1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metrics.csv").write_text("")
    assert commit() == clean
    (tmp_path / "reuseprior" / "b.py").write_text("")
    assert commit() == f"{clean}-dirty"
    monkeypatch.setattr(paths, "ROOT", tmp_path.resolve() / "reuseprior")  # inside a repository
    assert commit() is None
    monkeypatch.setenv("PATH", "")
    assert commit() is None


def test_every_process_that_goes_on_with_a_run_adds_its_commit_at_its_start(tmp_path, monkeypatch):
    at = ["a1"]
    monkeypatch.setattr(results, "commit", lambda: at[0])
    recording = Recording.start(tmp_path, {}, resume=False)
    at[0] = "b2"  # somebody commits while it runs
    recording.append({"epoch": 1})
    assert Run.read(tmp_path).commits == ["a1"]
    Recording.start(tmp_path, {}, resume=True)  # killed before its first row
    at[0] = "a1"
    finished = Recording.start(tmp_path, {}, resume=True).finish({})
    assert finished.commits == ["a1", "b2"] and finished.commit == "a1, b2"
    Recording.start(tmp_path, {}, resume=True)  # only looks at what is finished
    assert Run.read(tmp_path).summary == finished.summary


def test_an_older_run_that_goes_on_keeps_what_it_said(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "commit", lambda: "new")
    Recording.start(tmp_path, {}, resume=False)
    summary = results.read_json(tmp_path / "summary.json")
    del summary["commits"], summary["digest"]
    for held, commits, said in (
        ({"commit": "0123456789-dirty"}, ["0123456789-dirty"], "0123456-dirty, new"),
        ({}, [None], "unknown, new"),  # a kill left an older package's summary without
    ):
        results.write_json(tmp_path / "summary.json", summary | held)
        assert Run.read(tmp_path).commits == commits
        Recording.start(tmp_path, {}, resume=True)
        run = Run.read(tmp_path)
        assert (run.commits, run.commit) == ([*commits, "new"], said)


def test_a_checkpoint_and_its_run_belong_together(tmp_path):
    Recording.start(tmp_path, {"seed": 0}, resume=False).finish({})
    with pytest.raises(ResultError, match=r"finished run without its c\.safetensors: there is"):
        Recording.start(tmp_path, {"seed": 0}, resume=True, checkpoint="c.safetensors")
    (tmp_path / "c.safetensors").touch()
    Recording.start(tmp_path, {"seed": 0}, resume=True, checkpoint="c.safetensors")
    (tmp_path / results.CONFIG).unlink()
    with pytest.raises(ResultError, match=r"c\.safetensors of a run whose config\.json is gone"):
        Recording.start(tmp_path, {"seed": 0}, resume=False, checkpoint="c.safetensors")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where runs are recorded; the repository has one commit, which writes digests."""
    monkeypatch.setattr(results, "_is_here", lambda commit: commit == "a1")
    monkeypatch.setattr(results, "_seals", lambda commit: True)
    return tmp_path / "results"


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A finished run of a campaign, with weights beside its tables."""
    folder = tmp_path_factory.mktemp("campaign")
    recording = results.Recording.start(folder, {"seed": 0}, resume=False)
    recording.append({"epoch": 1, "loss": 0.5})
    (folder / "checkpoint.safetensors").write_bytes(b"weights")
    (folder / "trainings.csv").write_text("generation\n1\n")
    (folder / "failures").mkdir()
    (folder / "failures" / "generation-1-individual-2.json").write_text("{}")
    rewrite(folder, **recording.finish({}).summary | {"commits": ["a1"]})
    return folder


def rewrite(folder, **summary):
    """Let a summary say this, under a digest that is right."""
    results.write_json(folder / "summary.json", schemas.sealed(summary))


@pytest.fixture
def made(campaign, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(campaign, tmp_path / "campaign" / "train-x" / "net-seed0")


def test_a_finished_run_is_recorded_with_its_tables_and_without_weights(made, root):
    run = results.record(made, root)
    assert run.folder == root / "train-x" / "net-seed0" and run.commits == ["a1"]
    held = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()}
    assert held == {
        "config.json", "metrics.csv", "summary.json", "trainings.csv",
        "failures/generation-1-individual-2.json",
    }  # fmt: skip
    assert results.record(made, root).folder == run.folder  # the same again
    assert results.record(run.folder, root).folder == run.folder  # where it is already
    (run.folder / "lineage.csv").write_text("child\n")
    with pytest.raises(ResultError, match="holds other files than"):
        results.record(made, root)


def test_a_recording_that_is_killed_is_not_whole_and_goes_on(made, root, monkeypatch):
    """Then it is seen, and nobody takes it for one that is not there."""
    target, write = root / "train-x" / "net-seed0", files.write

    def killed(path, content):
        if sum(p.is_file() and p.name[0] != "." for p in target.rglob("*")) == 3:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "write", killed)
        results.record(made, root)
    assert not finished(target)
    with pytest.raises(ResultError, match=r"summary\.json does not exist"):
        results.runs("train-x", root)
    assert len(results.record(made, root).metrics) == 1


UNREPEATABLE = [
    ({"commits": ["a1-dirty"]}, "commit a1-dirty, which nobody can"),
    ({"commits": [None]}, "unknown, which"),
    ({"commits": ["a1", "b2"]}, "a1, b2, which"),
    ({"commits": [], "commit": "a1-dirty"}, "a1-dirty, which"),  # as older packages say it
    ({"commits": ["b2"]}, "commit b2, which is not in this repository: fetch"),
    ({"state": "interrupted"}, "is interrupted: finish it with --resume"),
    ({"seed": 2}, r"seed 0 in config\.json and 2 in summary\.json: "),
]


def test_a_run_that_nobody_could_repeat_is_not_recorded(made, root):
    whole = results.read_json(made / "summary.json")
    for summary, sentence in UNREPEATABLE:
        rewrite(made, **whole | summary)
        with pytest.raises(ResultError, match=sentence):
            results.record(made, root)
    assert not root.exists()
    rewrite(made, **whole)
    results.record(made, root)
    rewrite(made, **whole | {"threads": 3})
    with pytest.raises(ResultError, match="holds other files than"):  # another is not replaced
        results.record(made, root)


@pytest.mark.parametrize("name", ["<b>x", "a&b", ".hidden", 'a"b', "a\nb", "$x$"])
def test_a_run_whose_name_is_markup_is_not_recorded(made, root, name):
    for folder, what in ((root / name / "seed0", "experiment"), (root / "a" / name, "run")):
        shutil.copytree(made, folder)
        with pytest.raises(ResultError, match=f"gives its {what} the name .*: rename the folder"):
            results.record(folder, root / "recorded")
    assert not (root / "recorded").exists()


@pytest.mark.parametrize("file", ["summary.json", "config.json", "metrics.csv", "trainings.csv"])
def test_a_finished_run_with_a_flipped_bit_is_not_recorded(made, root, file):
    """In any byte; but for the blanks of the summary, which say nothing."""
    whole = (made / file).read_bytes()
    for at in range(len(whole)):
        other = whole[:at] + bytes([whole[at] ^ 1 << 3 * at % 8]) + whole[at + 1 :]
        (made / file).write_bytes(other)
        try:
            run = results.record(made, root)
        except ResultError:
            continue
        assert file == "summary.json" and run.summary == json.loads(whole), at
        shutil.rmtree(root)


FORGED = {  # what becomes of a file's content, None where it is deleted
    "cut": ("metrics.csv", lambda text: text[:-4]),
    "a row less": ("metrics.csv", lambda text: text[: text.rindex("\n", 0, -1) + 1]),
    "a row more": ("metrics.csv", lambda text: text + "2,0.1\n"),
    "no table": ("metrics.csv", None),
    "an empty table": ("metrics.csv", lambda text: ""),
    "no second table": ("trainings.csv", None),
    "no failure": ("failures/generation-1-individual-2.json", None),
    "a table more": ("lineage.csv", lambda text: "child\n"),
    "another accuracy": ("summary.json", lambda text: '{"test_accuracy": 0.999,' + text[1:]),
    "cut summary": ("summary.json", lambda text: text[: len(text) // 2]),
    "no digest": ("summary.json", lambda text: text.replace('"digest"', '"digests"')),
    "no digests": ("summary.json", lambda text: text.replace("files_sha256", "files")),
    "no configuration": ("config.json", None),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_what_was_forged_cut_or_taken_away_is_not_recorded(made, root, name):
    file, change = FORGED[name]
    path = made / file
    if change is None:
        path.unlink()
    else:
        path.write_text(change(path.read_text() if path.exists() else ""))
    with pytest.raises(ResultError):
        results.record(made, root)
    assert not root.exists()


def test_an_older_package_s_summary_has_no_digest(made, root, monkeypatch):
    summary = results.read_json(made / "summary.json")
    del summary["digest"]
    results.write_json(made / "summary.json", summary)
    with pytest.raises(ResultError, match="has no digest, which commit a1 writes: put the old"):
        results.record(made, root)
    monkeypatch.setattr(results, "_seals", lambda commit: False)
    assert results.record(made, root).summary == summary


def test_an_interrupted_run_with_an_edited_summary_is_not_gone_on_with(tmp_path):
    record(tmp_path)
    whole = (tmp_path / "summary.json").read_text()
    for old, new in (
        ('"wall_seconds": ', '"wall_seconds": 9'),
        ("commits", "comits"),
        ("20", "21"),
    ):
        (tmp_path / "summary.json").write_text(whole.replace(old, new, 1))
        with pytest.raises(ResultError, match="is not as the run wrote it, but damaged or edited"):
            Recording.start(tmp_path, CONFIG, resume=True)


def test_which_commits_write_digests(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path.resolve())
    for text in ("write_json(path, own)", "write_json(path, schemas.sealed(own))"):
        committed(tmp_path, text)
    assert results._seals("HEAD") and not results._seals("HEAD~1") and not results._seals("a1")


STRANGERS = [
    "metrics.csv", "summary.json", "trainings.csv", "modules.csv", "lineage.csv", "notes.csv",
    "blueprints.json", "package.json", "a.safetensors", "checkpoint.safetensors",
    "checkpoint.previous.safetensors", "failures/mine.json",
]  # fmt: skip


@pytest.mark.parametrize("name", STRANGERS)
def test_files_that_are_no_run_s_are_not_overwritten(tmp_path, name):
    """And what a run does not write may stand beside it."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    for text in ('{"state": "interrupted", "start": "a", "wall_seconds": 1.0}', "mine"):
        path.write_text(text)
        for resume in (False, True):
            with pytest.raises(ResultError, match="is no file of a run, and one there could overw"):
                Recording.start(tmp_path, CONFIG, resume=resume)
        assert path.read_text() == text
        assert {p.name for p in tmp_path.iterdir()} == {name.partition("/")[0]}
    path.rename(tmp_path / "README.md")
    shutil.rmtree(tmp_path / "failures", ignore_errors=True)
    assert record(tmp_path).finish({}).summary["state"] == "finished"
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_run_that_cannot_be_recorded_is_told_at_its_start(tmp_path, monkeypatch):
    at = ["a" * 40]
    monkeypatch.setattr(results, "commit", lambda: at[0])
    assert results.unrecordable(tmp_path) == ""
    Recording.start(tmp_path, {}, resume=False)
    assert results.unrecordable(tmp_path) == "" and results.unrecordable(tmp_path / "new") == ""
    at[0] = "b" * 40
    assert "was made at commit aaaaaaa so far and this is bbbbbbb" in results.unrecordable(tmp_path)
    assert results.unrecordable(tmp_path / "new") == ""
    at[0] += "-dirty"
    edited = "is edited: commit it, or use a checkout of its own"
    assert results.unrecordable(tmp_path).endswith(edited)
    at[0] = None
    monkeypatch.setattr(paths, "ROOT", tmp_path.resolve())
    assert "has no commit of git: work in a clone" in results.unrecordable(tmp_path / "new")
    git(tmp_path, "init")
    assert "has no commit of git: work in a clone" in results.unrecordable(tmp_path / "new")
    told = subprocess.CompletedProcess([], 128, "", "fatal: detected dubious ownership in repos")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *_, **__: told)
        assert f"safe.directory {tmp_path.resolve()}`" in results.unrecordable(tmp_path / "new")
    monkeypatch.setenv("PATH", "")
    assert "there is no git to say" in results.unrecordable(tmp_path / "new")
