"""Virtual environments with packages from PyPI."""

import os
import subprocess


def make_environment(interpreter, folder, requirements, options):
    """Installs the requirements in a virtual environment, made in folder if need be, and returns its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options]
    subprocess.run([*install, *requirements], check=True)
    return python


def version_of(python, requirement):
    """The version of a package that is installed."""
    source = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    return subprocess.run(
        [python, "-c", source, requirement], capture_output=True, text=True, check=True
    ).stdout.strip()


def clean_environment():
    """The environment without the variables that change what an interpreter does."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
