"""Tags for pictures: taggers by name, file or hub name, and the tagging of a folder.

Imported module by module: `registry` imports a tagger's libraries when one is opened.
"""
