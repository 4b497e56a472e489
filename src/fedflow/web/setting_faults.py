"""What settings find wrong with their values beyond types and limits, and what forms say of it."""

from __future__ import annotations

from flask_babel import lazy_gettext

from fedflow.web.phrases import Phrases

PHRASES = Phrases(
    {
        # A run's plan.
        "{count} of only {all} clients": lazy_gettext("%(count)s of only %(all)s clients"),
        "{count} of only {all} clients of a round": lazy_gettext("%(count)s of only %(all)s clients of a round"),
        "method '{method}' has no residual; take it out": lazy_gettext(
            "The method %(method)s has no residual. Leave this empty."
        ),
        "method '{method}' sends whole models, which are not clipped; take it out": lazy_gettext(
            "The method %(method)s sends whole models, which are not clipped. Leave this empty."
        ),
        "whole numbers from 0, each once": lazy_gettext("whole numbers from 0, each once"),
        "{name} holds characters that a terminal cannot show in one line; leave them out": lazy_gettext(
            "The text holds characters that cannot be shown in one line. Leave them out."
        ),
        "is blank; give the run a name": lazy_gettext("Give the run a name."),
        "every client needs a folder of its own, one is named twice": lazy_gettext(
            "every client needs a folder of its own, one is named twice"
        ),
        "'{name}' is no name of a folder inside the root; take out slashes and leading dots": lazy_gettext(
            "'%(name)s' is no name of a folder inside the root; take out slashes and leading dots"
        ),
        "'{name}' is a client's folder; held-out pictures train nobody": lazy_gettext(
            "“%(name)s” is a client's folder. Choose another: nobody trains on held-out pictures."
        ),
        "'{name}' is what the table calls one of its own rows; rename the folder": lazy_gettext(
            "“%(name)s” is what the table calls one of its own rows. Choose another name."
        ),
        "{counts}: each must be at least 1": lazy_gettext("Each must be at least 1."),
        # The owner's limits.
        "'{hours}' is no span of the day; write for example '22:00-06:00'": lazy_gettext(
            "“%(hours)s” is no span of the day. Write one such as 22:00-06:00."
        ),
        "'{hours}' is empty; leave hours out to train at any time": lazy_gettext(
            "“%(hours)s” is no time at all. Leave this empty to train at any time."
        ),
    }
)
"""A sentence stands here without the setting's name, which the form puts it beside."""
