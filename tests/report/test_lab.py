"""The landing page and a chapter in a real JupyterLab, driven as a reader drives it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest

import reuseprior
from reuseprior import paths
from reuseprior import revolver as rv
from reuseprior.report import contents, notebooks
from reuseprior.revolver import blocks
from tests.conftest import until
from tests.report import house


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The repository's notebooks, figures and data, so that what is drawn and saved stays here."""
    return house.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def lab(checkout, tmp_path_factory):
    """Where a JupyterLab serves the checkout, with settings of its own."""
    pytest.importorskip("jupyterlab")
    home = tmp_path_factory.mktemp("home")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = home / "settings" / "@jupyterlab" / "docmanager-extension"
    settings.mkdir(parents=True)  # what is open is saved often, as by whoever reads for minutes
    (settings / "plugin.jupyterlab-settings").write_text('{"autosaveInterval": 5}')
    places = {
        **{f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "REUSEPRIOR_ROOT": str(checkout),
        "PYTHONPATH": str(Path(reuseprior.__file__).parents[1]),
    }
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        f"--config={checkout / 'jupyter_server_config.py'}",
        *(f"--ServerApp.root_dir={checkout}", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
    ]
    log = home / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=checkout, env=os.environ | places, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/api/status"), log.read_text)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # it waits for a kernel that starts; kernels end with it
            server.kill()
            server.wait()


def answers(url):
    try:
        with urlopen(url) as response:
            return json.load(response)
    except (URLError, ConnectionError):
        return None


def click(browser, selector, text=""):
    """Click the first element that is shown and has the text, as soon as there is one."""

    def shown():
        for element in browser.find_elements("css selector", selector):
            if element.is_displayed() and element.text.strip().startswith(text):
                return element
        return None

    until(shown, f"no {selector} {text}").click()


def save(browser, checkout, file):
    """Save the notebook in front by the menu; then git sees no change.

    But for the moment in which JupyterLab writes a file by itself.
    """
    before = file.stat().st_mtime_ns
    click(browser, ".lm-MenuBar-itemLabel", "File")
    click(browser, ".lm-Menu-item[data-command='docmanager:save']")
    until(lambda: file.stat().st_mtime_ns > before, f"{file} was not saved")
    until(lambda: not house.git(checkout, "status", "--short"), lambda: house.git(checkout, "diff"))


@pytest.mark.notebook
def test_run_all(lab, checkout, browser):
    """From the landing page to the last verdict of the shortest chapter, by clicks alone.

    Git stays clean, whether the chapter is opened and saved or rerun and saved.
    """
    shown = min(contents.summaries(), key=lambda s: s.chapter.presets["quick"].minutes)
    path = shown.chapter.notebook
    code = [c for c in notebooks.read(path)["cells"] if c["cell_type"] == "code"]
    browser.set_window_size(1400, 1000)
    browser.get(f"{lab}/lab/tree/notebooks/index.ipynb")
    click(browser, ".jp-MarkdownOutput a", shown.title)
    click(browser, ".jp-MarkdownOutput h1", shown.title)

    def states():
        kernels = {s["path"]: s["kernel"] for s in answers(f"{lab}/api/sessions")}
        return {k["execution_state"] for at, k in kernels.items() if path.stem in at}

    until(lambda: states() == {"idle"})  # by now it has told the page what Python it is
    save(browser, checkout, checkout / "notebooks" / path.name)
    click(browser, ".lm-MenuBar-itemLabel", "Run")
    click(browser, ".lm-Menu-item[data-command='runmenu:restart-and-run-all']")
    click(browser, ".jp-Dialog button.jp-mod-accept")
    until(lambda: "busy" in states())
    # a kernel is idle between two cells as well, so the prompts say when all have run; code that
    # is folded shows none
    folded = [c["metadata"].get("jupyter", {}).get("source_hidden") for c in code]
    prompts = ["" if hidden else f"[{i + 1}]:" for i, hidden in enumerate(folded)]
    until(lambda: browser.execute_script(SHOWN)[0] == prompts)
    until(lambda: states() == {"idle"})
    checked = [i for i, c in enumerate(code) if "nbval-check-output" in notebooks.tags(c)]
    verdict = code[checked[-1]]["outputs"][0]
    said = "".join(verdict.get("text") or verdict["data"]["text/plain"]).split()
    # which may still be drawn when the kernel is idle
    until(lambda: set(said) <= set(browser.execute_script(SHOWN)[1][checked[-1]].split()))
    assert not browser.execute_script(SHOWN)[2], "errors"
    save(browser, checkout, checkout / "notebooks" / path.name)
    house.screenshot(browser, "jupyterlab")


@pytest.mark.notebook
def test_trees_of_a_notebook_that_is_not_trusted(lab, checkout, browser):
    """As a clone is first opened: JupyterLab drops style sheets, and trees keep their looks."""
    before = blocks.residual([blocks.unit(blocks.conv((8, 8, 8), 8)) for _ in range(2)])
    rv.settle(before, rv.Tags())
    after = before.copy()
    after.at("unit0/conv").freeze = True
    shown = [rv.tree(after, levels=9), rv.compare(before, after)]
    outputs = [
        nbformat.v4.new_output("display_data", {"text/html": one._repr_html_()}) for one in shown
    ]
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    (checkout / "build").mkdir(exist_ok=True)  # which git does not look into
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), checkout / "build" / "trees.ipynb")
    browser.set_window_size(1400, 1000)
    browser.get(f"{lab}/lab/tree/build/trees.ipynb")
    until(lambda: browser.find_elements("css selector", ".jp-RenderedHTML details pre, td pre"))
    looks = browser.execute_script(LOOKS)
    assert looks["pre"] == ["pre", "pre"] and looks["style"] == 0
    frozen = [colours for mark, colours in looks["pills"] if mark == "F"]
    assert frozen and set(map(tuple, frozen)) == {("rgb(0, 114, 178)", "rgb(255, 255, 255)")}
    assert looks["lists"] and set(looks["lists"]) == {"none"}
    house.screenshot(browser, "jupyterlab-untrusted")


