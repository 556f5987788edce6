"""Numbers in sentences that people read."""


def counted(number: int, one: str, many: str = "") -> str:
    """Write how many there are of something: 1 box, 2 boxes.

    Parameters
    ----------
    one
        what one of them is called, perhaps with what is said of it.
    many
        what several are; with an s where it is left out.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
