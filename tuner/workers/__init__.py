"""Workers that train: their leases on trials, and where they run."""
