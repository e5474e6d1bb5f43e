"""Per-socket policies of programs under `sallet run`: records, what they mean, and who serves them.

No packet and no nft text may enter.
Answers to: setsockopt(2) with IP_IPSEC_POLICY; `ipsec(4)`, per-socket policies ("pcb" is the manuals' word).
"""
