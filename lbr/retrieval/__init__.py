"""Which images to compare: pairs of db images for mapping, candidates of a query for localization."""
