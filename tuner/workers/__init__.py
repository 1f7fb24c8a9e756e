"""Who trains: workers, their leases on trials, and where they run."""
