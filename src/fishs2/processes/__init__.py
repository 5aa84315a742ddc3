"""Processes beside the server: started, watched, replaced and ended in one way for all."""
