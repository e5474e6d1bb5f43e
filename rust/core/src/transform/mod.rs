//! One packet and one SA's keys: seal and open, tunnel headers.
