"""The verbs of the command line, one module each.

A verb's module has a docstring, which is its help text, and two functions: ``add_arguments(parser)`` and
``run(arguments)``. `configured` has what is shared by the verbs that work in a run folder.
"""
