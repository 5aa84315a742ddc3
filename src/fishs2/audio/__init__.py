"""PCM in, bytes out: decoding, effects, resampling and encoding; numpy, soxr and PyAV only."""
