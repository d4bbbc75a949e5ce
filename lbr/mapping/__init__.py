"""From matches to a map: verification, triangulation, structure from motion, and the arrays a localizer opens."""
