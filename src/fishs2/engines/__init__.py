"""What makes PCM from an utterance. The seam is `engines.base`; each other module is one engine."""
