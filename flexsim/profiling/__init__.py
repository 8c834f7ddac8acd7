"""Operator and collective times measured on this machine, with PyTorch."""