DERIVATIONS = paths.NOTEBOOKS / "05-derivations.ipynb"


def run_all(lab, checkout, browser, name, *cells):
    """Open a notebook of these cells, with the kernel of the theorems' chapter, and run them."""
    metadata = nbformat.from_dict(notebooks.read(DERIVATIONS)["metadata"])
    (checkout / "build").mkdir(exist_ok=True)  # which git does not look into
    written = nbformat.v4.new_notebook(cells=list(cells), metadata=metadata)
    nbformat.write(written, checkout / "build" / f"{name}.ipynb")
    browser.set_window_size(1400, 1000)
    browser.get(f"{lab}/lab/tree/build/{name}.ipynb")

    def states():
        sessions = answers(f"{lab}/api/sessions")
        return {s["kernel"]["execution_state"] for s in sessions if name in s["path"]}

    until(lambda: states() == {"idle"})
    click(browser, ".lm-MenuBar-itemLabel", "Run")
    click(browser, ".lm-Menu-item[data-command='runmenu:run-all']")


@pytest.mark.notebook
@pytest.mark.soak
def test_a_click_on_the_graph_leads_to_the_chain(lab, checkout, browser):
    """From a box of the drawing far down to what it names, in the same notebook."""
    given = "from reuseprior import proofs\nfrom reuseprior.chapters import theorems as t\n"
    few = f"{given}few = proofs.Blueprint((t.PARAMETERS, t.lemma_1))\nproofs.Drawing(few)"
    text = [nbformat.v4.new_markdown_cell("Text.\n\n" * 9) for _ in range(20)]
    drawn, chain = map(nbformat.v4.new_code_cell, (few, 'few.one("Lemma 1")'))
    run_all(lab, checkout, browser, "graph", drawn, *text, chain)

    def place():
        """How far the chain is below the window's top."""
        return browser.execute_script(PLACE, "lemma-1")

    until(place)
    box = browser.find_element("css selector", ".jp-RenderedHTML svg a[href='#lemma-1']")
    browser.execute_script("arguments[0].scrollIntoView()", box)
    until(lambda: place() > 1000, place)
    box.click()
    until(lambda: 0 <= place() < 1000, place)
    house.screenshot(browser, "jupyterlab-graph")


@pytest.mark.notebook
@pytest.mark.soak
def test_sliders_count_anew(lab, checkout, browser):
    """Those of the theorems: the table beside them is that of the width that is set."""
    cells = {c["id"]: c for c in notebooks.read(DERIVATIONS)["cells"]}
    given = "from reuseprior.chapters import theorems\nderivation = theorems.derivation\n"
    code = given + "interactive = True\n" + notebooks.source(cells["05d-46"])
    run_all(lab, checkout, browser, "sliders", nbformat.v4.new_code_cell(code))

    def head():
        return browser.execute_script(HEAD)

    until(lambda: head() == "ω = 6, D = 20", head)
    handle, *_ = until(lambda: browser.find_elements("css selector", ".noUi-handle"))
    handle.send_keys("\ue014")  # the arrow to the right
    until(lambda: head() == "ω = 7, D = 20", head)
    house.screenshot(browser, "jupyterlab-sliders")


# Of what is drawn: how trees wrap, the colours of marks, the bullets of lists, and style sheets.
LOOKS = """
const all = (selector) => [...document.querySelectorAll(".jp-RenderedHTML " + selector)];
const look = (e, name) => getComputedStyle(e)[name];
return {
  pre: all("td pre").map(e => look(e, "whiteSpace")),
  pills: all("code").map(
    e => [e.textContent, [look(e, "backgroundColor"), look(e, "color")]]),
  lists: all("ul").map(e => look(e, "listStyleType")),
  style: all("style").length,
};
"""


# Of the notebook in front, beside which the workspace may hold others: a table's second heading.
HEAD = """
const front = [...document.querySelectorAll(".jp-Notebook")].find(n => n.checkVisibility());
return front?.querySelectorAll("th")[1]?.textContent;
"""


# Of the notebook in front: the place of what has an id.
PLACE = """
const front = [...document.querySelectorAll(".jp-Notebook")].find(n => n.checkVisibility());
return front?.querySelector("#" + arguments[0])?.getBoundingClientRect().top;
"""


# Of the notebook in front: its prompts, the texts of its code cells' outputs, and its errors.
SHOWN = """
const front = [...document.querySelectorAll(".jp-Notebook")].find(n => n.checkVisibility());
const cells = [...front.querySelectorAll(".jp-CodeCell")];
const errors = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type*='stderr']";
return [
  cells.map(cell => cell.querySelector(".jp-InputPrompt").textContent),
  cells.map(cell => cell.querySelector(".jp-OutputArea")?.textContent ?? ""),
  [...front.querySelectorAll(errors)].map(error => error.textContent),
];
"""
