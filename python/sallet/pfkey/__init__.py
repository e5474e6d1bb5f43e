"""The PF_KEY front end: constants, dialects, messages, codec, convert, handlers, server.

Left never imports right. No cryptography, no packet and no human's syntax enters. Answers to RFC 2367 and the KAME extensions.
"""
