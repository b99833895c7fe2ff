"""The gradient noise scale: is it right, what does it cost, what is it while networks train."""
