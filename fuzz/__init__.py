"""Fuzzing of all readers of files, guided by coverage: `python -m fuzz`, see docs/robustness.md."""
