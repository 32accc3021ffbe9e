"""The one exception that means: the user can mend this, and here is how."""


class UserError(ValueError):
    """Wrong input from the user: a single line saying what is wrong, where, and what to do.

    The commands print it after ``error:`` and exit with status 2; no traceback is shown.
    """
