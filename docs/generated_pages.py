"""Hooks of mkdocs.yml: pages and links of the documentation site that are not files in `docs/`.

- README.md is the home page; CONTRIBUTING.md, CHANGELOG.md and the embedded model's card are pages.
- A notebook `NAME.ipynb` is also a page, with the outputs stored in it.
- In a page, `docs/NAME.md` in backticks becomes a link, and a link to a notebook leads to its page.
  A link to a file of the repository that the site does not have becomes the file's name.
- Long code in a table may be broken where a name has a joint.
- In the API reference, a docstring's sections without a meaning to Google's style are lists, and
  what looks like an HTML tag (`<x_phi, x_theta>`) is text.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "aps_text/weights/mini_text/README.md": "mini.md",
    "aps_text/weights/smol_text/README.md": "smol.md",
}
"""Markdown files outside `docs/`, and the pages made of them."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
SPAN = re.compile(r"(?<![`\[])`([\w./-]+\.md)`(?![`\]])")
CELL = re.compile(r"<td\b.*?</td>", re.S)
CODE = re.compile(r"<code>(.*?)</code>", re.S)
LONG = 24
"""Code in a table of more characters than this may be broken."""
FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.M | re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages made of files outside `docs/`, and those of the notebooks."""
    for source, page in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            name = posixpath.basename(file.src_uri)
            book = json.loads(Path(file.abs_src_path or "").read_text(encoding="utf-8"))
            page = file.src_uri.removesuffix(".ipynb") + ".md"
            files.append(File.generated(config, page, content=notebook_page(book, name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links, outside of code blocks, leading to pages of the site."""
    here = page.file.src_uri
    source = next((path for path, made in ELSEWHERE.items() if made == here), f"docs/{here}")
    known = {file.src_uri for file in files}
    pieces, end = [], 0
    for block in FENCE.finditer(markdown):
        pieces += [linked(markdown[end : block.start()], source, here, known), block.group()]
        end = block.end()
    return "".join([*pieces, linked(markdown[end:], source, here, known)])


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with long code in tables breakable behind `.`, `/`, `_` and `:`."""

    def cell(found: re.Match[str]) -> str:
        return CODE.sub(breakable, found.group())

    def breakable(found: re.Match[str]) -> str:
        code = found[1]
        if len(code) <= LONG or "<" in code:
            return found.group()
        return '<code class="long">' + re.sub(r"(::|[./_](?=\w))", r"\1<wbr>", code) + "</code>"

    return CELL.sub(cell, html)


def linked(text: str, source: str, here: str, known: set[str]) -> str:
    """`text` of the repository's file `source`, shown as page `here`, with links to pages.

    Args:
        known: every file of the site, by its path in `docs/`.
    """

    def target(path: str, base: str) -> str | None:
        whole = posixpath.normpath(posixpath.join(base, path))
        inside = ELSEWHERE.get(whole) or whole.removeprefix("docs/")
        if inside not in known or (whole not in ELSEWHERE and not whole.startswith("docs/")):
            return None
        return posixpath.relpath(inside, posixpath.dirname(here) or ".")

    def link(found: re.Match[str]) -> str:
        mark, label, path, anchor = found.groups()
        if ":" in path:
            return found.group()
        to = target(path, posixpath.dirname(source))
        if path.endswith(".ipynb"):  # the page of a notebook, but for its own link to the file
            shown = target(path.removesuffix(".ipynb") + ".md", posixpath.dirname(source))
            to = to if shown is None or shown == posixpath.basename(here) else shown
        if to is None:
            return label if label.startswith("`") else f"{label} (`{path}`)"
        return f"{mark}[{label}]({to}{anchor or ''})"

    def span(found: re.Match[str]) -> str:
        to = target(found[1], "") or target(found[1], posixpath.dirname(source))
        return found.group() if to is None or to == here else f"[{found.group()}]({to})"

    return SPAN.sub(span, LINK.sub(link, text))


def notebook_page(book: dict[str, Any], name: str) -> str:
    """A notebook as Markdown: its texts, its code, and the text it printed."""
    parts: list[str] = []
    for cell in book["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            if len(parts) == 1:
                parts.append(f"[Download this notebook]({name})")
            continue
        parts.append(f"```python\n{text}\n```")
        printed = "".join("".join(one.get("text", "")) for one in cell["outputs"])
        if printed:
            parts.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


class ListedSections(griffe.Extension):
    """Docstring sections such as `Objective:`, with lines `name: text`, as lists."""

    TITLE = re.compile(r"^([A-Z][^\n:]*(?: \([^\n]*\))?):\n((?:    .*\n?|\n)+)", re.M)
    TAG = re.compile(r"(`[^`]*`)|<(?=\w)")
    MEANT = (
        *("Args", "Arguments", "Attributes", "Raises", "Returns", "Yields"),
        *("Example", "Examples", "Note", "Warns"),
    )

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute, if it has one."""
        if obj.docstring is None:
            return

        def section(found: re.Match[str]) -> str:
            title, body = found.groups()
            lines = body.rstrip("\n").split("\n")
            if title.split(" (")[0] in self.MEANT or not re.match(r"    [a-z]\w*[\w, ]*: ", body):
                return found.group()
            items = [
                re.sub(r"^([a-z]\w*(?:, \w+)*):", lambda names: f"- {spans(names[1])}:", line[4:])
                if re.match(r"    [a-z]", line)
                else line
                for line in lines
            ]
            return f"\n**{title}**\n\n" + "\n".join(items) + "\n\n"

        listed = self.TITLE.sub(section, obj.docstring.value)
        obj.docstring.value = self.TAG.sub(lambda found: found[1] or "&lt;", listed)


def spans(names: str) -> str:
    """`a, b` with each name in backticks."""
    return ", ".join(f"`{name.strip()}`" for name in names.split(","))
