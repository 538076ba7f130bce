"""Faults put into every operation on files of the commands that write: `python -m faults`, see docs/robustness.md."""
