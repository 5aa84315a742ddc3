"""Tensors become mathematics: no request, no thread, no clock."""
