"""Simulated against measured: validation, and calibration of profiles."""
