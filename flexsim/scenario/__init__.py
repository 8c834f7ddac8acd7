"""Scenarios: from a file's names to objects; the only place that composes."""
