"""Release the labs, and grade what students hand in."""
