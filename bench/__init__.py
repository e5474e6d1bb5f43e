"""The measurements of docs/benchmarks.md: this machine, now, each beside something else in the same run.

No target and no asserted time may enter: whoever reads the figures judges them.
Answers to: `make bench`; CONTRIBUTING.md, "measure, then claim".
"""
