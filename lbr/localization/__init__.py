"""From a query's features and a map to a pose with its reason and its uncertainty."""
