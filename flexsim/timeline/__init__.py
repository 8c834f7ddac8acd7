"""Timelines: spans, metrics, memory and their files."""
