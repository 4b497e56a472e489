"""What is found wrong with files of models and adapters and with drawing, and what the pages of both products say."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

NO_SAFETENSORS = lazy_gettext("“%(file)s” is not a safetensors file, or is damaged. Export or copy it again.")
INCOMPLETE = lazy_gettext("“%(file)s” is damaged or incomplete. Export it again.")
INCOMPLETE_AT = lazy_gettext("“%(file)s” is damaged or incomplete (“%(name)s”). Export it again.")
NO_ADAPTER = lazy_gettext("“%(file)s” holds no adapter. Choose an adapter file in the diffusers or kohya layout.")
NOT_PLAIN = lazy_gettext(
    "“%(file)s” is not a plain LoRA for the UNet and text encoder (“%(name)s”). Other kinds, such as DoRA, LoHa and "
    "LoKr, are not accepted."
)
OTHER_BASE = lazy_gettext(
    "The adapter does not fit the base model (“%(name)s”). Choose the one that it was trained on."
)
OTHER_WEIGHTS = lazy_gettext("The weights do not fit the base model (“%(name)s”). Choose the one that they belong to.")
NO_FOLDER = lazy_gettext(
    "“%(folder)s” is not a model folder in the diffusers layout: it has no model_index.json. Check the folder."
)
DAMAGED_MODEL = lazy_gettext("“%(file)s” of the model is damaged. Fetch the model again.")
UNREADABLE_MODEL = lazy_gettext("“%(file)s” cannot be opened as a model (%(why)s). Check it, or fetch the model again.")
NOT_AS_ONE_FILE = lazy_gettext("This model cannot be written as one file. Download it as a folder instead.")
NO_PLAIN_ZIP = lazy_gettext("The archive cannot be unpacked. Pack a plain zip without a password.")
PACK_ALONE = lazy_gettext("The archive holds more than a model's own files. Pack those alone, and no links.")
PICKLES_ALONE = lazy_gettext(
    "The archive holds the weights as pickles, which can run code when they are opened. Pack the model with "
    ".safetensors files: most are offered so too, and the program that made it can save it so."
)
DRAWS_NOTHING = lazy_gettext(
    "The model's output is not numbers, so there is no picture. Lower the guidance or the strength."
)
OTHER_SAMPLER = lazy_gettext("The sampler “%(sampler)s” does not work with this model. Choose one of %(known)s.")

OF_ITS_BYTES = (
    NO_SAFETENSORS,
    INCOMPLETE,
    INCOMPLETE_AT,
    NO_ADAPTER,
    NOT_PLAIN,
    OTHER_BASE,
    OTHER_WEIGHTS,
    DAMAGED_MODEL,
    NO_PLAIN_ZIP,
    PACK_ALONE,
    PICKLES_ALONE,
)
"""What is wrong with a file that is here, and stays wrong however often it is looked at."""

SENTENCES: dict[str, str | LazyString] = {
    # A safetensors file.
    "{file}: is not a safetensors file, or is cut off; copy or export it again": NO_SAFETENSORS,
    "{file}: is not a safetensors file (its header is not JSON); copy or export it again": NO_SAFETENSORS,
    "{file}: damaged safetensors header ({why}); copy or export it again": NO_SAFETENSORS,
    "{file}: its header claims {bytes} bytes, {most} are allowed; refused": NO_SAFETENSORS,
    "{file}: ended while '{name}' was read; it was changed meanwhile: copy it again": NO_SAFETENSORS,
    "{file}: tensor '{name}' holds NaN or Inf ({bad} of {all} values); the training diverged: lower its learning rate "
    "and train again, or leave this update out": lazy_gettext(
        "“%(file)s” holds values that are not numbers (“%(name)s”): its training has diverged. Train again with a "
        "lower learning rate."
    ),
    # An adapter.
    "{folder}: holds neither {names} nor one other .safetensors file": lazy_gettext(
        "“%(folder)s” holds no adapter, or several. Give the file of one adapter."
    ),
    "{file}: is no file of settings; export the adapter again": INCOMPLETE,
    "{file}: is not JSON; export the adapter again": INCOMPLETE,
    "{file}: holds no LoRA tensors; give an adapter file in diffusers or kohya layout": NO_ADAPTER,
    "{file}: tensor '{name}' is no part of a plain LoRA in {layout} layout; {supported}": NOT_PLAIN,
    "{file}: '{name}' is no module of a diffusers UNet or a CLIP text encoder; {supported}": NOT_PLAIN,
    "{file}: is a DoRA; {supported}": lazy_gettext(
        "“%(file)s” is a DoRA. Only plain LoRA for the UNet and text encoder is accepted."
    ),
    "{file}: '{name}' and '{other}' are the same module twice; export it again": INCOMPLETE_AT,
    "{file}: '{name}' lacks its other half (down and up); export the adapter again": INCOMPLETE_AT,
    "{file}: '{name}' holds whole numbers, a LoRA has fractions; export it again": INCOMPLETE_AT,
    "{file}: '{name}' is not one number; export the adapter again": INCOMPLETE_AT,
    "{file}: '{name}': LoRA factors of shapes {shapes} do not belong together; expected A (rank, inputs) and B "
    "(outputs, rank), or those of a convolution": INCOMPLETE_AT,
    "{file}: alpha of '{name}' is {alpha}; it must be a finite number: export again": INCOMPLETE_AT,
    "{file}: alpha of '{name}' in its metadata is not a number; export the adapter again": INCOMPLETE_AT,
    "{file}: its metadata '{name}' is not JSON; export the adapter again": INCOMPLETE_AT,
    "{file}: alpha_pattern in its metadata is no map; export the adapter again": INCOMPLETE,
    "{file}: alpha_pattern '{pattern}' is not a plain module path; export it as kohya file": lazy_gettext(
        "“%(file)s” names its modules by the pattern “%(pattern)s”, which is not read here. Export it in the layout of "
        "kohya."
    ),
    "LoRA factors of shapes {shapes} do not belong together; expected A (rank, inputs) and B (outputs, rank), or those "
    "of a convolution": lazy_gettext("The adapter is damaged: its parts do not belong together. Export it again."),
    "LoRA factors of unlike modules cannot be summed: {shapes} beside {others}": lazy_gettext(
        "The adapters to be joined do not belong to one model. Check that all have the same base model."
    ),
    "module '{name}' has no name in kohya layout; write this adapter in diffusers layout": lazy_gettext(
        "The adapter changes “%(name)s”, which has no name in the kohya layout. It cannot be accepted."
    ),
    "adapter module '{name}' is not in model '{model}'; was it trained on another base model?": OTHER_BASE,
    "adapter module '{name}' has shape {got}, model '{model}' has {wanted}; was it trained on another base model?": (
        OTHER_BASE
    ),
    "the adapter for model '{model}' is empty; give one with at least one module": lazy_gettext(
        "The adapter is empty. Choose another."
    ),
    # A base model.
    "'{name}' has shape {got}, model '{model}' has {wanted}; is it of another base?": OTHER_WEIGHTS,
    "tensor '{name}' is missing in the {where}; both must be of the same base model": OTHER_WEIGHTS,
    "tensor '{name}' has shape {got}, model '{model}' {wanted}; use the same base model": OTHER_WEIGHTS,
    "size {size}: model '{model}' needs a multiple of {step} pixels; its own is {own}": lazy_gettext(
        "The model cannot draw pictures of %(size)s pixels. Choose a multiple of %(step)s; its own size is %(own)s."
    ),
    "{file}: {suffix} is a pickle, which can run code when it is opened; use a .safetensors file": lazy_gettext(
        "“%(file)s” is a pickle, which can run code when it is opened. Use the same model or adapter as a .safetensors "
        "file: most are offered so too, and the program that made it can save it so."
    ),
    "{folder}: is a {kind}; FedFlow opens the Stable Diffusion 1 and 2 family (StableDiffusionPipeline)": lazy_gettext(
        "“%(folder)s” is not a Stable Diffusion 1 or 2 model. Other families are not supported yet."
    ),
    "{file}: is no .safetensors file; give one, or a diffusers folder": lazy_gettext(
        "“%(file)s” is not a .safetensors file. Give one, or a folder in the diffusers layout."
    ),
    "{folder}: has no model_index.json, so it is no diffusers folder; check the path": NO_FOLDER,
    "{folder}: has no model_index.json, so it is no diffusers folder; check what you give": NO_FOLDER,
    "{file}: cannot be read ({why}); fetch the model again": UNREADABLE_MODEL,
    "{file}: cannot be opened ({why}); {way_out}": UNREADABLE_MODEL,
    "{file}: names no scheduler; fetch the model again": DAMAGED_MODEL,
    "{file}: has {bytes} bytes, which no settings have; fetch the model again": DAMAGED_MODEL,
    "{file}: is not JSON; fetch the model again": DAMAGED_MODEL,
    "{file}: names files elsewhere; fetch the model again": DAMAGED_MODEL,
    "{file}: is a link; give the file itself": lazy_gettext("“%(file)s” is a link. Give the file itself."),
    "{name}: the hub knows no such model, or it is private; check the name or run 'hf auth login'": lazy_gettext(
        "The model hub has no “%(name)s”, or it is private. Check the name, or import the model as a file."
    ),
    "{name}: the hub refuses it ({why}); try later or use a local folder": lazy_gettext(
        "The model hub refuses “%(name)s” (%(why)s). Try again later, or import the model as a file."
    ),
    "{model}: a checkpoint of one file is written for Stable Diffusion 1 and its like; take the merged folder, which "
    "every diffusers and ComfyUI opens too": NOT_AS_ONE_FILE,
    "{model}: its blocks have unlike numbers of layers; take the merged folder": NOT_AS_ONE_FILE,
    "{model}: '{name}' has no name in a checkpoint of one file; take the merged folder": NOT_AS_ONE_FILE,
    # An archive.
    "the archive unpacks to {bytes} bytes from {packed}, which no weights do; refused": lazy_gettext(
        "The archive would unpack to far more than model weights, so it was not opened. Pack the model's files again."
    ),
    "the archive cannot be unpacked ({why}); pack a plain zip": NO_PLAIN_ZIP,
    "the archive is encrypted; pack it without a password": NO_PLAIN_ZIP,
    "the archive holds {name} twice; pack it again": NO_PLAIN_ZIP,
    "the archive holds more than {count} files; pack the model alone": PACK_ALONE,
    "the archive holds {name}, which leads elsewhere; pack the model alone": PACK_ALONE,
    "the archive holds the link {name}; pack the files themselves": PACK_ALONE,
    "the archive holds weights as pickles alone, which can run code when they are opened; refused": PICKLES_ALONE,
    # Drawing.
    "{model} draws no picture but NaN; {way_out}, or lower the guidance": DRAWS_NOTHING,
    "sampler '{sampler}' is unknown; choose one of {known}": OTHER_SAMPLER,
    "sampler '{sampler}' cannot sample a flow model; choose one of {known}": OTHER_SAMPLER,
}
"""As `Phrases` takes them. One wording stands for all that a reader would mend in the same way."""
