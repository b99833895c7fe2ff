"""How long training stands still when workers join or leave: ours beside Ray Train's restart."""
