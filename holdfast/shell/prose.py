"""Prose: the little Markdown that contracts use, as HTML.

Paragraphs, fenced code, `code` and **bold**. Everything else is shown as it was written.
"""

import re

from markupsafe import Markup, escape

FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
BOLD = re.compile(r"\*\*([^*]+)\*\*")


def prose(text: str) -> Markup:
    html = []
    # split() with one group: prose at even places, the inside of fences at odd ones.
    for index, part in enumerate(FENCE.split(text)):
        if index % 2:
            html.append(f"<pre><code>{escape(part.rstrip())}</code></pre>")
        else:
            paragraphs = (block.strip() for block in re.split(r"\n\s*\n", part))
            html.extend(f"<p>{_inline(block)}</p>" for block in paragraphs if block)
    return Markup("\n".join(html))  # noqa: S704 - every part was escaped above


def _inline(text: str) -> str:
    marked = CODE.sub(r"<code>\1</code>", str(escape(text)))
    return BOLD.sub(r"<strong>\1</strong>", marked)
