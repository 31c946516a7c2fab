"""A failure somebody must act on: code, what, where and the next step, in English and Korean. No input or output."""

from __future__ import annotations


class Trouble(Exception):  # also bad configuration and a missing file, not only errors
    """`str()` gives one line in English and one in Korean, each starting with the code."""

    def __init__(self, code: str, en: str, ko: str, *, next_en: str = "", next_ko: str = "") -> None:
        self.code = code
        self.en = f"{en}. {next_en}".rstrip(" .") + "."
        self.ko = f"{ko}. {next_ko}".rstrip(" .") + "."
        super().__init__(f"{code} {self.en}\n{code} {self.ko}")


class SpoolError(Trouble):
    """CG-2xxx: the spool cannot do what was asked. Nothing stored is lost."""
