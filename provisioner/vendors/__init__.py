"""Every vendor has a package here and one line in DRIVERS."""
