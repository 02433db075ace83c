"""`python -m immutable COMMAND`: what the command line offers; each module of immutable.commands is a command.

A command module has a docstring, whose first line is its help, `add_arguments(parser)`, and `run(options)`, which
returns the exit status. That is 1 if nobody reads what is printed, as after `| head -1`.
"""

import argparse
import importlib
import os
import pkgutil
import sys

from immutable import commands


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m immutable")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for found in sorted(pkgutil.iter_modules(commands.__path__), key=lambda found: found.name):
        command = importlib.import_module(f"{commands.__name__}.{found.name}")
        summary = command.__doc__.partition("\n")[0]
        subparser = subparsers.add_parser(found.name, help=summary, description=command.__doc__)
        subparser.formatter_class = argparse.RawDescriptionHelpFormatter
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    return options.run(options)


def main_of_process():
    """As main(), for a process of its own: ends quietly once nobody reads what it prints."""
    try:
        try:
            return main()
        finally:  # also after --help, which raises SystemExit
            if sys.stdout is not None:
                sys.stdout.flush()  # here, so that what is left in the buffer fails here too
    except BrokenPipeError:
        # Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main_of_process())
