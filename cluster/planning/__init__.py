"""``absa plan``: what time costs in money, and which number of workers buys it."""
