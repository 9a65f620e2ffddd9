"""Sphinx's settings for the book; `reuseprior book` puts the pages beside this file's own."""

import re
from importlib.util import find_spec
from pathlib import Path

from reuseprior import __version__

project = "The reusability prior, reproduced"
html_title = "The reusability prior"
author = "reuseprior contributors"
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
# index.md includes the first, and pages are made of the others
exclude_patterns = ["README.md", "docs/provenance/*.md"]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "off"  # the notebooks come with their outputs
nb_render_markdown_format = "myst"  # or the derivations' tables show no formulas
nb_ipywidgets_js = {}  # these would be fetched from the network
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

# One file of MathJax, which draws its letters itself and so fetches nothing.
_MATHJAX = "tex-svg-full.js"
_mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
mathjax_path = _MATHJAX
mathjax3_config = {
    "tex": {
        "inlineMath": [["\\(", "\\)"], ["$", "$"]],
        # What writes formulas and nothing else: others can make links that run scripts, styles that
        # fetch and names of the page's own, and a formula may come from a file.
        "packages": ["base", "ams", "newcommand", "noundefined", "boldsymbol", "configmacros"],
        "macros": {
            "mmlToken": r"\text{mmlToken}",  # the one of base that takes any attribute
            "bmod": r"\mathbin{\text{mod}}",  # which base makes of it
        },
    },
    "options": {"enableMenu": False},
}
# tables in outputs have formulas as well, which JupyterLab sets too
myst_mathjax_classes = "mathjax_process|math|text_html"

html_static_path = ["static", str(_mathjax / _MATHJAX)]
html_css_files = ["book.css", "derivations.css", "ledger.css", "tables.css", "print.css"]
html_search_scorer = str(Path(__file__).parent / "search.js")
html_js_files = ["book.js", "ledger.js"]
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False


add_module_names = False
autodoc_typehints_format = "short"


default_role = "code"  # docstrings set code in single backticks, as they are read in a terminal


def as_restructured_text(app, what, name, obj, options, lines):
    """Docstrings are Markdown with sections in Google's style, which napoleon reads afterwards."""
    read, fence = [], None
    for line in lines:
        if opens := re.match(r"( *)```(\w*)$", line):
            begins = f"{opens[1]}.. code-block:: {opens[2] or 'text'}"
            read += ["", *([begins, ""] if fence is None else [])]
            fence = opens[1] if fence is None else None
        elif fence is not None:
            read.append(f"    {line}")
        elif line.lstrip().startswith(">>>"):
            read.append(line)
        else:  # |C| is no substitution
            parts = re.split(r"(`[^`]*`)", line)
            read.append("".join(p if p[:1] == "`" else p.replace("|", r"\|") for p in parts))
    if what in ("property", "attribute"):  # "N_G: parameters": napoleon takes N_G for a type
        read[:1] = re.sub(": ", ":\n", read[0], count=1).splitlines()
    lines[:] = read


def setup(app):
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)  # napoleon has 500
    # Sphinx looks for formulas in the text, but they also stand in the tables of outputs.
    app.set_html_assets_policy("always")
