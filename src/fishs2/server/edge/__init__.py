"""What every dialect over HTTP shares; nothing here knows one of them."""
