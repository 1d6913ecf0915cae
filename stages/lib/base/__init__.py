"""What every stage stands on: its command line, its files, and how plans are kept."""
