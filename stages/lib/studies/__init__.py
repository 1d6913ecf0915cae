"""A study: what may be declared of it, the facts of its data set, its protocol and its plans."""
