"""TensorFlow 1's namespaces (`gc.math`, `gc.nn`, `gc.image`, ...): lists of names, one file each. Part of the public face."""
