"""The kinds of data set that params.yaml can declare: what they hold, how they are read, checked and encoded."""
