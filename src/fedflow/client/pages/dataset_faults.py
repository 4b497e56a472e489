"""What is said of pictures, captions and tags, and what the pages say of it."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

SENTENCES: dict[str, str | LazyString] = {
    "the caption has more than {most} letters; shorten it": lazy_gettext(
        "the caption has more than %(most)s characters; shorten it"
    ),
    "give a name of 1 to {most} characters": lazy_gettext("give a name of 1 to %(most)s characters"),
    "the dataset is being changed right now; try again when that is done": lazy_gettext(
        "the dataset is being changed right now; try again when that is done"
    ),
    # A picture or its caption, as a folder is looked at.
    "has no caption; write its tags into {file} in the same folder": lazy_gettext(
        "has no caption; write its tags into %(file)s in the same folder"
    ),
    "the caption is empty; {way_out}": lazy_gettext("the caption is empty; write the picture's tags"),
    "is not UTF-8 ({where}); save it as UTF-8": lazy_gettext(
        "the caption is not UTF-8; write it anew, or save the text file as UTF-8"
    ),
    "is an empty file; replace it or remove it": lazy_gettext("is an empty file; replace it or remove it"),
    "is not a picture, or broken at its start (PNG, JPEG, WebP, GIF, BMP, TIFF); replace it or remove it": lazy_gettext(
        "is not a picture, or broken at its start (PNG, JPEG, WebP, GIF, BMP, TIFF); replace or remove it"
    ),
    "is broken ({why}); replace it or remove it": lazy_gettext("is broken (%(why)s); replace it or remove it"),
    "is too large (over {size} megapixels, at most {most}); scale it down": lazy_gettext(
        "is too large (more than %(size)s megapixels, at most %(most)s); scale it down"
    ),
    "is too large ({size} megapixels, at most {most}); scale it down": lazy_gettext(
        "is too large (%(size)s megapixels, at most %(most)s); scale it down"
    ),
    "is animated or has pages ({frames} frames); save one frame as PNG or JPEG": lazy_gettext(
        "is animated or has pages (frames: %(frames)s); save one frame as PNG or JPEG"
    ),
    "has floating-point pixels; save it as 8-bit PNG or JPEG": lazy_gettext(
        "has floating-point pixels; save it as 8-bit PNG or JPEG"
    ),
    "is not a picture; convert it to PNG or JPEG, or move it out of the folder": lazy_gettext(
        "is not a picture; convert it to PNG or JPEG, or move it out of the folder"
    ),
    "was left out, as it is neither picture nor caption; bring it as PNG or JPEG": lazy_gettext(
        "was left out, as it is neither picture nor caption; bring it as PNG or JPEG"
    ),
    "is not there; put it back or read the folder again": lazy_gettext(
        "is not there; put it back or look at the folder again"
    ),
    "cannot be read ({why}); put it back or read the folder again": lazy_gettext(
        "cannot be read (%(why)s); put it back or look at the folder again"
    ),
    "cannot be read ({why}); check its permission and the disk": lazy_gettext(
        "cannot be read (%(why)s); check its permission and the disk"
    ),
    "is a link to a folder and is not followed; copy its pictures here": lazy_gettext(
        "is a link to a folder and is not followed; copy its pictures here"
    ),
    "line {line} is not JSON with 'file_name' and 'text'; repair the line": lazy_gettext(
        "line %(line)s is not JSON with 'file_name' and 'text'; repair the line"
    ),
    "is tiny ({size}); a side under {least} pixels has little to learn from": lazy_gettext(
        "is tiny (%(size)s); so small a picture has little to learn from"
    ),
    "is very wide ({size}); its middle square is seen": lazy_gettext(
        "is very wide (%(size)s); its middle square is seen"
    ),
    "is very tall ({size}); its middle square is seen": lazy_gettext(
        "is very tall (%(size)s); its middle square is seen"
    ),
    "has a caption whose direction is turned unseen ({signs}); write it anew": lazy_gettext(
        "has a caption whose direction is turned unseen (%(signs)s); write it anew"
    ),
    "shares its caption with {other}; give it a name of its own": lazy_gettext(
        "shares its caption with %(other)s; give it a name of its own"
    ),
    # A folder.
    "{place}: {problem}": "%(place)s: %(problem)s",
    "{folder}: is not there; name a folder of pictures": lazy_gettext("%(folder)s: is not there; check the folder"),
    "{folder}: is a file and not a folder; name a folder of pictures": lazy_gettext(
        "%(folder)s: is a file and not a folder; name a folder of pictures"
    ),
    "{folder}: holds no pictures; put PNG or JPEG files there, each with a .txt caption beside it": lazy_gettext(
        "%(folder)s: holds no pictures; put PNG or JPEG files there, each with a .txt caption beside it"
    ),
    "{folder}: has no pictures; give a folder with pictures and captions": lazy_gettext(
        "%(folder)s: has no pictures; put some with their captions there"
    ),
    "{folder}: the only file cannot be used; the first: {problem}": lazy_gettext(
        "%(folder)s: its only file cannot be used: %(problem)s"
    ),
    "{folder}: none of {count} files can be used; the first: {problem}": lazy_gettext(
        "%(folder)s: none of its %(count)s files can be used; the first is %(problem)s"
    ),
    "{path}: is no folder on this machine; check the path": lazy_gettext(
        "%(path)s: is no folder on this machine; check the path"
    ),
    "{path}: is the app's own folder; give one with your pictures": lazy_gettext(
        "%(path)s: is the app's own folder; give one with your pictures"
    ),
    "{path}: is the whole disk; give the folder of your pictures": lazy_gettext(
        "%(path)s: is the whole disk; give the folder of your pictures"
    ),
    "{path}: is here already": lazy_gettext("%(path)s: is here already"),
    "give the folder's whole path, such as /home/me/pictures": lazy_gettext(
        "give the folder's whole path, such as /home/me/pictures"
    ),
    "the dataset was taken out meanwhile": lazy_gettext("the dataset was taken out meanwhile"),
    "the dataset was taken out meanwhile; choose the files again on the page of all datasets to make a new "
    "one": lazy_gettext(
        "the dataset was taken out meanwhile; choose the files again on the page of all datasets, and they become a "
        "new one"
    ),
    "the dataset is no longer here; choose another": lazy_gettext("the dataset is no longer here; choose another"),
    # A change of captions.
    "the tag is empty; give at least one letter": lazy_gettext("the tag is empty; give at least one letter"),
    "'{tag}': a tag holds no comma; give its tags one after the other": lazy_gettext(
        "'%(tag)s': a tag holds no comma; give tags one after the other"
    ),
    "the text to find is empty; give at least one letter": lazy_gettext(
        "the text to find is empty; give at least one letter"
    ),
    "{path}: its caption stands in {file}; take it out there, then look again": lazy_gettext(
        "%(path)s: its caption stands in %(file)s; take it out there, then look at the folder again"
    ),
    "none of the captions would be changed by it": lazy_gettext("none of the captions would be changed by it"),
    "captions with no other tag stay as they are: a picture without a tag cannot be trained on": lazy_gettext(
        "captions with no other tag stay as they are: a picture without a tag cannot be trained on; choose “Remove "
        "captions” to empty them all the same"
    ),
    "the caption of {path} and {more} more were changed meanwhile; look at it, and change it anew": lazy_gettext(
        "the caption of %(path)s was changed meanwhile (and others: %(more)s); look at it, and change it anew"
    ),
    "the caption of {path} was changed meanwhile; look at it, and change it anew": lazy_gettext(
        "the caption of %(path)s was changed meanwhile; look at it, and change it anew"
    ),
    "the caption was changed meanwhile, perhaps in another window; look at it, then change it": lazy_gettext(
        "the caption was changed meanwhile, perhaps in another window; look at it, then change it"
    ),
    "something else was changed meanwhile, perhaps in another window; look at it, then try again": lazy_gettext(
        "something else was changed meanwhile, perhaps in another window; look at it, then try again"
    ),
    "it is done already, perhaps in another window": lazy_gettext("it is done already, perhaps in another window"),
    "{path}: its caption was changed by another program; look at the folder again": lazy_gettext(
        "%(path)s: its caption was changed by another program; look at the folder again"
    ),
    "{path}: its caption is not UTF-8 any more; look at the folder again": lazy_gettext(
        "%(path)s: its caption is not UTF-8 any more; look at the folder again"
    ),
    "{path}: its caption cannot be read; check its permission, then look again": lazy_gettext(
        "%(path)s: its caption cannot be read; check the file's permission, then look at the folder again"
    ),
    "{path}: its caption is not UTF-8; write it anew on the picture's page": lazy_gettext(
        "%(path)s: its caption is not UTF-8; write it anew on the picture's page"
    ),
    "{path}: is not there any more; look at the folder again": lazy_gettext(
        "%(path)s: is not there any more; look at the folder again"
    ),
    "{path}: a file of that name lies there already; rename one of the two": lazy_gettext(
        "%(path)s: a file of that name lies there already; rename one of the two"
    ),
    "{path}: the caption holds half of a character; type it again": lazy_gettext(
        "%(path)s: the caption holds half of a character; type it again"
    ),
    "the picture is no longer in the dataset; look at the folder again": lazy_gettext(
        "the picture is no longer in the dataset; look at the folder again"
    ),
    # Pictures that are taken in.
    "{path}: leads out of the folder; pack the pictures anew": lazy_gettext(
        "%(path)s: leads out of the folder; pack the pictures anew"
    ),
    "{path}: leads through a link; replace the link by a folder": lazy_gettext(
        "%(path)s: leads through a link; replace the link by a folder"
    ),
    "{path}: the name holds control characters; rename it": lazy_gettext(
        "%(path)s: the name holds control characters; rename it"
    ),
    "{path}...: the name is too long; rename it": lazy_gettext("%(path)s…: the name is too long; rename it"),
    "{path}: more than {depth} folders deep; pack the pictures flatter": lazy_gettext(
        "%(path)s: lies more than %(depth)s folders deep; put the pictures into fewer folders"
    ),
    "{path}: the name stands there twice (case does not count); rename one": lazy_gettext(
        "%(path)s: the name stands there twice (case does not count); rename one"
    ),
    "more than {most} MB at once; add the folder that they lie in": lazy_gettext(
        "more than %(most)s MB at once; put the pictures into a folder on this machine, then add that"
    ),
    "{path}: such a file is in the folder already; rename or remove one": lazy_gettext(
        "%(path)s: a file of that name is in the dataset already; rename one of the two"
    ),
    "{path}: is larger than {most} MB; scale the picture down": lazy_gettext(
        "%(path)s: is larger than %(most)s MB; scale the picture down"
    ),
    "{path}: is encrypted; pack the pictures without a password": lazy_gettext(
        "%(path)s: is encrypted; pack the pictures without a password"
    ),
    "{path}: is packed by method {method}; pack it by the usual one, deflate": lazy_gettext(
        "%(path)s: is packed in an unusual way; pack it with the usual method"
    ),
    "{path}: is a link or a device and not a file; pack the file itself": lazy_gettext(
        "%(path)s: is a link or a device and not a file; pack the file itself"
    ),
    "more than {most} files; take them in several parts": lazy_gettext(
        "more than %(most)s files; bring them in several parts"
    ),
    "more than {most} MB in all; take them in several parts": lazy_gettext(
        "more than %(most)s MB in all; bring them in several parts"
    ),
    "the zip would grow from {size} MB to {large} MB, which pictures do not; pack them anew": lazy_gettext(
        "the zip would grow from %(size)s MB to %(large)s MB, which pictures do not; pack them anew"
    ),
    "the zip is no zip, or broken; pack the pictures anew ({why})": lazy_gettext(
        "the zip is no zip, or broken; pack the pictures anew"
    ),
    "the zip is packed in an unusual way ({why}); pack it with the usual method": lazy_gettext(
        "the zip is packed in an unusual way; pack it with the usual method"
    ),
    "the zip holds more than {most}; pack it in several": lazy_gettext("the zip holds too much; pack it in several"),
    "the dataset's zip is not unpacked yet; have that done or put it aside, then bring more": lazy_gettext(
        "the dataset's zip is not unpacked yet; have that done or put it aside, then bring more"
    ),
    "the zip is no longer kept; bring it once more": lazy_gettext("the zip is no longer kept; bring it once more"),
    "a zip comes alone; bring either one zip, or pictures and captions": lazy_gettext(
        "a zip comes alone; bring either one zip, or pictures and captions"
    ),
    "no picture and no caption is in it; give PNG or JPEG files, each with a .txt caption": lazy_gettext(
        "no picture and no caption is in it; give PNG or JPEG files, each with a .txt caption"
    ),
    "no picture is in it; give PNG or JPEG files, each with a .txt caption": lazy_gettext(
        "no picture is in it; give PNG or JPEG files, each with a .txt caption"
    ),
    "{path}: disk full (needs about {size} MB more); free space": lazy_gettext(
        "the disk is full (about %(size)s MB are lacking); free space"
    ),
    # A tagger.
    "the dataset is being tagged, or waits for it; ask again when that is done": lazy_gettext(
        "the dataset is being tagged, or waits for it; ask again when that is done"
    ),
    "ONNX taggers need {library}: pip install 'fedflow[tagging]'": lazy_gettext(
        "ONNX taggers need onnxruntime; install it with: pip install 'fedflow[tagging]'"
    ),
    "tagger '{name}': unknown; give {known}, an .onnx file or hub:OWNER/NAME": lazy_gettext(
        "'%(name)s' is no tagger; give the path of an .onnx file or its folder, or hub:OWNER/NAME, or take icons-v1"
    ),
    "the tagger has found nothing to write; try a lower threshold, another tagger, or to add to captions": lazy_gettext(
        "the tagger has found nothing to write; try a lower threshold, another tagger, or to add to captions"
    ),
    "{path}: no such file; give a tagger's .onnx file or the folder with {model}": lazy_gettext(
        "%(path)s: no such file; give a tagger's .onnx file or the folder with model.onnx"
    ),
    "{path}: holds no {model}; give a tagger's .onnx file or the folder with it": lazy_gettext(
        "%(path)s: holds no model.onnx; give a tagger's .onnx file or the folder with it"
    ),
    "{path}: is not there; it comes with the tagger, put it beside the .onnx file": lazy_gettext(
        "%(path)s: is not there; it comes with the tagger, put it beside the .onnx file"
    ),
    "{path}: is no ONNX model that can be opened ({why}); fetch it again": lazy_gettext(
        "%(path)s: is no ONNX model that can be opened; fetch it again"
    ),
    "{file}: takes {shape}, a WD tagger takes (n, side, side, 3); give a tagger of that form": lazy_gettext(
        "%(file)s: takes pictures in another form than WD taggers do; give a WD tagger"
    ),
    "{name}: the tagger failed ({why}); fetch it again": lazy_gettext(
        "%(name)s: the tagger failed (%(why)s); fetch it again"
    ),
    "{name}: gives {scores} scores, {file} has {tags} tags; fetch both files of one model": lazy_gettext(
        "%(name)s: the model and its list of tags do not belong together; fetch both again"
    ),
    "{path}: cannot be read as tags ({why}); fetch it again": lazy_gettext(
        "%(path)s: is no list of tags (%(why)s); fetch it again"
    ),
    "{path}: line {line} is no tag with category 0, 4 or 9; fetch it again": lazy_gettext(
        "%(path)s: line %(line)s is no tag; fetch it again"
    ),
    "{folder}: not the heads of the tagger {name} ({why}); install fedflow anew": lazy_gettext(
        "the tagger %(name)s is damaged in this installation; install FedFlow again"
    ),
}
"""As `faults.SENTENCES`, which takes them in. Most stand behind a file's name or a colon: they begin small."""
