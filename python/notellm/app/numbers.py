"""Numbers as tables and reports print them: one number is written alike wherever it is shown."""

from decimal import Decimal

from notellm.metrics import Interval

MINUS = "\N{MINUS SIGN}"


def one_decimal(points: float) -> str:
    """A number with one decimal: an exact half, such as a share of 400 queries often is, goes to the even digit.

    Halves are told from noise of floating point, so that equal shares are shown alike wherever they come from.

    Example:
        >>> 100 * 0.2725, one_decimal(100 * 0.2725), one_decimal(1.25), one_decimal(33.75), one_decimal(-0.04)
        (27.250000000000004, '27.2', '1.2', '33.8', '0.0')
    """
    shown = f"{Decimal(str(round(points, 9))):.1f}"
    return "0.0" if float(shown) == 0 else shown  # no -0.0


def signed_points(points: float) -> str:
    """A difference in points, with its sign; for tables of plain text.

    Example:
        >>> signed_points(0.04), signed_points(-0.04), signed_points(-3.21)
        ('+0.0', '+0.0', '-3.2')
    """
    shown = one_decimal(points)
    return shown if shown.startswith("-") else f"+{shown}"


def percent(fraction: float) -> str:
    """A fraction as a percentage, without the % sign.

    Example:
        >>> percent(0.2304), percent(0.2725)
        ('23.0', '27.2')
    """
    return one_decimal(100 * fraction)


def signed_percent(fraction: float) -> str:
    """A change of a fraction in percentage points, with its sign; for text.

    Example:
        >>> signed_percent(0.0412), signed_percent(-0.0151), signed_percent(-0.0004)
        ('+4.1', '\u22121.5', '+0.0')
    """
    return signed_points(100 * fraction).replace("-", MINUS)


def interval_text(interval: Interval) -> str:
    """The bounds of an interval of fractions, in percent.

    Example:
        >>> interval_text(Interval(0.23, 0.188, 0.271))
        '18.8\u201327.1'
    """
    return f"{percent(interval.low)}\N{EN DASH}{percent(interval.high)}"
