"""Words for what the database keeps in short ones: roles, scopes, actions of the audit log."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

ROLES: dict[str, LazyString] = {
    "viewer": lazy_gettext("viewer"),
    "participant": lazy_gettext("participant"),
    "coordinator": lazy_gettext("coordinator"),
    "administrator": lazy_gettext("administrator"),
}

ROLES_MAY: dict[str, LazyString] = {
    "viewer": lazy_gettext("Sees runs, models and people."),
    "participant": lazy_gettext("Acts for one member: what a viewer may, and downloads of models."),
    "coordinator": lazy_gettext("Plans and changes runs, lets members in, invites."),
    "administrator": lazy_gettext("Everything here: also who may do what, and the audit log."),
}
"""What each role may do."""

SCOPES: dict[str, LazyString] = {
    "read": lazy_gettext("Look at everything that you may see"),
    "runs": lazy_gettext("Start and change runs"),
    "registry": lazy_gettext("Download and change models and adapters"),
    "members": lazy_gettext("Members, people and invitations"),
    "account": lazy_gettext("Your own account"),
}
