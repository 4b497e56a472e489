"""What people write in Markdown, as HTML that can do nothing: no HTML of theirs, links to the web and to mail alone."""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

LINK = re.compile(r"(https?://|mailto:)[^\s]+", re.IGNORECASE)


class _Renderer(RendererHTML):
    """Links that tell their target nothing of where they stand; pictures of elsewhere are links, as none is fetched."""

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: MutableMapping[str, Any]) -> str:
        """A link's beginning."""
        tokens[idx].attrSet("rel", "nofollow noopener noreferrer ugc")
        return self.renderToken(tokens, idx, options, env)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("js-default", {"html": False, "linkify": False}, renderer_cls=_Renderer).disable("image")
    parser.validateLink = lambda url: LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    return parser


_PARSER = _parser()


def markdown(text: str) -> Markup:
    """`text` as HTML. Headings begin below the page's own two."""
    tokens = _PARSER.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
        if token.type in ("th_open", "td_open"):
            token.attrs.pop("style", None)  # the pages' policy lets no style attribute count
    return Markup(_PARSER.renderer.render(tokens, _PARSER.options, {}))  # noqa: S704 - the parser escapes what is no Markdown
