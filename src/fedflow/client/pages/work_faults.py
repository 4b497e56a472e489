"""Why jobs of this machine fail or are refused, its files and models, and what the pages say of it."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

DISK_FULL = lazy_gettext("The disk is full, so “%(file)s” was not written. Free some space, then try again.")
NO_PERMISSION = lazy_gettext("The app may not write “%(file)s”. Change the folder's permission, then try again.")
NOT_WRITTEN = lazy_gettext("“%(file)s” cannot be written (%(why)s). Check the disk, then try again.")
IN_THE_WAY = lazy_gettext(
    "“%(file)s” cannot be written: something else lies in its place. Move that away, then try again."
)
NOT_READ = lazy_gettext("“%(file)s” cannot be read (%(why)s). Check it, then try again.")
DAMAGED = lazy_gettext("“%(file)s” is damaged. Put back a copy, or remove it, then try again.")
LOST = lazy_gettext(
    "A file that the app keeps is missing or damaged (“%(file)s”). Put it back from a backup, or do again what made it."
)
NOT_THERE = lazy_gettext("“%(file)s” is not there any more. Check the path.")
ADAPTER_GONE = lazy_gettext("An adapter is no longer in the library. Choose again.")
MODEL_GONE = lazy_gettext("The model is no longer in the library. Choose another.")
GONE = lazy_gettext("It is no longer in the library.")
START_ANEW = lazy_gettext("The file of the last checkpoint cannot be used. Start a new training.")
TOO_LARGE = lazy_gettext("“%(file)s” is too large for it. Choose another file.")
NOT_REACHED = lazy_gettext(
    "“%(name)s” is not on this machine, and the model hub cannot be reached. Connect to the internet, or give a "
    "folder on this machine."
)

SENTENCES: dict[str, str | LazyString] = {
    "{folder}: cannot be written ({why}); free space on its disk, then resume": lazy_gettext(
        "The app's folder cannot be written (%(why)s). Free space on its disk, then resume."
    ),
    # Any job.
    "it is over already": lazy_gettext("it is over already"),
    "there is nothing to resume": lazy_gettext("there is nothing to resume"),
    "there is nothing to put aside": lazy_gettext("there is nothing to put aside"),
    "{kind}Error: {what}": lazy_gettext(
        "Something unexpected failed (%(kind)sError: %(what)s). Try again; the terminal in which the app was started "
        "says more."
    ),
    # Generating.
    "the machine's memory does not suffice for {width} by {height} pixels; ask for {less_wide} by {less_high}, or "
    "close other programs, then resume": lazy_gettext(
        "This machine does not have enough memory for %(width)s by %(height)s pixels. Ask for %(less_wide)s by "
        "%(less_high)s, or close other programs, then resume."
    ),
    "the machine's memory does not suffice for the model; close other programs, then resume, or choose a smaller "
    "model": lazy_gettext(
        "This machine does not have enough memory for the model. Close other programs, then resume; or choose a "
        "smaller model."
    ),
    "all that is painted is cut off by the width and height; paint within what is drawn": lazy_gettext(
        "All that is painted is cut off by the width and height. Paint nearer to the middle."
    ),
    "an adapter is no longer in the library; take it out of the form and try again": lazy_gettext(
        "An adapter is no longer in the library. Take it out of the form, then try again."
    ),
    "adapter '{name}' does not fit model '{model}' ({why}); switch it off, or choose its model": lazy_gettext(
        "Adapter “%(name)s” does not fit model “%(model)s”. Switch it off, or choose the model that it was trained on."
    ),
    "the model is no longer in the library; choose another": MODEL_GONE,
    "the file has more than {most} MB; choose a smaller one": lazy_gettext(
        "The file has more than %(most)s MB. Choose a smaller one."
    ),
    "no file was sent; choose one": lazy_gettext("No file was sent. Choose one."),
    "the picture has more than {most} million pixels; make it smaller": lazy_gettext(
        "The picture has more than %(most)s million pixels. Make it smaller."
    ),
    "the file is none of {formats}, or is damaged; save it as one of these": lazy_gettext(
        "The file is in none of the formats %(formats)s, or is damaged. Save the picture as one of these."
    ),
    "the mask cannot be read; paint it again": lazy_gettext("The mask cannot be read. Paint it again."),
    "the mask is no longer kept; paint it again": lazy_gettext("The mask is no longer kept. Paint it again."),
    "the picture carries no settings; many web sites remove them from what they show": lazy_gettext(
        "The picture carries no settings. Many websites remove them from what they show."
    ),
    "the file is no PNG picture, or is damaged; choose a PNG": lazy_gettext(
        "The file is no PNG, or is damaged. Choose a PNG."
    ),
    "the picture's settings are longer than a million characters; they are not read": lazy_gettext(
        "The picture's settings are longer than a million characters, so they are not read."
    ),
    "the picture's workflow cannot be read; it is no graph of nodes": lazy_gettext(
        "The picture's workflow cannot be read. Choose another picture."
    ),
    "the picture's workflow has no KSampler node that tells steps and seed": lazy_gettext(
        "The picture's workflow has no KSampler node with steps and seed. Choose another picture."
    ),
    # The library.
    "a name has up to 80 letters, digits, spaces, dots, dashes, and begins with a letter": lazy_gettext(
        "A name has up to 80 letters, digits, spaces, dots and dashes, and begins with a letter."
    ),
    "a trigger has up to {most} characters; shorten it": lazy_gettext(
        "A trigger has up to %(most)s characters. Shorten it."
    ),
    "'{name}' is taken; choose another name": lazy_gettext("“%(name)s” is taken. Choose another name."),
    "it is no longer in the library": GONE,
    "the model is no longer in the library": GONE,
    "{place} is not there; give the whole path, or a hub name OWNER/NAME": lazy_gettext(
        "%(place)s is not there. Give the whole path, or a name on the model hub (OWNER/NAME)."
    ),
    "the file is an adapter (LoRA); choose that, and the model it was trained on": lazy_gettext(
        "The file is an adapter (LoRA). Choose that, and the model that it was trained on."
    ),
    "it is a whole model; choose that": lazy_gettext("It is a whole model. Choose that."),
    "choose {fewest} to {most} adapters": lazy_gettext("Choose %(fewest)s to %(most)s adapters."),
    "an adapter is no longer in the library; choose again": ADAPTER_GONE,
    "it must lie between -{least} and {most}": lazy_gettext("Must lie between -%(least)s and %(most)s."),
    "{file}: is not there any more; check the path": NOT_THERE,
    "the adapters were trained on different base models; choose ones of the same": lazy_gettext(
        "The adapters were trained on different base models. Choose adapters of the same one."
    ),
    # Training.
    "it is no longer here; choose another": lazy_gettext("It is no longer here. Choose another."),
    "its folder is not where it was; its page says how to go on": lazy_gettext(
        "Its folder is not where it was. The dataset's page says how to go on."
    ),
    "its dataset's folder is not where it was; say on its page where it is, then resume": lazy_gettext(
        "Its dataset's folder is not where it was. Connect its disk, or say on the dataset's page where it is now; "
        "then resume."
    ),
    "none of its pictures can be used; its page says why": lazy_gettext(
        "None of its pictures can be used. Its page says why."
    ),
    "a whole model goes on from no adapter; choose none": lazy_gettext(
        "A whole model does not go on from an adapter. Choose “a fresh adapter”."
    ),
    "it is no longer in the library; choose another": lazy_gettext("It is no longer in the library. Choose another."),
    "it does not fit the base model; choose another, or none": lazy_gettext(
        "It does not fit the base model. Choose the model that it was trained on, or “a fresh adapter”."
    ),
    "the disk has not enough free for it; free some space, or take a smaller model": lazy_gettext(
        "The disk does not have enough free space for it. Free some, or take a smaller model."
    ),
    "the dataset was taken out meanwhile; start a new training": lazy_gettext(
        "The dataset was taken out meanwhile. Start a new training."
    ),
    "the adapter to go on from is no longer in the library; start a new training": lazy_gettext(
        "The adapter to go on from is no longer in the library. Start a new training."
    ),
    "the adapter mixes ranks or alphas {settings}; merge it into the base instead": lazy_gettext(
        "The parts of the adapter to go on from differ in rank or strength, so it cannot be trained further. Choose "
        "another, or “a fresh adapter”."
    ),
    "the model or adapter that it learns from is not the one that it began with; start a new training": lazy_gettext(
        "The model or adapter that it learns from is not the one that it began with. Choose Train again to begin anew."
    ),
    "the machine's memory does not suffice for {size} pictures per step; start one with {smaller} per step and "
    "{times} gradient accumulation, which learns the same, or close other programs and resume": lazy_gettext(
        "This machine does not have the memory for %(size)s pictures per step. Start a training with %(smaller)s per "
        "step and gradient accumulation %(times)s, which learns the same, or close other programs and resume."
    ),
    "the machine's memory does not suffice for pictures of this size; start one with a size of {side}, or close other "
    "programs and resume": lazy_gettext(
        "This machine does not have the memory for pictures of this size. Start a training with a size of %(side)s "
        "pixels, or close other programs and resume."
    ),
    "the machine's memory does not suffice for pictures of this size; start one of an adapter, or with a size of "
    "{side}, or close other programs and resume": lazy_gettext(
        "This machine does not have the memory for pictures of this size. Start a training of an adapter rather than "
        "the whole model, or with a size of %(side)s pixels, or close other programs and resume."
    ),
    "the loss of step {step} is {loss}; lower the learning rate or train in float32": lazy_gettext(
        "The training diverged at step %(step)s. Start a new one with a lower learning rate, or in float32."
    ),
    "{file}: checkpoint of another training ({what}); remove it, choose another folder, or give the settings of "
    "before": START_ANEW,
    "{file}: lacks tensor {name}; remove it and run the same command again": START_ANEW,
    "{file}: lacks {name}; remove it and run the same command again": START_ANEW,
    # Opening a model.
    "the starter model is not in this installation ({folder}); install fedflow again": lazy_gettext(
        "The starter model is missing in this installation. Install FedFlow again."
    ),
    "{model}: no such folder or file, and no hub name (OWNER/NAME); give '{starter}', a diffusers folder or a "
    ".safetensors file": lazy_gettext(
        "“%(model)s”: no such folder or file on this machine, and no name on the model hub (OWNER/NAME). Give one "
        "that is there, or “starter”."
    ),
    "{folder}: scheduler '{name}' is unknown to this diffusers; upgrade it": lazy_gettext(
        "The installed diffusers does not know the model's scheduler “%(name)s”. Upgrade it."
    ),
    "{file}: a single file holds no configs and no tokenizer, and {hub} cannot be reached for them; connect once, or "
    "put a diffusers folder of the same family at {beside}": lazy_gettext(
        "“%(file)s” holds only weights. No model here tells its settings for sure, and the model hub cannot be "
        "reached. Connect to the internet once, or import it as a diffusers folder."
    ),
    "{name}: not in the hub cache, and HF_HUB_OFFLINE is set; unset it or use '{starter}'": lazy_gettext(
        "“%(name)s” is not on this machine, and HF_HUB_OFFLINE forbids asking the model hub. Unset it, or use "
        "“starter”."
    ),
    "{name}: not in the hub cache, and the hub cannot be reached ({why}); connect, give a local folder, or use "
    "'{starter}'": NOT_REACHED,
    "{file}: has {bytes} bytes, {most} are allowed for an adapter": TOO_LARGE,
    "{file}: has more than {most} bytes, which is what is allowed": TOO_LARGE,
    "{file}: not the weights of {name} ({why}); install fedflow anew": lazy_gettext(
        "The weights of %(name)s are damaged in this installation. Install FedFlow again."
    ),
    # A file that came through the browser.
    "the archive unpacks to {bytes} bytes, {most} are allowed": lazy_gettext(
        "The archive holds more than a model may have. Pack the model's files alone."
    ),
    "{file}: is no .safetensors file, nor a zip; nothing else is opened": lazy_gettext(
        "“%(file)s” is neither a .safetensors file nor a zip. Choose one of these."
    ),
    "the file is no longer kept; bring it once more": lazy_gettext("The file is no longer kept. Bring it once more."),
    # Files that a page sends in pieces.
    "{file}: has {size} MB, and at most {most} MB are taken through the browser; give its place on this machine "
    "instead": lazy_gettext(
        "“%(file)s” has %(size)s MB; at most %(most)s MB are taken through the browser. Put it on this machine and "
        "give the place where it is."
    ),
    "the page asks for what this app does not know; load it anew, then choose the file again": lazy_gettext(
        "This page is of another version of the app. Load it anew, then choose the file again."
    ),
    "{file}: does not begin as a zip does; pack it anew, or choose another file": lazy_gettext(
        "“%(file)s” is no zip, or is damaged. Pack it anew, or choose another file."
    ),
    "the list of the files does not fit what was sent; load the page anew, then choose the files again": lazy_gettext(
        "The list of the files does not fit what was sent. Load the page anew, then choose the files again."
    ),
    "the names of the files are too long together; bring the files in several parts": lazy_gettext(
        "The names of the files are too long together. Bring the files in several parts."
    ),
    "the beginning of the file did not arrive; choose the file again": lazy_gettext(
        "The file changed while it was sent, or cannot be read. Choose it again."
    ),
    "the file has not arrived whole; choose it again, and it goes on where it stopped": lazy_gettext(
        "The file has not arrived whole. Choose it again; it goes on where it stopped."
    ),
    "{folder}: disk full (needs about {size} MB more); free space, then send the rest": lazy_gettext(
        "The disk of the app's folder is full: about %(size)s MB more are needed. What has arrived is kept; free "
        "space, then go on."
    ),
    "{folder}: cannot be written ({why}); free space, then send the rest": lazy_gettext(
        "The app's folder cannot be written (%(why)s). What has arrived is kept; free space, then go on."
    ),
    # Files on this machine.
    "{file}: disk full ({need}); free space and run the same command again": DISK_FULL,
    "{file}: disk quota used up ({need}); free space and run the same command again": DISK_FULL,
    "{file}: no permission to write there; change the permission or choose another folder": NO_PERMISSION,
    "{file}: the disk is read-only; choose another folder": lazy_gettext(
        "The disk of “%(file)s” is read-only, so nothing can be written there. Mount it for writing, then try again."
    ),
    "{file}: a part of its path is a file and not a folder; choose another folder": IN_THE_WAY,
    "{file}: is a folder; choose another name": IN_THE_WAY,
    "{file}: is there already and no model; move it away or choose another folder": IN_THE_WAY,
    "{file}: larger than a file may be here; raise the limit (ulimit -f) and run the same command again": lazy_gettext(
        "“%(file)s” is larger than a file may be here. Raise the limit (ulimit -f), then start the app again."
    ),
    "{file}: cannot be written ({why}); check the disk or choose another folder": NOT_WRITTEN,
    "{file}: cannot be written ({why}); free space or choose another folder": NOT_WRITTEN,
    "{file}: cannot be written ({why}); free space, check the permission or choose another folder": NOT_WRITTEN,
    "{file}: cannot be written ({why}); check its permission": NOT_WRITTEN,
    "{file}: cannot be written ({why}); free space": NOT_WRITTEN,
    "{file}: cannot be written ({why})": NOT_WRITTEN,
    "{file}: cannot be opened ({why}); check the path": NOT_READ,
    "{file}: cannot be read ({why}); check the path": NOT_READ,
    "{file}: cannot be read ({why}); check the file and try again": NOT_READ,
    "{file}: cannot be read ({why}); check its permission and the disk": NOT_READ,
    "{file}: is not there; check the path": NOT_THERE,
    "{file}: is not JSON ({where}); repair it or remove it": DAMAGED,
    "{file}: is not UTF-8 (byte {where}); repair it or remove it": DAMAGED,
    "{file}: is nested too deeply to be a file of FedFlow; remove it": DAMAGED,
    "{file}: blob is damaged; remove it and run the step that writes it again": LOST,
    "{file}: blob is missing; run the step that writes it again": LOST,
    "{file}: blob is missing; send it again": LOST,
}
"""As `faults.SENTENCES`, which takes them in. One wording stands for all that a reader would mend in the same way."""
