"""What workers find wrong with what was brought in and with the server's own files, and what pages say of it."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

NOT_REACHED = lazy_gettext(
    "“%(name)s” is not on the server, and the model hub cannot be reached. Try again later, or import the model as a "
    "file."
)
TOO_LARGE = lazy_gettext("The file is larger than this server accepts. Ask whoever runs it.")
LOST_IN_STORE = lazy_gettext(
    "One of the server's files is missing or damaged. An administrator has to restore it; then try again."
)
DISK_FULL = lazy_gettext("The server's disk is full. An administrator has to free space; then try again.")
NOT_WRITTEN = lazy_gettext("The server cannot write to its disk. An administrator has to look at it; then try again.")
NOT_READ = lazy_gettext("“%(file)s” cannot be read on the server (%(why)s). Check it, then try again.")

SENTENCES: dict[str, str | LazyString] = {
    # A safetensors file.
    "{file}: cannot be opened ({why}); check the path": NOT_READ,
    "{file}: cannot be read ({why}); check the path": NOT_READ,
    "{file}: cannot be read ({why}); check the file and try again": NOT_READ,
    "{file}: cannot be read ({why}); check its permission and the disk": NOT_READ,
    # An adapter.
    "{file}: has {bytes} bytes, {most} are allowed for an adapter": TOO_LARGE,
    # A base model.
    "the starter model is not in this installation ({folder}); install fedflow again": lazy_gettext(
        "The starter model is missing on the server. Whoever runs it has to install FedFlow again."
    ),
    "{model}: no such folder or file, and no hub name (OWNER/NAME); give '{starter}', a diffusers folder or a "
    ".safetensors file": lazy_gettext(
        "“%(model)s” is neither a folder or file on the server's machine nor a name on the model hub (OWNER/NAME). "
        "Write “starter”, “registry:NAME”, or a folder or file that is there."
    ),
    "{folder}: scheduler '{name}' is unknown to this diffusers; upgrade it": lazy_gettext(
        "The server's diffusers does not know the model's scheduler “%(name)s”. Whoever runs the server can upgrade it."
    ),
    "{file}: a single file holds no configs and no tokenizer, and {hub} cannot be reached for them; connect once, or "
    "put a diffusers folder of the same family at {beside}": lazy_gettext(
        "“%(file)s” holds only weights. Name a base model of the same family to take the settings from."
    ),
    "{name}: not in the hub cache, and HF_HUB_OFFLINE is set; unset it or use '{starter}'": lazy_gettext(
        "“%(name)s” is not on the server, and its settings forbid asking the model hub. Import the model as a file, or "
        "ask whoever runs the server."
    ),
    "{name}: not in the hub cache, and the hub cannot be reached ({why}); connect, give a local folder, or use "
    "'{starter}'": NOT_REACHED,
    "base model '{model}' has changed since run {run} was prepared; put it back": lazy_gettext(
        "The base model “%(model)s” has changed since the run was prepared. Put the old one back."
    ),
    # What was brought in.
    "place: this server has no folder to import from; start it with --imports FOLDER": lazy_gettext(
        "This server has no folder to import from. Whoever runs it can start it with --imports FOLDER."
    ),
    "{file}: the upload is no longer here; upload it again": lazy_gettext("The upload is lost. Send the file again."),
    "{file}: no such file or folder; check the path": lazy_gettext(
        "“%(file)s” is not on the server's machine. Check the path."
    ),
    "{file}: is no .safetensors file, nor a zip; nothing else is opened": lazy_gettext(
        "“%(file)s” is neither a .safetensors file nor a zip. Nothing else is accepted."
    ),
    "{file}: has {bytes} bytes, {most} are allowed": TOO_LARGE,
    "{file}: has {bytes} bytes on the hub, {most} are allowed; take a smaller one": lazy_gettext(
        "“%(file)s” is larger than this server accepts. Take a smaller model, or ask whoever runs the server."
    ),
    "{file}: has more than {most} bytes, which is what is allowed": TOO_LARGE,
    "the archive unpacks to {bytes} bytes, {most} are allowed": TOO_LARGE,
    # The server's own files.
    "{file}: blob is damaged; remove it and run the step that writes it again": LOST_IN_STORE,
    "{file}: blob is missing; run the step that writes it again": LOST_IN_STORE,
    "{file}: blob is missing; send it again": LOST_IN_STORE,
    "{file}: is not there; run the step that writes it again": LOST_IN_STORE,
    "{file}: disk full ({need}); free space and run the same command again": DISK_FULL,
    "{file}: disk quota used up ({need}); free space and run the same command again": DISK_FULL,
    "{file}: cannot be written ({why}); check the disk or choose another folder": NOT_WRITTEN,
    "{file}: cannot be written ({why}); free space or choose another folder": NOT_WRITTEN,
    "{file}: cannot be written ({why})": NOT_WRITTEN,
}
"""As `faults.SENTENCES`, which takes them in. One wording stands for all that a reader would mend in the same way."""
