"""Sweeps: many configurations of a scenario, a row each."""
