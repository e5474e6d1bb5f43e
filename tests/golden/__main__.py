"""`python -m golden` (`make golden`): writes the golden files anew; read the difference afterwards."""

from __future__ import annotations

from golden.rendering import regenerate

for name in regenerate():
    print(f"changed: {name}")
print("read the difference with `git diff tests/golden` before you commit it")
