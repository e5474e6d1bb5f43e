//! Packet formats: bytes seen as fields (view) and meaning written as bytes (Repr).
