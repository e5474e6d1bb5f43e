"""The languages people write to IPsec: text in, messages out, and messages back into text.

No socket, no byte layout and no engine may enter; names of hosts and services come through an argument.
Answers to setkey(8), ipsec_set_policy(3) and their dialects.
"""
