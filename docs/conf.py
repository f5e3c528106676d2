"""How Sphinx builds this folder: `pip install '.[docs]' && sphinx-build -W -n docs build/docs`.

The pages are plain Markdown that reads as well in the repository. What they would need of
Sphinx's own is done here: a link that leads out of this folder leads to the repository, `images` is copied as it is, since
`<img>` and `<picture>` name files in it, and the side bar is added to the first page. A public name is found where the
package shows it, whichever module defines it.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
REPOSITORY = "https://github.com/trio-chat/trio-chat"

project = "trio-chat"
author = "the trio-chat developers"
project_copyright = author
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
    "sphinx_copybutton",
]
exclude_patterns = ["benchmarks", "examples"]

# --- Markdown

# The anchors that headings get in the repository, too.
myst_heading_anchors = 4

SIDE_BAR = {
    "Begin": ("quickstart", "design", "guarantees", "page", "dashboard"),
    "Clients": ("protocol", "socketio", "api"),
    "Programs": ("embedding", "testing", "reference", "reference_testing"),
    "Operators": ("operations", "performance", "reliability", "security"),
}

# --- the reference

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_attr_annotations = False
# In docstrings: a link where it is a public name, code where it is not.
default_role = "py:obj"
# Other people's types, aliases and type variables. The build needs no network, so there is no inventory of theirs.
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|datetime|contextlib|trio)\..*"),
    ("py:class", r"Clock|SearchStrategy|AbstractAsyncContextManager|datetime|[ACT]"),
    ("py:class", r"(trio_chat\.mail\.)?(Done|View|Voice)|Durability|Fate|Interfere|Moment|Window"),
]

# --- HTML

html_theme = "furo"
html_title = "trio-chat"
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}
html_static_path = ["site"]
html_css_files = ["site.css"]
html_logo = html_favicon = "../trio_chat/web/static/icon.svg"
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False


def find_public(app: Sphinx, environment: Any, node: Any, content: Any) -> Any:
    """Find a name that was looked for in the module that defines it, where the package shows it.

    What backticks name in a docstring, such as a parameter, need not be a public name.
    """
    python = environment.domains.python_domain
    name = node.get("reftarget", "")
    for package in ("trio_chat.testing", "trio_chat", "trio_chat.stores.base"):
        for found in (f"{package}.{name}", f"{package}.{name.rpartition('.')[2]}"):
            if name and found in python.objects:
                place = python.objects[found]
                return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, content, found)
    return content if node.get("reftype") == "obj" else None


def lead_out(_: Sphinx, page: str, source: list[str]) -> None:
    """Let links out of this folder, and to folders, lead to the repository."""

    def put(found: re.Match[str]) -> str:
        target = (HERE / page).parent.joinpath(found[1]).resolve()
        if target.is_file() and target.is_relative_to(HERE) and target.suffix == ".md":
            return found[0]
        path = target.relative_to(HERE.parent)
        return f"]({REPOSITORY}/{'tree' if target.is_dir() else 'blob'}/main/{path})"

    source[0] = re.sub(r"\]\(((?!\w+:)[^)#\s]+)\)", put, source[0])


def add_side_bar(_: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page the list of the others, which it need not show in the repository."""
    if page == "index":
        for caption, pages in SIDE_BAR.items():
            source[0] += "\n".join(
                ("", "```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```", "")
            )


def copy_images(app: Sphinx, failed: Exception | None) -> None:
    """Copy the pictures."""
    if failed is None:
        shutil.copytree(HERE / "images", app.outdir / "images", dirs_exist_ok=True)


def setup(app: Sphinx) -> None:
    """Do what the first lines promise."""
    app.connect("missing-reference", find_public)
    app.connect("source-read", lead_out)
    app.connect("source-read", add_side_bar)
    app.connect("build-finished", copy_images)
