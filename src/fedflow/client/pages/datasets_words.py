"""What our own code says of pictures, captions and tags, and changes of captions, in the reader's words."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask_babel import LazyString, gettext, lazy_gettext, ngettext

from fedflow.client.services.datasets_edits import (
    ADD,
    CAPTION,
    LEAVE_OUT,
    REMOVE,
    RENAME,
    REPLACE,
    TAG,
    Step,
)
from fedflow.web.reading import sentence

REASONS: tuple[tuple[str, LazyString], ...] = (
    # A picture or its caption, as `datasets` finds them.
    (
        r"has no caption; write its tags into (?P<file>.+) in the same folder",
        lazy_gettext("has no caption; write its tags into %(file)s in the same folder"),
    ),
    (r"the caption is empty; .*", lazy_gettext("the caption is empty; write the picture's tags")),
    (
        r"is not UTF-8 \((?P<where>.+)\); save it as UTF-8",
        lazy_gettext("the caption is not UTF-8 (%(where)s); save it as UTF-8"),
    ),
    (r"is an empty file; .*", lazy_gettext("is an empty file; replace it or remove it")),
    (
        r"is not a picture, or broken at its start .*",
        lazy_gettext(
            "is not a picture, or broken at its start (PNG, JPEG, WebP, GIF, BMP, TIFF); replace or remove it"
        ),
    ),
    (r"is broken \((?P<why>.+)\); .*", lazy_gettext("is broken (%(why)s); replace it or remove it")),
    (
        r"is too large \((?P<size>.+) megapixels, at most (?P<most>\d+)\); scale it down",
        lazy_gettext("is too large (%(size)s megapixels, at most %(most)s); scale it down"),
    ),
    (
        r"is animated or has pages \((?P<frames>\d+) frames\); .*",
        lazy_gettext("is animated or has pages (frames: %(frames)s); save one frame as PNG or JPEG"),
    ),
    (r"has floating-point pixels; .*", lazy_gettext("has floating-point pixels; save it as 8-bit PNG or JPEG")),
    (
        r"is not a picture; convert .*",
        lazy_gettext("is not a picture; convert it to PNG or JPEG, or move it out of the folder"),
    ),
    (r"is not there; put it back .*", lazy_gettext("is not there; put it back or look at the folder again")),
    (
        r"cannot be read \((?P<why>.+)\); .*",
        lazy_gettext("cannot be read (%(why)s); check its permission and the disk"),
    ),
    (
        r"is a link to a folder and is not followed; .*",
        lazy_gettext("is a link to a folder and is not followed; copy its pictures here"),
    ),
    (
        r"line (?P<line>\d+) is not JSON with .*",
        lazy_gettext("line %(line)s is not JSON with 'file_name' and 'text'; repair the line"),
    ),
    (
        r"is tiny \((?P<size>\S+)\); .*",
        lazy_gettext("is tiny (%(size)s); so small a picture has little to learn from"),
    ),
    (r"is very wide \((?P<size>\S+)\); .*", lazy_gettext("is very wide (%(size)s); its middle square is seen")),
    (r"is very tall \((?P<size>\S+)\); .*", lazy_gettext("is very tall (%(size)s); its middle square is seen")),
    (
        r"shares its caption with (?P<other>.+); .*",
        lazy_gettext("shares its caption with %(other)s; give it a name of its own"),
    ),
    # A change of captions.
    (r"the tag is empty; .*", lazy_gettext("the tag is empty; give at least one letter")),
    (
        r"'(?P<tag>.*)': a tag holds no comma; .*",
        lazy_gettext("'%(tag)s': a tag holds no comma; give tags one after the other"),
    ),
    (r"the text to find is empty; .*", lazy_gettext("the text to find is empty; give at least one letter")),
    (r"none of the captions would be changed by it", lazy_gettext("none of the captions would be changed by it")),
    (
        r"captions with no other tag stay as they are: .*",
        lazy_gettext("captions with no other tag stay as they are: a picture without a tag cannot be trained on"),
    ),
    (
        r"the caption of (?P<path>.+) and (?P<more>\d+) more were changed meanwhile; .*",
        lazy_gettext(
            "the caption of %(path)s was changed meanwhile (and others: %(more)s); look at it, and change it anew"
        ),
    ),
    (
        r"the caption of (?P<path>.+) was changed meanwhile; .*",
        lazy_gettext("the caption of %(path)s was changed meanwhile; look at it, and change it anew"),
    ),
    (
        r"the caption was changed meanwhile, .*",
        lazy_gettext("the caption was changed meanwhile, perhaps in another window; look at it, then change it"),
    ),
    (
        r"something else was changed meanwhile, .*",
        lazy_gettext("something else was changed meanwhile, perhaps in another window; look at it, then try again"),
    ),
    (
        r"(?P<path>.+): its caption was changed by another program; .*",
        lazy_gettext("%(path)s: its caption was changed by another program; look at the folder again"),
    ),
    (
        r"(?P<path>.+): its caption cannot be read.*",
        lazy_gettext("%(path)s: its caption cannot be read; mend the text file, then look at the folder again"),
    ),
    (
        r"(?P<path>.+): is not there any more; look at the folder again",
        lazy_gettext("%(path)s: is not there any more; look at the folder again"),
    ),
    (
        r"(?P<path>.+): a file of that name lies there already; .*",
        lazy_gettext("%(path)s: a file of that name lies there already; rename one of the two"),
    ),
    (
        r"the picture is no longer in the dataset; .*",
        lazy_gettext("the picture is no longer in the dataset; look at the folder again"),
    ),
    # Pictures that are taken in.
    (
        r"(?P<path>.+): leads out of the folder; .*",
        lazy_gettext("%(path)s: leads out of the folder; pack the pictures anew"),
    ),
    (
        r"(?P<path>.+): the name stands there twice .*",
        lazy_gettext("%(path)s: the name stands there twice (case does not count); rename one"),
    ),
    (
        r"(?P<path>.+): is larger than (?P<most>\d+) MB; .*",
        lazy_gettext("%(path)s: is larger than %(most)s MB; scale the picture down"),
    ),
    (r"(?P<path>.+): is encrypted; .*", lazy_gettext("%(path)s: is encrypted; pack the pictures without a password")),
    (
        r"(?P<path>.+): is a link or a device .*",
        lazy_gettext("%(path)s: is a link or a device and not a file; pack the file itself"),
    ),
    (
        r"the zip would grow from (?P<size>.+) MB to (?P<large>.+) MB, .*",
        lazy_gettext("the zip would grow from %(size)s MB to %(large)s MB, which pictures do not; pack them anew"),
    ),
    (
        r"the zip is no zip, or broken; pack the pictures anew.*",
        lazy_gettext("the zip is no zip, or broken; pack the pictures anew"),
    ),
    (r"the zip holds more than (?P<most>\d+) .*", lazy_gettext("the zip holds too much; pack it in several")),
    (
        r"no picture and no caption is in it; .*",
        lazy_gettext("no picture and no caption is in it; give PNG or JPEG files, each with a .txt caption"),
    ),
    (
        r"(?P<path>.+): disk full \(needs about (?P<size>\d+) MB more\); .*",
        lazy_gettext("the disk is full (about %(size)s MB are lacking); free space"),
    ),
    # A tagger.
    (
        r"ONNX taggers need onnxruntime: .*",
        lazy_gettext("ONNX taggers need onnxruntime; install it with: pip install 'fedflow[tagging]'"),
    ),
    (
        r"tagger '(?P<name>.*)': unknown; .*",
        lazy_gettext(
            "'%(name)s' is no tagger; give the path of an .onnx file or its folder, or hub:OWNER/NAME, or take icons-v1"
        ),
    ),
    (
        r"the tagger has found nothing to write; .*",
        lazy_gettext(
            "the tagger has found nothing to write; try a lower threshold, another tagger, or to add to captions"
        ),
    ),
    (
        r"more than (?P<most>\d+) MB at once; .*",
        lazy_gettext("more than %(most)s MB at once; put the pictures into a folder on this machine, then add that"),
    ),
    (
        r"(?P<path>.+): such a file is in the folder already; .*",
        lazy_gettext("%(path)s: a file of that name is in the dataset already; rename one of the two"),
    ),
    (
        r"a zip comes alone; .*",
        lazy_gettext("a zip comes alone; bring either one zip, or pictures and captions"),
    ),
    (
        r"the zip was refused and is not kept; .*",
        lazy_gettext("the zip was refused and is not kept; take the dataset out and bring another one"),
    ),
    (
        r"(?P<path>.+): no such file; give a tagger's .*",
        lazy_gettext("%(path)s: no such file; give a tagger's .onnx file or the folder with model.onnx"),
    ),
    (
        r"(?P<path>.+): is not there; it comes with the tagger, .*",
        lazy_gettext("%(path)s: is not there; it comes with the tagger, put it beside the .onnx file"),
    ),
    (
        r"(?P<path>.+): is no ONNX model that can be opened .*",
        lazy_gettext("%(path)s: is no ONNX model that can be opened; fetch it again"),
    ),
)
"""Texts of errors and problems as patterns, and what a page says in their place; the first that fits counts."""

COMPILED = tuple((re.compile(pattern, re.DOTALL), words) for pattern, words in REASONS)


def reason(text: str) -> str:
    """A reason in the reader's language; as it is where other code has said it."""
    for pattern, words in COMPILED:
        found = pattern.fullmatch(text)
        if found is not None:
            return str(words) % found.groupdict() if found.groupdict() else str(words)
    return text


