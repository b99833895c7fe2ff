"""How few updates training needs, and what deciding the batch while it trains has to do with it."""
