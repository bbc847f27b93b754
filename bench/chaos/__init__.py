"""The fault campaign: the whole fleet under load, on servers of its own, while everything around it breaks."""
