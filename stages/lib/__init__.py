"""The nouns of the pipeline. A module here never imports a stage."""
