"""Sysctl names of the manuals, and what they set."""
