"""``absa explain``: the decisions of a run in plain words."""
