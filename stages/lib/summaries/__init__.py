"""What the figures show, aggregated from models and predictions into small tables."""
