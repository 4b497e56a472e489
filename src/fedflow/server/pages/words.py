"""Words for what the database keeps in short ones: roles, scopes, actions of the audit log."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

from fedflow.web.states import State

ROLES: dict[str, LazyString] = {
    "viewer": lazy_gettext("viewer"),
    "participant": lazy_gettext("participant"),
    "coordinator": lazy_gettext("coordinator"),
    "administrator": lazy_gettext("administrator"),
}

ROLES_MAY: dict[str, LazyString] = {
    "viewer": lazy_gettext("Sees runs, models and people."),
    "participant": lazy_gettext("Acts for one member: everything a viewer may do, and downloading models."),
    "coordinator": lazy_gettext("Plans and changes runs, lets members in, invites."),
    "administrator": lazy_gettext("Everything here: also who may do what, and the audit log."),
}
"""What each role may do."""

SCOPES: dict[str, LazyString] = {
    "read": lazy_gettext("View everything that you may see"),
    "runs": lazy_gettext("Start and change runs"),
    "registry": lazy_gettext("Download and change models and adapters"),
    "members": lazy_gettext("Members, people and invitations"),
    "account": lazy_gettext("Your own account"),
}

LETTER_KINDS: dict[str, LazyString] = {
    "password": lazy_gettext("to set a new password"),
    "address": lazy_gettext("to confirm an address"),
    "invitation": lazy_gettext("with an invitation"),
    "register": lazy_gettext("to make an account"),
    "changed": lazy_gettext("about a change to an account"),
}
"""What letters of a kind are for."""

KINDS: dict[str, LazyString] = {"model": lazy_gettext("model"), "adapter": lazy_gettext("adapter")}

VISIBILITIES: dict[str, LazyString] = {
    "private": lazy_gettext("its owner, or coordinators where it has none"),
    "federation": lazy_gettext("its federation"),
    "public": lazy_gettext("everybody on this server"),
}
"""Who sees a model or adapter."""

LAYOUTS: dict[str, tuple[LazyString, LazyString]] = {
    "diffusers": (lazy_gettext("Adapter for diffusers"), lazy_gettext("For diffusers and PEFT.")),
    "kohya": (lazy_gettext("Adapter for ComfyUI"), lazy_gettext("For ComfyUI, A1111 and InvokeAI.")),
    "unet": (lazy_gettext("Weights of the UNet"), lazy_gettext("For diffusers, on the same base model.")),
    "merged": (lazy_gettext("Whole model, a folder"), lazy_gettext("For diffusers, as .zip.")),
    "checkpoint": (lazy_gettext("Whole model, one file"), lazy_gettext("For ComfyUI, A1111 and InvokeAI.")),
}
"""What a file's layout is called, and what opens it."""

SOURCES: dict[str, LazyString] = {
    "upload": lazy_gettext("a file"),
    "hub": lazy_gettext("the model hub"),
    "folder": lazy_gettext("the server's folder"),
    "machine": lazy_gettext("the server's machine"),
}
"""Where an import comes from."""

PHASES: dict[str, tuple[LazyString, State]] = {
    "waiting": (lazy_gettext("Waiting for a worker"), State.WAITING),
    "fetching": (lazy_gettext("Being fetched"), State.RUNNING),
    "checking": (lazy_gettext("Being checked"), State.RUNNING),
    "storing": (lazy_gettext("Being stored"), State.RUNNING),
    "done": (lazy_gettext("Here"), State.DONE),
    "failed": (lazy_gettext("Failed"), State.FAILED),
}
"""How far an import is."""

VIA: dict[str, LazyString] = {
    "sign-in": lazy_gettext("in a browser"),
    "sign-in page": lazy_gettext("on the sign-in page"),
    "provider": lazy_gettext("through the provider"),
    "registration": lazy_gettext("at registration"),
    "link": lazy_gettext("by a link"),
    "token": lazy_gettext("with an API token"),
    "key": lazy_gettext("with a device's key"),
    "join code": lazy_gettext("with a join code"),
    "command line": lazy_gettext("on the server's command line"),
    "letter": lazy_gettext("by e-mail"),
}
"""How somebody did it: the first word of an entry's `via`, or the whole of it."""

