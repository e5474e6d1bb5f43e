"""The control connection: what PF_KEY has no words for (status, counters, explain)."""
