"""IPsec without a kernel: the paved path of the Python API.

No eager import may enter: `import sallet` loads nothing else until a name is used.
Answers to: ARCHITECTURE.md section B; RFC 4301 for the words.
"""
