"""Many networks trained in one graph. A lane is one replicate at one strength; arrays have the lane axis first.

Lane s * R + r is replicate r (of R) at strength s; strength 0 is the knob. Stock Keras is the oracle: a lane's weights
follow what `Model.fit` gives from the same start on the same batches.
"""
