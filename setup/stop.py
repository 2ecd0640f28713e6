"""How the set-up ends early: a sentence with the way out, and an exit code."""

import errno


class Stop(Exception):
    """Ends the set-up. `code` is 2 where the call or the machine's settings are wrong, 1 where the work failed."""

    def __init__(self, text, code=1):
        super().__init__(text)
        self.code = code


def of_os(error, space):
    """What the system refused. `space` is the folder whose disk may be full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Stop(f"the disk of {space} is full. Nothing half-made is kept. Make room there, or set T2M_CACHE to a folder on another disk.")
    place = f"{error.filename}: " if error.filename else ""
    return Stop(f"{place}{error.strerror or error}. Mend that, or set T2M_CACHE to a folder that you can write to, and run it again.")
