"""The commands of `python -m immutable`.

Each module has a docstring, whose first line is the help, `add_arguments(parser)`, and `run(options)`, which returns
the exit status.
"""
