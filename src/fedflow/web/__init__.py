"""What the pages of both apps share: shell, components, styles, assets, languages, and forms made from settings."""

from fedflow.web.kit import Item, Shell, page, set_up

__all__ = ["Item", "Shell", "page", "set_up"]
