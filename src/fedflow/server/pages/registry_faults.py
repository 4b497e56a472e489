"""What the registry's services say, and what the pages say of it: models, releases, downloads, imports, examples."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

SENTENCES: dict[str, str | LazyString] = {
    "this is for the owner of '{name}' and for a {least} of its federation; ask them": lazy_gettext(
        "Only the owner of “%(name)s” or somebody with the role %(least)s in its federation may do this. Ask them."
    ),
    "nobody owns this, so nobody would see it; show it to the federation": lazy_gettext(
        "Nobody owns this, so nobody would see it. Keep it visible to the federation."
    ),
    "this is for who acts for '{name}'; ask them": lazy_gettext(
        "Only a participant acting for “%(name)s” may do this. Ask them."
    ),
    "version {number} of '{name}' was made from {what}; delete that one first": lazy_gettext(
        "Version %(number)s of “%(name)s” was made from it. Delete that one first."
    ),
    "something private was made from {what}; it stays while that is there": lazy_gettext(
        "Something private was made from it. It stays while that is there."
    ),
    "{what} is released as '{tag}'; what was given out stays, so that others can check it": lazy_gettext(
        "It is released as “%(tag)s”. What was released stays, so that others can check it."
    ),
    "the import of '{name}' goes on with {what}; wait until it is done": lazy_gettext(
        "The import of “%(name)s” is using it. Wait until that is done."
    ),
    "run '{name}' goes on with {what}; stop it first": lazy_gettext("Run “%(name)s” is using it. Stop it first."),
    "{tag} is none; letters, digits, dots, dashes, at most 40, such as 'v1.0'": lazy_gettext(
        "Write 1 to 40 letters a to z, digits, dots and dashes, such as v1.0."
    ),
    "say why, so that those who have the files know what to do": lazy_gettext(
        "Give a reason, so that those who have the files know what to do."
    ),
    "at most {most} characters, in one line": lazy_gettext(
        "Write the reason in one line of at most %(most)s characters."
    ),
    "release '{tag}' was withdrawn already, when no reason was asked for": lazy_gettext(
        "Release %(tag)s was withdrawn already, at a time when nobody was asked for a reason."
    ),
    "release '{tag}' was withdrawn already; this reason stands: {why}": lazy_gettext(
        "Release %(tag)s was withdrawn already. The reason given then stands: %(why)s"
    ),
    "release '{tag}' has no file in the layout {layout}; it has {known}": lazy_gettext(
        "Release “%(tag)s” has no such file."
    ),
    "'{name}' has a release '{tag}' already; choose another tag": lazy_gettext(
        "There is already a release “%(tag)s”. Choose another tag."
    ),
    "version {number} of '{name}' has no files to give out; export it first": lazy_gettext(
        "Version %(number)s of “%(name)s” has no files to release yet. Prepare a download first."
    ),
    "version {number} of '{name}' names no base model that it could be merged into; import it again with one": (
        lazy_gettext("It names no base model that it could be merged into. Import it again with one.")
    ),
    "version {number} has no layout {layout}; there are {known}": lazy_gettext(
        "Version %(number)s is not available in this layout."
    ),
    "version {number} of '{name}' is not written in the layout {layout} yet": lazy_gettext(
        "This file of version %(number)s is not written yet. Prepare the download on the version's page."
    ),
    "{place} is not in the server's folder of imports; check the name": lazy_gettext(
        "Nothing in the server's import folder has this name. Check it."
    ),
    "these weights are here already, as version {number} of '{name}'; take that one": lazy_gettext(
        "These weights are already here, as version %(number)s of “%(name)s”. Use that one."
    ),
    "run '{name}' is under way, and what it makes is called so; give another name": lazy_gettext(
        "Run “%(name)s” is under way, and its model will have this name. Write another name."
    ),
    "'{name}' became another's while this came in; import it under another name": lazy_gettext(
        "Somebody else took the name “%(name)s” during the import. Import it under another name."
    ),
    "these weights are here already, as a model that is private; ask a coordinator": lazy_gettext(
        "These weights are already here, as a private model. Ask a coordinator."
    ),
    "is taken in this federation; choose another": lazy_gettext(
        "This name is taken in this federation. Choose another."
    ),
    "{most} imports are under way in this federation; wait until one is done": lazy_gettext(
        "%(most)s imports are under way in this federation. Wait until one is done."
    ),
    "only a coordinator may import from the model hub; upload the file instead": lazy_gettext(
        "Only a coordinator may import from the model hub. Upload the file instead."
    ),
    "this is for whoever runs the server: 'fedflow server import'": lazy_gettext(
        "Only whoever runs the server may do this. Upload the file instead."
    ),
    "this server has no folder to import from; start it with --imports FOLDER": lazy_gettext(
        "This server has no folder to import from. Whoever runs it can start it with --imports FOLDER."
    ),
    "this is for a participant of a federation; ask its administrator for the role": lazy_gettext(
        "This needs the role participant in a federation. Ask its administrator."
    ),
    "the import of '{name}' has not failed; it is {phase}": lazy_gettext(
        "The import of “%(name)s” did not fail, so there is nothing to try again."
    ),
    "is no base model of this federation; import the model first": lazy_gettext(
        "This is not a base model of this federation. Import the model first."
    ),
    "only an administrator of the server may import from its folder; upload the file instead": lazy_gettext(
        "Only an administrator of the server may import from its folder. Upload the file instead."
    ),
    "this server takes nothing from the model hub; upload the file instead": lazy_gettext(
        "This server takes nothing from the model hub. Upload the file instead."
    ),
    "{place} is no name on the hub; give OWNER/NAME": lazy_gettext(
        "This is not a name on the model hub. Write OWNER/NAME."
    ),
    "'{name}' has no example {sha256}": lazy_gettext("This example is no longer shown."),
    "the picture has {bytes} bytes, {most} are allowed; scale it down": lazy_gettext(
        "The picture is larger than 8 MB. Scale it down."
    ),
    "'{name}' has {most} examples, which is all there may be; take one down first": lazy_gettext(
        "There are already %(most)s examples, the most allowed. Remove one first."
    ),
    "the picture is no PNG, or damaged; save it again as PNG": lazy_gettext(
        "The picture is not a PNG, or is damaged. Save it again as PNG."
    ),
    "the picture has {width}x{height} pixels; scale it to 2048x2048 at most": lazy_gettext(
        "The picture has %(width)s by %(height)s pixels. Scale it to 2048 by 2048 at most."
    ),
    "the file is empty; choose another": lazy_gettext("The file is empty. Choose another."),
    "an upload may have {most} bytes, this one has {given}; ask the coordinator": lazy_gettext(
        "The file is larger than this server accepts. Ask whoever runs it."
    ),
    "this {kind} has {count} uploads already; hand them in or delete one": lazy_gettext(
        "You have %(count)s unfinished uploads. They disappear by themselves; try again later."
    ),
    "this {kind} has no such upload; start it anew": lazy_gettext(
        "This upload is no longer here. Choose the file again."
    ),
    "the upload's bytes are lost; upload the file again": lazy_gettext("The upload is lost. Send the file again."),
    "the upload is at byte {offset} of {length}; send the rest first": lazy_gettext(
        "The upload is incomplete. Press the button again: it continues from where it stopped."
    ),
}
"""As `faults.SENTENCES`, which takes them in."""
