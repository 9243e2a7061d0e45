"""When and how a device is told to fetch again."""
