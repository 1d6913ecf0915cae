"""The experiments of the audit: small trainings that answer what no study does."""