ACTIONS: dict[str, LazyString] = {
    "account changed": lazy_gettext("changed the account"),
    "account closed": lazy_gettext("closed the account"),
    "account locked": lazy_gettext("too many wrong tries to sign in"),
    "account made": lazy_gettext("made an account"),
    "account opened": lazy_gettext("opened an account again"),
    "account shut": lazy_gettext("shut an account"),
    "address changed": lazy_gettext("changed the e-mail address"),
    "address confirmed": lazy_gettext("confirmed the e-mail address"),
    "administrator made": lazy_gettext("made somebody an administrator of the server"),
    "administrator unmade": lazy_gettext("made somebody no longer an administrator of the server"),
    "asked again": lazy_gettext("asked for consent once more"),
    "cap changed": lazy_gettext("changed the cap of a member's pictures"),
    "consent accepted": lazy_gettext("consented to a run"),
    "consent declined": lazy_gettext("declined a run"),
    "coordinator token renewed": lazy_gettext("made a new token of the first coordinator, and ended those before"),
    "counts shown changed": lazy_gettext("chose whether a member's example counts are shown"),
    "description changed": lazy_gettext("changed what is said of a model or adapter"),
    "device joined": lazy_gettext("joined with a device"),
    "device revoked": lazy_gettext("shut a device out"),
    "download asked for": lazy_gettext("had a version written for download"),
    "example put up": lazy_gettext("put up an example picture"),
    "example taken down": lazy_gettext("took an example picture down"),
    "federation closed": lazy_gettext("closed the federation"),
    "federation deleted": lazy_gettext("deleted the federation"),
    "federation made": lazy_gettext("made the federation"),
    "federation opened": lazy_gettext("opened the federation again"),
    "federation renamed": lazy_gettext("renamed the federation"),
    "import asked for": lazy_gettext("brought in a model or adapter"),
    "identity linked": lazy_gettext("linked an identity to sign in with"),
    "identity unlinked": lazy_gettext("unlinked an identity"),
    "invitation taken up": lazy_gettext("took up an invitation"),
    "invitation withdrawn": lazy_gettext("withdrew an invitation"),
    "invited": lazy_gettext("invited somebody"),
    "join code made": lazy_gettext("made a join code"),
    "join code withdrawn": lazy_gettext("withdrew a join code"),
    "job tried again": lazy_gettext("tried a job of the server again"),
    "log downloaded": lazy_gettext("downloaded the audit log"),
    "letter given up": lazy_gettext("gave a letter up: the mail server did not take it"),
    "link to set address made": lazy_gettext("made a link to confirm an address"),
    "link to set password made": lazy_gettext("made a link to set a password"),
    "member removed": lazy_gettext("removed a member"),
    "other browsers signed out": lazy_gettext("signed out all other browsers"),
    "password changed": lazy_gettext("changed the password"),
    "password set by link": lazy_gettext("set the password by a link"),
    "recovery codes renewed": lazy_gettext("made new recovery codes"),
    "released": lazy_gettext("gave out a version"),
    "role changed": lazy_gettext("changed a role"),
    "role taken": lazy_gettext("took a role away"),
    "round closed": lazy_gettext("closed a round"),
    "rules changed": lazy_gettext("changed the federation's rules"),
    "run paused": lazy_gettext("paused a run"),
    "run resumed": lazy_gettext("let a run go on"),
    "run started": lazy_gettext("started a run"),
    "run stopped": lazy_gettext("stopped a run"),
    "second factor set up": lazy_gettext("set up the second step"),
    "second factor taken off": lazy_gettext("took the second step off"),
    "signed in": lazy_gettext("signed in"),
    "signed out": lazy_gettext("signed out"),
    "token made": lazy_gettext("made an API token"),
    "token revoked": lazy_gettext("revoked an API token"),
    "try-out asked for": lazy_gettext("asked for a try-out"),
    "try-out cancelled": lazy_gettext("cancelled a try-out"),
    "try-out deleted": lazy_gettext("deleted a try-out"),
    "try-out tried again": lazy_gettext("had a try-out drawn again"),
    "version deleted": lazy_gettext("took out a version"),
    "withdrawn": lazy_gettext("withdrew a release"),
}
"""What the audit log's actions are called on its page."""

FACTS: dict[str, LazyString] = {
    "about": lazy_gettext("history of"),
    "actor": lazy_gettext("by whom"),
    "agent": lazy_gettext("browser"),
    "content": lazy_gettext("content"),
    "before": lazy_gettext("before"),
    "days": lazy_gettext("days"),
    "device": lazy_gettext("device"),
    "email": lazy_gettext("address"),
    "ended": lazy_gettext("tokens ended"),
    "files": lazy_gettext("files"),
    "format": lazy_gettext("format"),
    "kind": lazy_gettext("kind"),
    "layout": lazy_gettext("layout"),
    "picture": lazy_gettext("picture"),
    "shown": lazy_gettext("shown"),
    "place": lazy_gettext("from where"),
    "since": lazy_gettext("from day"),
    "source": lazy_gettext("brought by"),
    "is_admin": lazy_gettext("administrator of the server"),
    "letter": lazy_gettext("letter"),
    "licence": lazy_gettext("licence"),
    "max_examples": lazy_gettext("picture limit"),
    "member": lazy_gettext("member"),
    "name": lazy_gettext("name"),
    "num_examples": lazy_gettext("examples"),
    "number": lazy_gettext("number"),
    "provider": lazy_gettext("provider"),
    "pictures": lazy_gettext("pictures"),
    "reason": lazy_gettext("reason"),
    "role": lazy_gettext("role"),
    "round": lazy_gettext("round"),
    "scopes": lazy_gettext("may"),
    "seconds": lazy_gettext("has to wait"),
    "tag": lazy_gettext("tag"),
    "tokens_ended": lazy_gettext("API tokens ended"),
    "until": lazy_gettext("to day"),
    "visibility": lazy_gettext("seen by"),
    "what": lazy_gettext("only"),
    "who": lazy_gettext("account"),
    "wrong_tries": lazy_gettext("wrong tries before"),
}
"""What the facts of an entry are called."""
