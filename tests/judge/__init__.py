"""TensorFlow 1.15 as the judge: the same lines of user code for it and for graphc. See `record.py`."""
