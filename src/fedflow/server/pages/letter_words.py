"""What the server's e-mails say. Workers read it too: no Flask here."""

from __future__ import annotations


def _(text: str) -> str:
    """Marks a text for the catalogue; it is put into the reader's language when the letter is sent."""
    return text


SIGNATURE = _("FedFlow at %(server)s sent you this message. Nobody reads replies to it.")

LETTERS: dict[str, tuple[str, str]] = {
    "password": (
        _("Set a new password"),
        _(
            "Hello %(name)s,\n\n"
            "with this link you set a new password for FedFlow. It works once, within a day:\n\n"
            "%(link)s\n\n"
            "If you did not ask for it, do nothing: your password stays as it is."
        ),
    ),
    "address": (
        _("Confirm your address"),
        _(
            "Hello %(name)s,\n\n"
            "with this link you confirm that this address is yours. It works once, within a day:\n\n"
            "%(link)s\n\n"
            "If you have no account there, do nothing."
        ),
    ),
    "invitation": (
        _("An invitation to FedFlow"),
        _(
            "Hello,\n\n"
            "%(by)s invites you to FedFlow. With this link you make an account, or take the invitation up with the one "
            "you have. It works once, within a week:\n\n"
            "%(link)s"
        ),
    ),
    "register": (
        _("Make your account"),
        _(
            "Hello,\n\n"
            "with this link you make your account at FedFlow. It works once, within a week:\n\n"
            "%(link)s\n\n"
            "If you did not ask for it, do nothing."
        ),
    ),
    "registered": (
        _("You have an account already"),
        _(
            "Hello %(name)s,\n\n"
            "somebody asked for an account at FedFlow with this address, which has one already. If it was you, sign "
            "in, or set a new password there:\n\n"
            "%(link)s\n\n"
            "If it was not you, do nothing."
        ),
    ),
}
"""Subject and text of each kind of letter."""
