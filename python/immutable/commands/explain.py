"""Tell what freezing an object would do, without freezing it.

The object is named as module:attribute, as in fractions:Fraction or package.module:CONFIG.tables. Python code in
place of an attribute is evaluated in the module: 'fractions:Fraction(1, 3)'. The exit status is 0 if it could be
frozen, 1 if something refuses, 2 if there is no such object.
"""

import importlib
import json
import sys

from immutable import explain


def add_arguments(parser):
    parser.add_argument("target", metavar="module:attribute")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--objects", action="store_true", help="list every object that would be frozen, with its path")
    output.add_argument("--json", action="store_true", help="print the whole report as JSON")
    output.add_argument("--dot", action="store_true", help="print the graph in the language of Graphviz")


def run(options):
    try:
        target = find(options.target)
    except Exception as error:
        print(f"{options.target}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    report = explain(target)
    if options.json:
        json.dump(report.to_dict(), sys.stdout, indent=1)
        print()
    elif options.dot:
        print(report.to_dot())
    else:
        print(report)
        if options.objects:
            print()
            for path, type_name, short in report.objects:
                print(f"{path}  {type_name}  {short}")
    return 0 if report.freezable else 1


def find(target):
    """Return the object that module:attribute names. Raises whatever importing or evaluating raises."""
    module, colon, expression = target.partition(":")
    found = importlib.import_module(module)
    return eval(expression, vars(found)) if colon and expression else found
