"""Scanning a dataset for the strongest units of every channel."""
