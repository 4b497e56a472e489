"""What the server's e-mails say. Workers read it too: no Flask here."""

from __future__ import annotations


def _(text: str) -> str:
    """Marks a text for the catalogue; it is put into the reader's language when the letter is sent."""
    return text


SIGNATURE = _("FedFlow at %(server)s sent you this message. Nobody reads replies to it.")

CHANGED, GREETING = _("Your account was changed"), _("Hello %(name)s,")
IF_NOT_YOU = _(
    "If you know of it, do nothing. If not, tell an administrator of the server, and set a new password at once:\n\n"
    "%(link)s"
)

LETTERS: dict[str, tuple[str, ...]] = {
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
    "address changed": (
        CHANGED,
        GREETING,
        _("your account at FedFlow has another address now, %(to)s. You sign in with that one, and letters go there."),
        _(
            "If you know of it, do nothing. If not, tell an administrator of the server at once: they can shut the "
            "account, and give you a link to set a new password. You can no longer ask for one with this address."
        ),
    ),
    "password changed": (CHANGED, GREETING, _("the password of your account at FedFlow was changed."), IF_NOT_YOU),
    "password set by link": (
        CHANGED,
        GREETING,
        _("a new password was set for your account at FedFlow, by a link that was made for that."),
        IF_NOT_YOU,
    ),
    "second factor set up": (
        CHANGED,
        GREETING,
        _("the second step of the sign-in was set up for your account at FedFlow."),
        IF_NOT_YOU,
    ),
    "second factor taken off": (
        CHANGED,
        GREETING,
        _("the second step of the sign-in was switched off for your account at FedFlow."),
        IF_NOT_YOU,
    ),
    "second factor taken off by an administrator": (
        CHANGED,
        GREETING,
        _("an administrator of the server switched off the second step of the sign-in for your account at FedFlow."),
        IF_NOT_YOU,
    ),
    "recovery codes renewed": (
        CHANGED,
        GREETING,
        _("new recovery codes were made for your account at FedFlow. Those before no longer work."),
        IF_NOT_YOU,
    ),
    "identity linked": (
        CHANGED,
        GREETING,
        _("an identity of the sign-in provider was linked to your account at FedFlow, and signs in to it from now on."),
        IF_NOT_YOU,
        _("A new password does not end the identity: unlink it on the page “Sign-in” of your account."),
    ),
}
"""Subject and paragraphs of each kind of letter; of one that tells of a change, by what was changed."""
