"""`python -m immutable COMMAND`: each module of the package `command` is one."""

import argparse
import importlib
import pkgutil
import sys

from immutable import command


def main(arguments=None):
    """Runs the command that the arguments name, and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m immutable", description="Tools of the immutable runtime.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(command.__path__):
        module = importlib.import_module(f"{command.__name__}.{found.name}")
        summary, _, rest = module.__doc__.partition("\n")
        of_command = commands.add_parser(
            found.name,
            help=summary.rstrip("."),
            description=summary,
            epilog=rest,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(of_command)
        of_command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
