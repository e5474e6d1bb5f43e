"""The PF_KEY front end: constants, dialects, messages, codec, convert, handlers, server.

No cryptography, no packet and no human's syntax enters; left never imports right.
Answers to RFC 2367 and to the KAME extensions.
"""
