"""Where raw data come from, and what they have to be."""
