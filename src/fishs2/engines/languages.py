"""The languages that S2 Pro was made to speak, whichever engine runs it."""

# fmt: off
LANGUAGES = (
    "zh", "en", "ja", "ko", "es", "pt", "ar", "ru", "fr", "de", "sv", "it", "tr", "no",
    "nl", "cy", "eu", "ca", "da", "gl", "ta", "hu", "fi", "pl", "et", "hi", "la", "ur",
    "th", "vi", "jv", "bn", "yo", "sl", "cs", "sw", "nn", "he", "ms", "uk", "id", "kk",
    "bg", "lv", "my", "tl", "sk", "ne", "fa", "af", "el", "bo", "hr", "ro", "sn", "mi",
    "yi", "am", "be", "km", "is", "az", "sd", "br", "sq", "ps", "mn", "ht", "ml", "sr",
    "sa", "te", "ka", "bs", "pa", "lt", "kn", "si", "hy", "mr", "as", "gu", "fo",
)
# fmt: on
"""BCP 47 tags. Source: model card of fishaudio/s2-pro, whose `jw` is `jv` in BCP 47."""
