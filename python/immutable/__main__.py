"""`python -m immutable COMMAND`: what the command line offers; each module of immutable.commands is a command.

A command module has a docstring, whose first line is its help, `add_arguments(parser)`, and `run(options)`, which
returns the exit status.
"""

import argparse
import importlib
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


if __name__ == "__main__":
    sys.exit(main())
