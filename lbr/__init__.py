"""LBR: localization by recognition. Camera poses of photographs in a mapped town.

Start reading at `types.py` (the records), then `pipeline/stages.py` (the flow).
"""

__version__ = "0.1.0"