def reasons(problem: str) -> str:
    """Why a picture cannot be used, as its row has it: several reasons stand behind each other."""
    return reason(problem) if "; has no caption" not in problem else "; ".join(map(reason, _parts(problem)))


def _parts(problem: str) -> list[str]:
    before, _, behind = problem.partition("; has no caption")
    return [before, f"has no caption{behind}"]


def refusal(error: Exception) -> str:
    """An error as a sentence of a page."""
    return refusal_text(str(error))


def refusal_text(message: str) -> str:
    """The same of an error's message."""
    return sentence(reason(message))


MADE: dict[str, Callable[[str, str, int], str]] = {
    ADD: lambda one, _, num: ngettext(
        "add tag '%(tag)s' to %(num)s picture", "add tag '%(tag)s' to %(num)s pictures", num, tag=one
    ),
    REMOVE: lambda one, _, num: ngettext(
        "remove tag '%(tag)s' from %(num)s picture", "remove tag '%(tag)s' from %(num)s pictures", num, tag=one
    ),
    RENAME: lambda one, two, num: ngettext(
        "rename tag '%(old)s' to '%(new)s' in %(num)s picture",
        "rename tag '%(old)s' to '%(new)s' in %(num)s pictures",
        num,
        old=one,
        new=two,
    ),
    REPLACE: lambda one, two, num: ngettext(
        "replace '%(old)s' by '%(new)s' in %(num)s caption",
        "replace '%(old)s' by '%(new)s' in %(num)s captions",
        num,
        old=one,
        new=two,
    ),
    CAPTION: lambda one, _, __: gettext("change the caption of %(path)s", path=one),
    TAG: lambda one, _, num: ngettext(
        "tag %(num)s picture with %(tagger)s", "tag %(num)s pictures with %(tagger)s", num, tagger=one
    ),
    LEAVE_OUT: lambda one, _, num: ngettext("leave out %(path)s", "leave out %(num)s pictures", num, path=one),
}
"""What was done, from its first and its second word and the number of pictures."""


def made(step: Step) -> str:
    """What a change did, to stand behind 'Undo:'."""
    facts = step.facts
    return str(MADE[step.action](facts.get("first", ""), facts.get("second", ""), facts["pictures"]))
