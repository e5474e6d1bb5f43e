//! The SAD: associations, replay windows, lifetimes, leases.
