"""The tests: one file per module or subject. `tolerances` says how close is close, `conftest` what all of them share."""
