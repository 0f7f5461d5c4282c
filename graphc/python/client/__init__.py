"""What TensorFlow 1 keeps in `tensorflow.python.client`, as far as programs use it: `timeline`."""
