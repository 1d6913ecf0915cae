"""What `make` and CI call. Nothing here is part of a stage or shapes a result."""
