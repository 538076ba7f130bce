"""Injects faults into every file operation of the commands that write: `python -m faults`, see docs/robustness.md."""
