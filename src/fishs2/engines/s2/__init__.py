"""The native engine for Fish Audio S2 Pro: files, tokenizer, model, codec and the engine itself.

The only package that imports torch. `engine` is the way in for the service, `commands` for the CLI.
"""
