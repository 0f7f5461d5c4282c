"""The room of passes: each takes a valid Program and gives a valid Program. `pipelines` lists every order they run in."""
