"""`python docs/metadata.py` writes what archives read, of CITATION.cff and pyproject.toml.

That is `.zenodo.json` for Zenodo, `codemeta.json` for Software Heritage, and `codecheck.yml`, where
CODECHECK looks for the outputs of a work, each with the command that makes it.
"""

import json
import tomllib

import yaml

from reuseprior import paths
from reuseprior.report import chapters, notebooks


def files() -> dict[str, str]:
    """Their texts, by name."""
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    article = next(work for work in cited["references"] if work["type"] == "article")
    doi = f"https://doi.org/{article['doi']}"
    about = {"description": project["description"], "keywords": project["keywords"]}
    zenodo = {
        "title": cited["title"], **about, "version": cited["version"], "license": cited["license"],
        "upload_type": "software", "access_right": "open", "creators": cited["authors"],
        "related_identifiers": [{
            "identifier": article["doi"], "scheme": "doi", "relation": "isSupplementTo",
            "resource_type": "publication-article",
        }],
    }  # fmt: skip
    codemeta = {
        "@context": "https://w3id.org/codemeta/3.0", "@type": "SoftwareSourceCode",
        "name": cited["title"], **about, "version": cited["version"],
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "programmingLanguage": f"Python {project['requires-python']}",
        "author": [{"@type": "Organization", **author} for author in cited["authors"]],
        "softwareRequirements": project["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle", "@id": doi, "name": article["title"],
        },
    }  # fmt: skip
    codecheck = {
        "version": "https://codecheck.org.uk/spec/config/2.0/",
        "paper": {
            "title": article["title"], "reference": doi,
            "authors": [
                {"name": f"{a['given-names']} {a['family-names']}", "ORCID": a["orcid"][-19:]}
                for a in article["authors"]
            ],
        },
        "manifest": [
            {"file": "data/ledger.csv", "comment": "reuseprior audit: every printed number"},
            *(
                {"file": f"figures/{name}.svg", "comment": f"reuseprior reproduce {chapter.name}"}
                for chapter in chapters.found()
                for name in notebooks.figures(chapter.notebook)
            ),
        ],
    }  # fmt: skip
    told = {".zenodo.json": zenodo, "codemeta.json": codemeta}
    found = {n: json.dumps(d, indent=2, ensure_ascii=False) + "\n" for n, d in told.items()}
    text = yaml.safe_dump(codecheck, sort_keys=False, allow_unicode=True, explicit_start=True)
    return found | {"codecheck.yml": text}


if __name__ == "__main__":
    for name, text in files().items():
        (paths.ROOT / name).write_text(text, encoding="utf-8")
