"""The commands of `python -m immutable`: one module each."""
