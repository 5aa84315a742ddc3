"""Every setting, as a field of the group of its owner; `docs/settings.md` is generated from them.

Who needs a part of the settings takes its group. `Settings` is all of them in one, as the names
that people write are flat. Defaults are here and nowhere else.
"""
