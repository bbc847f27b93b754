"""The load campaign: real processes on real servers under an open-loop load, and where their time goes."""
