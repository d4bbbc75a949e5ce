"""Global instance recognition: which facade is where in a photograph. Modules import torch; `settings` does not."""
