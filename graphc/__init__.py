"""graphc: graphs in the words of TensorFlow 1, compiled ahead of the first step into one native call. The public face."""
