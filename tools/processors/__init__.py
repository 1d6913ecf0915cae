"""Compare the results of small runs on this processor with those on emulated ones: `python -m tools.processors`."""
