"""Files become named tensors; nothing here knows what they mean."""
