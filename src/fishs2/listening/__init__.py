"""Hearing what is said in a recording: the seam, and Whisper behind it in a process of its own."""
