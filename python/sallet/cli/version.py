"""Which version of sallet is installed.

Nothing else may enter: the look-up costs more than the rest of a start. Answers to importlib.metadata.
"""

from __future__ import annotations


def installed() -> str:
    """Return the version, or say that there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sallet")
    except PackageNotFoundError:
        return "(run from its sources, not installed)"
