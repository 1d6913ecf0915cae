"""Many networks trained in one graph. A lane is one member of a replicate at one point; the lane axis comes first.

A start is a replicate and a member: it has start weights, an order of batches and noise of its own, the same at every
point of strengths. `Grid` says in which order lanes stand. Stock Keras is the oracle: a lane's weights follow what
`Model.fit` gives from the same start on the same batches.
"""
