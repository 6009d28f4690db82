"""Two releases on one store: the last one, frozen as its wheel, beside this one.

The wheel is the whole last release: its hub processes run from it, and its scripts are read out of it with the code that
called them. Its dependencies are those of this checkout. How a release is frozen stands in CONTRIBUTING.md.
"""
