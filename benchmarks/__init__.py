"""Measurements over many models, too long for the tests. They share the tests' independent reference."""
