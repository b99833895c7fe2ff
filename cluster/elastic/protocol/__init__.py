"""Who is in the worker group: two pure state machines and what they say to one another."""
