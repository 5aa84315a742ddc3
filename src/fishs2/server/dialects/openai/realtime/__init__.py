"""OpenAI's Realtime API over a WebSocket, speech only: text goes in, audio comes out."""
