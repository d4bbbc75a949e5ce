"""Pictures, plots, the report of a run: arrays in; RGB pictures, SVG or HTML text out. `write_report` joins them."""
