"""Engines: a task graph in, a timeline out."""
