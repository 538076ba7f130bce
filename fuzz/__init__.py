"""Readers of files fed with changed files, guided by which lines run: `python -m fuzz`, see docs/robustness.md."""
