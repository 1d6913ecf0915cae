"""Charts: tables in, Vega-Lite specifications and SVG out. Nothing here imports TensorFlow."""
