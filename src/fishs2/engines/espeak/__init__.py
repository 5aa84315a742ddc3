"""eSpeak NG, the engine that speaks before any download."""
