"""``absa replay``: what another policy would have decided on the recorded signals of a run."""
